#include "bench/bench_accuracy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bench/bench_model.h"
#include "bench/decoder_bench.h"
#include "bench/logit_error.h"
#include "bench/measure.h"
#include "bench/prompts.h"
#include "tools/quant_flags.h"
#include "tools/terminal.h"

typedef struct accuracy {
    sa2_bench bench;
    sa2_bench_model_options model; /* the reference, and with `rounded` the other */
    sa2_quant_options rounded;
    bool kv_int8; /* of the other */
    bool per_layer;
    sa2_dtype dtype;
    int longest;   /* ids of a prompt */
    int positions; /* of all prompts */
    sa2_prompts prompts;
    int n_layers;
    int64_t vocab;    /* rows of the head, of which the first are tokens */
    int64_t n_tokens; /* those that can be said */
    float *reference; /* [positions, n_tokens] */
    float *row;       /* [vocab] */
    sa2_error err;
} accuracy;

/* Logits of every position of a prompt, one model; the same call fills the reference or compares with it. */
static sa2_status run_prompt(accuracy *a, const sa2_model *model, sa2_dtype kv_dtype,
                             const sa2_prompt *prompt, float *reference, sa2_logit_error *error)
{
    sa2_decoder_bench b;
    sa2_status st =
        sa2_decoder_bench_open(&b, model, a->dtype, kv_dtype, 1, prompt->n, 0, prompt->n, &a->err);
    if (st == SA2_OK) {
        sa2_upload(b.stream, b.batch.ids, prompt->ids);
        st = sa2_decoder_bench_step(&b, &a->err);
    }
    for (int i = 0; st == SA2_OK && i < prompt->n; i++) {
        float *row = reference + i * a->n_tokens;
        sa2_download(b.stream, a->row, sa2_tensor_rows(b.logits, i, 1));
        st = sa2_stream_finish(b.stream, &a->err);
        if (st == SA2_OK && error != NULL)
            sa2_logit_error_add(error, row, a->row, a->n_tokens);
        else if (st == SA2_OK)
            memcpy(row, a->row, (size_t)a->n_tokens * sizeof *row);
    }
    sa2_decoder_bench_close(&b);
    return st;
}

static sa2_status run_prompts(accuracy *a, const sa2_model *model, sa2_dtype kv_dtype,
                              sa2_logit_error *error)
{
    sa2_status st = SA2_OK;
    float *reference = a->reference;
    for (int i = 0; st == SA2_OK && i < a->prompts.n; i++) {
        st = run_prompt(a, model, kv_dtype, &a->prompts.all[i], reference, error);
        reference += a->prompts.all[i].n * a->n_tokens;
    }
    return st;
}

static sa2_status take_reference(accuracy *a, int n_files, char *const *files)
{
    sa2_model model;
    sa2_status st = sa2_bench_model_open(&model, a->bench.backend, &a->model, &a->err);
    if (st != SA2_OK)
        return st;
    a->n_layers = model.config.decoder.layers;
    a->vocab = model.config.decoder.vocab;
    a->n_tokens = model.n_token_rows;
    st = sa2_prompts_read(&a->prompts, &model, n_files, files, a->longest, a->positions, &a->err);
    if (st == SA2_OK) {
        size_t bytes = (size_t)(a->prompts.positions * a->n_tokens) * sizeof *a->reference;
        a->reference = malloc(bytes);
        a->row = malloc((size_t)a->vocab * sizeof *a->row);
        if (a->reference == NULL || a->row == NULL)
            st =
                sa2_fail(&a->err, SA2_ERR_NOMEM, "bench: no memory for %zu bytes of logits", bytes);
    }
    if (st == SA2_OK)
        st = run_prompts(a, &model, a->dtype, NULL);
    sa2_model_close(&model);
    return st;
}

static sa2_status compare(accuracy *a, sa2_quant_options rounded, bool kv_int8,
                          sa2_logit_error *error)
{
    sa2_model model;
    sa2_bench_model_options options = a->model;
    options.quant = rounded;
    *error = (sa2_logit_error){0};
    sa2_status st = sa2_bench_model_open(&model, a->bench.backend, &options, &a->err);
    if (st != SA2_OK)
        return st;
    st = run_prompts(a, &model, kv_int8 ? SA2_I8 : a->dtype, error);
    sa2_model_close(&model);
    return st;
}

/* ---- telling ---- */

static void print(const accuracy *a, const char *name, double value, const char *unit)
{
    sa2_bench_print(
        &a->bench,
        &(sa2_bench_row){.bench = "accuracy", .name = name, .value = value, .unit = unit});
}

static void print_all(const accuracy *a, const sa2_logit_error *e)
{
    double n = (double)e->positions;
    print(a, "positions", n, "");
    print(a, "kl/mean", e->kl_sum / n, "nats");
    print(a, "kl/most", e->kl_most, "nats");
    print(a, "logits/rms_difference", sqrt(e->squares / n), "");
    print(a, "top1/same", 100.0 * (double)e->same / n, "%");
    print(a, "top1/clear_positions", (double)e->clear, "");
    if (e->clear > 0)
        print(a, "top1/same_where_clear", 100.0 * (double)e->same_clear / (double)e->clear, "%");
}

static sa2_status print_layers(accuracy *a)
{
    sa2_status st = SA2_OK;
    for (int i = 0; st == SA2_OK && i < a->n_layers; i++) {
        char name[48];
        sa2_logit_error error;
        st = compare(a, (sa2_quant_options){.layers = a->rounded.layers, .only_layer = i + 1},
                     false, &error);
        snprintf(name, sizeof name, "layer/%d/kl/mean", i);
        if (st == SA2_OK)
            print(a, name, error.kl_sum / (double)error.positions, "nats");
    }
    return st;
}

static sa2_status run_all(accuracy *a, int n_files, char *const *files)
{
    sa2_logit_error error;
    sa2_status st = take_reference(a, n_files, files);
    if (st == SA2_OK)
        st = compare(a, a->rounded, a->kv_int8, &error);
    if (st == SA2_OK)
        print_all(a, &error);
    if (st == SA2_OK && a->per_layer)
        st = print_layers(a);
    sa2_prompts_free(&a->prompts);
    free(a->reference);
    free(a->row);
    return st;
}

static bool is_count(const char *option, int n, int most, const sa2_usage_text *usage)
{
    if (n < 1 || n > most)
        sa2_options_refuse(usage, "--%s: 1 to %d expected, %d found", option, most, n);
    return n >= 1 && n <= most;
}

int sa2_bench_accuracy(int argc, char **argv)
{
    enum { MOST_POSITIONS = 1 << 20, LONGEST = 4096 };
    const char *dtype = "bf16", *kv_dtype = NULL;
    sa2_backend_options backend = {0};
    sa2_quant_flags quant = {.layers = "int8"};
    accuracy a = {
        .model = {.preset = "tiny", .parts = SA2_MODEL_DECODER}, .longest = 512, .positions = 1024};
    const sa2_option own[] = {
        {"model", 'm', SA2_OPTION_TEXT, &a.model.folder, "DIR",
         "a checkpoint (synthetic weights of a preset)"},
        {"preset", 0, SA2_OPTION_TEXT, &a.model.preset, "NAME", "shape: tiny or mini (tiny)"},
        {"layers", 0, SA2_OPTION_INT, &a.model.layers, "N",
         "of the decoder, to fit the memory (all)"},
        {"quant", 0, SA2_OPTION_TEXT, &quant.layers, "TYPE", SA2_QUANT_CHOICE " (int8)"},
        {"lm-head", 0, SA2_OPTION_TEXT, &quant.head, "TYPE",
         "of lm_head (as --quant; int8 for int4)"},
        SA2_KV_OPTION(&kv_dtype),
        {"per-layer", 0, SA2_OPTION_FLAG, &a.per_layer, NULL,
         "what each layer's matrices do alone"},
        {"dtype", 0, SA2_OPTION_TEXT, &dtype, "TYPE", "activations of both: bf16 or f32"},
        {"longest", 0, SA2_OPTION_INT, &a.longest, "N", "ids of a prompt (512)"},
        {"positions", 0, SA2_OPTION_INT, &a.positions, "N", "of all prompts (1024)"},
        {"device", 0, SA2_OPTION_TEXT, &backend.device, "NAME", "auto, cpu, cuda or cuda:1"},
        {"threads", 't', SA2_OPTION_INT, &backend.n_threads, "N", "threads (all processors)"},
        {"json", 0, SA2_OPTION_FLAG, &a.bench.json, NULL, "a JSON object a line"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 bench accuracy",
        .synopsis = "[OPTIONS] [FILE...]",
        .summary =
            "Reads prompts with the plain weights and cache and with rounded ones, and compares "
            "the logits "
            "of every position:\n"
            "Kullback-Leibler divergence, agreement of the best token, also where it leads by "
            "more than the noise.\n"
            "FILE: golden cases (ids and the reference's answer), or text, a prompt a line; "
            "none: arbitrary ids.",
        .example = "  sa2 bench accuracy --quant int8 tests/golden/language_model/*.safetensors",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code;
    if (!sa2_options_read(&usage, argc, argv, &n, &exit_code))
        return exit_code;
    a.dtype = strcmp(dtype, "f32") == 0 ? SA2_F32 : SA2_BF16;
    if (a.dtype == SA2_BF16 && strcmp(dtype, "bf16") != 0)
        return sa2_options_refuse(&usage, "--dtype: bf16 or f32 expected, \"%s\" found", dtype);
    if (!is_count("longest", a.longest, LONGEST, &usage) ||
        !is_count("positions", a.positions, MOST_POSITIONS, &usage) ||
        !sa2_quant_flags_finish(&quant, &usage, &a.rounded) ||
        !sa2_kv_flag_finish(kv_dtype, &usage, &a.kv_int8) ||
        !sa2_bench_model_ready(&a.model, &usage))
        return EX_USAGE;
    sa2_status st = sa2_backend_open(&a.bench.backend, &backend, &a.err);
    if (st == SA2_OK)
        st = run_all(&a, n, argv);
    sa2_backend_close(a.bench.backend);
    return st == SA2_OK ? EX_OK : sa2_report_failure(usage.name, st, &a.err);
}
