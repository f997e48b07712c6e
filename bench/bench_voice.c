/* bench_voice.c - sa2_bench_voice() of bench_speech.h. */
#include <math.h>
#include <stdlib.h>

#include "bench/bench_speech.h"
#include "loader/token2wav_writer.h"
#include "runtime/token2wav/voice.h"

enum { SAMPLES = 904 * 240, SECONDS = 9, RATE = 24000 };

typedef struct voice_run {
    sa2_voice_encoder encoder;
    sa2_arena arena;
    sa2_tensor mel, fbank; /* random, of the length that SAMPLES give */
    sa2_tensor projections, vector;
    float *samples;
    sa2_status (*piece)(struct voice_run *r);
    sa2_status status;
    sa2_error *err;
} voice_run;

static sa2_status run_tokenizer(voice_run *r)
{
    sa2_voice_encoder *e = &r->encoder;
    sa2_status st = sa2_speech_tokenizer_forward(e->stream, &e->tokenizer, &e->work, r->projections,
                                                 r->mel, r->err);
    return st == SA2_OK ? sa2_stream_finish(e->stream, r->err) : st;
}

static sa2_status run_speaker(voice_run *r)
{
    sa2_voice_encoder *e = &r->encoder;
    sa2_status st = sa2_speaker_encoder_forward(e->stream, &e->speaker, e->options.partial,
                                                &e->work, r->vector, r->fbank, r->err);
    return st == SA2_OK ? sa2_stream_finish(e->stream, r->err) : st;
}

static sa2_status run_all(voice_run *r)
{
    const sa2_audio_source source = {.bytes = r->samples,
                                     .n_bytes = SAMPLES * sizeof *r->samples,
                                     .pcm = SA2_PCM_F32LE,
                                     .pcm_rate = RATE,
                                     .pcm_channels = 1};
    sa2_voice voice;
    sa2_status st = sa2_voice_encode(&r->encoder, &source, &voice, r->err);
    if (st == SA2_OK)
        sa2_voice_destroy(&voice);
    return st;
}

static void run_piece(void *context, int turn)
{
    voice_run *r = context;
    (void)turn;
    if (r->status == SA2_OK)
        r->status = r->piece(r);
}

/* ---- operations ---- */

static double tokenizer_flops(const voice_run *r)
{
    const sa2_speech_tokenizer_dims *d = &r->encoder.tokenizer.dims;
    double w = d->width, halves = (double)r->mel.shape[0] / 2, rows = halves / 2;
    double layer = 4 * w * w + 2 * w * d->ffn;
    return 2.0 * 3 * (halves * d->mel * w + rows * w * w) +
           d->blocks * (2.0 * rows * layer + 4.0 * rows * rows * w);
}

static double speaker_flops(const voice_run *r)
{
    enum { AREA = 9, TDNN = 5, LOCAL = 3 }; /* kernels */
    const sa2_speaker_dims *d = &r->encoder.speaker.dims;
    double frames = (double)r->fbank.shape[0], rows = frames / 2;
    double maps = d->head_channels, bins = d->mel, squares = maps * maps;
    double sum = frames * bins * AREA * maps; /* the first of the head, then halves of its bins */
    sum += frames * (bins / 2 + bins / 4) * squares * (4 * AREA + 1);
    sum += frames * bins / 8 * squares * AREA;
    sum += rows * maps * bins / 8 * d->initial * TDNN;
    double channels = d->initial;
    for (int i = 0; i < SA2_SPEAKER_BLOCKS; i++) {
        for (int j = 0; j < d->layers[i]; j++, channels += d->growth)
            sum += rows * d->bottleneck * (channels + LOCAL * (double)d->growth);
        sum += rows * channels * channels / 2;
        channels /= 2;
    }
    return 2.0 * sum;
}

static double all_flops(const voice_run *r)
{
    return tokenizer_flops(r) + speaker_flops(r);
}

static const struct voice_case {
    const char *name;
    sa2_status (*piece)(voice_run *r);
    double (*flops)(const voice_run *r);
} cases[] = {
    {"speech_tokenizer/9s", run_tokenizer, tokenizer_flops},
    {"speaker/9s", run_speaker, speaker_flops},
    {"voice/9s", run_all, all_flops},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* ---- open ---- */

static sa2_status open_encoder(voice_run *r, sa2_backend *backend, const char *name)
{
    sa2_preset preset;
    sa2_tensor_map *tokenizer = NULL, *speaker = NULL;
    sa2_status st = sa2_preset_find(&preset, name, r->err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(&tokenizer, SA2_SPEECH_TOKENIZER_FILE, &preset, 0, r->err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(&speaker, SA2_SPEAKER_FILE, &preset, 0, r->err);
    if (st == SA2_OK) {
        sa2_flow_config flow = sa2_token2wav_preset_dims(&preset.token2wav).flow;
        const sa2_voice_options options = {
            .mel_bins = flow.mel, .frames_per_token = flow.up_stride, .max_seconds = SECONDS + 1};
        sa2_tensor_map_set_threads(tokenizer, sa2_backend_threads(backend));
        st =
            sa2_voice_encoder_from_maps(&r->encoder, backend, tokenizer, speaker, &options, r->err);
    }
    sa2_tensor_map_destroy(speaker);
    sa2_tensor_map_destroy(tokenizer);
    return st;
}

static sa2_status take_tensors(voice_run *r)
{
    sa2_voice_encoder *e = &r->encoder;
    sa2_voice_lengths n =
        sa2_voice_lengths_of(SAMPLES * 2 / 3, SAMPLES, e->options.frames_per_token);
    sa2_tensor *const tensors[] = {&r->mel, &r->fbank, &r->projections, &r->vector};
    r->mel = sa2_tensor_2d(NULL, SA2_F32, n.frames, e->tokenizer.dims.mel);
    r->fbank = sa2_tensor_2d(NULL, SA2_F32, n.fbank_frames, e->speaker.dims.mel);
    r->projections = sa2_tensor_2d(NULL, SA2_F32, n.tokens, e->tokenizer.dims.digits);
    r->vector = sa2_tensor_2d(NULL, SA2_F32, 1, e->speaker.dims.embedding);
    const size_t n_tensors = sizeof tensors / sizeof tensors[0];
    size_t bytes = 0;
    for (size_t i = 0; i < n_tensors; i++)
        bytes += sa2_arena_round(sa2_tensor_bytes(tensors[i]));
    sa2_status st = sa2_backend_arena_create(e->backend, &r->arena, bytes, r->err);
    if (st != SA2_OK)
        return st;
    for (size_t i = 0; i < n_tensors; i++) {
        tensors[i]->data = sa2_arena_take(&r->arena, sa2_tensor_bytes(tensors[i]));
        sa2_normal(e->stream, *tensors[i], 1, (uint32_t)i, 0);
    }
    r->samples = malloc(SAMPLES * sizeof *r->samples);
    if (r->samples == NULL)
        return sa2_fail(r->err, SA2_ERR_NOMEM, "bench: no memory");
    for (int i = 0; i < SAMPLES; i++)
        r->samples[i] = 0.3f * sinf(0.05f * (float)i) + 0.1f * sinf(0.31f * (float)i);
    return sa2_stream_finish(e->stream, r->err);
}

sa2_status sa2_bench_voice(sa2_bench *bench, const char *preset, sa2_error *err)
{
    bool wanted = false;
    for (int i = 0; i < N_CASES; i++)
        wanted = wanted || sa2_bench_wants(bench, cases[i].name);
    if (!wanted)
        return SA2_OK;
    voice_run r = {.err = err};
    r.status = open_encoder(&r, bench->backend, preset);
    if (r.status == SA2_OK)
        r.status = take_tensors(&r);
    for (int i = 0; r.status == SA2_OK && i < N_CASES; i++) {
        if (!sa2_bench_wants(bench, cases[i].name))
            continue;
        r.piece = cases[i].piece;
        sa2_timing t = sa2_bench_time(bench, run_piece, &r);
        if (r.status == SA2_OK)
            sa2_bench_print_speed(bench, cases[i].name, t, SECONDS, cases[i].flops(&r), false);
    }
    free(r.samples);
    sa2_backend_arena_destroy(bench->backend, &r.arena);
    sa2_voice_encoder_close(&r.encoder);
    return r.status;
}
