#include "bench/bench_generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bench/bench_model.h"
#include "bench/ceilings.h"
#include "kernels/base/limits.h"
#include "runtime/serving/engine_internal.h"
#include "tools/engine_flags.h"

enum { MAX_REQUESTS = 256, MAX_BATCHES = 16 };

typedef struct generate {
    sa2_bench bench;
    sa2_model model;
    sa2_engine_options engine_options;
    sa2_rank_flags ranks;
    int prompt, length; /* tokens of each request */
    int batches[MAX_BATCHES], n_batches;
    int32_t *ids; /* [prompt] */
    sa2_status status;
    sa2_error err;
    double first_ms[MAX_REQUESTS]; /* of the last run */
} generate;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* n requests at once to their end: tokens, and the step time that the engine saw. */
static sa2_status run_batch(generate *g, sa2_engine *engine, int n, double *tokens, double *seconds)
{
    sa2_request request = sa2_request_default();
    sa2_request_id id;
    int left = n;
    *tokens = 0.0;
    request.ids = g->ids;
    request.n_ids = (size_t)g->prompt;
    request.max_tokens = g->length;
    request.ignore_eos = true;
    request.sampling.temperature = 0.0f;
    sa2_engine_pause(engine); /* all begin in the same step */
    double start = sa2_now();
    for (int i = 0; i < n; i++) {
        g->ids[0] = i % g->model.n_token_rows; /* no two prompts share a prefix */
        sa2_status st = sa2_engine_submit(engine, &request, &id, &g->err);
        if (st != SA2_OK)
            return st;
    }
    sa2_engine_resume(engine);
    while (left > 0) {
        sa2_event *event = sa2_engine_poll(engine, -1);
        if (event->kind == SA2_EVENT_DONE) {
            g->first_ms[--left] = event->timings.first_token_ms;
            *tokens += event->usage.completion_tokens;
            if (event->finish == SA2_FINISH_ERROR)
                g->status = sa2_fail(&g->err, event->status, "%s", event->message);
        }
        sa2_event_release(engine, event);
    }
    *seconds = sa2_now() - start;
    return g->status;
}

/* Of the steps, in %. */
static void print_ahead(const generate *g, sa2_engine *engine, int n)
{
    char name[64];
    sa2_engine_stats stats;
    sa2_engine_get_stats(engine, &stats);
    snprintf(name, sizeof name, "generate/%d/steps_ahead", n);
    sa2_bench_print(&g->bench, &(sa2_bench_row){.bench = "generate",
                                                .name = name,
                                                .value = 100.0 * (double)stats.n_steps_ahead /
                                                         (double)stats.n_steps,
                                                .unit = "%"});
}

static sa2_status bench_batch(generate *g, int n)
{
    char name[64];
    snprintf(name, sizeof name, "generate/%d", n);
    if (!sa2_bench_wants(&g->bench, name))
        return SA2_OK;
    sa2_engine *engine = NULL;
    sa2_engine_options options = g->engine_options;
    options.max_num_seqs = n;
    options.max_model_len = g->prompt + g->length + 1;
    options.kv_cache_bytes = 0;
    if (sa2_comm_rank(options.comm) > 0)
        return sa2_engine_follow_model(&g->model, &options, &g->err);
    double tokens, seconds, read = sa2_ceilings_read(&g->bench);
    sa2_status st = sa2_engine_create_from_model(&engine, &g->model, NULL, &options, &g->err);
    if (st == SA2_OK)
        st = run_batch(g, engine, n, &tokens, &seconds);
    if (st == SA2_OK) {
        double after = sa2_ceilings_read(&g->bench);
        read = after > 0.0 ? (read + after) / 2.0 : read; /* the engine may have taken all */
        qsort(g->first_ms, (size_t)n, sizeof g->first_ms[0], by_size);
        double first = 1e-3 * g->first_ms[n - 1], decoding = seconds - first;
        double steps = g->length - 1;
        double bytes = sa2_bench_model_step_bytes(&g->model);
        sa2_bench_print(
            &g->bench,
            &(sa2_bench_row){.bench = "generate",
                             .name = name,
                             .value = n * steps / decoding,
                             .unit = "tokens/s",
                             .timing = {1, decoding / steps, decoding / steps, decoding / steps},
                             .bytes = bytes,
                             .share = read > 0.0 ? bytes * steps / decoding / read : 0.0,
                             .ceiling = "read"});
        snprintf(name, sizeof name, "generate/%d/first_token_p50", n);
        sa2_bench_print(&g->bench, &(sa2_bench_row){.bench = "generate",
                                                    .name = name,
                                                    .value = g->first_ms[n / 2],
                                                    .unit = "ms"});
        if (options.run_ahead)
            print_ahead(g, engine, n);
    }
    sa2_engine_destroy(engine);
    return st;
}

static sa2_status run_all(generate *g, sa2_bench_model_options *options)
{
    g->engine_options.comm = g->ranks.comm;
    options->rank = sa2_comm_rank(g->ranks.comm);
    options->n_ranks = sa2_comm_size(g->ranks.comm);
    sa2_status st = sa2_bench_model_open(&g->model, g->bench.backend, options, &g->err);
    if (st != SA2_OK)
        return st;
    g->ids = malloc((size_t)g->prompt * sizeof *g->ids);
    if (g->ids == NULL)
        st = sa2_fail(&g->err, SA2_ERR_NOMEM, "bench: no memory for a prompt");
    for (int i = 0; st == SA2_OK && i < g->prompt; i++)
        g->ids[i] = (i * 7919 + 13) % g->model.n_token_rows;
    for (int i = 0; st == SA2_OK && i < g->n_batches; i++)
        st = bench_batch(g, g->batches[i]);
    free(g->ids);
    sa2_model_close(&g->model);
    return st;
}

int sa2_bench_generate(int argc, char **argv)
{
    const char *batches = "1,8,32", *kv_dtype = NULL, *sampling = "auto";
    sa2_backend_options backend = {0};
    sa2_bench_model_options model = {.preset = "mini", .parts = SA2_MODEL_DECODER};
    sa2_quant_flags quant = {0};
    generate *g = calloc(1, sizeof *g);
    if (g == NULL)
        return EX_OSERR;
    g->prompt = 128;
    g->length = 64;
    const sa2_option own[] = {
        {"model", 'm', SA2_OPTION_TEXT, &model.folder, "DIR",
         "a checkpoint (synthetic weights of a preset)"},
        {"preset", 0, SA2_OPTION_TEXT, &model.preset, "NAME", "shape: mini or tiny (mini)"},
        {"layers", 0, SA2_OPTION_INT, &model.layers, "N",
         "of the decoder, to fit the memory (all)"},
        SA2_QUANT_OPTIONS(&quant),
        SA2_KV_OPTION(&kv_dtype),
        {"batches", 0, SA2_OPTION_TEXT, &batches, "N,N,...", "requests at once (1,8,32)"},
        {"prompt", 0, SA2_OPTION_INT, &g->prompt, "N", "tokens in (128)"},
        {"length", 0, SA2_OPTION_INT, &g->length, "N", "tokens out (64)"},
        {"max-num-batched-tokens", 0, SA2_OPTION_INT, &g->engine_options.max_num_batched_tokens,
         "N", "rows of a step (512)"},
        {"filter", 'f', SA2_OPTION_TEXT, &g->bench.filter, "TEXT",
         "only cases whose name holds it"},
        {"device", 0, SA2_OPTION_TEXT, &backend.device, "NAME", "auto, cpu, cuda or cuda:1"},
        {"cuda-graphs", 0, SA2_OPTION_FLAG, &backend.graphs, NULL,
         "start steps of a GPU as graphs"},
        SA2_LARGE_PRODUCTS_OPTION(&backend.large_products),
        {"sampling", 0, SA2_OPTION_TEXT, &sampling, "WHERE", "auto, host or device"},
        {"run-ahead", 0, SA2_OPTION_FLAG, &g->engine_options.run_ahead, NULL,
         "queue a step before the tokens of the last are read (with --sampling device)"},
        {"threads", 't', SA2_OPTION_INT, &backend.n_threads, "N", "threads (all processors)"},
        {"isa", 0, SA2_OPTION_TEXT, &backend.isa, "NAME", "auto, c, avx2, avx512, avx512bf16, amx"},
        SA2_RANK_OPTION(&g->ranks),
        {"json", 0, SA2_OPTION_FLAG, &g->bench.json, NULL, "a JSON object a line"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 bench generate",
        .synopsis = "[OPTIONS]",
        .summary = "Runs batches of requests at once through the engine, greedily: tokens a "
                   "second of decoding, time to\n"
                   "the first token, share of the read bandwidth beside it.",
        .example = "  sa2 bench generate --layers 4",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code = EX_OK;
    if (sa2_options_read(&usage, argc, argv, &n, &exit_code)) {
        g->bench.seconds = 0.5;
        if (g->prompt < 1 || g->prompt > SA2_LIMIT_POSITIONS) {
            exit_code = sa2_options_refuse(&usage, "--prompt: 1 to %d expected, %d found",
                                           SA2_LIMIT_POSITIONS, g->prompt);
        } else if (g->length < 2 || g->length > SA2_LIMIT_POSITIONS) {
            exit_code = sa2_options_refuse(&usage, "--length: 2 to %d expected, %d found",
                                           SA2_LIMIT_POSITIONS, g->length);
        } else if (!sa2_bench_numbers(batches, MAX_REQUESTS, g->batches, MAX_BATCHES,
                                      &g->n_batches)) {
            exit_code = sa2_options_refuse(
                &usage, "--batches: numbers from 1 to %d as 1,8,32 expected, \"%s\" found",
                MAX_REQUESTS, batches);
        } else if (!sa2_bench_ready(&g->bench, &usage, n) ||
                   !sa2_quant_flags_finish(&quant, &usage, &model.quant) ||
                   !sa2_kv_flag_finish(kv_dtype, &usage, &g->engine_options.kv_int8) ||
                   !sa2_sampling_place_read(sampling, &usage, &g->engine_options.sampling) ||
                   !sa2_bench_model_ready(&model, &usage)) {
            exit_code = EX_USAGE;
        } else if (sa2_rank_flags_open(&g->ranks, &backend.n_threads, &usage, &exit_code)) {
            backend.device = sa2_rank_flags_device(&g->ranks, backend.device);
            sa2_status st = sa2_backend_open(&g->bench.backend, &backend, &g->err);
            if (st == SA2_OK)
                st = run_all(g, &model);
            if (st == SA2_OK && sa2_comm_rank(g->ranks.comm) == 0)
                exit_code = sa2_bench_end(&g->bench, &usage);
            else if (st != SA2_OK)
                exit_code = sa2_report_failure(usage.name, st, &g->err);
            sa2_backend_close(g->bench.backend);
            sa2_rank_flags_close(&g->ranks);
        }
    }
    free(g);
    return exit_code;
}
