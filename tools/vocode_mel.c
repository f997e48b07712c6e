/* vocode_mel.c - sa2 vocode --mel: a log-mel spectrogram to sound, the vocoder alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "runtime/token2wav/token2wav_files.h"
#include "runtime/token2wav/vocoder.h"
#include "tools/tensor_file.h"
#include "tools/vocode.h"

enum {
    FRAMES_A_TOKEN = 2, /* 50 a second to 25 */
    MOST_FRAMES = SA2_LIMIT_SOUND_SECONDS * SA2_VOCODER_RATE / SA2_VOCODER_FRAME,
    CHUNK = 25, /* tokens */
};

typedef struct voicing {
    sa2_vocoding *v;
    sa2_vocoder vocoder;
    sa2_tensor_map *map; /* of a native file, weights lie in it */
    sa2_arena weights, memory;
    sa2_stream *stream;
    sa2_vocoder_state state;
    float *mel;     /* [frames, dims.mel] */
    float *samples; /* of a chunk */
    int frames, chunk;
} voicing;

static sa2_status open_vocoder(voicing *g, sa2_error *err)
{
    char place[4096];
    sa2_token2wav_files files = {0};
    sa2_status st = sa2_token2wav_place(place, sizeof place, g->v->flags.model, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_open(&files, place, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_map(&files, &g->map, SA2_VOCODER_FILE, err);
    sa2_token2wav_files_close(&files);
    return st == SA2_OK ? sa2_vocoder_open(&g->vocoder, g->v->backend, g->map, &g->weights, err)
                        : st;
}

static sa2_status read_mel(voicing *g, sa2_error *err)
{
    void *values;
    sa2_tensor form = sa2_tensor_2d(NULL, SA2_F32, -1, g->vocoder.dims.mel);
    sa2_status st = sa2_tensor_file_read(g->v->mel, "mel", &form, &values, err);
    if (st != SA2_OK)
        return st;
    g->mel = values;
    if (form.shape[0] > MOST_FRAMES)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: mel: no more than %d frames expected, %lld found",
                        g->v->mel, MOST_FRAMES, (long long)form.shape[0]);
    g->frames = (int)form.shape[0];
    return SA2_OK;
}

/* One chunk is the whole sound unless it is a stream. */
static sa2_status make_room(voicing *g, sa2_error *err)
{
    const sa2_vocoding *v = g->v;
    const sa2_vocoder_dims *dims = &g->vocoder.dims;
    g->chunk = v->stream ? FRAMES_A_TOKEN * (v->chunk > 0 ? v->chunk : CHUNK) : g->frames;
    int first = v->first_chunk > 0 ? FRAMES_A_TOKEN * v->first_chunk : g->chunk;
    int most = first > g->chunk ? first : g->chunk;
    size_t samples = (size_t)(most + SA2_VOCODER_KEPT_FRAMES) * SA2_VOCODER_FRAME * sizeof(float);
    size_t mel = (size_t)most * (size_t)dims->mel * sizeof(float);
    sa2_status st =
        sa2_stream_create(&g->stream, v->backend, sa2_vocoder_scratch_bytes(dims, most, 1), err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(v->backend, &g->memory,
                                      sa2_arena_round(sa2_vocoder_state_bytes(dims)) +
                                          sa2_arena_round(samples) + sa2_arena_round(mel) +
                                          sa2_vocoder_work_bytes(dims, most, 1),
                                      err);
    if (st == SA2_OK)
        st = sa2_vocoder_state_init(&g->state, dims, (uint64_t)v->seed, &g->memory, err);
    g->samples = malloc(samples);
    if (st == SA2_OK && g->samples == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "sound: no memory for %d frames", most);
    return st;
}

/* Frames [from, from + n), and what they sound like. */
static sa2_status make_chunk(voicing *g, int from, int n, sa2_error *err)
{
    const sa2_vocoder_chunk chunk = {
        .state = &g->state, .frames = n, .last = from + n == g->frames};
    int64_t n_samples = sa2_vocoder_samples(&chunk);
    size_t mark = sa2_arena_mark(&g->memory);
    sa2_tensor mel = sa2_tensor_2d(NULL, SA2_F32, n, g->vocoder.dims.mel);
    sa2_tensor sound = sa2_tensor_1d(NULL, SA2_F32, n_samples);
    mel.data = sa2_arena_take(&g->memory, sa2_tensor_bytes(&mel));
    sound.data = sa2_arena_take(&g->memory, sa2_tensor_bytes(&sound));
    const sa2_vocoder_batch batch = {
        .n = 1, .chunks = &chunk, .mel = mel, .noise = !g->v->no_source_noise};
    sa2_upload(g->stream, mel, g->mel + (size_t)from * (size_t)g->vocoder.dims.mel);
    sa2_status st =
        sa2_vocoder_forward(g->stream, &g->vocoder, &g->memory, sound, &batch, NULL, err);
    if (st == SA2_OK)
        sa2_download(g->stream, g->samples, sound);
    sa2_status finished = sa2_stream_finish(g->stream, st == SA2_OK ? err : NULL);
    sa2_arena_rewind(&g->memory, mark);
    st = st != SA2_OK ? st : finished;
    return st == SA2_OK
               ? sa2_vocoding_emit(g->v, g->samples, n_samples, (from + n) / FRAMES_A_TOKEN, err)
               : st;
}

static sa2_status make_sound(voicing *g, sa2_error *err)
{
    sa2_status st = sa2_vocoding_begin(g->v, err);
    int next = g->v->first_chunk > 0 ? FRAMES_A_TOKEN * g->v->first_chunk : g->chunk;
    for (int from = 0, n; st == SA2_OK && from < g->frames; from += n) {
        n = next < g->frames - from ? next : g->frames - from;
        st = make_chunk(g, from, n, err);
        next = g->chunk;
    }
    return st;
}

sa2_status sa2_vocode_mel(sa2_vocoding *v, sa2_error *err)
{
    voicing g = {.v = v};
    sa2_status st = sa2_backend_open(&v->backend, &v->flags.device, err);
    if (st == SA2_OK)
        st = open_vocoder(&g, err);
    if (st == SA2_OK)
        st = read_mel(&g, err);
    v->n_tokens = g.frames / FRAMES_A_TOKEN;
    if (st == SA2_OK)
        st = make_room(&g, err);
    if (st == SA2_OK)
        st = make_sound(&g, err);
    sa2_stream_destroy(g.stream);
    if (v->backend != NULL) {
        sa2_backend_arena_destroy(v->backend, &g.memory);
        sa2_backend_arena_destroy(v->backend, &g.weights);
    }
    sa2_tensor_map_destroy(g.map);
    free(g.samples);
    free(g.mel);
    return st;
}
