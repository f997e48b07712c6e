#include "loader/flow_yaml.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "kernels/base/limits.h"
#include "loader/mapped_file.h"

enum { PATH_BYTES = 256 };

/* ---- what the file must say ---- */

/* The numbers as they are written. */
typedef struct yaml_numbers {
    double input_size, output_size, spk_embed_dim, vocab_size;
    double encoder_in, encoder_out, lookahead, layers, up_layers, up_stride, up_scale, heads, ffn;
    double guidance;
    double in_channels, out_channels, mlp_ratio, depth, dit_heads, head_dim, hidden;
} yaml_numbers;

typedef struct number_key {
    const char *path;
    size_t offset; /* in yaml_numbers */
    double least, most;
    bool whole;
} number_key;

#define NUMBER(path, field, least, most, whole)                                                    \
    {                                                                                              \
        path, offsetof(yaml_numbers, field), least, most, whole                                    \
    }

static const number_key number_keys[] = {
    NUMBER("flow.input_size", input_size, 1, SA2_LIMIT_WIDTH, true),
    NUMBER("flow.output_size", output_size, 1, SA2_LIMIT_MEL_BINS, true),
    NUMBER("flow.spk_embed_dim", spk_embed_dim, 1, SA2_LIMIT_WIDTH, true),
    NUMBER("flow.vocab_size", vocab_size, 1, SA2_LIMIT_VOCAB, true),
    NUMBER("flow.encoder.input_size", encoder_in, 1, SA2_LIMIT_WIDTH, true),
    NUMBER("flow.encoder.output_size", encoder_out, 1, SA2_LIMIT_WIDTH, true),
    NUMBER("flow.encoder.pre_lookahead_len", lookahead, 0, SA2_LIMIT_KERNEL - 1, true),
    NUMBER("flow.encoder.num_blocks", layers, 0, SA2_LIMIT_LAYERS, true),
    NUMBER("flow.encoder.num_up_blocks", up_layers, 0, SA2_LIMIT_LAYERS, true),
    NUMBER("flow.encoder.up_stride", up_stride, 1, SA2_LIMIT_KERNEL / 2 - 1, true),
    NUMBER("flow.encoder.up_scale_factor", up_scale, 1, SA2_LIMIT_KERNEL / 2 - 1, true),
    NUMBER("flow.encoder.attention_heads", heads, 1, SA2_LIMIT_HEADS, true),
    NUMBER("flow.encoder.linear_units", ffn, 1, SA2_LIMIT_WIDTH, true),
    NUMBER("flow.decoder.inference_cfg_rate", guidance, 0, 100, false),
    NUMBER("flow.decoder.estimator.in_channels", in_channels, 1, SA2_LIMIT_WIDTH, true),
    NUMBER("flow.decoder.estimator.out_channels", out_channels, 1, SA2_LIMIT_MEL_BINS, true),
    NUMBER("flow.decoder.estimator.mlp_ratio", mlp_ratio, 1e-3, 1000, false),
    NUMBER("flow.decoder.estimator.depth", depth, 1, SA2_LIMIT_LAYERS, true),
    NUMBER("flow.decoder.estimator.num_heads", dit_heads, 1, SA2_LIMIT_HEADS, true),
    NUMBER("flow.decoder.estimator.head_dim", head_dim, 1, SA2_LIMIT_HEAD_DIM, true),
    NUMBER("flow.decoder.estimator.hidden_size", hidden, 1, SA2_LIMIT_WIDTH, true),
};
enum { N_NUMBERS = sizeof number_keys / sizeof number_keys[0] };

/* Words that choose between implementations; all but these have none here. A key that is not there
 * has the value that is implemented: it is the default of the class. */
static const struct {
    const char *path, *value;
} word_keys[] = {
    {"flow.output_type", "mel"},
    {"flow.encoder.input_layer", "linear"},
    {"flow.encoder.pos_enc_layer_type", "rel_pos_espnet"},
    {"flow.encoder.selfattention_layer_type", "rel_selfattn"},
    {"flow.encoder.activation_type", "swish"},
    {"flow.encoder.normalize_before", "true"},
    {"flow.encoder.key_bias", "true"},
    {"flow.encoder.macaron_style", "false"},
    {"flow.encoder.use_cnn_module", "false"},
};
enum { N_WORDS = sizeof word_keys / sizeof word_keys[0] };

/* The last part of the tag of a mapping. */
static const struct {
    const char *path, *class_name;
} classes[] = {
    {"flow", "CausalMaskedDiffWithXvec"},
    {"flow.encoder", "UpsampleConformerEncoderV2"},
    {"flow.decoder", "CausalConditionalCFM"},
    {"flow.decoder.estimator", "DiT"},
};
enum { N_CLASSES = sizeof classes / sizeof classes[0] };

/* ---- walking the file ---- */

/* A mapping or list that is open. */
typedef struct yaml_level {
    bool list;
    bool in_value;     /* of a mapping: the key was read */
    size_t path_bytes; /* of the path of the level itself */
} yaml_level;

typedef struct yaml_walk {
    const char *origin;
    sa2_error *err;
    sa2_status status; /* of the first mistake; the walk goes on for the others */
    yaml_level levels[SA2_LIMIT_YAML_DEPTH];
    int depth;
    char path[PATH_BYTES]; /* of the value that comes next: "flow.encoder.num_blocks" */
    yaml_numbers numbers;
    bool seen_number[N_NUMBERS], seen_word[N_WORDS], seen_class[N_CLASSES];
} yaml_walk;

static void note(yaml_walk *w, sa2_status st)
{
    if (w->status == SA2_OK)
        w->status = st;
}

static bool same(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++)
        if ((*a >= 'A' && *a <= 'Z' ? *a + 32 : *a) != *b)
            return false;
    return *a == *b;
}

static void read_number(yaml_walk *w, int i, const char *text)
{
    const number_key *key = &number_keys[i];
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= key->least && number <= key->most) ||
        (key->whole && number != floor(number))) {
        note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: %s: %.64s, %s from %g to %g expected",
                              w->origin, key->path, text,
                              key->whole ? "a whole number" : "a number", key->least, key->most));
        return;
    }
    memcpy((char *)&w->numbers + key->offset, &number, sizeof number);
}

/* True the first time. */
static bool mark_seen(yaml_walk *w, bool *seen)
{
    if (*seen)
        note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: %s is there twice", w->origin, w->path));
    bool first = !*seen;
    *seen = true;
    return first;
}

/* The value of the key at w->path. */
static void read_value(yaml_walk *w, const char *text)
{
    for (int i = 0; i < N_NUMBERS; i++)
        if (strcmp(w->path, number_keys[i].path) == 0 && mark_seen(w, &w->seen_number[i]))
            read_number(w, i, text);
    for (int i = 0; i < N_WORDS; i++)
        if (strcmp(w->path, word_keys[i].path) == 0 && mark_seen(w, &w->seen_word[i]) &&
            !same(text, word_keys[i].value))
            note(w, sa2_fail_also(w->err, SA2_ERR_UNSUPPORTED, "%s: %s: %.64s, only %s can be used",
                                  w->origin, w->path, text, word_keys[i].value));
}

/* The tag of the mapping at w->path: none, or !new: and the class that is implemented. */
static void judge_class(yaml_walk *w, const char *tag)
{
    static const char start[] = "!new:";
    for (int i = 0; i < N_CLASSES; i++) {
        if (strcmp(w->path, classes[i].path) != 0)
            continue;
        const char *dot = strrchr(tag, '.');
        if (mark_seen(w, &w->seen_class[i]) &&
            (strncmp(tag, start, sizeof start - 1) != 0 ||
             strcmp(dot != NULL ? dot + 1 : tag + sizeof start - 1, classes[i].class_name) != 0))
            note(w, sa2_fail_also(w->err, SA2_ERR_UNSUPPORTED,
                                  "%s: %s: tag %.128s, only !new: and a class %s can be used",
                                  w->origin, w->path, tag, classes[i].class_name));
        return;
    }
    note(w, sa2_fail_also(w->err, SA2_ERR_UNSUPPORTED, "%s: %s: tag %.128s on a mapping", w->origin,
                          w->path, tag));
}

/* Scalars may carry the tags of plain values only: nothing that refers, includes or computes. */
static void judge_scalar_tag(yaml_walk *w, const char *tag)
{
    static const char *const plain[] = {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_STR_TAG, YAML_INT_TAG,
                                        YAML_FLOAT_TAG};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(tag, plain[i]) == 0)
            return;
    note(w, sa2_fail_also(w->err, SA2_ERR_UNSUPPORTED, "%s: %s: tag %.128s on a value", w->origin,
                          w->path, tag));
}

/* ---- events ---- */

/* Whether the next event is a key of the innermost mapping. */
static bool at_key(const yaml_walk *w)
{
    return w->depth > 0 && !w->levels[w->depth - 1].list && !w->levels[w->depth - 1].in_value;
}

/* A value has ended: a mapping waits for its next key. */
static void end_value(yaml_walk *w)
{
    if (w->depth > 0) {
        w->levels[w->depth - 1].in_value = false;
        w->path[w->levels[w->depth - 1].path_bytes] = '\0';
    }
}

static sa2_status on_scalar(yaml_walk *w, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    if (at_key(w)) {
        size_t used = w->levels[w->depth - 1].path_bytes, length = event->data.scalar.length;
        if (used + length + 2 > sizeof w->path || strlen(text) != length)
            return sa2_fail_also(w->err, SA2_ERR_LIMIT, "%s: line %zu: a key of %zu bytes",
                                 w->origin, event->start_mark.line + 1, length);
        if (used > 0)
            w->path[used++] = '.';
        memcpy(w->path + used, text, length + 1);
        w->levels[w->depth - 1].in_value = true;
        return SA2_OK;
    }
    if (tag != NULL)
        judge_scalar_tag(w, tag);
    else if (strlen(text) != event->data.scalar.length)
        note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: %s: a zero byte in a value", w->origin,
                              w->path));
    else if (w->depth > 0 && !w->levels[w->depth - 1].list)
        read_value(w, text);
    end_value(w);
    return SA2_OK;
}

static sa2_status on_start(yaml_walk *w, const yaml_event_t *event, bool list, const char *tag)
{
    if (at_key(w))
        return sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: line %zu: a key that is no text",
                             w->origin, event->start_mark.line + 1);
    if (w->depth == SA2_LIMIT_YAML_DEPTH)
        return sa2_fail_also(w->err, SA2_ERR_LIMIT, "%s: line %zu: deeper than %d levels",
                             w->origin, event->start_mark.line + 1, SA2_LIMIT_YAML_DEPTH);
    if (tag != NULL)
        judge_class(w, tag);
    w->levels[w->depth++] = (yaml_level){.list = list, .path_bytes = strlen(w->path)};
    return SA2_OK;
}

/* An anchor is harmless, but without aliases it has no use; with them a small file can be large. */
static sa2_status on_event(yaml_walk *w, const yaml_event_t *event)
{
    const yaml_char_t *anchor =
        event->type == YAML_SCALAR_EVENT           ? event->data.scalar.anchor
        : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.anchor
        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
                                                   : NULL;
    if (anchor != NULL || event->type == YAML_ALIAS_EVENT)
        return sa2_fail_also(w->err, SA2_ERR_UNSUPPORTED,
                             "%s: line %zu: anchors and aliases are not read", w->origin,
                             event->start_mark.line + 1);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(w, event);
    case YAML_MAPPING_START_EVENT:
        return on_start(w, event, false, (const char *)event->data.mapping_start.tag);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(w, event, true, (const char *)event->data.sequence_start.tag);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        assert(w->depth > 0); /* libyaml gives an end only after its start */
        w->depth--;
        end_value(w);
        return SA2_OK;
    default:
        return SA2_OK; /* begin and end of stream and document */
    }
}

static sa2_status walk(yaml_walk *w, const char *text, size_t bytes)
{
    yaml_parser_t parser;
    yaml_event_t event;
    sa2_status st = SA2_OK;
    bool end = false;
    int documents = 0;
    if (!yaml_parser_initialize(&parser))
        return sa2_fail_also(w->err, SA2_ERR_NOMEM, "%s: no memory for a YAML parser", w->origin);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    while (st == SA2_OK && !end) {
        if (!yaml_parser_parse(&parser, &event)) {
            st = sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: line %zu: %s", w->origin,
                               parser.problem_mark.line + 1,
                               parser.problem != NULL ? parser.problem : "not YAML");
            break;
        }
        documents += event.type == YAML_DOCUMENT_START_EVENT;
        if (documents > 1)
            st = sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: two documents", w->origin);
        else
            st = on_event(w, &event);
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return st;
}

/* ---- the result ---- */

static void judge_missing(yaml_walk *w)
{
    for (int i = 0; i < N_NUMBERS; i++)
        if (!w->seen_number[i])
            note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: %s is missing", w->origin,
                                  number_keys[i].path));
}

static void judge_equal(yaml_walk *w, const char *a, double x, const char *b, double y)
{
    if (x != y)
        note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: %s is %g, %s is %g: equal ones expected",
                              w->origin, a, x, b, y));
}

static void judge_together(yaml_walk *w)
{
    const yaml_numbers *n = &w->numbers;
    judge_equal(w, "flow.input_size", n->input_size, "flow.encoder.input_size", n->encoder_in);
    judge_equal(w, "flow.input_size", n->input_size, "flow.encoder.output_size", n->encoder_out);
    judge_equal(w, "flow.encoder.up_stride", n->up_stride, "flow.encoder.up_scale_factor",
                n->up_scale);
    judge_equal(w, "flow.output_size", n->output_size, "flow.decoder.estimator.out_channels",
                n->out_channels);
    judge_equal(w, "4 * flow.output_size", 4 * n->output_size, "flow.decoder.estimator.in_channels",
                n->in_channels);
    judge_equal(w, "num_heads * head_dim of flow.decoder.estimator", n->dit_heads * n->head_dim,
                "hidden_size", n->hidden);
    if (fmod(n->encoder_out, n->heads) != 0)
        note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT,
                              "%s: flow.encoder: %g attention_heads do not divide output_size %g",
                              w->origin, n->heads, n->encoder_out));
    double mlp = n->mlp_ratio * n->hidden;
    if (mlp != floor(mlp) || mlp < 1 || mlp > SA2_LIMIT_WIDTH)
        note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT,
                              "%s: flow.decoder.estimator: mlp_ratio * hidden_size is %g, a whole "
                              "number from 1 to %d expected",
                              w->origin, mlp, SA2_LIMIT_WIDTH));
}

static sa2_flow_config config_of(const yaml_numbers *n)
{
    return (sa2_flow_config){
        .width = (int)n->input_size,
        .mel = (int)n->output_size,
        .speaker = (int)n->spk_embed_dim,
        .vocab = (int)n->vocab_size,
        .lookahead = (int)n->lookahead,
        .layers = (int)n->layers,
        .up_layers = (int)n->up_layers,
        .up_stride = (int)n->up_stride,
        .heads = (int)n->heads,
        .ffn = (int)n->ffn,
        .guidance = (float)n->guidance,
        .dit_in = (int)n->in_channels,
        .dit_width = (int)n->hidden,
        .dit_heads = (int)n->dit_heads,
        .dit_head_dim = (int)n->head_dim,
        .dit_ffn = (int)(n->mlp_ratio * n->hidden),
        .dit_blocks = (int)n->depth,
    };
}

sa2_status sa2_flow_yaml_parse(sa2_flow_config *config, const char *text, size_t bytes,
                               const char *origin, sa2_error *err)
{
    if (bytes > SA2_LIMIT_CONFIG_BYTES)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: %zu bytes, %d can be read", origin, bytes,
                        SA2_LIMIT_CONFIG_BYTES);
    sa2_error report = {0}; /* lines are added to it, so it starts empty */
    yaml_walk w = {.origin = origin, .err = &report};
    sa2_status walked = walk(&w, text, bytes);
    note(&w, walked);
    if (walked == SA2_OK) /* else what is missing may only come later */
        judge_missing(&w);
    if (w.status == SA2_OK)
        judge_together(&w);
    if (w.status != SA2_OK)
        return sa2_fail(err, w.status, "%s", report.message);
    *config = config_of(&w.numbers);
    return SA2_OK;
}

sa2_status sa2_flow_yaml_read(sa2_flow_config *config, const char *path, sa2_error *err)
{
    sa2_mapped_file file = {0};
    sa2_status st = sa2_mapped_file_open(&file, path, err);
    if (st == SA2_OK)
        st = sa2_flow_yaml_parse(config, (const char *)file.data, file.bytes, path, err);
    sa2_mapped_file_close(&file);
    return st;
}
