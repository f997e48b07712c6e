#include "runtime/token2wav/vocoder.h"

#include <assert.h>

#include "loader/fold.h"
#include "runtime/work.h"

enum {
    KEPT_FRAMES = SA2_VOCODER_KEPT_FRAMES,
    KEPT = SA2_VOCODER_KEPT,
    FRAME = SA2_VOCODER_FRAME,
    MAX_FRAMES = INT32_MAX / FRAME - KEPT_FRAMES * SA2_VOCODER_SOUNDS, /* offsets of samples fit */
    NOISE_TRACK = 1, /* of the numbers that a seed gives; the flow has track 0 */
};

sa2_status sa2_vocoder_prepare(sa2_tensor_map *map, sa2_vocoder_dims *dims, sa2_error *err)
{
    sa2_status st = sa2_vocoder_dims_find(dims, map, err);
    return st == SA2_OK ? sa2_fold_weight_norm(map, err) : st;
}

void sa2_vocoder_load(sa2_vocoder *vocoder, const sa2_vocoder_dims *dims, sa2_weights *w)
{
    assert(w->dtype == SA2_F32);
    vocoder->dims = *dims;
    sa2_f0_predictor_load(&vocoder->f0, dims, w);
    sa2_harmonic_source_load(&vocoder->source, w);
    sa2_hift_generator_load(&vocoder->generator, dims, w);
}

sa2_status sa2_vocoder_open(sa2_vocoder *vocoder, sa2_backend *backend, sa2_tensor_map *map,
                            sa2_arena *weights, sa2_error *err)
{
    sa2_vocoder_dims dims;
    sa2_stream *stream = NULL;
    *weights = (sa2_arena){0};
    sa2_status st = sa2_vocoder_prepare(map, &dims, err);
    if (st == SA2_OK)
        st = sa2_stream_create(&stream, backend, 0, err);
    if (st != SA2_OK)
        return st;
    sa2_weights measure = {.stream = stream, .map = map, .dtype = SA2_F32, .err = err};
    sa2_vocoder_load(vocoder, &dims, &measure);
    st = sa2_backend_arena_create(backend, weights, measure.bytes, err);
    if (st != SA2_OK)
        goto cleanup;
    sa2_weights w = {.stream = stream, .map = map, .arena = weights, .dtype = SA2_F32, .err = err};
    sa2_vocoder_load(vocoder, &dims, &w);
    st = w.status;
    vocoder->weight_bytes = measure.bytes + measure.mapped;

cleanup:
    sa2_stream_destroy(stream);
    if (st != SA2_OK)
        sa2_backend_arena_destroy(backend, weights);
    return st;
}

/* ---- streams ---- */

static void take_state(sa2_work *work, const sa2_vocoder_dims *dims, sa2_vocoder_state *state)
{
    state->mel = sa2_work_take(work, SA2_F32, KEPT_FRAMES, dims->mel);
    state->source = sa2_tensor_1d(sa2_work_take(work, SA2_F32, KEPT, 1).data, SA2_F32, KEPT);
    state->speech = sa2_tensor_1d(sa2_work_take(work, SA2_F32, KEPT, 1).data, SA2_F32, KEPT);
}

size_t sa2_vocoder_state_bytes(const sa2_vocoder_dims *dims)
{
    sa2_work work = {0};
    sa2_vocoder_state state;
    take_state(&work, dims, &state);
    return work.bytes;
}

sa2_status sa2_vocoder_state_init(sa2_vocoder_state *state, const sa2_vocoder_dims *dims,
                                  uint64_t seed, sa2_arena *arena, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    sa2_vocoder_state made = {.seed = seed};
    take_state(&work, dims, &made);
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "vocoder: %zu bytes for a stream needed, %zu left",
                        work.bytes, arena->bytes - mark);
    }
    *state = made;
    return SA2_OK;
}

void sa2_vocoder_state_reset(sa2_vocoder_state *state, uint64_t seed)
{
    state->frames = 0;
    state->seed = seed;
}

/* Frames that go through the model before the new ones. */
static int32_t kept_frames(const sa2_vocoder_state *state)
{
    return state->frames > 0 ? KEPT_FRAMES : 0;
}

int64_t sa2_vocoder_samples(const sa2_vocoder_chunk *chunk)
{
    int64_t made = ((int64_t)kept_frames(chunk->state) + chunk->frames) * FRAME;
    return chunk->last ? made : made - KEPT;
}

/* ---- what a batch must be ---- */

static sa2_status judge_chunk(const sa2_vocoder_batch *batch, int i, sa2_error *err)
{
    const sa2_vocoder_chunk *chunk = &batch->chunks[i];
    bool first = chunk->state->frames == 0;
    int least = chunk->last ? (first ? 1 : 0) : (first ? KEPT_FRAMES : 1);
    if (chunk->frames < least)
        return sa2_fail(err, SA2_ERR_ARG,
                        "vocoder: %s%schunk %d has %d frames, %d or more expected",
                        first ? "first " : "", chunk->last ? "last " : "", i, chunk->frames, least);
    for (int j = 0; j < i; j++)
        if (batch->chunks[j].state == chunk->state)
            return sa2_fail(err, SA2_ERR_ARG, "vocoder: chunks %d and %d are of one stream", j, i);
    return SA2_OK;
}

static sa2_status judge_batch(const sa2_vocoder *v, const sa2_vocoder_batch *batch,
                              const sa2_tensor *out, sa2_error *err)
{
    if (batch->n < 1 || batch->n > SA2_VOCODER_SOUNDS)
        return sa2_fail(err, SA2_ERR_ARG, "vocoder: %d chunks, 1 to %d expected", batch->n,
                        SA2_VOCODER_SOUNDS);
    int64_t frames = 0, samples = 0;
    for (int i = 0; i < batch->n; i++) {
        sa2_status st = judge_chunk(batch, i, err);
        if (st != SA2_OK)
            return st;
        frames += batch->chunks[i].frames;
        samples += sa2_vocoder_samples(&batch->chunks[i]);
    }
    if (frames > MAX_FRAMES)
        return sa2_fail(err, SA2_ERR_LIMIT, "vocoder: %lld frames, at most %d at a time",
                        (long long)frames, MAX_FRAMES);
    char found[96], given[96];
    if (batch->mel.ndim != 2 || batch->mel.dtype != SA2_F32 || batch->mel.shape[0] != frames ||
        batch->mel.shape[1] != v->dims.mel || out->ndim != 1 || out->dtype != SA2_F32 ||
        out->shape[0] != samples)
        return sa2_fail(err, SA2_ERR_ARG,
                        "vocoder: mel f32 [%lld, %d] and out f32 [%lld] expected, %s and %s given",
                        (long long)frames, v->dims.mel, (long long)samples,
                        sa2_tensor_describe(&batch->mel, given, sizeof given),
                        sa2_tensor_describe(out, found, sizeof found));
    return SA2_OK;
}

/* ---- forward ---- */

typedef struct activations {
    sa2_tensor mel;    /* [frames, mel], kept ones included */
    sa2_tensor f0;     /* [frames, 1] */
    sa2_tensor source; /* [480 frames] */
    sa2_tensor wav;    /* [480 frames] */
} activations;

static activations take_activations(sa2_work *work, const sa2_vocoder_dims *dims, int64_t frames)
{
    return (activations){
        .mel = sa2_work_take(work, SA2_F32, frames, dims->mel),
        .f0 = sa2_work_take(work, SA2_F32, frames, 1),
        .source = sa2_tensor_1d(sa2_work_take(work, SA2_F32, frames * FRAME, 1).data, SA2_F32,
                                frames * FRAME),
        .wav = sa2_tensor_1d(sa2_work_take(work, SA2_F32, frames * FRAME, 1).data, SA2_F32,
                             frames * FRAME),
    };
}

static sa2_tensor take_noise(sa2_work *work, int64_t frames)
{
    return sa2_work_take(work, SA2_F32, frames * FRAME, SA2_VOCODER_HARMONICS);
}

size_t sa2_vocoder_work_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n)
{
    sa2_work work = {0}, noise = {0};
    frames += (int64_t)n * KEPT_FRAMES;
    take_activations(&work, dims, frames);
    take_noise(&noise, frames);
    size_t parts[] = {sa2_f0_predictor_work_bytes(dims, frames), noise.bytes,
                      sa2_hift_generator_work_bytes(dims, frames, n)};
    size_t most = 0; /* they run one after the other */
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        most = parts[i] > most ? parts[i] : most;
    return work.bytes + most;
}

size_t sa2_vocoder_scratch_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n)
{
    frames += (int64_t)n * KEPT_FRAMES;
    size_t parts[] = {sa2_f0_predictor_scratch_bytes(dims, frames, n),
                      sa2_harmonics_scratch_bytes(frames, SA2_VOCODER_HARMONICS),
                      sa2_hift_generator_scratch_bytes(dims, frames, n)};
    size_t most = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        most = parts[i] > most ? parts[i] : most;
    return most;
}

/* Kept frames, then new ones, stream by stream. */
static void join_mel(sa2_stream *s, sa2_tensor mel, const sa2_vocoder_batch *batch, sa2_rows frames)
{
    int64_t given = 0;
    for (int i = 0; i < batch->n; i++) {
        const sa2_vocoder_chunk *chunk = &batch->chunks[i];
        int64_t at = frames.offsets[i], kept = kept_frames(chunk->state);
        if (kept > 0)
            sa2_copy(s, sa2_tensor_rows(mel, at, kept), chunk->state->mel);
        sa2_copy(s, sa2_tensor_rows(mel, at + kept, chunk->frames),
                 sa2_tensor_rows(batch->mel, given, chunk->frames));
        given += chunk->frames;
    }
}

/* The numbers of a stream follow its samples, whatever its chunks. */
static void make_noise(sa2_stream *s, sa2_tensor noise, const sa2_vocoder_batch *batch,
                       sa2_rows frames)
{
    for (int i = 0; i < batch->n; i++) {
        const sa2_vocoder_state *state = batch->chunks[i].state;
        int64_t first = (state->frames - kept_frames(state)) * FRAME;
        int64_t rows = (int64_t)(frames.offsets[i + 1] - frames.offsets[i]) * FRAME;
        sa2_normal(s, sa2_tensor_rows(noise, (int64_t)frames.offsets[i] * FRAME, rows), state->seed,
                   NOISE_TRACK, first * SA2_VOCODER_HARMONICS);
    }
}

static sa2_status run_source(sa2_stream *s, const sa2_vocoder *v, sa2_arena *arena,
                             const activations *a, const sa2_vocoder_batch *batch, sa2_rows frames,
                             sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_status st = sa2_f0_predictor_forward(s, &v->f0, arena, a->f0, a->mel, frames, err);
    if (st != SA2_OK)
        return st;
    sa2_tensor noise = {0};
    if (batch->noise) {
        sa2_work work = {.arena = arena};
        noise = take_noise(&work, frames.offsets[frames.n]);
        if (work.full)
            return sa2_fail(err, SA2_ERR_NOMEM, "vocoder: %zu bytes for noise needed, %zu left",
                            work.bytes, arena->bytes - mark);
        make_noise(s, noise, batch, frames);
    }
    sa2_harmonic_source_forward(s, &v->source, a->source, a->f0, frames, noise);
    sa2_arena_rewind(arena, mark);
    for (int i = 0; i < batch->n; i++) /* what was heard of it before goes on */
        if (kept_frames(batch->chunks[i].state) > 0)
            sa2_copy(s, sa2_tensor_rows(a->source, (int64_t)frames.offsets[i] * FRAME, KEPT),
                     batch->chunks[i].state->source);
    return SA2_OK;
}

/* Fades chunk i in, gives its samples out and keeps its end. */
static void finish_chunk(sa2_stream *s, const sa2_vocoder_chunk *chunk, sa2_tensor out,
                         sa2_tensor mel, sa2_tensor source, sa2_tensor wav)
{
    sa2_vocoder_state *state = chunk->state;
    if (kept_frames(state) > 0) {
        sa2_tensor begin = sa2_tensor_rows(wav, 0, KEPT);
        sa2_cross_fade(s, begin, begin, state->speech);
    }
    if (out.shape[0] > 0)
        sa2_copy(s, out, sa2_tensor_rows(wav, 0, out.shape[0]));
    if (!chunk->last) {
        sa2_copy(s, state->mel, sa2_tensor_rows(mel, mel.shape[0] - KEPT_FRAMES, KEPT_FRAMES));
        sa2_copy(s, state->source, sa2_tensor_rows(source, source.shape[0] - KEPT, KEPT));
        sa2_copy(s, state->speech, sa2_tensor_rows(wav, wav.shape[0] - KEPT, KEPT));
    }
    state->frames = chunk->last ? 0 : state->frames + chunk->frames;
}

static void finish_chunks(sa2_stream *s, const sa2_vocoder_batch *batch, const activations *a,
                          sa2_rows frames, sa2_tensor out)
{
    int64_t given = 0;
    for (int i = 0; i < batch->n; i++) {
        int64_t first = frames.offsets[i], n = frames.offsets[i + 1] - first;
        int64_t samples = sa2_vocoder_samples(&batch->chunks[i]);
        finish_chunk(s, &batch->chunks[i], sa2_tensor_rows(out, given, samples),
                     sa2_tensor_rows(a->mel, first, n),
                     sa2_tensor_rows(a->source, first * FRAME, n * FRAME),
                     sa2_tensor_rows(a->wav, first * FRAME, n * FRAME));
        given += samples;
    }
}

static void keep_stages(sa2_stream *s, const sa2_vocoder_stages *stages, const activations *a)
{
    if (stages == NULL)
        return;
    if (stages->f0.data != NULL)
        sa2_copy(s, stages->f0, a->f0);
    if (stages->source.data != NULL)
        sa2_copy(s, stages->source, a->source);
}

sa2_status sa2_vocoder_forward(sa2_stream *s, const sa2_vocoder *v, sa2_arena *arena,
                               sa2_tensor out, const sa2_vocoder_batch *batch,
                               const sa2_vocoder_stages *stages, sa2_error *err)
{
    sa2_status st = judge_batch(v, batch, &out, err);
    if (st != SA2_OK)
        return st;
    sa2_vocoder_rows room = {{0}};
    for (int i = 0; i < batch->n; i++)
        room.offsets[i + 1] =
            room.offsets[i] + kept_frames(batch->chunks[i].state) + batch->chunks[i].frames;
    sa2_rows frames = {batch->n, room.offsets};

    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, &v->dims, sa2_rows_total(frames));
    if (work.full) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "vocoder: %zu bytes of work memory needed, %zu left",
                      work.bytes, arena->bytes - mark);
        goto cleanup;
    }
    join_mel(s, a.mel, batch, frames);
    st = run_source(s, v, arena, &a, batch, frames, err);
    if (st == SA2_OK)
        st = sa2_hift_generator_forward(s, &v->generator, arena, a.wav, a.mel, a.source, frames,
                                        err);
    if (st == SA2_OK) {
        keep_stages(s, stages, &a);
        finish_chunks(s, batch, &a, frames, out);
    }

cleanup:
    sa2_arena_rewind(arena, mark);
    return st;
}
