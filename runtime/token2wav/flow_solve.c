#include "runtime/token2wav/flow_solve.h"

#include <math.h>
#include <string.h>

/* ---- room ---- */

static void take_solution(sa2_flow_taking *t, sa2_flow_solution *v, const sa2_flow_config *c,
                          int64_t rows, int n)
{
    sa2_work *work = &t->work, *host = &t->host;
    v->n = n;
    v->rows = rows;
    v->mu = sa2_work_take(work, SA2_F32, rows, c->mel);
    v->in = sa2_work_take(work, SA2_F32, 2 * rows, c->dit_in);
    v->velocity = sa2_work_take(work, SA2_F32, 2 * rows, c->mel);
    v->direction = sa2_work_take(work, SA2_F32, rows, c->mel);
    v->zeros = sa2_row_list_take(t, rows);
    v->blank = sa2_work_take(host, SA2_F32, 2 * rows, c->dit_in).data;
    v->chunks = sa2_work_take(host, SA2_U8, n, (int64_t)sizeof *v->chunks).data;
    v->sequences = sa2_work_take(host, SA2_U8, 2 * n, (int64_t)sizeof *v->sequences).data;
    v->streams = sa2_work_take(host, SA2_U8, n, (int64_t)sizeof(sa2_flow_stream *)).data;
}

static sa2_flow_sequence take_sequence(sa2_flow_taking *t, const sa2_flow_config *c, int64_t tokens)
{
    int64_t rows = tokens * c->up_stride;
    return (sa2_flow_sequence){
        .tokens = sa2_work_take(&t->host, SA2_I32, 1, tokens + c->lookahead).data,
        .x = sa2_work_take(&t->work, SA2_F32, rows, c->mel),
        .speaker = sa2_work_take(&t->work, SA2_F32, 1, c->mel),
        .vector = sa2_work_take(&t->work, SA2_F32, 1, c->speaker),
        .unit = sa2_work_take(&t->host, SA2_F32, 1, c->speaker).data,
        .mel = sa2_work_take(&t->work, SA2_F32, rows, c->mel),
    };
}

sa2_flow_room_bytes sa2_flow_solution_room(const sa2_flow *f, int64_t tokens, int n_chunks)
{
    const sa2_flow_config *c = &f->config;
    sa2_flow_taking t = {0};
    sa2_flow_solution v = {0};
    int64_t rows = tokens * c->up_stride;
    take_solution(&t, &v, c, rows, n_chunks);
    take_sequence(&t, c, tokens);
    sa2_flow_room_bytes encoder =
        sa2_flow_encoder_room_bytes(c, f->encoder.dtype, tokens, n_chunks);
    sa2_flow_room_bytes dit = sa2_flow_dit_room_bytes(c, f->dit.dtype, 2 * rows, 2 * n_chunks);
    sa2_flow_room_bytes inner = sa2_flow_room_larger(encoder, dit);
    return (sa2_flow_room_bytes){.work = t.work.bytes + inner.work,
                                 .host = t.host.bytes + inner.host,
                                 .scratch = inner.scratch};
}

sa2_status sa2_flow_take(const sa2_flow *f, const sa2_flow_room *room, sa2_flow_solution *v,
                         sa2_flow_sequence *q, int64_t tokens, int n, sa2_error *err)
{
    sa2_flow_room_bytes need = sa2_flow_solution_room(f, tokens, n);
    size_t work = room->work->bytes - room->work->used;
    size_t host = room->host->bytes - room->host->used;
    if (need.work > work || need.host > host)
        return sa2_fail(err, SA2_ERR_NOMEM,
                        "flow: %lld tokens need %zu bytes of work memory and %zu on the host, %zu "
                        "and %zu are left",
                        (long long)tokens, need.work, need.host, work, host);
    *v = (sa2_flow_solution){.flow = f, .room = *room, .taking = sa2_flow_room_open(room)};
    take_solution(&v->taking, v, &f->config, tokens * f->config.up_stride, n);
    if (q != NULL)
        *q = take_sequence(&v->taking, &f->config, tokens);
    return SA2_OK;
}

/* ---- inputs ---- */

/* Columns of input number `which`: x, mu, speaker, cond. */
static sa2_tensor input(const sa2_flow_solution *v, int which)
{
    int64_t mel = v->flow->config.mel;
    return sa2_tensor_cols(v->in, which * mel, mel);
}

void sa2_flow_put_mu(sa2_stream *s, sa2_flow_solution *v)
{
    memset(v->blank, 0, sa2_tensor_bytes(&v->in));
    memset(v->zeros.rows, 0, (size_t)v->rows * sizeof(int32_t));
    sa2_upload(s, v->in, v->blank);
    sa2_row_list_upload(s, &v->zeros);
    sa2_copy(s, sa2_tensor_rows(input(v, 1), 0, v->rows), v->mu);
}

void sa2_flow_put_speaker(sa2_stream *s, const sa2_flow_solution *v, int64_t first, int64_t n,
                          sa2_tensor speaker)
{
    sa2_embedding(s, sa2_tensor_rows(input(v, 2), first, n), speaker,
                  sa2_tensor_rows(v->zeros.on_device, 0, n));
}

void sa2_flow_project_speaker(sa2_stream *s, const sa2_flow *f, const sa2_flow_sequence *q,
                              sa2_tensor y, const float *speaker)
{
    double squares = 0.0;
    for (int i = 0; i < f->config.speaker; i++)
        squares += (double)speaker[i] * speaker[i];
    double length = sqrt(squares);
    for (int i = 0; i < f->config.speaker; i++)
        q->unit[i] = (float)(speaker[i] / (length > 1e-12 ? length : 1e-12));
    sa2_upload(s, q->vector, q->unit);
    sa2_linear(
        s, (sa2_linear_args){.y = y, .x = q->vector, .w = &f->speaker, .bias = f->speaker_bias});
}

sa2_status sa2_flow_begin_sequence(sa2_stream *s, sa2_flow_solution *v, const sa2_flow_sequence *q,
                                   const sa2_flow_encoder_cache *cache,
                                   const sa2_flow_prompt *prompt, sa2_error *err)
{
    const sa2_flow *f = v->flow;
    int64_t frames = (int64_t)prompt->n_tokens * f->config.up_stride;
    sa2_status st =
        sa2_flow_encoder_forward(s, &f->encoder, cache, &v->room, v->mu, v->chunks, 1, NULL, err);
    if (st != SA2_OK)
        return st;
    sa2_flow_put_mu(s, v);
    sa2_flow_project_speaker(s, f, q, q->speaker, prompt->speaker);
    sa2_flow_put_speaker(s, v, 0, v->rows, q->speaker);
    if (frames > 0) {
        sa2_tensor mel = sa2_tensor_rows(q->mel, 0, frames);
        sa2_upload(s, mel, prompt->mel);
        sa2_copy(s, sa2_tensor_rows(input(v, 3), 0, frames), mel);
    }
    v->x = q->x;
    sa2_copy(s, v->x, sa2_tensor_rows(f->noise, 0, v->rows));
    return SA2_OK;
}

/* ---- Euler steps ---- */

int sa2_flow_place(const sa2_flow *f, int slot, int step, int unconditional)
{
    return (slot * f->n_steps + step) * 2 + unconditional;
}

void sa2_flow_abandon(sa2_flow_solution *v)
{
    if (v->flow == NULL)
        return;
    for (int i = 0; v->streams != NULL && i < v->n; i++)
        v->streams[i]->voice = NULL;
    sa2_flow_room_close(&v->taking);
    v->flow = NULL;
}

static void end_solution(sa2_stream *s, sa2_flow_solution *v)
{
    int64_t rows = v->mel.shape[0];
    if (v->mel.data != v->x.data)
        sa2_copy(s, v->mel, sa2_tensor_rows(v->x, v->rows - rows, rows));
    for (int i = 0; v->streams != NULL && i < v->n; i++) {
        sa2_flow_stream *stream = v->streams[i];
        stream->n_tokens += v->chunks[i].n;
        stream->kept.frames += v->sequences[i].rows;
        if (v->chunks[i].last)
            stream->voice = NULL;
    }
    sa2_flow_room_close(&v->taking);
    v->flow = NULL;
}

sa2_status sa2_flow_step(sa2_stream *s, sa2_flow_solution *v, sa2_error *err)
{
    const sa2_flow *f = v->flow;
    if (f == NULL)
        return sa2_fail(err, SA2_ERR_ARG, "flow: a step of nothing that is under way");
    int k = v->step;
    float guidance = f->config.guidance;
    for (int i = 0; i < 2 * v->n; i++) {
        int slot = v->chunks[i % v->n].slot;
        v->sequences[i].step = k;
        v->sequences[i].place = sa2_flow_place(f, slot, k, i / v->n);
        v->sequences[i].prompt_place = sa2_flow_place(f, 0, k, i / v->n);
    }
    sa2_copy(s, sa2_tensor_rows(input(v, 0), 0, v->rows), v->x);
    sa2_copy(s, sa2_tensor_rows(input(v, 0), v->rows, v->rows), v->x);
    sa2_status st = sa2_flow_dit_forward(s, &f->dit, v->cache, &v->room, v->velocity, v->in,
                                         v->sequences, 2 * v->n, err);
    if (st != SA2_OK)
        return st;
    sa2_mix(s, v->direction, 1.0f + guidance, sa2_tensor_rows(v->velocity, 0, v->rows), -guidance,
            sa2_tensor_rows(v->velocity, v->rows, v->rows));
    sa2_mix(s, v->x, 1.0f, v->x, (float)(f->tau[k + 1] - f->tau[k]), v->direction);
    if (++v->step == f->n_steps)
        end_solution(s, v);
    return SA2_OK;
}

sa2_status sa2_flow_solve(sa2_stream *s, sa2_flow_solution *v, sa2_error *err)
{
    sa2_status st = SA2_OK;
    while (st == SA2_OK && v->flow != NULL)
        st = sa2_flow_step(s, v, err);
    if (st != SA2_OK)
        sa2_flow_abandon(v);
    return st;
}
