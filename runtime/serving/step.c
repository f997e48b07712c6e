#include "runtime/serving/step.h"

#include <string.h>

#include "runtime/serving/step_news.h"

/* A step that was begun. */
typedef struct flight {
    int n_rows;
    bool untold; /* to the other ranks, and so not queued */
    sa2_status status;
    sa2_error err;
} flight;

struct sa2_step {
    sa2_step_options options;
    int64_t widths[SA2_MAX_RANKS]; /* of each rank's logits */
    sa2_kv_cache_view *kv;         /* [layers] */
    int max_pages;                 /* of a sequence */
    flight flights[2];             /* by turn */
    int n_under_way;

    /* Host: of the step that is being queued, which copies what it takes from here. */
    int32_t *ids, *positions;                         /* [max_rows] */
    int32_t *offsets, *first_position, *block_table;  /* [n + 1], [n], [n, max_pages] */
    int32_t *sound_rows, *sound_places, *logits_rows; /* [max_rows] twice, [n] */
    float *logits;                                    /* [n, vocab]; rank 0's */
    sa2_page_copy *copies;                            /* [n] */
    void *message;                                    /* between ranks; NULL: there is one */

    /* The same on the device, and what only is there. */
    sa2_tensor d_ids, d_positions, d_sound_rows, d_sound_places, d_logits_rows;
    sa2_tensor d_sound;  /* [max_rows, hidden] f32 */
    sa2_tensor d_logits; /* [n, vocab of this rank] f32 */
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

/* The decoder as this rank has it. */
static sa2_decoder_config decoder_of(const sa2_step_options *o)
{
    return sa2_shard_config(&o->model->shard, &o->model->config.decoder);
}

static void take_host(taker *t, sa2_step *step, const sa2_step_options *o)
{
    size_t rows = (size_t)o->max_rows, n = (size_t)o->max_sequences;
    bool ranks = o->model->shard.size > 1;
    step->kv = take(t, (size_t)o->model->config.decoder.layers, sizeof *step->kv);
    step->ids = take(t, rows, sizeof(int32_t));
    step->positions = take(t, rows, sizeof(int32_t));
    step->offsets = take(t, n + 1, sizeof(int32_t));
    step->first_position = take(t, n, sizeof(int32_t));
    step->block_table = take(t, n * (size_t)pages_of(o), sizeof(int32_t));
    step->sound_rows = take(t, rows, sizeof(int32_t));
    step->sound_places = take(t, rows, sizeof(int32_t));
    step->logits_rows = take(t, n, sizeof(int32_t));
    step->copies = take(t, n, sizeof *step->copies);
    step->message = ranks ? take(t, sa2_step_news_bytes(o->max_sequences, pages_of(o)), 1) : NULL;
    if (o->model->shard.rank == 0)
        step->logits = take(t, n * (size_t)o->model->config.decoder.vocab, sizeof(float));
}

static void take_device(taker *t, sa2_step *step, const sa2_step_options *o)
{
    const sa2_decoder_config *c = &o->model->config.decoder;
    size_t rows = (size_t)o->max_rows, n = (size_t)o->max_sequences;
    int64_t vocab = sa2_shard_vocab(&o->model->shard, c);
    step->d_ids = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_positions = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_sound_rows = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_sound_places = sa2_tensor_1d(take(t, rows, 4), SA2_I32, o->max_rows);
    step->d_logits_rows = sa2_tensor_1d(take(t, n, 4), SA2_I32, o->max_sequences);
    step->d_sound = sa2_tensor_2d(take(t, rows * (size_t)c->hidden, sizeof(float)), SA2_F32,
                                  o->max_rows, c->hidden);
    step->d_logits =
        sa2_tensor_2d(take(t, n * (size_t)vocab, sizeof(float)), SA2_F32, o->max_sequences, vocab);
}

static sa2_kv_cache_view view_of(const sa2_step_options *o)
{
    sa2_decoder_config c = decoder_of(o);
    return (sa2_kv_cache_view){.n_pages = o->n_pages,
                               .page_size = o->page_size,
                               .kv_heads = c.kv_heads,
                               .head_dim = c.head_dim,
                               .dtype = o->kv_dtype};
}

size_t sa2_step_kv_page_bytes(const sa2_step_options *o)
{
    sa2_kv_cache_view view = view_of(o);
    return (size_t)o->model->config.decoder.layers * sa2_kv_page_bytes(&view);
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
    sa2_decoder_config c = decoder_of(o);
    return sa2_decoder_work_bytes(&c, o->model->shard.size < 2, o->activations, o->max_rows,
                                  o->max_sequences);
}

size_t sa2_step_scratch_bytes(const sa2_step_options *o)
{
    sa2_decoder_config c = decoder_of(o);
    return sa2_attention_scratch_bytes(o->max_rows, c.heads, c.head_dim, o->max_positions);
}

void sa2_step_comm_elements(const sa2_step_options *o, int64_t *summed, int64_t *joined)
{
    const sa2_decoder_config *c = &o->model->config.decoder;
    *summed = (int64_t)o->max_rows * c->hidden;
    *joined = (int64_t)o->max_sequences * c->vocab;
}

static sa2_status find_widths(sa2_step *step, sa2_error *err)
{
    const sa2_model *model = step->options.model;
    for (int i = 0; i < model->shard.size; i++) {
        sa2_shard shard;
        sa2_status st = sa2_shard_make(&shard, &model->config.decoder, i, model->shard.size, err);
        if (st != SA2_OK)
            return st;
        step->widths[i] = shard.vocab.n;
    }
    return SA2_OK;
}

sa2_status sa2_step_create(sa2_step **step, const sa2_step_options *o, sa2_arena *pages,
                           sa2_arena *device, sa2_arena *host, sa2_error *err)
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
        made->kv[i].pages = take(&from_pages, (size_t)o->n_pages, sa2_kv_page_bytes(&view));
    }
    if (from_host.full || from_device.full || from_pages.full)
        return sa2_fail(err, SA2_ERR_NOMEM, "step: %zu bytes of host, %zu of the device needed",
                        from_host.bytes, from_device.bytes);
    *step = made;
    int64_t summed, joined;
    sa2_step_comm_elements(o, &summed, &joined);
    if (made->logits != NULL)
        sa2_backend_pin(o->model->backend, made->logits,
                        (size_t)o->max_sequences * (size_t)o->model->config.decoder.vocab *
                            sizeof(float));
    sa2_status st = find_widths(made, err);
    return st == SA2_OK ? sa2_comm_reserve(o->comm, summed, joined, err) : st;
}

void sa2_step_destroy(sa2_step *step)
{
    if (step != NULL)
        sa2_backend_unpin(step->options.model->backend, step->logits);
}

/* ---- a step ---- */

/* The step's arrays as news between ranks. */
static sa2_step_news news_of(const sa2_step *step)
{
    return (sa2_step_news){.offsets = step->offsets,
                           .first_position = step->first_position,
                           .block_table = step->block_table,
                           .logits_rows = step->logits_rows,
                           .copies = step->copies,
                           .max_pages = step->max_pages,
                           .page_size = step->options.page_size};
}

/* What the plan says, as arrays; *n_sound: rows of sound among them. */
static sa2_step_news gather(sa2_step *step, const sa2_clip_cache *clips, const sa2_step_plan *plan,
                            int *n_sound)
{
    sa2_step_news news = news_of(step);
    int row = 0;
    *n_sound = 0;
    step->offsets[0] = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        const sa2_kv_sequence *kv = part->sequence->kv;
        int32_t *places = step->sound_places + *n_sound;
        memcpy(step->ids + row, part->sequence->ids + part->first,
               (size_t)part->n * sizeof *step->ids);
        step->first_position[i] = part->first;
        memcpy(step->block_table + (size_t)i * (size_t)step->max_pages, kv->pages,
               (size_t)kv->n_pages * sizeof *kv->pages);
        int found = sa2_clip_cache_find(clips, part->group, part->first, part->n,
                                        step->sound_rows + *n_sound, places);
        for (int k = 0; k < found; k++)
            places[k] += row;
        *n_sound += found;
        row += part->n;
        step->offsets[i + 1] = row;
        if (part->logits)
            step->logits_rows[news.n_logits++] = row - 1;
    }
    memcpy(step->copies, plan->copies, (size_t)plan->n_copies * sizeof *plan->copies);
    news.n_copies = plan->n_copies;
    news.n_parts = plan->n_parts;
    news.n_rows = row;
    return news;
}

static sa2_tensor upload(sa2_stream *s, sa2_tensor to, const int32_t *from, int n)
{
    sa2_tensor part = sa2_tensor_rows(to, 0, n);
    if (n > 0)
        sa2_upload(s, part, from);
    return part;
}

static sa2_tensor upload_positions(sa2_step *step, sa2_stream *s, const sa2_step_news *news)
{
    for (int i = 0; i < news->n_parts; i++)
        for (int32_t row = news->offsets[i]; row < news->offsets[i + 1]; row++)
            step->positions[row] = news->first_position[i] + row - news->offsets[i];
    return upload(s, step->d_positions, step->positions, news->n_rows);
}

/* The rows of sound of a batch, on the device. */
static void put_sound(sa2_step *step, sa2_stream *s, const sa2_clip_cache *clips, int n_sound,
                      sa2_decoder_batch *batch)
{
    if (n_sound == 0)
        return;
    sa2_tensor rows = upload(s, step->d_sound_rows, step->sound_rows, n_sound);
    batch->audio_rows = sa2_tensor_rows(step->d_sound, 0, n_sound);
    sa2_embedding(s, batch->audio_rows, sa2_clip_cache_tensor(clips), rows);
    batch->audio_places = upload(s, step->d_sound_places, step->sound_places, n_sound);
}

/* Samples, and brings the other rows to the host, those that lie together as one. */
static void sample(sa2_step *step, sa2_stream *s, sa2_tensor logits,
                   const sa2_step_sampling *sampling)
{
    sampling->sample(sampling->context, s, logits);
    int n = (int)logits.shape[0];
    for (int first = 0, end; first < n; first = end + 1) {
        for (end = first; end < n && sampling->is_host[end]; end++)
            ;
        if (end > first)
            sa2_download(s, step->logits + (size_t)first * (size_t)logits.shape[1],
                         sa2_tensor_rows(logits, first, end - first));
    }
}

/* On every rank: the rows that the news tells of. ids and sound are in the batch, where this is rank 0. */
static void queue(sa2_step *step, sa2_stream *s, sa2_arena *work, const sa2_step_news *news,
                  const sa2_step_sampling *sampling, sa2_decoder_batch *batch, flight *f)
{
    const sa2_model *model = step->options.model;
    batch->positions = upload_positions(step, s, news);
    batch->where = (sa2_paged_rows){.rows = {news->n_parts, step->offsets},
                                    .first_position = step->first_position,
                                    .block_table = step->block_table,
                                    .max_pages = step->max_pages};
    batch->logits_rows = upload(s, step->d_logits_rows, step->logits_rows, news->n_logits);
    batch->kv = step->kv;
    batch->comm = step->options.comm;
    for (int i = 0; i < model->config.decoder.layers && news->n_copies > 0; i++)
        sa2_kv_copy(s, &step->kv[i], news->copies, news->n_copies);
    sa2_tensor logits = sa2_tensor_rows(step->d_logits, 0, news->n_logits);
    f->n_rows = news->n_rows;
    f->status = sa2_decoder_forward(s, &model->decoder, step->options.activations, work, logits,
                                    (sa2_tensor){0}, batch, &f->err);
    if (f->status != SA2_OK)
        sa2_comm_give_up(step->options.comm, &f->err);
    else if (sampling != NULL && news->n_logits > 0)
        sample(step, s, logits, sampling);
    else if (news->n_logits > 0)
        sa2_comm_join(step->options.comm, s, step->logits, logits, step->widths,
                      (sa2_comm_place){"the logits", -1});
}

/* `behind`: another step, which goes on. */
static sa2_status end_flight(const sa2_step *step, sa2_stream *s, flight *f, bool behind,
                             sa2_error *err)
{
    if (!f->untold) {
        sa2_error *late = f->status == SA2_OK ? &f->err : NULL;
        sa2_comm_wait(step->options.comm, s, (sa2_comm_place){"the end of a step", -1});
        sa2_status finished = behind ? sa2_stream_wait(s, (int)(f - step->flights), late)
                                     : sa2_stream_finish(s, late);
        f->status = f->status == SA2_OK ? finished : f->status;
    }
    if (f->status == SA2_OK)
        return SA2_OK;
    if (err != NULL)
        *err = f->err;
    return f->untold ? f->status : sa2_wrap(err, f->status, "step of %d rows", f->n_rows);
}

static sa2_status tell(sa2_step *step, const sa2_step_news *news, sa2_error *err)
{
    if (step->options.comm == NULL)
        return SA2_OK;
    size_t n = sa2_step_news_write(step->message, news);
    return sa2_comm_share(step->options.comm, "the next step", step->message, 0, &n, true, err);
}

void sa2_step_begin(sa2_step *step, sa2_stream *s, sa2_arena *work, const sa2_clip_cache *clips,
                    const sa2_step_plan *plan, const sa2_step_sampling *sampling)
{
    int n_sound;
    flight *f = &step->flights[plan->turn];
    if (step->n_under_way++ > 0)
        sa2_stream_mark(s, 1 - plan->turn); /* the end of the step before */
    sa2_step_news news = gather(step, clips, plan, &n_sound);
    sa2_decoder_batch batch = {.ids = sa2_tensor_rows(step->d_ids, 0, news.n_rows)};
    if (sampling != NULL && sampling->fill_ids != NULL)
        sampling->fill_ids(sampling->context, s, batch.ids);
    else
        upload(s, step->d_ids, step->ids, news.n_rows);
    put_sound(step, s, clips, n_sound, &batch);
    *f = (flight){0};
    f->status = tell(step, &news, &f->err);
    f->untold = f->status != SA2_OK;
    if (!f->untold)
        queue(step, s, work, &news, sampling, &batch, f);
}

sa2_status sa2_step_end(sa2_step *step, sa2_stream *s, const sa2_step_plan *plan, sa2_error *err)
{
    bool behind = step->n_under_way-- > 1;
    sa2_status st = end_flight(step, s, &step->flights[plan->turn], behind, err);
    if (st != SA2_OK && behind) {
        sa2_stream_finish(s, NULL);
        step->n_under_way = 0;
    }
    return st;
}

sa2_status sa2_step_pause(sa2_step *step, bool end, sa2_error *err)
{
    sa2_step_news news = news_of(step);
    news.end = end;
    return tell(step, &news, err);
}

sa2_status sa2_step_follow(sa2_step *step, sa2_stream *s, sa2_arena *work, bool *end,
                           sa2_error *err)
{
    const sa2_step_options *o = &step->options;
    sa2_step_news news = news_of(step);
    sa2_decoder_batch batch = {0};
    size_t n = 0;
    sa2_status st =
        sa2_comm_share(o->comm, "the next step", step->message,
                       sa2_step_news_bytes(o->max_sequences, step->max_pages), &n, true, err);
    if (st == SA2_OK)
        st = sa2_step_news_read(&news, o->max_rows, o->max_sequences, step->message, n, err);
    *end = st == SA2_OK && news.end;
    if (st != SA2_OK || news.n_parts == 0)
        return st;
    flight f = {0};
    queue(step, s, work, &news, NULL, &batch, &f);
    return end_flight(step, s, &f, false, err);
}

const float *sa2_step_logits(const sa2_step *step, int i)
{
    return step->logits + (size_t)i * (size_t)step->options.model->config.decoder.vocab;
}
