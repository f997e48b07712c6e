#include "bench/bench_speech.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/speech_bench.h"

typedef sa2_status piece(sa2_speech_bench *b, sa2_error *err);

typedef struct speech_run {
    sa2_speech_bench bench;
    piece *piece;
    sa2_status status;
    sa2_error *err;
} speech_run;

static void run_piece(void *context, int turn)
{
    speech_run *r = context;
    (void)turn;
    if (r->status == SA2_OK)
        r->status = r->piece(&r->bench, r->err);
}

/* ---- cases ---- */

enum { CHUNK_SECONDS = 1, WHOLE_SECONDS = 5, VOICE_SECONDS = 9 };

static double chunk_flow_flops(const sa2_speech_bench *b)
{
    int up = b->token2wav.flow.config.up_stride;
    int keys = (SA2_SPEECH_BENCH_VOICE + SA2_SPEECH_CHUNK) * up + SA2_FLOW_TAIL;
    return sa2_speech_bench_flow_flops(b, SA2_SPEECH_CHUNK, keys, b->n);
}

static double chunk_vocoder_flops(const sa2_speech_bench *b)
{
    int frames = SA2_SPEECH_CHUNK * b->token2wav.flow.config.up_stride;
    return b->n * sa2_speech_bench_vocoder_flops(b, frames + SA2_VOCODER_KEPT_FRAMES);
}

static double chunk_flops(const sa2_speech_bench *b)
{
    return chunk_flow_flops(b) + chunk_vocoder_flops(b);
}

/* All at once: prompt and codes see each other. */
static double flow_flops_of(const sa2_speech_bench *b, int codes)
{
    return sa2_speech_bench_flow_flops(b, codes, codes * b->token2wav.flow.config.up_stride, 1);
}

static double whole_flow_flops(const sa2_speech_bench *b)
{
    return flow_flops_of(b, SA2_SPEECH_BENCH_VOICE + SA2_SPEECH_BENCH_WHOLE);
}

static double whole_vocoder_flops(const sa2_speech_bench *b)
{
    return sa2_speech_bench_vocoder_flops(b, b->n_mel / b->voice.mel_bins);
}

static double whole_flops(const sa2_speech_bench *b)
{
    return whole_flow_flops(b) + whole_vocoder_flops(b);
}

static double voice_flops(const sa2_speech_bench *b)
{
    return flow_flops_of(b, SA2_SPEECH_BENCH_VOICE);
}

static const struct speech_case {
    const char *name;
    piece *piece;
    double (*flops)(const sa2_speech_bench *b);
    int seconds; /* of sound of one stream */
    bool alone;  /* only where there is one stream */
    bool f32;    /* in any case */
} cases[] = {
    {"flow/1s", sa2_speech_bench_flow_chunk, chunk_flow_flops, CHUNK_SECONDS, false, false},
    {"vocoder/1s", sa2_speech_bench_vocoder_chunk, chunk_vocoder_flops, CHUNK_SECONDS, false, true},
    {"speech/1s", sa2_speech_bench_chunk, chunk_flops, CHUNK_SECONDS, false, false},
    {"flow_whole/5s", sa2_speech_bench_flow_whole, whole_flow_flops, WHOLE_SECONDS, true, false},
    {"vocoder_whole/5s", sa2_speech_bench_vocoder_whole, whole_vocoder_flops, WHOLE_SECONDS, true,
     true},
    {"speech_whole/5s", sa2_speech_bench_whole, whole_flops, WHOLE_SECONDS, true, false},
    {"flow_voice/9s", sa2_speech_bench_voice, voice_flops, VOICE_SECONDS, true, false},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static bool name_case(char name[64], sa2_bench *bench, int i, bool bf16, int n)
{
    if (cases[i].f32 && bf16)
        return false;
    if (cases[i].alone && n > 1)
        return false;
    snprintf(name, 64, "%s/%s/%d", cases[i].name, bf16 ? "bf16" : "f32", n);
    return sa2_bench_wants(bench, name);
}

static sa2_status run_cases(sa2_bench *bench, speech_run *r, bool bf16, sa2_error *err)
{
    char name[64];
    r->status = SA2_OK;
    r->err = err;
    for (int i = 0; i < N_CASES && r->status == SA2_OK; i++) {
        int n = r->bench.n;
        if (!name_case(name, bench, i, bf16, n))
            continue;
        r->piece = cases[i].piece;
        sa2_timing t = sa2_bench_time(bench, run_piece, r);
        if (r->status == SA2_OK)
            sa2_bench_print_speed(bench, name, t, cases[i].seconds * n, cases[i].flops(&r->bench),
                                  bf16);
    }
    return r->status;
}

/* ---- f32 beside bf16 ---- */

static const char error_name[] = "speech_whole/5s/bf16_error";

static double distance(const float *x, const float *want, int64_t n)
{
    double error = 0.0, sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        error += ((double)x[i] - want[i]) * ((double)x[i] - want[i]);
        sum += (double)want[i] * want[i];
    }
    return 10.0 * log10(error / sum);
}

/* The same sound by both: what products in bf16 change, in dB below the mel and below the samples. */
static sa2_status print_error(sa2_bench *bench, speech_run runs[2], sa2_error *err)
{
    static const char *const names[] = {"speech_whole/5s/bf16_error/mel",
                                        "speech_whole/5s/bf16_error/wav"};
    for (int i = 0; i < 2; i++) {
        sa2_status st = sa2_speech_bench_whole(&runs[i].bench, err);
        if (st != SA2_OK)
            return st;
    }
    const sa2_speech_bench *f32 = &runs[0].bench, *bf16 = &runs[1].bench;
    double values[] = {distance(bf16->mel, f32->mel, f32->n_mel),
                       distance(bf16->samples, f32->samples, f32->n_samples)};
    for (int i = 0; i < 2; i++)
        sa2_bench_print(
            bench,
            &(sa2_bench_row){.bench = "parts", .name = names[i], .value = values[i], .unit = "dB"});
    return SA2_OK;
}

/* ---- all ---- */

static bool wants_any(sa2_bench *bench, int n, bool bf16)
{
    char name[64];
    for (int i = 0; i < N_CASES; i++)
        if (name_case(name, bench, i, bf16, n))
            return true;
    return n == 1 && sa2_bench_wants(bench, error_name);
}

static sa2_status run_streams(sa2_bench *bench, const char *preset, int n, sa2_error *err)
{
    speech_run runs[2] = {0}; /* f32, bf16 */
    sa2_status st = SA2_OK;
    for (int i = 0; st == SA2_OK && i < 2; i++) {
        if (!wants_any(bench, n, i == 1))
            continue;
        st = sa2_speech_bench_open(&runs[i].bench, bench->backend, preset, i == 1, n, err);
        if (st == SA2_OK)
            st = run_cases(bench, &runs[i], i == 1, err);
    }
    if (st == SA2_OK && n == 1 && sa2_bench_wants(bench, error_name))
        st = print_error(bench, runs, err);
    for (int i = 0; i < 2; i++)
        sa2_speech_bench_close(&runs[i].bench);
    return st;
}

sa2_status sa2_bench_speech(sa2_bench *bench, const char *preset, sa2_error *err)
{
    sa2_status st = run_streams(bench, preset, 1, err);
    return st == SA2_OK ? run_streams(bench, preset, SA2_SPEECH_BENCH_STREAMS, err) : st;
}
