#include "runtime/serving/step.h"

#include <string.h>

struct sa2_step {
    sa2_step_options options;
    sa2_kv_cache_view *kv; /* [layers] */
    int max_pages;         /* of a sequence */

    /* Host. */
    int32_t *ids, *positions;                         /* [max_rows] */
    int32_t *offsets, *first_position, *block_table;  /* [n + 1], [n], [n, max_pages] */
    int32_t *sound_rows, *sound_places, *logits_rows; /* [max_rows] twice, [n] */
    float *logits;                                    /* [n, vocab] */

    /* The same on the device, and what only is there. */
    sa2_tensor d_ids, d_positions, d_sound_rows, d_sound_places, d_logits_rows;
    sa2_tensor d_sound;  /* [max_rows, hidden] f32 */
    sa2_tensor d_logits; /* [n, vocab] f32 */
};

/* ---- memory ---- */

/* Hands out of an arena, or only measures. */
typedef struct taker {
    sa2_arena *arena;
    size_t bytes;
    bool full;
} taker;

static void *take(taker *t, size_t n, size_t size)
{
    t->bytes += sa2_arena_round(n * size);
    void *block = t->arena != NULL ? sa2_arena_take(t->arena, n * size) : NULL;
    t->full = t->full || (t->arena != NULL && block == NULL);
    return block;
}

static int pages_of(const sa2_step_options *o)
{
    return (o->max_positions + o->page_size - 1) / o->page_size;
}

static void take_host(taker *t, sa2_step *step, const sa2_step_options *o)
{
    size_t rows = (size_t)o->max_rows, n = (size_t)o->max_sequences;
    step->kv = take(t, (size_t)o->model->config.decoder.layers, sizeof *step->kv);
    step->ids = take(t, rows, sizeof(int32_t));
    step->positions = take(t, rows, sizeof(int32_t));
    step->offsets = take(t, n + 1, sizeof(int32_t));
    step->first_position = take(t, n, sizeof(int32_t));
    step->block_table = take(t, n * (size_t)pages_of(o), sizeof(int32_t));
    step->sound_rows = take(t, rows, sizeof(int32_t));
    step->sound_places = take(t, rows, sizeof(int32_t));
    step->logits_rows = take(t, n, sizeof(int32_t));
    step->logits = take(t, n * (size_t)o->model->config.decoder.vocab, sizeof(float));
}

static void take_device(taker *t, sa2_step *step, const sa2_step_options *o)
{
    const sa2_decoder_config *c = &o->model->config.decoder;
    size_t rows = (size_t)o->max_rows, n = (size_t)o->max_sequences;
    step->d_ids = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_positions = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_sound_rows = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_sound_places = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_logits_rows = sa2_tensor_1d(take(t, n, 4), SA2_I32, o->max_sequences);
    step->d_sound = sa2_tensor_2d(take(t, rows * (size_t)c->hidden, sizeof(float)), SA2_F32,
                                  o->max_rows, c->hidden);
    step->d_logits = sa2_tensor_2d(take(t, n * (size_t)c->vocab, sizeof(float)), SA2_F32,
                                   o->max_sequences, c->vocab);
}

static sa2_kv_cache_view view_of(const sa2_step_options *o)
{
    const sa2_decoder_config *c = &o->model->config.decoder;
    return (sa2_kv_cache_view){.n_pages = o->n_pages,
                               .page_size = o->page_size,
                               .kv_heads = c->kv_heads,
                               .head_dim = c->head_dim,
                               .dtype = o->activations};
}

size_t sa2_step_kv_page_bytes(const sa2_step_options *o, const sa2_stream *s)
{
    sa2_kv_cache_view view = view_of(o);
    return (size_t)o->model->config.decoder.layers * sa2_kv_page_bytes(s, &view);
}

size_t sa2_step_device_bytes(const sa2_step_options *o)
{
    sa2_step step;
    taker t = {0};
    take_device(&t, &step, o);
    return t.bytes;
}

size_t sa2_step_host_bytes(const sa2_step_options *o)
{
    sa2_step step;
    taker t = {0};
    take(&t, 1, sizeof step);
    take_host(&t, &step, o);
    return t.bytes;
}

size_t sa2_step_work_bytes(const sa2_step_options *o)
{
    return sa2_decoder_work_bytes(&o->model->config.decoder, o->activations, o->max_rows,
                                  o->max_sequences);
}

size_t sa2_step_scratch_bytes(const sa2_step_options *o)
{
    const sa2_decoder_config *c = &o->model->config.decoder;
    return sa2_attention_scratch_bytes(o->max_rows, c->heads, c->head_dim, o->max_positions);
}

sa2_status sa2_step_create(sa2_step **step, const sa2_step_options *o, const sa2_stream *s,
                           sa2_arena *pages, sa2_arena *device, sa2_arena *host, sa2_error *err)
{
    taker from_host = {.arena = host}, from_device = {.arena = device},
          from_pages = {.arena = pages};
    sa2_step *made = take(&from_host, 1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "step: %zu bytes needed", sizeof *made);
    *made = (sa2_step){.options = *o, .max_pages = pages_of(o)};
    take_host(&from_host, made, o);
    take_device(&from_device, made, o);
    sa2_kv_cache_view view = view_of(o);
    for (int i = 0; i < o->model->config.decoder.layers && !from_host.full; i++) {
        made->kv[i] = view;
        made->kv[i].pages = take(&from_pages, (size_t)o->n_pages, sa2_kv_page_bytes(s, &view));
    }
    if (from_host.full || from_device.full || from_pages.full)
        return sa2_fail(err, SA2_ERR_NOMEM, "step: %zu bytes of host, %zu of the device needed",
                        from_host.bytes, from_device.bytes);
    *step = made;
    return SA2_OK;
}

/* ---- a step ---- */

/* What the plan says, as arrays; returns the rows of sound among them. */
static int gather(sa2_step *step, const sa2_clip_cache *clips, const sa2_step_plan *plan)
{
    int row = 0, n_sound = 0, n_logits = 0;
    step->offsets[0] = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        const sa2_kv_sequence *kv = part->sequence->kv;
        memcpy(step->ids + row, part->sequence->ids + part->first,
               (size_t)part->n * sizeof *step->ids);
        for (int k = 0; k < part->n; k++)
            step->positions[row + k] = part->first + k;
        step->first_position[i] = part->first;
        memcpy(step->block_table + (size_t)i * (size_t)step->max_pages, kv->pages,
               (size_t)kv->n_pages * sizeof *kv->pages);
        int found = sa2_clip_cache_find(clips, part->group, part->first, part->n,
                                        step->sound_rows + n_sound, step->sound_places + n_sound);
        for (int k = 0; k < found; k++)
            step->sound_places[n_sound + k] += row;
        n_sound += found;
        row += part->n;
        step->offsets[i + 1] = row;
        if (part->logits)
            step->logits_rows[n_logits++] = row - 1;
    }
    return n_sound;
}

static sa2_tensor upload(sa2_stream *s, sa2_tensor to, const int32_t *from, int n)
{
    sa2_tensor part = sa2_tensor_rows(to, 0, n);
    if (n > 0)
        sa2_upload(s, part, from);
    return part;
}

sa2_status sa2_step_run(sa2_step *step, sa2_stream *s, sa2_arena *work, const sa2_clip_cache *clips,
                        const sa2_step_plan *plan, sa2_error *err)
{
    const sa2_model *model = step->options.model;
    int n_sound = gather(step, clips, plan);
    sa2_decoder_batch batch = {
        .ids = upload(s, step->d_ids, step->ids, plan->n_rows),
        .positions = upload(s, step->d_positions, step->positions, plan->n_rows),
        .where = {.rows = {plan->n_parts, step->offsets},
                  .first_position = step->first_position,
                  .block_table = step->block_table,
                  .max_pages = step->max_pages},
        .logits_rows = upload(s, step->d_logits_rows, step->logits_rows, plan->n_logits),
        .kv = step->kv,
    };
    if (n_sound > 0) {
        sa2_tensor rows = upload(s, step->d_sound_rows, step->sound_rows, n_sound);
        batch.audio_rows = sa2_tensor_rows(step->d_sound, 0, n_sound);
        sa2_embedding(s, batch.audio_rows, sa2_clip_cache_tensor(clips), rows);
        batch.audio_places = upload(s, step->d_sound_places, step->sound_places, n_sound);
    }
    for (int i = 0; i < model->config.decoder.layers && plan->n_copies > 0; i++)
        sa2_kv_copy(s, &step->kv[i], plan->copies, plan->n_copies);
    sa2_tensor logits = sa2_tensor_rows(step->d_logits, 0, plan->n_logits);
    sa2_status st = sa2_decoder_forward(s, &model->decoder, step->options.activations, work, logits,
                                        (sa2_tensor){0}, &batch, err);
    if (plan->n_logits > 0)
        sa2_download(s, step->logits, logits);
    sa2_status finished = sa2_stream_finish(s, st == SA2_OK ? err : NULL);
    st = st == SA2_OK ? finished : st;
    return st == SA2_OK ? st : sa2_wrap(err, st, "step of %d rows", plan->n_rows);
}

const float *sa2_step_logits(const sa2_step *step, int i)
{
    return step->logits + (size_t)i * (size_t)step->options.model->config.decoder.vocab;
}
