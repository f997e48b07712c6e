#include "bench/speech_bench.h"

#include <stdlib.h>

#include "loader/token2wav_writer.h"

enum { CHUNKS_BEFORE = 3, MAX_SECONDS = 6 };

/* ---- inputs ---- */

static uint32_t next(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u; /* Knuth, TAOCP volume 2, 3.3.4 */
    return *random >> 8;
}

static void fill_codes(int32_t *codes, int n, int vocab, uint32_t *random)
{
    for (int i = 0; i < n; i++)
        codes[i] = (int32_t)(next(random) % (uint32_t)vocab);
}

static sa2_status make_voice(sa2_speech_bench *b, uint32_t *random, sa2_error *err)
{
    const sa2_flow_config *c = &b->token2wav.flow.config;
    int n = SA2_SPEECH_BENCH_VOICE;
    sa2_status st = sa2_voice_create(&b->voice, n, c->speaker, c->up_stride * n, c->mel, err);
    if (st != SA2_OK)
        return st;
    fill_codes(b->voice.tokens, n, c->vocab, random);
    for (int i = 0; i < b->voice.n_speaker; i++)
        b->voice.speaker[i] = (float)next(random) / (1 << 23) - 1.0f;
    for (int i = 0; i < b->voice.n_frames * b->voice.mel_bins; i++)
        b->voice.mel[i] = (float)next(random) / (1 << 22) - 8.0f; /* of a log-mel */
    return SA2_OK;
}

/* ---- streams ---- */

static void ignore_samples(void *context, int i, const float *samples, int64_t n)
{
    (void)context;
    (void)i;
    (void)samples;
    (void)n;
}

static sa2_status step(sa2_speech_bench *b, sa2_error *err)
{
    sa2_speech *streams[SA2_SPEECH_BENCH_STREAMS];
    int n_chunks;
    for (int i = 0; i < b->n; i++)
        streams[i] = &b->streams[i];
    sa2_status st =
        sa2_speech_step(&b->token2wav, streams, b->n, ignore_samples, NULL, &n_chunks, err);
    if (st == SA2_OK && n_chunks != b->n)
        st = sa2_fail(err, SA2_ERR_ARG, "bench: %d chunks of %d streams", n_chunks, b->n);
    return st;
}

static void go_back(sa2_speech_bench *b)
{
    for (int i = 0; i < b->n; i++)
        b->streams[i] = b->ready[i];
}

static sa2_status start_streams(sa2_speech_bench *b, uint32_t *random, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; st == SA2_OK && i < b->n; i++) {
        int32_t *codes = b->codes[i], n = SA2_SPEECH_BENCH_CODES;
        fill_codes(codes, n, b->token2wav.flow.config.vocab, random);
        st = sa2_speech_init(&b->token2wav, &b->streams[i], &b->prepared, NULL, codes, n, err);
        b->streams[i].n_codes = n; /* they lie there already */
        if (st == SA2_OK)
            st = sa2_speech_start(&b->token2wav, &b->streams[i], (uint64_t)i, err);
    }
    for (int i = 0; st == SA2_OK && i < CHUNKS_BEFORE; i++)
        st = step(b, err);
    for (int i = 0; i < b->n; i++)
        b->ready[i] = b->streams[i];
    return st;
}

/* ---- open ---- */

static sa2_status open_model(sa2_speech_bench *b, sa2_backend *backend, const char *name, bool bf16,
                             sa2_error *err)
{
    sa2_preset preset;
    sa2_tensor_map *flow = NULL, *vocoder = NULL;
    const sa2_token2wav_options options = {
        .bf16 = bf16,
        .max_streams = b->n,
        .max_voice_seconds = (SA2_SPEECH_BENCH_VOICE + SA2_SPEECH_CHUNK - 1) / SA2_SPEECH_CHUNK,
        .max_seconds = MAX_SECONDS};
    sa2_status st = sa2_preset_find(&preset, name, err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(&flow, SA2_FLOW_FILE, &preset, 0, err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(&vocoder, SA2_VOCODER_FILE, &preset, 0, err);
    if (st == SA2_OK) {
        sa2_flow_config config = sa2_token2wav_preset_dims(&preset.token2wav).flow;
        sa2_tensor_map_set_threads(flow, sa2_backend_threads(backend));
        sa2_tensor_map_set_threads(vocoder, sa2_backend_threads(backend));
        st = sa2_token2wav_from_maps(&b->token2wav, backend, &config, flow, vocoder, &options, err);
    }
    sa2_tensor_map_destroy(flow);
    sa2_tensor_map_destroy(vocoder);
    return st;
}

sa2_status sa2_speech_bench_open(sa2_speech_bench *b, sa2_backend *backend, const char *preset,
                                 bool bf16, int n, sa2_error *err)
{
    uint32_t random = 1;
    *b = (sa2_speech_bench){.n = n};
    sa2_status st = open_model(b, backend, preset, bf16, err);
    if (st != SA2_OK)
        return st;
    const sa2_flow_config *c = &b->token2wav.flow.config;
    b->n_mel = (int64_t)SA2_SPEECH_BENCH_WHOLE * c->up_stride * c->mel;
    b->n_samples = sa2_speech_samples(&b->token2wav, SA2_SPEECH_BENCH_WHOLE);
    b->mel = calloc((size_t)b->n_mel, sizeof *b->mel);
    b->samples = calloc((size_t)b->n_samples, sizeof *b->samples);
    if (b->mel == NULL || b->samples == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "bench: no memory");
    fill_codes(b->whole_codes, SA2_SPEECH_BENCH_WHOLE, c->vocab, &random);
    st = make_voice(b, &random, err);
    if (st == SA2_OK)
        st = sa2_speech_voice_init(&b->token2wav, &b->prepared, &b->voice, err);
    return st == SA2_OK ? start_streams(b, &random, err) : st;
}

void sa2_speech_bench_close(sa2_speech_bench *b)
{
    sa2_speech_voice_destroy(&b->prepared);
    sa2_voice_destroy(&b->voice);
    sa2_token2wav_close(&b->token2wav);
    free(b->samples);
    free(b->mel);
    *b = (sa2_speech_bench){0};
}

/* ---- pieces of work ---- */

sa2_status sa2_speech_bench_chunk(sa2_speech_bench *b, sa2_error *err)
{
    go_back(b);
    return step(b, err);
}

/* A tensor of work memory. */
static sa2_tensor take(sa2_token2wav *t, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, SA2_F32, rows, cols);
    x.data = sa2_arena_take(&t->work, sa2_tensor_bytes(&x));
    return x;
}

static sa2_status finish(sa2_token2wav *t, size_t mark, sa2_status st, sa2_error *err)
{
    sa2_status finished = sa2_stream_finish(t->stream, st == SA2_OK ? err : NULL);
    sa2_arena_rewind(&t->work, mark);
    return st != SA2_OK ? st : finished;
}

sa2_status sa2_speech_bench_flow_chunk(sa2_speech_bench *b, sa2_error *err)
{
    sa2_token2wav *t = &b->token2wav;
    sa2_flow_chunk chunks[SA2_SPEECH_BENCH_STREAMS];
    sa2_flow_solution solution = {0};
    size_t mark = sa2_arena_mark(&t->work);
    go_back(b);
    for (int i = 0; i < b->n; i++)
        chunks[i] = (sa2_flow_chunk){.stream = &b->streams[i].flow,
                                     .tokens = b->codes[i] + b->streams[i].n_done,
                                     .n = SA2_SPEECH_CHUNK};
    int64_t frames = (int64_t)b->n * SA2_SPEECH_CHUNK * t->flow.config.up_stride;
    sa2_tensor mel = take(t, frames, t->flow.config.mel);
    sa2_status st =
        sa2_flow_begin(t->stream, &t->flow, &t->cache, &t->room, &solution, mel, chunks, b->n, err);
    if (st == SA2_OK)
        st = sa2_flow_solve(t->stream, &solution, err);
    return finish(t, mark, st, err);
}

sa2_status sa2_speech_bench_flow_whole(sa2_speech_bench *b, sa2_error *err)
{
    sa2_token2wav *t = &b->token2wav;
    const sa2_flow_prompt prompt = {.tokens = b->voice.tokens,
                                    .n_tokens = b->voice.n_tokens,
                                    .mel = b->voice.mel,
                                    .speaker = b->voice.speaker};
    sa2_flow_solution solution = {0};
    size_t mark = sa2_arena_mark(&t->work);
    sa2_tensor mel = take(t, b->n_mel / t->flow.config.mel, t->flow.config.mel);
    sa2_status st = sa2_flow_begin_whole(t->stream, &t->flow, &t->room, &solution, mel, &prompt,
                                         b->whole_codes, SA2_SPEECH_BENCH_WHOLE, err);
    if (st == SA2_OK)
        st = sa2_flow_solve(t->stream, &solution, err);
    return finish(t, mark, st, err);
}

/* n chunks of mel that is the voice's. */
static sa2_status run_vocoder(sa2_speech_bench *b, const sa2_vocoder_chunk *chunks, int n,
                              sa2_error *err)
{
    sa2_token2wav *t = &b->token2wav;
    size_t mark = sa2_arena_mark(&t->work);
    int64_t frames = 0, samples = 0;
    for (int i = 0; i < n; i++) {
        frames += chunks[i].frames;
        samples += sa2_vocoder_samples(&chunks[i]);
    }
    sa2_tensor mel = take(t, frames, b->voice.mel_bins), sound = take(t, 1, samples);
    sa2_upload(t->stream, mel, b->voice.mel);
    sound = sa2_tensor_1d(sound.data, SA2_F32, samples);
    const sa2_vocoder_batch batch = {.n = n, .chunks = chunks, .mel = mel, .noise = true};
    sa2_status st = sa2_vocoder_forward(t->stream, &t->vocoder, &t->work, sound, &batch, NULL, err);
    return finish(t, mark, st, err);
}

sa2_status sa2_speech_bench_vocoder_chunk(sa2_speech_bench *b, sa2_error *err)
{
    sa2_vocoder_chunk chunks[SA2_SPEECH_BENCH_STREAMS];
    for (int i = 0; i < b->n; i++)
        chunks[i] =
            (sa2_vocoder_chunk){.state = &b->token2wav.slots[i].vocoder,
                                .frames = SA2_SPEECH_CHUNK * b->token2wav.flow.config.up_stride};
    return run_vocoder(b, chunks, b->n, err);
}

sa2_status sa2_speech_bench_vocoder_whole(sa2_speech_bench *b, sa2_error *err)
{
    sa2_vocoder_state state = b->token2wav.slots[0].vocoder; /* its memory, a stream of its own */
    sa2_vocoder_state_reset(&state, 0);
    const sa2_vocoder_chunk chunk = {
        .state = &state, .frames = (int32_t)(b->n_mel / b->voice.mel_bins), .last = true};
    return run_vocoder(b, &chunk, 1, err);
}

sa2_status sa2_speech_bench_whole(sa2_speech_bench *b, sa2_error *err)
{
    return sa2_token2wav_whole(&b->token2wav, &b->voice, b->whole_codes, SA2_SPEECH_BENCH_WHOLE, 0,
                               b->mel, b->samples, err);
}

sa2_status sa2_speech_bench_voice(sa2_speech_bench *b, sa2_error *err)
{
    sa2_speech_voice made;
    sa2_status st = sa2_speech_voice_init(&b->token2wav, &made, &b->voice, err);
    if (st == SA2_OK)
        sa2_speech_voice_destroy(&made);
    return st;
}

/* ---- operations ---- */

/* Of n sequences of `codes` new codes that see `keys` frames each, their own among them. */
double sa2_speech_bench_flow_flops(const sa2_speech_bench *b, int codes, int keys, int n)
{
    const sa2_flow_config *c = &b->token2wav.flow.config;
    double w = c->width, d = c->dit_width, rows = (double)n * codes, up = rows * c->up_stride;
    double layer = 4 * w * w + 2 * w * c->ffn; /* of a row; its scores count positions too */
    double encoder = rows * c->layers * (2 * layer + 6.0 * keys / c->up_stride * w) +
                     up * c->up_layers * (2 * layer + 6.0 * keys * w);
    double block = 10 * d * d + 2 * d * c->dit_ffn, frames = 2 * up;
    double step =
        frames * (c->dit_blocks * (2 * block + 4.0 * keys * d) + 2.0 * d * (c->dit_in + c->mel));
    return encoder + b->token2wav.flow.n_steps * step;
}

double sa2_speech_bench_vocoder_flops(const sa2_speech_bench *b, int64_t frames)
{
    const sa2_vocoder_dims *d = &b->token2wav.vocoder.dims;
    const int parts = SA2_VOCODER_N_FFT + 2;
    double channels = d->channels, rows = (double)frames, f0 = d->f0_channels;
    double sum = rows * (SA2_F0_KERNEL * (d->mel * f0 + (SA2_F0_LAYERS - 1) * f0 * f0) +
                         SA2_VOCODER_EDGE_KERNEL * d->mel * channels);
    for (int i = 0; i < SA2_VOCODER_STAGES; i++) {
        int kernels = sa2_vocoder_source_kernels[i];
        for (int j = 0; j < SA2_VOCODER_RESBLOCKS; j++)
            kernels += sa2_vocoder_resblock_kernels[j];
        double half = channels / 2;
        sum += rows * channels * half * sa2_vocoder_up_kernels[i];
        rows *= sa2_vocoder_up_strides[i];
        channels = half;
        sum += rows * channels *
               (2.0 * SA2_VOCODER_DILATIONS * kernels * channels +
                (double)parts * sa2_vocoder_source_down_kernel(i));
    }
    return 2.0 * (sum + rows * channels * parts * SA2_VOCODER_EDGE_KERNEL);
}
