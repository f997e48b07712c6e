#include "bench/bench_parts.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bench/bench_model.h"
#include "bench/bench_speech.h"
#include "bench/ceilings.h"
#include "bench/decoder_bench.h"
#include "kernels/base/limits.h"
#include "runtime/audio/audio_length.h"
#include "runtime/audio/mel.h"
#include "runtime/audio/resample.h"
#include "tokenizer/encode.h"
#include "tools/quant_flags.h"
#include "tools/terminal.h"

typedef struct settings {
    sa2_bench bench;
    sa2_model model;
    sa2_dtype dtype, kv_dtype;
    int context; /* positions before a decode step */
    bool ask;    /* run what lines of stdin name, so that another program can measure in between */
    sa2_status status;
    sa2_error err;
} settings;

/* On the host's clock, waited for, and on the clock of a device; the latter n = 0 where there is none. */
typedef struct timings {
    sa2_timing host, device;
} timings;

/* run() waits for the work that start() only starts. */
static timings time_both(settings *s, sa2_stream *stream, sa2_bench_run run, sa2_bench_run start,
                         void *context)
{
    timings t = {.host = sa2_bench_time(&s->bench, run, context)};
    if (!sa2_backend_reads_host(s->bench.backend))
        t.device = sa2_bench_time_ops(&s->bench, stream, start, NULL, context);
    return t;
}

/* A row for each clock: `amount` of the row's unit a run, `work` of what the ceiling counts. */
static void print_rows(settings *s, sa2_bench_row row, timings t, double amount, double work,
                       double ceiling)
{
    char name[80];
    snprintf(name, sizeof name, "%s/device", row.name);
    row.bench = "parts";
    for (int i = 0; i < 2; i++) {
        row.timing = i == 0 ? t.host : t.device;
        if (row.timing.n == 0)
            return;
        row.value = amount / row.timing.p50;
        row.share = ceiling > 0.0 ? work / row.timing.p50 / ceiling : 0.0;
        sa2_bench_print(&s->bench, &row);
        row.name = name;
    }
}

/* Of work that computes. */
static void print_compute(settings *s, const char *name, timings t, double amount, const char *unit,
                          double flops)
{
    sa2_bench_row row = {.name = name, .unit = unit, .flops = flops};
    double ceiling = sa2_bench_compute_ceiling(&s->bench, s->dtype == SA2_BF16, &row.ceiling);
    print_rows(s, row, t, amount, flops, ceiling);
}

static void keep_status(settings *s, sa2_status st)
{
    if (s->status == SA2_OK)
        s->status = st;
}

/* ---- front end: 25 s of 44.1 kHz to log-mel, on one thread, the mel on a device where there is one ---- */

typedef struct front_end {
    settings *settings;
    sa2_stream *stream;
    sa2_arena arena;
    sa2_resample_table table;
    sa2_mel_plan plan;
    float *in, *samples;
    int64_t n_in, n_samples;
    sa2_tensor mel;
} front_end;

static void run_front_end(void *context, int turn)
{
    front_end *f = context;
    (void)turn;
    int32_t offsets[2];
    const float *clip = f->samples;
    sa2_status st = sa2_resample(&f->table, f->in, f->n_in, f->samples, &f->settings->err);
    if (st == SA2_OK)
        st = sa2_mel_forward(f->stream, &f->plan, &f->arena, f->mel,
                             (sa2_clips){1, &clip, &f->n_samples}, offsets, &f->settings->err);
    if (st == SA2_OK)
        st = sa2_stream_finish(f->stream, &f->settings->err);
    if (f->settings->status == SA2_OK)
        f->settings->status = st;
}

static void bench_front_end(settings *s)
{
    enum { RATE = 44100, SECONDS = 25, ROOM = 64 << 20 };
    if (!sa2_bench_wants(&s->bench, "front_end"))
        return;
    front_end f = {.settings = s, .n_in = (int64_t)RATE * SECONDS, .n_samples = SA2_AUDIO_CHUNK};
    sa2_backend *one = NULL, *mel_backend = s->bench.backend;
    bool on_processor = sa2_backend_reads_host(s->bench.backend);
    const sa2_backend_options options = {.n_threads = 1, .isa = sa2_backend_isa(s->bench.backend)};
    sa2_mel_config config = sa2_mel_of_encoder(s->model.config.encoder.mel_bins);
    f.in = malloc((size_t)f.n_in * sizeof(float));
    f.samples = malloc((size_t)(f.n_samples + 16) * sizeof(float));
    sa2_status st = f.in != NULL && f.samples != NULL
                        ? SA2_OK
                        : sa2_fail(&s->err, SA2_ERR_NOMEM, "bench: no memory");
    if (st == SA2_OK && on_processor) {
        st = sa2_backend_open(&one, &options, &s->err);
        mel_backend = one;
    }
    if (st == SA2_OK)
        st = sa2_resample_table_create(&f.table, RATE, SA2_AUDIO_RATE, &s->err);
    if (st == SA2_OK)
        st = sa2_stream_create(&f.stream, mel_backend, ROOM, &s->err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(mel_backend, &f.arena, ROOM, &s->err);
    if (st == SA2_OK)
        st = sa2_mel_plan_create(&f.plan, &config, f.stream, &f.arena, &s->err);
    if (st == SA2_OK) {
        for (int64_t i = 0; i < f.n_in; i++)
            f.in[i] =
                0.3f * sinf(0.05f * (float)(i % 100000)) + 0.1f * sinf(0.31f * (float)(i % 77777));
        f.mel = sa2_tensor_2d(NULL, SA2_F32, sa2_mel_frames(&config, f.n_samples), config.bins);
        f.mel.data = sa2_arena_take(&f.arena, sa2_tensor_bytes(&f.mel));
        sa2_timing t = sa2_bench_time(&s->bench, run_front_end, &f);
        sa2_bench_print(&s->bench, &(sa2_bench_row){.bench = "parts",
                                                    .name = "front_end/44.1kHz/1_thread",
                                                    .value = SECONDS / t.p50,
                                                    .unit = "x real",
                                                    .timing = t});
    }
    if (s->status == SA2_OK)
        s->status = st;
    sa2_stream_destroy(f.stream);
    if (mel_backend != NULL)
        sa2_backend_arena_destroy(mel_backend, &f.arena);
    sa2_resample_table_destroy(&f.table);
    sa2_backend_close(one);
    free(f.samples);
    free(f.in);
}

/* ---- tokenizer: ordinary text on one thread ---- */

typedef struct words {
    sa2_encoder *encoder;
    char *text;
    size_t n;
    sa2_ids ids;
} words;

static void run_words(void *context, int turn)
{
    words *w = context;
    (void)turn;
    sa2_ids_clear(&w->ids);
    sa2_encode(w->encoder, w->text, w->n, (sa2_span){0}, &w->ids, NULL);
}

static void bench_tokenizer(settings *s)
{
    static const char line[] =
        "The quick brown fox, aged 7, doesn't jump over 12 lazy dogs; it sleeps in the sun. "
        "Sprache ist Macht, und l'\xc3\xa9t\xc3\xa9 arrive. "
        "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c\xe3\x80\x82\n";
    enum { REPEATS = 8000 };
    if (!sa2_bench_wants(&s->bench, "tokenizer") || s->model.tokenizer == NULL)
        return;
    words w = {.n = REPEATS * (sizeof line - 1), .text = malloc(REPEATS * sizeof line)};
    sa2_status st = w.text != NULL ? sa2_encoder_create(&w.encoder, s->model.tokenizer, &s->err)
                                   : sa2_fail(&s->err, SA2_ERR_NOMEM, "bench: no memory");
    if (st == SA2_OK) {
        assert(w.text != NULL);
        for (int i = 0; i < REPEATS; i++)
            memcpy(w.text + (size_t)i * (sizeof line - 1), line, sizeof line - 1);
        sa2_timing t = sa2_bench_time(&s->bench, run_words, &w);
        sa2_bench_print(&s->bench, &(sa2_bench_row){.bench = "parts",
                                                    .name = "tokenizer/encode/1_thread",
                                                    .value = 1e-6 * (double)w.n / t.p50,
                                                    .unit = "MB/s",
                                                    .timing = t});
    }
    if (s->status == SA2_OK)
        s->status = st;
    sa2_ids_free(&w.ids);
    sa2_encoder_destroy(w.encoder);
    free(w.text);
}

/* ---- encoder and adaptor: chunks of 25 s ---- */

typedef struct hearing {
    settings *settings;
    sa2_stream *stream;
    sa2_arena arena;
    sa2_tensor mel, encoded, out;
    int32_t mel_offsets[SA2_MAX_CLIPS + 1], pooled_offsets[SA2_MAX_CLIPS + 1];
    int n;
} hearing;

static void start_hearing(void *context, int turn)
{
    hearing *h = context;
    settings *s = h->settings;
    (void)turn;
    const sa2_audio_clips clips = {.n = h->n, .mel_offsets = h->mel_offsets};
    sa2_status st = sa2_audio_encoder_forward(h->stream, &s->model.encoder, s->dtype, &h->arena,
                                              h->encoded, h->mel, &clips, NULL, &s->err);
    if (st == SA2_OK)
        st = sa2_adaptor_forward(h->stream, &s->model.adaptor, s->dtype, &h->arena, h->out,
                                 h->encoded, (sa2_rows){h->n, h->pooled_offsets}, &s->err);
    keep_status(s, st);
}

static void run_hearing(void *context, int turn)
{
    hearing *h = context;
    start_hearing(context, turn);
    settings *s = h->settings;
    keep_status(s, sa2_stream_finish(h->stream, s->status == SA2_OK ? &s->err : NULL));
}

/* Operations of n chunks: the table of language_model.md 15.3, from the config's sizes. */
static double hearing_flops(const sa2_model_config *c, const sa2_audio_lengths *l, int n)
{
    double d = c->encoder.width, rows = (double)l->rows, tokens = (double)(l->pooled + 1) / 2;
    double stem = 2.0 * 3 * (double)l->frames * c->encoder.mel_bins * d + 2.0 * 3 * rows * d * d;
    double linear = 2.0 * rows * (4 * d * d + 2 * d * c->encoder.ffn),
           attention = 4.0 * rows * rows * d;
    double adaptor =
        2.0 * tokens *
        (3 * d * d + d * c->adaptor.inner + (double)c->adaptor.inner * c->decoder.hidden);
    return n * (stem + c->encoder.blocks * (linear + attention) + adaptor);
}

static void bench_hearing(settings *s, int n)
{
    char name[64];
    snprintf(name, sizeof name, "encoder/25s/%d", n);
    if (!sa2_bench_wants(&s->bench, name))
        return;
    const sa2_model_config *c = &s->model.config;
    sa2_audio_lengths l = sa2_audio_lengths_of(SA2_AUDIO_CHUNK, SA2_LENGTH_HF);
    int64_t adapted = sa2_adaptor_rows(&c->adaptor, l.pooled);
    hearing h = {.settings = s, .n = n};
    h.mel = sa2_tensor_2d(NULL, SA2_F32, n * l.frames, c->encoder.mel_bins);
    h.encoded = sa2_tensor_2d(NULL, SA2_F32, n * l.pooled, c->encoder.width);
    h.out = sa2_tensor_2d(NULL, SA2_F32, n * adapted, c->decoder.hidden);
    size_t bytes = sa2_tensor_bytes(&h.mel) + sa2_tensor_bytes(&h.encoded) +
                   sa2_tensor_bytes(&h.out) + 4096 +
                   sa2_audio_encoder_work_bytes(&c->encoder, s->dtype, n * l.frames, n) +
                   sa2_adaptor_work_bytes(c, s->dtype, n * l.pooled, n);
    sa2_status st =
        sa2_stream_create(&h.stream, s->bench.backend,
                          sa2_audio_encoder_scratch_bytes(&c->encoder, s->dtype, n * l.frames, n) +
                              sa2_adaptor_scratch_bytes(c, s->dtype, n * l.pooled, n),
                          &s->err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(s->bench.backend, &h.arena, bytes, &s->err);
    if (st == SA2_OK) {
        h.mel.data = sa2_arena_take(&h.arena, sa2_tensor_bytes(&h.mel));
        h.encoded.data = sa2_arena_take(&h.arena, sa2_tensor_bytes(&h.encoded));
        h.out.data = sa2_arena_take(&h.arena, sa2_tensor_bytes(&h.out));
        for (int i = 0; i < n; i++) {
            h.mel_offsets[i + 1] = (int32_t)((i + 1) * l.frames);
            h.pooled_offsets[i + 1] = (int32_t)((i + 1) * l.pooled);
        }
        sa2_normal(h.stream, h.mel, 1, 0, 0);
        timings t = time_both(s, h.stream, run_hearing, start_hearing, &h);
        print_compute(s, name, t, 25.0 * n, "x real", hearing_flops(c, &l, n));
    }
    if (s->status == SA2_OK)
        s->status = st;
    sa2_stream_destroy(h.stream);
    sa2_backend_arena_destroy(s->bench.backend, &h.arena);
}

/* ---- decoder ---- */

typedef struct steps {
    settings *settings;
    sa2_decoder_bench decoder;
} steps;

static void run_step(void *context, int turn)
{
    steps *d = context;
    (void)turn;
    keep_status(d->settings, sa2_decoder_bench_step(&d->decoder, &d->settings->err));
}

static void start_step(void *context, int turn)
{
    steps *d = context;
    (void)turn;
    keep_status(d->settings, sa2_decoder_bench_start(&d->decoder, &d->settings->err));
}

static void bench_prefill(settings *s, int rows)
{
    char name[64];
    snprintf(name, sizeof name, "prefill/%d", rows);
    if (!sa2_bench_wants(&s->bench, name))
        return;
    steps d = {.settings = s};
    sa2_status st = sa2_decoder_bench_open(&d.decoder, &s->model, s->dtype, s->kv_dtype, 1, rows, 0,
                                           1, &s->err);
    if (st == SA2_OK) {
        timings t = time_both(s, d.decoder.stream, run_step, start_step, &d);
        print_compute(s, name, t, rows, "tokens/s", sa2_decoder_bench_flops(&d.decoder));
    }
    if (s->status == SA2_OK)
        s->status = st;
    sa2_decoder_bench_close(&d.decoder);
}

static void bench_decode(settings *s, int n)
{
    char name[64];
    snprintf(name, sizeof name, "decode/%d", n);
    if (!sa2_bench_wants(&s->bench, name))
        return;
    steps d = {.settings = s};
    sa2_status st = sa2_decoder_bench_open(&d.decoder, &s->model, s->dtype, s->kv_dtype, n, 1,
                                           s->context, 1, &s->err);
    if (st == SA2_OK) {
        double before = sa2_ceilings_read(&s->bench);
        timings t = time_both(s, d.decoder.stream, run_step, start_step, &d);
        double read = (before + sa2_ceilings_read(&s->bench)) /
                      2.0; /* memory is shared: probe on both sides */
        double bytes = sa2_decoder_bench_bytes(&d.decoder);
        sa2_bench_row row = {.name = name,
                             .unit = "tokens/s",
                             .bytes = bytes,
                             .flops = sa2_decoder_bench_flops(&d.decoder),
                             .ceiling = "read"};
        print_rows(s, row, t, n, bytes, read);
    }
    if (s->status == SA2_OK)
        s->status = st;
    sa2_decoder_bench_close(&d.decoder);
}

/* ---- all ---- */

/* The language model takes long to make: not where no row of it is wanted. */
static bool wants_language(sa2_bench *bench)
{
    static const char *const rows[] = {"front_end/44.1kHz/1_thread",
                                       "tokenizer/encode/1_thread",
                                       "encoder/25s/1",
                                       "encoder/25s/4",
                                       "prefill/128",
                                       "prefill/512",
                                       "decode/1",
                                       "decode/8",
                                       "decode/32"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (sa2_bench_wants(bench, rows[i]))
            return true;
    return false;
}

static void run_cases(settings *s)
{
    bench_front_end(s);
    bench_tokenizer(s);
    bench_hearing(s, 1);
    bench_hearing(s, 4);
    bench_prefill(s, 128);
    bench_prefill(s, 512);
    bench_decode(s, 1);
    bench_decode(s, 8);
    bench_decode(s, 32);
}

/* A line of stdin is a filter; an empty line on stdout ends the answer. */
static void run_asked(settings *s)
{
    char line[64];
    s->bench.filter = line;
    while (s->status == SA2_OK && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        run_cases(s);
        printf("\n");
        fflush(stdout);
    }
    s->bench.filter = NULL;
}

static sa2_status run_language(settings *s, const sa2_bench_model_options *options)
{
    sa2_status st = sa2_bench_model_open(&s->model, s->bench.backend, options, &s->err);
    if (st != SA2_OK)
        return st;
    if (s->ask)
        run_asked(s);
    else
        run_cases(s);
    sa2_model_close(&s->model);
    return s->status;
}

static sa2_status run_all(settings *s, const sa2_bench_model_options *options)
{
    sa2_status st = sa2_ceilings_measure(&s->bench, &s->err);
    if (st == SA2_OK && wants_language(&s->bench))
        st = run_language(s, options);
    if (st == SA2_OK && !s->ask)
        st = sa2_bench_voice(&s->bench, options->preset, &s->err);
    if (st == SA2_OK && !s->ask)
        st = sa2_bench_speech(&s->bench, options->preset, &s->err);
    return st;
}

int sa2_bench_parts(int argc, char **argv)
{
    const char *dtype = "bf16", *kv_dtype = NULL;
    bool kv_int8 = false;
    float spend = 3.0f;
    sa2_backend_options backend = {0};
    sa2_bench_model_options model = {.preset = "mini"};
    sa2_quant_flags quant = {0};
    settings *s = calloc(1, sizeof *s);
    if (s == NULL)
        return EX_OSERR;
    s->context = 512;
    const sa2_option own[] = {
        {"model", 'm', SA2_OPTION_TEXT, &model.folder, "DIR",
         "a checkpoint (synthetic weights of a preset)"},
        {"preset", 0, SA2_OPTION_TEXT, &model.preset, "NAME", "shape: mini or tiny (mini)"},
        {"layers", 0, SA2_OPTION_INT, &model.layers, "N",
         "of the decoder, to fit the memory (all)"},
        {"blocks", 0, SA2_OPTION_INT, &model.blocks, "N", "of the encoder (all)"},
        {"dtype", 0, SA2_OPTION_TEXT, &dtype, "TYPE", "activations: bf16 or f32"},
        SA2_KV_OPTION(&kv_dtype),
        SA2_QUANT_OPTIONS(&quant),
        {"context", 0, SA2_OPTION_INT, &s->context, "N", "positions before a decode step (512)"},
        {"filter", 'f', SA2_OPTION_TEXT, &s->bench.filter, "TEXT",
         "only cases whose name holds it"},
        {"ask", 0, SA2_OPTION_FLAG, &s->ask, NULL,
         "load once, then take filters from stdin, for all but speech out"},
        {"seconds", 's', SA2_OPTION_FLOAT, &spend, "X", "for each case (3)"},
        {"device", 0, SA2_OPTION_TEXT, &backend.device, "NAME", "auto, cpu, cuda or cuda:1"},
        {"cuda-graphs", 0, SA2_OPTION_FLAG, &backend.graphs, NULL,
         "start steps of a GPU as graphs"},
        SA2_LARGE_PRODUCTS_OPTION(&backend.large_products),
        {"threads", 't', SA2_OPTION_INT, &backend.n_threads, "N", "threads (all processors)"},
        {"isa", 0, SA2_OPTION_TEXT, &backend.isa, "NAME", "auto, c, avx2, avx512, avx512bf16, amx"},
        {"json", 0, SA2_OPTION_FLAG, &s->bench.json, NULL, "a JSON object a line"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 bench parts",
        .synopsis = "[OPTIONS]",
        .summary =
            "Times front end, tokenizer, encoder, prefill and decode steps, and speech out, at "
            "the release's\n"
            "shape, each beside the ceiling that binds it.",
        .example = "  sa2 bench parts --layers 4 --filter decode",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code = EX_OK;
    if (sa2_options_read(&usage, argc, argv, &n, &exit_code)) {
        s->bench.seconds = (double)spend;
        s->dtype = strcmp(dtype, "f32") == 0 ? SA2_F32 : SA2_BF16;
        if (s->dtype == SA2_BF16 && strcmp(dtype, "bf16") != 0) {
            exit_code =
                sa2_options_refuse(&usage, "--dtype: bf16 or f32 expected, \"%s\" found", dtype);
        } else if (s->context < 0 || s->context > SA2_LIMIT_POSITIONS) {
            exit_code = sa2_options_refuse(&usage, "--context: 0 to %d expected, %d found",
                                           SA2_LIMIT_POSITIONS, s->context);
        } else if (!sa2_quant_flags_finish(&quant, &usage, &model.quant) ||
                   !sa2_kv_flag_finish(kv_dtype, &usage, &kv_int8) ||
                   !sa2_bench_ready(&s->bench, &usage, n) ||
                   !sa2_bench_model_ready(&model, &usage)) {
            exit_code = EX_USAGE;
        } else {
            s->kv_dtype = kv_int8 ? SA2_I8 : s->dtype;
            sa2_status st = sa2_backend_open(&s->bench.backend, &backend, &s->err);
            if (st == SA2_OK)
                st = run_all(s, &model);
            exit_code = st == SA2_OK ? sa2_bench_end(&s->bench, &usage)
                                     : sa2_report_failure(usage.name, st, &s->err);
            sa2_backend_close(s->bench.backend);
        }
    }
    free(s);
    return exit_code;
}
