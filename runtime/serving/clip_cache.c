#include "runtime/serving/clip_cache.h"

#include <assert.h>
#include <string.h>

#include "runtime/serving/clock.h"

enum {
    MAX_ENTRIES = 256,
    FULL_CLIPS = 2, /* of 25 s in one forward of the encoder */
};

typedef struct entry {
    sa2_sequence_group *group;
    int clip;         /* of the group */
    int first_row, n; /* rows of the tensor */
    int64_t step;     /* that needed it last */
    bool encoded;
} entry;

struct sa2_clip_cache {
    sa2_clip_cache_options options;
    sa2_mel_plan mel;
    sa2_tensor rows;            /* [n, hidden] f32 */
    entry entries[MAX_ENTRIES]; /* by rising first_row */
    int n_entries;
    int64_t step;
};

/* ---- sizes ---- */

/* The longest clip. */
static sa2_audio_lengths longest_clip(const sa2_clip_cache_options *o)
{
    return sa2_audio_lengths_of(SA2_AUDIO_CHUNK, o->rule);
}

static int64_t frames_at_once(const sa2_clip_cache_options *o)
{
    return FULL_CLIPS * longest_clip(o).frames;
}

static int64_t pooled_at_once(const sa2_clip_cache_options *o)
{
    return frames_at_once(o) / 4 + SA2_MAX_CLIPS;
}

static int64_t adapted_at_once(const sa2_clip_cache_options *o)
{
    return pooled_at_once(o) / o->model->config.adaptor.stride + SA2_MAX_CLIPS;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

int sa2_clip_cache_rows(const sa2_clip_cache_options *o)
{
    return o->max_rows + 2 * (int)longest_clip(o).tokens;
}

size_t sa2_clip_cache_work_bytes(const sa2_clip_cache_options *o)
{
    const sa2_model_config *c = &o->model->config;
    sa2_mel_config mel = sa2_mel_of_encoder(c->encoder.mel_bins);
    size_t values = (size_t)frames_at_once(o) * (size_t)c->encoder.mel_bins +
                    (size_t)pooled_at_once(o) * (size_t)c->encoder.width +
                    (size_t)adapted_at_once(o) * (size_t)c->decoder.hidden;
    size_t inner =
        larger(sa2_mel_work_bytes(&mel, SA2_AUDIO_CHUNK),
               larger(sa2_audio_encoder_work_bytes(&c->encoder, o->activations, frames_at_once(o),
                                                   SA2_MAX_CLIPS),
                      sa2_adaptor_work_bytes(c, o->activations, pooled_at_once(o), SA2_MAX_CLIPS)));
    return values * sizeof(float) + 3 * SA2_ARENA_ALIGN + inner;
}

size_t sa2_clip_cache_scratch_bytes(const sa2_clip_cache_options *o)
{
    const sa2_model_config *c = &o->model->config;
    return larger(sa2_audio_encoder_scratch_bytes(&c->encoder, o->activations, frames_at_once(o),
                                                  SA2_MAX_CLIPS),
                  sa2_adaptor_scratch_bytes(c, o->activations, pooled_at_once(o), SA2_MAX_CLIPS));
}

size_t sa2_clip_cache_device_bytes(const sa2_clip_cache_options *o, const sa2_stream *s)
{
    sa2_mel_config mel = sa2_mel_of_encoder(o->model->config.encoder.mel_bins);
    size_t row = (size_t)o->model->config.decoder.hidden * sizeof(float);
    return sa2_arena_round((size_t)sa2_clip_cache_rows(o) * row) +
           sa2_arena_round(sa2_mel_plan_bytes(s, &mel));
}

size_t sa2_clip_cache_host_bytes(const sa2_clip_cache_options *o)
{
    (void)o;
    return sa2_arena_round(sizeof(sa2_clip_cache));
}

sa2_status sa2_clip_cache_create(sa2_clip_cache **cache, const sa2_clip_cache_options *o,
                                 sa2_stream *s, sa2_arena *device, sa2_arena *host, sa2_error *err)
{
    sa2_clip_cache *c = sa2_arena_take(host, sizeof *c);
    int64_t n = sa2_clip_cache_rows(o), hidden = o->model->config.decoder.hidden;
    void *rows = sa2_arena_take(device, (size_t)(n * hidden) * sizeof(float));
    if (c == NULL || rows == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "rows of sound: no room for %lld", (long long)n);
    *c = (sa2_clip_cache){.options = *o, .rows = sa2_tensor_2d(rows, SA2_F32, n, hidden)};
    sa2_mel_config mel = sa2_mel_of_encoder(o->model->config.encoder.mel_bins);
    sa2_status st = sa2_mel_plan_create(&c->mel, &mel, s, device, err);
    if (st == SA2_OK)
        *cache = c;
    return st;
}

/* ---- room ---- */

void sa2_clip_cache_begin(sa2_clip_cache *c)
{
    c->step++;
}

static void remove_entry(sa2_clip_cache *c, int i)
{
    memmove(&c->entries[i], &c->entries[i + 1],
            (size_t)(c->n_entries - i - 1) * sizeof c->entries[0]);
    c->n_entries--;
}

static int find_entry(const sa2_clip_cache *c, const sa2_sequence_group *group, int clip)
{
    for (int i = 0; i < c->n_entries; i++)
        if (c->entries[i].group == group && c->entries[i].clip == clip)
            return i;
    return -1;
}

/* The index at which an entry of n rows can be put in; -1: nowhere. */
static int find_gap(const sa2_clip_cache *c, int n, int *first_row)
{
    if (c->n_entries == MAX_ENTRIES)
        return -1;
    int begin = 0;
    for (int i = 0; i <= c->n_entries; i++) {
        int end = i < c->n_entries ? c->entries[i].first_row : (int)c->rows.shape[0];
        if (end - begin >= n) {
            *first_row = begin;
            return i;
        }
        if (i < c->n_entries)
            begin = end + c->entries[i].n;
    }
    return -1;
}

/* Gives up the entry that was not needed for longest, unless this step needs them all. */
static bool evict(sa2_clip_cache *c)
{
    int oldest = -1;
    for (int i = 0; i < c->n_entries; i++)
        if (c->entries[i].step < c->step &&
            (oldest < 0 || c->entries[i].step < c->entries[oldest].step))
            oldest = i;
    if (oldest >= 0)
        remove_entry(c, oldest);
    return oldest >= 0;
}

static bool promise_clip(sa2_clip_cache *c, sa2_sequence_group *group, int clip)
{
    int n = group->audio[clip].n, first_row = 0, i = find_entry(c, group, clip);
    if (i >= 0) {
        c->entries[i].step = c->step;
        return true;
    }
    while ((i = find_gap(c, n, &first_row)) < 0)
        if (!evict(c))
            return false;
    memmove(&c->entries[i + 1], &c->entries[i], (size_t)(c->n_entries - i) * sizeof c->entries[0]);
    c->entries[i] = (entry){group, clip, first_row, n, c->step, false};
    c->n_entries++;
    return true;
}

/* The first clip that does not end before `position`. */
static int clip_from(const sa2_sequence_group *group, int position)
{
    int low = 0, high = group->n_audio;
    while (low < high) {
        int middle = (low + high) / 2;
        if (group->audio[middle].first + group->audio[middle].n <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int sa2_clip_cache_promise(void *cache, sa2_sequence_group *group, int first, int n)
{
    for (int i = clip_from(group, first); i < group->n_audio; i++) {
        int begin = group->audio[i].first;
        if (begin >= first + n)
            break;
        if (!promise_clip(cache, group, i))
            return begin > first ? begin - first : 0;
    }
    return n;
}

int sa2_clip_cache_find(const sa2_clip_cache *c, const sa2_sequence_group *group, int first, int n,
                        int32_t *rows, int32_t *places)
{
    int found = 0;
    for (int i = clip_from(group, first); i < group->n_audio; i++) {
        const sa2_kv_audio *audio = &group->audio[i];
        if (audio->first >= first + n)
            break;
        int known = find_entry(c, group, i);
        assert(known >= 0 && c->entries[known].encoded);
        int first_row = c->entries[known].first_row;
        int from = audio->first > first ? audio->first : first;
        int to = audio->first + audio->n < first + n ? audio->first + audio->n : first + n;
        for (int p = from; p < to; p++) {
            rows[found] = first_row + p - audio->first;
            places[found++] = p - first;
        }
    }
    return found;
}

sa2_tensor sa2_clip_cache_tensor(const sa2_clip_cache *c)
{
    return c->rows;
}

void sa2_clip_cache_passed(sa2_clip_cache *c, const sa2_sequence_group *group, int end)
{
    for (int i = c->n_entries - 1; i >= 0; i--) {
        const entry *e = &c->entries[i];
        if (e->group == group && group->audio[e->clip].first + e->n <= end)
            remove_entry(c, i);
    }
}

/* ---- encoding ---- */

/* Clips of one forward. */
typedef struct batch {
    int n;
    int64_t frames, pooled, adapted;
    entry *entries[SA2_MAX_CLIPS];
    const float *samples[SA2_MAX_CLIPS];
    int64_t n_samples[SA2_MAX_CLIPS];
    int32_t mel_offsets[SA2_MAX_CLIPS + 1], pooled_offsets[SA2_MAX_CLIPS + 1];
} batch;

static const sa2_clip *clip_of(const entry *e)
{
    return &((const sa2_job *)e->group)->clips[e->clip];
}

static bool add_clip(const sa2_clip_cache *c, batch *b, entry *e)
{
    const sa2_clip *clip = clip_of(e);
    sa2_audio_lengths lengths = sa2_audio_lengths_of(clip->n_samples, c->options.rule);
    if (b->n == SA2_MAX_CLIPS || b->frames + lengths.frames > frames_at_once(&c->options))
        return false;
    b->entries[b->n] = e;
    b->samples[b->n] = clip->samples;
    b->n_samples[b->n++] = clip->n_samples;
    b->frames += lengths.frames;
    b->pooled += lengths.pooled;
    b->pooled_offsets[b->n] = (int32_t)b->pooled;
    b->adapted += sa2_adaptor_rows(&c->options.model->config.adaptor, lengths.pooled);
    return true;
}

/* Samples -> mel -> encoder -> adaptor -> the first rows of each clip. */
static sa2_status run_batch(sa2_clip_cache *c, batch *b, sa2_stream *s, sa2_arena *work,
                            sa2_error *err)
{
    const sa2_model *m = c->options.model;
    int64_t bins = m->config.encoder.mel_bins, width = m->config.encoder.width;
    int64_t hidden = m->config.decoder.hidden;
    size_t mark = sa2_arena_mark(work);
    void *mel_data = sa2_arena_take(work, (size_t)(b->frames * bins) * sizeof(float));
    void *pooled_data = sa2_arena_take(work, (size_t)(b->pooled * width) * sizeof(float));
    void *adapted_data = sa2_arena_take(work, (size_t)(b->adapted * hidden) * sizeof(float));
    assert(mel_data != NULL && pooled_data != NULL && adapted_data != NULL); /* planned */
    sa2_tensor mel = sa2_tensor_2d(mel_data, SA2_F32, b->frames, bins);
    sa2_tensor pooled = sa2_tensor_2d(pooled_data, SA2_F32, b->pooled, width);
    sa2_tensor adapted = sa2_tensor_2d(adapted_data, SA2_F32, b->adapted, hidden);

    sa2_clips sounds = {b->n, b->samples, b->n_samples};
    sa2_audio_clips clips = {
        .n = b->n, .mel_offsets = b->mel_offsets, .see_all = c->options.rule == SA2_LENGTH_VLLM};
    sa2_rows rows = {b->n, b->pooled_offsets};
    sa2_dtype dtype = c->options.activations;
    sa2_status st = sa2_mel_forward(s, &c->mel, work, mel, sounds, b->mel_offsets, err);
    if (st == SA2_OK)
        st = sa2_audio_encoder_forward(s, &m->encoder, dtype, work, pooled, mel, &clips, NULL, err);
    if (st == SA2_OK)
        st = sa2_adaptor_forward(s, &m->adaptor, dtype, work, adapted, pooled, rows, err);
    int64_t row = 0;
    for (int i = 0; i < b->n; i++) {
        entry *e = b->entries[i];
        sa2_copy(s, sa2_tensor_rows(c->rows, e->first_row, e->n),
                 sa2_tensor_rows(adapted, row, e->n));
        row +=
            sa2_adaptor_rows(&m->config.adaptor, b->pooled_offsets[i + 1] - b->pooled_offsets[i]);
    }
    sa2_arena_rewind(work, mark);
    return st == SA2_OK ? sa2_stream_finish(s, err) : st;
}

static void mark_encoded(entry *e)
{
    e->encoded = true;
    ((sa2_job *)e->group)->timings.encoded_ms = sa2_now_ms();
}

sa2_status sa2_clip_cache_encode(sa2_clip_cache *c, sa2_stream *s, sa2_arena *work, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; i < c->n_entries && st == SA2_OK;) {
        batch b = {0};
        for (; i < c->n_entries; i++) {
            entry *e = &c->entries[i];
            if (e->encoded || e->step < c->step)
                continue;
            if (clip_of(e)->rows != NULL) {
                sa2_upload(s, sa2_tensor_rows(c->rows, e->first_row, e->n), clip_of(e)->rows);
                mark_encoded(e);
            } else if (!add_clip(c, &b, e)) {
                break;
            }
        }
        if (b.n > 0)
            st = run_batch(c, &b, s, work, err);
        for (int k = 0; k < b.n && st == SA2_OK; k++)
            mark_encoded(b.entries[k]);
    }
    return st == SA2_OK ? st : sa2_wrap(err, st, "encoding sound");
}
