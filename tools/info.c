/* info.c - sa2 info: what is in a model folder or native file, and whether it is whole. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "kernels/ops.h"
#include "runtime/model_files.h"
#include "runtime/pack_map.h"
#include "runtime/token2wav/token2wav_check.h"
#include "tools/commands.h"
#include "tools/json_text.h"
#include "tools/model_place.h"
#include "tools/options.h"
#include "tools/terminal.h"
#include "tools/text_file.h"

typedef struct part_size {
    const char *name, *prefix;
    int64_t tensors, parameters, bytes;
} part_size;

enum { PARTS = 4 };

typedef struct verification {
    sa2_progress progress;
    int64_t done, total;
} verification;

typedef struct folder {
    const char *path;
    sa2_model_files files;
    part_size parts[PARTS];
    bool bf16; /* all of it */
    bool speaks;
    sa2_token2wav_summary speech; /* of a release folder that speaks */
} folder;

static void count(folder *f)
{
    static const part_size names[PARTS] = {
        {.name = "encoder", .prefix = "encoder."},
        {.name = "adaptor", .prefix = "adapter."},
        {.name = "decoder", .prefix = "model."},
        {.name = "head", .prefix = "lm_head."},
    };
    memcpy(f->parts, names, sizeof names);
    f->bf16 = true;
    for (int i = 0; i < sa2_tensor_map_count(f->files.map); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(f->files.map, i);
        f->bf16 = f->bf16 && entry->tensor.dtype == SA2_BF16;
        for (int p = 0; p < PARTS; p++) {
            if (strncmp(entry->name, f->parts[p].prefix, strlen(f->parts[p].prefix)) != 0)
                continue;
            f->parts[p].tensors++;
            f->parts[p].parameters += sa2_tensor_count(&entry->tensor);
            f->parts[p].bytes += (int64_t)sa2_tensor_bytes(&entry->tensor);
        }
    }
}

/* Each order of bytes among the matrices once, with commas. */
static void list_orders(const sa2_pack *pack, char *text, size_t bytes)
{
    text[0] = '\0';
    for (int i = 0; i < sa2_pack_n_blocks(pack); i++) {
        const char *order = sa2_pack_get_block(pack, i)->layout;
        size_t n = strlen(text);
        if (strcmp(order, SA2_PACK_ROWS) != 0 && strstr(text, order) == NULL)
            snprintf(text + n, bytes - n, "%s%s", n > 0 ? ", " : "", order);
    }
}

/* What a native file has of a part: bytes of its blocks, and the dtypes of its matrices with commas. */
typedef struct kept_part {
    int64_t bytes;
    char dtypes[64];
} kept_part;

static kept_part kept_of(const sa2_pack *pack, const char *prefix)
{
    kept_part kept = {0};
    bool has[SA2_DTYPES] = {false};
    char full[64];
    snprintf(full, sizeof full, "%s/%s", SA2_PACK_MODEL, prefix);
    for (int i = 0; i < sa2_pack_n_blocks(pack); i++) {
        const sa2_pack_block *block = sa2_pack_get_block(pack, i);
        if (strncmp(block->name, full, strlen(full)) != 0)
            continue;
        kept.bytes += (int64_t)block->bytes;
        if (strcmp(block->layout, SA2_PACK_ROWS) != 0)
            has[block->dtype] = true;
    }
    for (int dtype = 0; dtype < SA2_DTYPES; dtype++) {
        size_t n = strlen(kept.dtypes);
        if (has[dtype])
            snprintf(kept.dtypes + n, sizeof kept.dtypes - n, "%s%s", n > 0 ? ", " : "",
                     sa2_dtype_name((sa2_dtype)dtype));
    }
    return kept;
}

static void print_native(const folder *f)
{
    const sa2_pack *pack = sa2_tensor_map_pack(f->files.map);
    char orders[512];
    list_orders(pack, orders, sizeof orders);
    printf("native file  version %d, %d blocks, %.3f GB, matrices %s\n", SA2_PACK_VERSION,
           sa2_pack_n_blocks(pack), (double)sa2_pack_bytes(pack) * 1e-9, orders);
    for (int p = 0; p < PARTS; p++) {
        kept_part kept = kept_of(pack, f->parts[p].prefix);
        printf("  %-10s %43.3f GB, matrices in %s\n", f->parts[p].name, (double)kept.bytes * 1e-9,
               kept.dtypes);
    }
    printf("speech       %s\n", sa2_pack_find(pack, "file/token2wav/flow.yaml") != NULL
                                    ? "token2wav is inside"
                                    : "none");
    for (int i = 0; i < sa2_pack_n_sources(pack); i++) {
        const sa2_pack_source *source = sa2_pack_get_source(pack, i);
        printf("%-12s %016" PRIx64 " %12" PRIu64 " %s\n", i == 0 ? "made of" : "", source->hash,
               source->bytes, source->name);
    }
}

static void print_speech(const folder *f)
{
    const sa2_token2wav_dims *d = &f->speech.dims;
    if (!f->speaks) {
        printf("speech       none: the folder has no token2wav/\n");
        return;
    }
    printf("flow         %d codes to %d mel bins, width %d; DiT of %d blocks, width %d, %d heads\n",
           d->flow.vocab, d->flow.mel, d->flow.width, d->flow.dit_blocks, d->flow.dit_width,
           d->flow.dit_heads);
    printf("vocoder      %d channels\n", d->vocoder.channels);
    printf("voice        tokenizer of %d blocks, width %d; speaker vector of %d\n",
           d->speech_tokenizer.blocks, d->speech_tokenizer.width, d->speaker.embedding);
    for (int file = 0; file < SA2_TOKEN2WAV_FILES; file++) {
        const sa2_token2wav_size *size = &f->speech.sizes[file];
        printf("%-30s %4" PRId64 " tensors, %11" PRId64 " parameters, %6.3f GB\n",
               sa2_token2wav_file_name((sa2_token2wav_file)file), size->tensors, size->parameters,
               (double)size->bytes * 1e-9);
    }
}

/* What whoever made the model has to say about it: card.txt, where there is one. Errors: those of the file. */
static sa2_status print_card(const folder *f, sa2_error *err)
{
    enum { CARD_BYTES = 64 << 10 };
    const sa2_pack *pack = sa2_tensor_map_pack(f->files.map);
    char path[SA2_MODEL_PLACE], *text = NULL;
    const char *kept = NULL;
    size_t n = 0;
    sa2_status st = SA2_OK;
    if (pack != NULL)
        st = sa2_pack_file(pack, "card.txt", &kept, &n, err);
    else if (snprintf(path, sizeof path, "%s/card.txt", f->path) < (int)sizeof path &&
             access(path, F_OK) == 0)
        st = sa2_text_file_read(&text, &n, path, CARD_BYTES, err);
    kept = pack != NULL ? kept : text;
    if (st == SA2_OK && kept != NULL)
        printf("\n%.*s", (int)n, kept);
    free(text);
    return st;
}

static void print_text(const folder *f)
{
    const sa2_pack *pack = sa2_tensor_map_pack(f->files.map);
    const sa2_decoder_config *d = &f->files.config.decoder;
    const sa2_encoder_config *e = &f->files.config.encoder;
    printf("model        %s\n", f->path);
    printf("encoder      %d mel bins, width %d, %d heads, %d blocks, ffn %d, %d rows\n",
           e->mel_bins, e->width, e->heads, e->blocks, e->ffn, e->context);
    printf("adaptor      kernel %d, stride %d, inner width %d\n", f->files.config.adaptor.kernel,
           f->files.config.adaptor.stride, f->files.config.adaptor.inner);
    printf("decoder      hidden %d, %d layers, %d heads of %d, %d kv heads, ffn %d\n", d->hidden,
           d->layers, d->heads, d->head_dim, d->kv_heads, d->ffn);
    printf("             %d positions, rms_norm_eps %g, rope_theta %g\n", d->max_positions,
           (double)d->rms_norm_eps, (double)d->rope_theta);
    printf("vocabulary   %d rows, %d ids\n", d->vocab,
           sa2_tokenizer_n_ids(f->files.vocabulary.tokenizer));
    int rows = 2 * d->layers * d->kv_heads; /* of a position, keys and values */
    printf("cache        %zu bytes a position in bf16, %zu in int8\n",
           (size_t)rows * sa2_kv_row_bytes(SA2_BF16, d->head_dim),
           (size_t)rows * sa2_kv_row_bytes(SA2_I8, d->head_dim));
    int64_t tensors = 0, parameters = 0, bytes = 0;
    for (int p = 0; p < PARTS; p++) {
        printf("%-12s %4" PRId64 " tensors, %13" PRId64 " parameters, %8.3f GB\n", f->parts[p].name,
               f->parts[p].tensors, f->parts[p].parameters, (double)f->parts[p].bytes * 1e-9);
        tensors += f->parts[p].tensors;
        parameters += f->parts[p].parameters;
        bytes += f->parts[p].bytes;
    }
    printf("sum          %4" PRId64 " tensors, %13" PRId64 " parameters, %8.3f GB%s\n", tensors,
           parameters, (double)bytes * 1e-9, f->bf16 ? ", bf16" : "");
    if (pack != NULL)
        print_native(f);
    else
        print_speech(f);
}

static json_t *speech_json(const folder *f)
{
    const sa2_token2wav_dims *d = &f->speech.dims;
    json_t *files = json_object();
    for (int file = 0; file < SA2_TOKEN2WAV_FILES; file++) {
        const sa2_token2wav_size *size = &f->speech.sizes[file];
        json_object_set_new(files, sa2_token2wav_file_name((sa2_token2wav_file)file),
                            json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)size->tensors,
                                      "parameters", (json_int_t)size->parameters, "bytes",
                                      (json_int_t)size->bytes));
    }
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:o}", "codes", d->flow.vocab, "mel_bins",
                     d->flow.mel, "flow_width", d->flow.width, "dit_blocks", d->flow.dit_blocks,
                     "dit_width", d->flow.dit_width, "speaker", d->speaker.embedding, "files",
                     files);
}

static json_t *native_json(const folder *f)
{
    const sa2_pack *pack = sa2_tensor_map_pack(f->files.map);
    char orders[512];
    list_orders(pack, orders, sizeof orders);
    json_t *parts = json_object();
    for (int p = 0; p < PARTS; p++) {
        kept_part kept = kept_of(pack, f->parts[p].prefix);
        json_object_set_new(
            parts, f->parts[p].name,
            json_pack("{s:I, s:s}", "bytes", (json_int_t)kept.bytes, "matrices", kept.dtypes));
    }
    json_t *sources = json_array();
    for (int i = 0; i < sa2_pack_n_sources(pack); i++) {
        const sa2_pack_source *source = sa2_pack_get_source(pack, i);
        char hash[32];
        snprintf(hash, sizeof hash, "%016" PRIx64, source->hash);
        json_array_append_new(sources,
                              json_pack("{s:o, s:I, s:s}", "name", sa2_json_text(source->name),
                                        "bytes", (json_int_t)source->bytes, "xxh3", hash));
    }
    return json_pack("{s:i, s:i, s:I, s:s, s:o, s:o}", "version", SA2_PACK_VERSION, "blocks",
                     sa2_pack_n_blocks(pack), "bytes", (json_int_t)sa2_pack_bytes(pack), "matrices",
                     orders, "parts", parts, "sources", sources);
}

static void print_json(const folder *f)
{
    const sa2_decoder_config *d = &f->files.config.decoder;
    const sa2_encoder_config *e = &f->files.config.encoder;
    json_t *parts = json_object();
    for (int p = 0; p < PARTS; p++)
        json_object_set_new(parts, f->parts[p].name,
                            json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)f->parts[p].tensors,
                                      "parameters", (json_int_t)f->parts[p].parameters, "bytes",
                                      (json_int_t)f->parts[p].bytes));
    json_t *o = json_pack(
        "{s:o, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f}, s:{s:i, s:i, s:i, s:i, s:i, "
        "s:i}, s:{s:i, s:i, s:i}, s:o}",
        "model", sa2_json_text(f->path), "decoder", "hidden", d->hidden, "layers", d->layers,
        "heads", d->heads, "kv_heads", d->kv_heads, "head_dim", d->head_dim, "ffn", d->ffn, "vocab",
        d->vocab, "max_positions", d->max_positions, "rms_norm_eps", (double)d->rms_norm_eps,
        "rope_theta", (double)d->rope_theta, "encoder", "mel_bins", e->mel_bins, "context",
        e->context, "width", e->width, "heads", e->heads, "blocks", e->blocks, "ffn", e->ffn,
        "adaptor", "kernel", f->files.config.adaptor.kernel, "stride",
        f->files.config.adaptor.stride, "inner", f->files.config.adaptor.inner, "parts", parts);
    if (sa2_tensor_map_pack(f->files.map) != NULL)
        json_object_set_new(o, "native", native_json(f));
    else if (f->speaks)
        json_object_set_new(o, "speech", speech_json(f));
    json_dumpf(o, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(o);
}

static bool go_on(void *context, int64_t bytes)
{
    verification *v = context;
    v->done += bytes;
    sa2_progress_show(&v->progress, (double)v->done, (double)v->total);
    return true;
}

/* Every block of a native file; a folder has no checksums. */
static sa2_status verify(const sa2_pack *pack, sa2_error *err)
{
    verification v = {.progress = {.what = "checking", .unit = "B"}};
    const sa2_pack_progress progress = {.go_on = go_on, .context = &v};
    sa2_error found = {0};
    v.total = (int64_t)sa2_pack_bytes(pack);
    sa2_status st = sa2_pack_check_all(pack, (int)sysconf(_SC_NPROCESSORS_ONLN), &progress, &found);
    if (st != SA2_OK)
        *err = found;
    return st;
}

/* The speaking half of a release folder. A native file was checked when it was made. */
static sa2_status look_at_speech(folder *f, sa2_error *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/token2wav", f->path);
    f->speaks = n < (int)sizeof path && access(path, F_OK) == 0;
    return f->speaks ? sa2_token2wav_check(&f->speech, path, err) : SA2_OK;
}

/* Everything that is wrong with a model, of both halves. */
static sa2_status open_folder(folder *f, sa2_error *err)
{
    sa2_error part = {0};
    sa2_status st = sa2_model_files_open(&f->files, f->path, err);
    sa2_status found = look_at_speech(f, &part);
    return found == SA2_OK ? st : sa2_fail_merge(err, st == SA2_OK ? found : st, &part);
}

int sa2_command_info(int argc, char **argv)
{
    bool json = false, verified = false;
    const sa2_option own[] = {
        {"json", 0, SA2_OPTION_FLAG, &json, NULL, "as a JSON object"},
        {"verify", 0, SA2_OPTION_FLAG, &verified, NULL,
         "compare every byte of a native file with its checksums first"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 info",
        .synopsis = "MODEL [OPTIONS]",
        .summary = "Says what is in a release folder or a native file; names everything that is "
                   "wrong with it.",
        .example = "  sa2 info Step-Audio-2-mini",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code;
    if (!sa2_options_read(&usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (n != 1)
        return sa2_options_refuse(&usage, "one model expected, %d given", n);
    char place[SA2_MODEL_PLACE];
    folder f = {.path = sa2_model_place(place, argv[0])};
    sa2_error err = {0};
    sa2_status st = open_folder(&f, &err);
    if (st == SA2_OK && verified && sa2_tensor_map_pack(f.files.map) != NULL)
        st = verify(sa2_tensor_map_pack(f.files.map), &err);
    if (st == SA2_OK) {
        count(&f);
        if (json) {
            print_json(&f);
        } else {
            print_text(&f);
            st = print_card(&f, &err);
        }
    }
    sa2_model_files_close(&f.files);
    return st == SA2_OK ? EX_OK : sa2_report_failure(usage.name, st, &err);
}
