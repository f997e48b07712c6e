#include "loader/model_config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "loader/mapped_file.h"

/* One object of the file, and where its mistakes go. */
typedef struct config_reader {
    const json_t *object;
    const char *origin; /* path */
    const char *where;  /* "text_config.", or "" at the top */
    sa2_status status;  /* of the first mistake */
    sa2_error *err;
} config_reader;

/* ---- single keys ---- */

static void complain(config_reader *r, sa2_status st, const char *key, const char *what)
{
    sa2_fail_also(r->err, st, "%s: %s%s: %s", r->origin, r->where, key, what);
    if (r->status == SA2_OK)
        r->status = st;
}

static const json_t *find(config_reader *r, const char *key)
{
    const json_t *value = json_object_get(r->object, key);
    if (value == NULL)
        complain(r, SA2_ERR_FORMAT, key, "missing");
    return value;
}

/* 1 to limit; 0 after a mistake. */
static int read_size(config_reader *r, const char *key, int limit)
{
    char what[96];
    const json_t *value = find(r, key);
    if (value == NULL)
        return 0;
    if (!json_is_integer(value)) {
        complain(r, SA2_ERR_FORMAT, key, "not a whole number");
        return 0;
    }
    json_int_t n = json_integer_value(value);
    if (n >= 1 && n <= limit)
        return (int)n;
    snprintf(what, sizeof what, "1 to %d expected, %" JSON_INTEGER_FORMAT " found", limit, n);
    complain(r, n < 1 ? SA2_ERR_FORMAT : SA2_ERR_LIMIT, key, what);
    return 0;
}

/* Above low, at most high; 0 after a mistake. */
static float read_number(config_reader *r, const char *key, double low, double high)
{
    char what[96];
    const json_t *value = find(r, key);
    if (value == NULL)
        return 0.0f;
    if (!json_is_number(value)) {
        complain(r, SA2_ERR_FORMAT, key, "not a number");
        return 0.0f;
    }
    double x = json_number_value(value);
    if (x > low && x <= high)
        return (float)x;
    snprintf(what, sizeof what, "above %g and at most %g expected, %g found", low, high, x);
    complain(r, SA2_ERR_FORMAT, key, what);
    return 0.0f;
}

/* An id or the first of a list; -1 where there is none. */
static int read_id(config_reader *r, const char *key)
{
    const json_t *value = json_object_get(r->object, key);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    if (value == NULL || json_is_null(value))
        return -1;
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || id >= SA2_LIMIT_VOCAB) {
        complain(r, SA2_ERR_FORMAT, key, "not a token id");
        return -1;
    }
    return (int)id;
}

/* ---- what no part of sa2 computes ---- */

static void refuse_variants(config_reader *r)
{
    if (json_is_true(json_object_get(r->object, "use_sliding_window")))
        complain(r, SA2_ERR_UNSUPPORTED, "use_sliding_window", "false expected, true found");
    if (json_is_true(json_object_get(r->object, "tie_word_embeddings")))
        complain(r, SA2_ERR_UNSUPPORTED, "tie_word_embeddings", "false expected, true found");
    const json_t *scaling = json_object_get(r->object, "rope_scaling");
    if (scaling != NULL && !json_is_null(scaling))
        complain(r, SA2_ERR_UNSUPPORTED, "rope_scaling", "null expected");
    const json_t *activation = json_object_get(r->object, "hidden_act");
    if (activation != NULL &&
        (!json_is_string(activation) || strcmp(json_string_value(activation), "silu") != 0))
        complain(r, SA2_ERR_UNSUPPORTED, "hidden_act", "\"silu\" expected");
}

/* ---- parts ---- */

/* The head size is hidden / heads unless the file gives it. */
static int read_head_dim(config_reader *r, int hidden, int heads)
{
    const json_t *given = json_object_get(r->object, "head_dim");
    if (given != NULL && !json_is_null(given))
        return read_size(r, "head_dim", SA2_LIMIT_HEAD_DIM);
    if (hidden % heads == 0)
        return hidden / heads;
    complain(r, SA2_ERR_FORMAT, "num_attention_heads", "does not divide hidden_size");
    return 0;
}

static void read_decoder(config_reader *r, sa2_decoder_config *d)
{
    d->hidden = read_size(r, "hidden_size", SA2_LIMIT_WIDTH);
    d->layers = read_size(r, "num_hidden_layers", SA2_LIMIT_LAYERS);
    d->heads = read_size(r, "num_attention_heads", SA2_LIMIT_HEADS);
    d->kv_heads = read_size(r, "num_key_value_heads", SA2_LIMIT_HEADS);
    d->ffn = read_size(r, "intermediate_size", SA2_LIMIT_WIDTH);
    d->vocab = read_size(r, "vocab_size", SA2_LIMIT_VOCAB);
    d->max_positions = read_size(r, "max_position_embeddings", SA2_LIMIT_POSITIONS);
    d->rms_norm_eps = read_number(r, "rms_norm_eps", 0.0, 1.0);
    d->rope_theta = read_number(r, "rope_theta", 1.0, 1e12);

    if (d->hidden > 0 && d->heads > 0)
        d->head_dim = read_head_dim(r, d->hidden, d->heads);
    if (d->head_dim % 2 != 0)
        complain(r, SA2_ERR_FORMAT, "head_dim", "odd, and RoPE turns pairs");
    if (d->heads > 0 && d->kv_heads > 0 && d->heads % d->kv_heads != 0)
        complain(r, SA2_ERR_FORMAT, "num_key_value_heads", "does not divide num_attention_heads");
    /* Another name for the same thing; the reference insists on it too. */
    const json_t *groups = json_object_get(r->object, "num_attention_groups");
    if (groups != NULL && d->kv_heads > 0 && json_integer_value(groups) != d->kv_heads)
        complain(r, SA2_ERR_FORMAT, "num_attention_groups", "differs from num_key_value_heads");
}

static void read_encoder(config_reader *r, sa2_encoder_config *e)
{
    e->mel_bins = read_size(r, "n_mels", SA2_LIMIT_MEL_BINS);
    e->context = read_size(r, "n_audio_ctx", SA2_LIMIT_POSITIONS);
    e->width = read_size(r, "n_audio_state", SA2_LIMIT_WIDTH);
    e->heads = read_size(r, "n_audio_head", SA2_LIMIT_HEADS);
    e->blocks = read_size(r, "n_audio_layer", SA2_LIMIT_LAYERS);
    if (e->width > 0 && e->heads > 0 && e->width % e->heads != 0)
        complain(r, SA2_ERR_FORMAT, "n_audio_head", "does not divide n_audio_state");
}

static void read_adaptor(config_reader *r, sa2_adaptor_config *a, int hidden)
{
    a->kernel = read_size(r, "kernel_size", SA2_LIMIT_KERNEL);
    a->stride = read_size(r, "adapter_stride", SA2_LIMIT_KERNEL);
    const json_t *width = json_object_get(r->object, "llm_dim");
    if (width != NULL && hidden > 0 && json_integer_value(width) != hidden)
        complain(r, SA2_ERR_FORMAT, "llm_dim", "differs from hidden_size");
}

/* The object `key` where the file has it, else the top level (the flat form). */
static void enter(config_reader *r, const config_reader *top, const char *key, const char *where)
{
    *r = *top;
    const json_t *nested = json_object_get(top->object, key);
    if (nested == NULL)
        return;
    r->where = where;
    r->object = nested;
    if (!json_is_object(nested))
        complain(r, SA2_ERR_FORMAT, "", "not an object");
}

static sa2_status read_all(const config_reader *top, sa2_model_config *c)
{
    config_reader text, audio, whole = *top;
    enter(&text, top, "text_config", "text_config.");
    enter(&audio, top, "audio_encoder_config", "audio_encoder_config.");
    if (text.status != SA2_OK || audio.status != SA2_OK)
        return text.status != SA2_OK ? text.status : audio.status;

    read_decoder(&text, &c->decoder);
    read_encoder(&audio, &c->encoder);
    read_adaptor(&audio, &c->adaptor, c->decoder.hidden);
    c->eos_id = read_id(&text, "eos_token_id");
    c->pad_id = read_id(&text, "pad_token_id");
    refuse_variants(&text);
    if (text.object != whole.object) {
        if (c->eos_id < 0)
            c->eos_id = read_id(&whole, "eos_token_id");
        if (c->pad_id < 0)
            c->pad_id = read_id(&whole, "pad_token_id");
        refuse_variants(&whole);
    }
    if (text.status != SA2_OK)
        return text.status;
    return audio.status != SA2_OK ? audio.status : whole.status;
}

sa2_status sa2_model_config_parse(sa2_model_config *config, const char *text, size_t bytes,
                                  const char *origin, sa2_error *err)
{
    sa2_status st = SA2_OK;
    json_error_t where;
    json_t *root = NULL;
    if (bytes > SA2_LIMIT_CONFIG_BYTES)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: %zu bytes, at most %d expected", origin, bytes,
                        SA2_LIMIT_CONFIG_BYTES);
    root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: line %d: %s", origin, where.line, where.text);

    sa2_model_config fresh = {0};
    sa2_error report = {0};
    config_reader top = {.object = root, .origin = origin, .where = "", .err = &report};
    if (!json_is_object(root))
        st = sa2_fail(&report, SA2_ERR_FORMAT, "%s: not a JSON object", origin);
    else
        st = read_all(&top, &fresh);
    json_decref(root);
    if (st == SA2_OK)
        *config = fresh;
    else if (err != NULL)
        *err = report;
    return st;
}

sa2_status sa2_model_config_read(sa2_model_config *config, const char *path, sa2_error *err)
{
    sa2_mapped_file file;
    sa2_status st = sa2_mapped_file_open(&file, path, err);
    if (st != SA2_OK)
        return st;
    st = sa2_model_config_parse(config, (const char *)file.data, file.bytes, path, err);
    sa2_mapped_file_close(&file);
    return st;
}

/* ---- what only the tensors tell ---- */

static sa2_status rows_of(const sa2_tensor_map *map, const char *name, int *rows, sa2_error *err)
{
    const sa2_tensor_entry *entry = sa2_tensor_map_find(map, name);
    if (entry == NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: missing", name);
    int64_t n = entry->tensor.shape[0];
    if (entry->tensor.ndim != 2 || n < 1 || n > SA2_LIMIT_WIDTH)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: a matrix of 1 to %d rows expected in %s",
                             name, SA2_LIMIT_WIDTH, entry->origin);
    *rows = (int)n;
    return SA2_OK;
}

sa2_status sa2_model_config_complete(sa2_model_config *config, const sa2_tensor_map *map,
                                     sa2_error *err)
{
    sa2_status ffn = rows_of(map, "encoder.blocks.0.mlp.0.weight", &config->encoder.ffn, err);
    sa2_status inner = rows_of(map, "adapter.linear1.weight", &config->adaptor.inner, err);
    return ffn != SA2_OK ? ffn : inner;
}
