/* check_vocoder.c - golden cases of the vocoder: its parts, whole sounds, streams. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/audio/audio_writer.h"
#include "runtime/token2wav/vocoder.h"
#include "tools/check_parts.h"
#include "tools/check_token2wav.h"

enum {
    FRAME = SA2_VOCODER_FRAME,
    HOP = SA2_VOCODER_HOP,
    PARTS = SA2_HIFT_PARTS,
    MOST_FRAMES = 30000, /* of a case: ten minutes */
    MOST_CHUNKS = 1000,
};

/* A vocoder of its own for every case, on a device. */
typedef struct bench {
    sa2_vocoder vocoder;
    sa2_arena weights;
    sa2_tensor_map *map; /* of a native file, weights lie in it */
    sa2_check_device device;
} bench;

static void close_bench(bench *b)
{
    if (b->device.backend != NULL)
        sa2_backend_arena_destroy(b->device.backend, &b->weights);
    sa2_check_device_close(&b->device);
    sa2_tensor_map_destroy(b->map);
}

static sa2_status open_vocoder(bench *b, const sa2_check_run *run, sa2_error *err)
{
    *b = (bench){0};
    sa2_status st = sa2_check_token2wav_map(&b->map, run, SA2_VOCODER_FILE, err);
    if (st == SA2_OK)
        st = sa2_vocoder_open(&b->vocoder, run->context->backend, b->map, &b->weights, err);
    if (st == SA2_OK)
        b->device.backend = run->context->backend; /* close_bench() gives the weights back */
    return st;
}

/* Room for a forward of so many frames in n sounds, and `floats` in 16 tensors beside it. */
static sa2_status make_room(bench *b, const sa2_check_run *run, int64_t frames, int n,
                            int64_t floats, sa2_error *err)
{
    const sa2_vocoder_dims *dims = &b->vocoder.dims;
    if (frames > MOST_FRAMES)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: %lld frames, at most %d expected",
                        sa2_golden_origin(run->golden), (long long)frames, MOST_FRAMES);
    return sa2_check_device_ready(&b->device, run,
                                  sa2_vocoder_work_bytes(dims, frames, n) +
                                      (size_t)floats * sizeof(float) + 16 * SA2_ARENA_ALIGN,
                                  sa2_vocoder_scratch_bytes(dims, frames, n), err);
}

static sa2_tensor take(bench *b, int64_t rows, int64_t cols)
{
    sa2_tensor x =
        cols == 0 ? sa2_tensor_1d(NULL, SA2_F32, rows) : sa2_tensor_2d(NULL, SA2_F32, rows, cols);
    x.data = sa2_arena_take(&b->device.arena, sa2_tensor_bytes(&x));
    return x;
}

static sa2_tensor uploaded(bench *b, sa2_tensor host)
{
    sa2_tensor x = take(b, host.shape[0], host.ndim == 1 ? 0 : host.shape[1]);
    sa2_upload(b->device.stream, x, host.data);
    return x;
}

static sa2_status judge(sa2_check_run *run, bench *b, const char *name, sa2_tensor found,
                        sa2_error *err)
{
    return sa2_check_judge_device(run, name, SA2_F32, b->device.stream, found, err);
}

/* Input `name` f32 [rows, cols], or [rows] with cols 0, of `least` rows or more. */
static sa2_status expect(const sa2_check_run *run, const char *name, int64_t cols, int64_t least,
                         sa2_tensor *x, sa2_error *err)
{
    sa2_status st = sa2_golden_expect(run->golden, name, SA2_F32, cols == 0 ? 1 : 2,
                                      (const int64_t[]){-1, cols}, x, err);
    if (st == SA2_OK && x->shape[0] < least)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: in.%s has %lld rows, %lld or more expected",
                      sa2_golden_origin(run->golden), name, (long long)x->shape[0],
                      (long long)least);
    return st;
}

/* ---- parts ---- */

static sa2_status run_f0(sa2_check_run *run, bench *b, sa2_error *err)
{
    sa2_tensor in;
    sa2_status st = expect(run, "mel", b->vocoder.dims.mel, 1, &in, err);
    if (st == SA2_OK)
        st = make_room(b, run, in.shape[0], 1, 2 * sa2_tensor_count(&in), err);
    if (st != SA2_OK)
        return st;
    const int32_t offsets[] = {0, (int32_t)in.shape[0]};
    sa2_tensor mel = uploaded(b, in), f0 = take(b, in.shape[0], 1);
    st = sa2_f0_predictor_forward(b->device.stream, &b->vocoder.f0, &b->device.arena, f0, mel,
                                  (sa2_rows){1, offsets}, err);
    return st == SA2_OK ? judge(run, b, "f0", sa2_tensor_1d(f0.data, SA2_F32, f0.shape[0]), err)
                        : st;
}

static sa2_status run_source(sa2_check_run *run, bench *b, sa2_error *err)
{
    sa2_tensor in, noise = {0};
    sa2_status st = expect(run, "f0", 0, 1, &in, err);
    if (st != SA2_OK)
        return st;
    int64_t frames = in.shape[0], samples = frames * FRAME;
    if (sa2_golden_input(run->golden, "noise").data != NULL)
        st = sa2_golden_expect(run->golden, "noise", SA2_F32, 2,
                               (const int64_t[]){samples, SA2_VOCODER_HARMONICS}, &noise, err);
    if (st == SA2_OK)
        st = make_room(b, run, frames, 1, samples * (SA2_VOCODER_HARMONICS + 2), err);
    if (st != SA2_OK)
        return st;
    const int32_t offsets[] = {0, (int32_t)frames};
    sa2_tensor f0 = uploaded(b, in), source = take(b, samples, 0);
    if (noise.data != NULL)
        noise = uploaded(b, noise);
    sa2_harmonic_source_forward(b->device.stream, &b->vocoder.source, source,
                                sa2_tensor_2d(f0.data, SA2_F32, frames, 1), (sa2_rows){1, offsets},
                                noise);
    return judge(run, b, "source", source, err);
}

static sa2_status run_stft(sa2_check_run *run, bench *b, sa2_error *err)
{
    sa2_tensor in;
    sa2_status st = expect(run, "samples", 0, SA2_VOCODER_N_FFT / 2 + 1, &in, err);
    if (st != SA2_OK)
        return st;
    int64_t samples = in.shape[0], frames = sa2_hift_frames(samples);
    st = make_room(b, run, samples / FRAME + 1, 1, samples + frames * PARTS, err);
    if (st != SA2_OK)
        return st;
    const int32_t offsets[] = {0, (int32_t)samples};
    sa2_tensor x = uploaded(b, in), parts = take(b, frames, PARTS);
    st = sa2_hift_spectrum_forward(b->device.stream, &b->vocoder.generator.spectrum,
                                   &b->device.arena, parts, x, (sa2_rows){1, offsets}, err);
    return st == SA2_OK ? judge(run, b, "spectrum", parts, err) : st;
}

static sa2_status run_istft(sa2_check_run *run, bench *b, sa2_error *err)
{
    sa2_tensor in;
    sa2_status st = expect(run, "z", PARTS, 2, &in, err);
    if (st != SA2_OK)
        return st;
    int64_t frames = in.shape[0], samples = (frames - 1) * HOP;
    st = make_room(b, run, samples / FRAME + 1, 1, samples + frames * PARTS, err);
    if (st != SA2_OK)
        return st;
    const int32_t offsets[] = {0, (int32_t)frames};
    sa2_tensor z = uploaded(b, in), y = take(b, samples, 0);
    st = sa2_hift_synthesise(b->device.stream, &b->vocoder.generator, &b->device.arena, y, z,
                             (sa2_rows){1, offsets}, INFINITY, err);
    return st == SA2_OK ? judge(run, b, "samples", y, err) : st;
}

/* The stage whose upsampling takes so many channels. */
static sa2_status run_upsample(sa2_check_run *run, bench *b, sa2_error *err)
{
    sa2_tensor in;
    sa2_status st = expect(run, "x", -1, 1, &in, err);
    if (st != SA2_OK)
        return st;
    int stage = 0;
    while (stage < SA2_VOCODER_STAGES && b->vocoder.dims.channels >> stage != in.shape[1])
        stage++;
    if (stage == SA2_VOCODER_STAGES)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no upsampling takes %lld channels",
                        sa2_golden_origin(run->golden), (long long)in.shape[1]);
    int64_t rows = in.shape[0] * sa2_vocoder_up_strides[stage], channels = in.shape[1] / 2;
    st = make_room(b, run, in.shape[0], 1, sa2_tensor_count(&in) + rows * channels, err);
    if (st != SA2_OK)
        return st;
    const int32_t offsets[] = {0, (int32_t)in.shape[0]};
    sa2_tensor x = uploaded(b, in), y = take(b, rows, channels);
    sa2_hift_upsample(b->device.stream, &b->vocoder.generator, stage, y, x, (sa2_rows){1, offsets},
                      false);
    return judge(run, b, "x", y, err);
}

/* The block that the note names: "resblocks.4". */
static sa2_status run_resblock(sa2_check_run *run, bench *b, sa2_error *err)
{
    static const char list[] = "resblocks.";
    const char *note = sa2_golden_text(run->golden, "note");
    const char *at = note != NULL ? strstr(note, list) : NULL;
    int index = at != NULL ? atoi(at + sizeof list - 1) : -1;
    if (index < 0 || index >= SA2_VOCODER_STAGES * SA2_VOCODER_RESBLOCKS)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: the note names no block resblocks.0 to %d",
                        sa2_golden_origin(run->golden),
                        SA2_VOCODER_STAGES * SA2_VOCODER_RESBLOCKS - 1);
    const sa2_hift_resblock *block = &b->vocoder.generator.stages[index / SA2_VOCODER_RESBLOCKS]
                                          .blocks[index % SA2_VOCODER_RESBLOCKS];
    sa2_tensor in;
    sa2_status st = expect(run, "x", block->channels, 1, &in, err);
    if (st == SA2_OK)
        st = make_room(b, run, in.shape[0], 1, 3 * sa2_tensor_count(&in), err);
    if (st != SA2_OK)
        return st;
    const int32_t offsets[] = {0, (int32_t)in.shape[0]};
    sa2_tensor x = uploaded(b, in), y = take(b, in.shape[0], in.shape[1]);
    sa2_activate(b->device.stream, y, x, SA2_ACT_SNAKE, 0.0f, block->pairs[0].alpha1);
    st = judge(run, b, "snake", y, err);
    if (st != SA2_OK)
        return st;
    sa2_hift_resblock_forward(b->device.stream, block, x, y, (sa2_rows){1, offsets});
    return judge(run, b, "x", x, err);
}

/* ---- sounds ---- */

/* The generator alone, with the case's source. */
static sa2_status run_vocoder(sa2_check_run *run, bench *b, sa2_error *err)
{
    sa2_tensor in, source;
    sa2_status st = expect(run, "mel", b->vocoder.dims.mel, 1, &in, err);
    if (st != SA2_OK)
        return st;
    int64_t frames = in.shape[0], samples = frames * FRAME;
    st = sa2_golden_expect(run->golden, "source", SA2_F32, 1, (const int64_t[]){samples}, &source,
                           err);
    if (st == SA2_OK)
        st = make_room(b, run, frames, 1, sa2_tensor_count(&in) + 2 * samples, err);
    if (st != SA2_OK)
        return st;
    const int32_t offsets[] = {0, (int32_t)frames};
    sa2_tensor mel = uploaded(b, in), wav = take(b, samples, 0);
    source = uploaded(b, source);
    st = sa2_hift_generator_forward(b->device.stream, &b->vocoder.generator, &b->device.arena, wav,
                                    mel, source, (sa2_rows){1, offsets}, err);
    return st == SA2_OK ? judge(run, b, "wav", wav, err) : st;
}

static sa2_status open_state(bench *b, sa2_vocoder_state *state, sa2_error *err)
{
    return sa2_vocoder_state_init(state, &b->vocoder.dims, 0, &b->device.arena, err);
}

static sa2_status run_zero_noise(sa2_check_run *run, bench *b, sa2_error *err)
{
    sa2_tensor in;
    sa2_vocoder_state state;
    const sa2_vocoder_dims *dims = &b->vocoder.dims;
    sa2_status st = expect(run, "mel", dims->mel, 1, &in, err);
    if (st != SA2_OK)
        return st;
    int64_t frames = in.shape[0], samples = frames * FRAME;
    int64_t floats = sa2_tensor_count(&in) + 2 * samples + frames +
                     (int64_t)(sa2_vocoder_state_bytes(dims) / sizeof(float));
    st = make_room(b, run, frames, 1, floats, err);
    if (st == SA2_OK)
        st = open_state(b, &state, err);
    if (st != SA2_OK)
        return st;
    const sa2_vocoder_chunk chunk = {.state = &state, .frames = (int32_t)frames, .last = true};
    const sa2_vocoder_batch batch = {.n = 1, .chunks = &chunk, .mel = uploaded(b, in)};
    const sa2_vocoder_stages stages = {.f0 = take(b, frames, 1), .source = take(b, samples, 0)};
    sa2_tensor wav = take(b, samples, 0);
    st = sa2_vocoder_forward(b->device.stream, &b->vocoder, &b->device.arena, wav, &batch, &stages,
                             err);
    if (st == SA2_OK)
        st = judge(run, b, "f0", sa2_tensor_1d(stages.f0.data, SA2_F32, frames), err);
    if (st == SA2_OK)
        st = judge(run, b, "source", stages.source, err);
    return st == SA2_OK ? judge(run, b, "wav", wav, err) : st;
}

/* Samples of a chunk as they are and as 16 bits. */
static sa2_status judge_chunk(sa2_check_run *run, bench *b, int k, sa2_tensor found, sa2_error *err)
{
    char name[32];
    int64_t n = found.shape[0];
    float *samples = malloc((size_t)n * sizeof *samples + 1);
    int16_t *s16 = malloc((size_t)n * sizeof *s16 + 1);
    int32_t *pcm = malloc((size_t)n * sizeof *pcm + 1);
    sa2_status st = SA2_OK;
    if (samples == NULL || s16 == NULL || pcm == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "no memory for %lld samples", (long long)n);
        goto cleanup;
    }
    sa2_download(b->device.stream, samples, found);
    st = sa2_stream_finish(b->device.stream, err);
    if (st != SA2_OK)
        goto cleanup;
    snprintf(name, sizeof name, "samples.%d", k);
    sa2_check_judge(run, name, SA2_F32, sa2_tensor_1d(samples, SA2_F32, n));
    sa2_audio_to_s16(s16, samples, n);
    for (int64_t i = 0; i < n; i++)
        pcm[i] = s16[i];
    snprintf(name, sizeof name, "pcm.%d", k);
    sa2_check_judge(run, name, SA2_F32, sa2_tensor_1d(pcm, SA2_I32, n));

cleanup:
    free(samples);
    free(s16);
    free(pcm);
    return st;
}

static sa2_status run_chunk(sa2_check_run *run, bench *b, sa2_vocoder_state *state, int k,
                            bool last, sa2_tensor in, sa2_error *err)
{
    size_t mark = sa2_arena_mark(&b->device.arena);
    const sa2_vocoder_chunk chunk = {.state = state, .frames = (int32_t)in.shape[0], .last = last};
    int64_t samples = sa2_vocoder_samples(&chunk);
    sa2_tensor out = take(b, samples > 0 ? samples : 0, 0);
    const sa2_vocoder_batch batch = {.n = 1, .chunks = &chunk, .mel = uploaded(b, in)};
    sa2_status st = sa2_vocoder_forward(b->device.stream, &b->vocoder, &b->device.arena, out,
                                        &batch, NULL, err);
    if (st == SA2_OK)
        st = judge_chunk(run, b, k, out, err);
    sa2_arena_rewind(&b->device.arena, mark);
    return st;
}

static const char *name_of(char name[32], int k)
{
    snprintf(name, 32, "mel.%d", k);
    return name;
}

static sa2_status run_stream(sa2_check_run *run, bench *b, sa2_error *err)
{
    const sa2_vocoder_dims *dims = &b->vocoder.dims;
    char name[32];
    int n = 0;
    int64_t longest = 0;
    sa2_vocoder_state state;
    sa2_status st = SA2_OK;
    while (st == SA2_OK && n < MOST_CHUNKS &&
           (n == 0 || sa2_golden_input(run->golden, name_of(name, n)).data != NULL)) {
        sa2_tensor in;
        st = expect(run, name_of(name, n++), dims->mel, 0, &in, err);
        if (st == SA2_OK && in.shape[0] > longest)
            longest = in.shape[0];
    }
    int64_t floats = (longest + SA2_VOCODER_KEPT_FRAMES) * (dims->mel + FRAME) +
                     (int64_t)(sa2_vocoder_state_bytes(dims) / sizeof(float));
    if (st == SA2_OK)
        st = make_room(b, run, longest, 1, floats, err);
    if (st == SA2_OK)
        st = open_state(b, &state, err);
    for (int k = 0; st == SA2_OK && k < n; k++)
        st = run_chunk(run, b, &state, k, k == n - 1,
                       sa2_golden_input(run->golden, name_of(name, k)), err);
    return st;
}

/* ---- dispatch ---- */

static sa2_status with_vocoder(sa2_check_run *run,
                               sa2_status (*part)(sa2_check_run *run, bench *b, sa2_error *err),
                               sa2_error *err)
{
    bench b;
    sa2_status st = open_vocoder(&b, run, err);
    if (st == SA2_OK)
        st = part(run, &b, err);
    close_bench(&b);
    return st;
}

static sa2_status check_f0(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_f0, err);
}

static sa2_status check_source(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_source, err);
}

static sa2_status check_stft(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_stft, err);
}

static sa2_status check_istft(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_istft, err);
}

static sa2_status check_upsample(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_upsample, err);
}

static sa2_status check_resblock(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_resblock, err);
}

static sa2_status check_vocoder(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_vocoder, err);
}

static sa2_status check_zero_noise(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_zero_noise, err);
}

static sa2_status check_stream(sa2_check_run *run, sa2_error *err)
{
    return with_vocoder(run, run_stream, err);
}

const sa2_check_part sa2_check_vocoder_parts[] = {
    {"f0", check_f0},
    {"source", check_source},
    {"stft16", check_stft},
    {"istft16", check_istft},
    {"hift_upsample", check_upsample},
    {"hift_resblock", check_resblock},
    {"vocoder", check_vocoder},
    {"vocoder_zero_noise", check_zero_noise},
    {"vocoder_stream", check_stream},
    {0},
};
