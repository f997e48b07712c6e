#include "runtime/token2wav/flow_encoder.h"

#include <math.h>

#include "runtime/token2wav/flow_encoder_cache.h"

static const float layer_eps = 1e-12f; /* of the norms inside a layer */
static const float norm_eps = 1e-5f;   /* of all others */
static const float ahead_slope = 0.01f;

enum { BEHIND_KERNEL = SA2_FLOW_BEHIND_ROWS + 1 };

/* ---- the rows of a forward ---- */

/* Chunks one after the other at three lengths: with the look-ahead, of tokens, upsampled. */
typedef struct layout {
    const sa2_flow_encoder_chunk *chunks;
    int n;
    int32_t *seen_offsets, *offsets, *up_offsets; /* [n + 1] */
    int32_t *first, *up_first;                    /* [n]: rows of the stream before */
    int32_t *segment_offsets;                     /* [n + 1]: one each */
    sa2_key_segment *segments;                    /* [n] */
    sa2_row_list ids, padding;                    /* [seen]: token, and 1 where there is none */
    sa2_row_list own;                             /* [tokens]: the row among those seen */
    sa2_row_list doubled;                         /* [up]: the row among tokens */
    sa2_row_list places, up_places;               /* [tokens], [up]: rows of a layer in the cache */
    sa2_row_list from, to;                        /* [n]: what a convolution read and will read */
} layout;

static layout take_layout(sa2_flow_taking *t, const sa2_flow_config *c, int64_t tokens, int n)
{
    int64_t seen = tokens + (int64_t)n * c->lookahead, up = tokens * c->up_stride;
    return (layout){
        .n = n,
        .seen_offsets = sa2_work_take(&t->host, SA2_I32, 1, n + 1).data,
        .offsets = sa2_work_take(&t->host, SA2_I32, 1, n + 1).data,
        .up_offsets = sa2_work_take(&t->host, SA2_I32, 1, n + 1).data,
        .first = sa2_work_take(&t->host, SA2_I32, 1, n).data,
        .up_first = sa2_work_take(&t->host, SA2_I32, 1, n).data,
        .segment_offsets = sa2_work_take(&t->host, SA2_I32, 1, n + 1).data,
        .segments = sa2_work_take(&t->host, SA2_U8, n, (int64_t)sizeof(sa2_key_segment)).data,
        .ids = sa2_row_list_take(t, seen),
        .padding = sa2_row_list_take(t, seen),
        .own = sa2_row_list_take(t, tokens),
        .doubled = sa2_row_list_take(t, up),
        .places = sa2_row_list_take(t, tokens),
        .up_places = sa2_row_list_take(t, up),
        .from = sa2_row_list_take(t, n),
        .to = sa2_row_list_take(t, n),
    };
}

static void lay_out(layout *l, const sa2_flow_config *c, const sa2_flow_encoder_cache *cache,
                    const sa2_flow_encoder_chunk *chunks)
{
    l->chunks = chunks;
    l->seen_offsets[0] = l->offsets[0] = l->up_offsets[0] = l->segment_offsets[0] = 0;
    for (int i = 0; i < l->n; i++) {
        const sa2_flow_encoder_chunk *chunk = &chunks[i];
        int32_t seen = l->seen_offsets[i], row = l->offsets[i], up = l->up_offsets[i];
        int there = chunk->last ? chunk->n : chunk->n + c->lookahead;
        int64_t slot = cache != NULL ? (int64_t)chunk->slot * cache->max_tokens : 0;
        for (int r = 0; r < chunk->n + c->lookahead; r++) {
            l->ids.rows[seen + r] = r < there ? chunk->tokens[r] : 0;
            l->padding.rows[seen + r] = r < there ? 0 : 1;
        }
        for (int r = 0; r < chunk->n; r++) {
            l->own.rows[row + r] = seen + r;
            l->places.rows[row + r] = (int32_t)slot + chunk->first + r;
        }
        for (int r = 0; r < chunk->n * c->up_stride; r++) {
            l->doubled.rows[up + r] = row + r / c->up_stride;
            l->up_places.rows[up + r] = ((int32_t)slot + chunk->first) * c->up_stride + r;
        }
        l->first[i] = chunk->first;
        l->up_first[i] = chunk->first * c->up_stride;
        l->seen_offsets[i + 1] = seen + chunk->n + c->lookahead;
        l->offsets[i + 1] = row + chunk->n;
        l->up_offsets[i + 1] = up + chunk->n * c->up_stride;
        l->segment_offsets[i + 1] = i + 1;
    }
}

static void upload_layout(sa2_stream *s, const layout *l)
{
    const sa2_row_list *lists[] = {&l->ids,     &l->padding, &l->own,
                                   &l->doubled, &l->places,  &l->up_places};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        sa2_row_list_upload(s, lists[i]);
}

/* ---- layers ---- */

typedef struct activations {
    sa2_tensor ids_embedded; /* [seen, width] */
    sa2_tensor seen;         /* f32 [seen, width] */
    sa2_tensor ahead;        /* f32 [tokens, width] */
    sa2_tensor x;            /* f32 [tokens, width]: the residual stream */
    sa2_tensor doubled;      /* f32 [up, width] */
    sa2_tensor up;           /* f32 [up, width]: the residual stream after the upsampling */
    sa2_tensor history;      /* f32 [n, 2 up_stride width], and fewer columns for the look-ahead */
    sa2_tensor normed;       /* [up, width] */
    sa2_tensor qkv;          /* [up, 3 width] */
    sa2_tensor attn;         /* [up, width] */
    sa2_tensor inner;        /* [up, ffn] */
} activations;

static activations take_activations(sa2_flow_taking *t, const sa2_flow_config *c, sa2_dtype dtype,
                                    int64_t tokens, int n)
{
    int64_t width = c->width, seen = tokens + (int64_t)n * c->lookahead, up = tokens * c->up_stride;
    int64_t history = (int64_t)sa2_larger(SA2_FLOW_BEHIND_ROWS, 2 * (size_t)c->up_stride);
    return (activations){
        .ids_embedded = sa2_work_take(&t->work, dtype, seen, width),
        .seen = sa2_work_take(&t->work, SA2_F32, seen, width),
        .ahead = sa2_work_take(&t->work, SA2_F32, tokens, width),
        .x = sa2_work_take(&t->work, SA2_F32, tokens, width),
        .doubled = sa2_work_take(&t->work, SA2_F32, up, width),
        .up = sa2_work_take(&t->work, SA2_F32, up, width),
        .history = sa2_work_take(&t->work, SA2_F32, n, history * width),
        .normed = sa2_work_take(&t->work, dtype, up, width),
        .qkv = sa2_work_take(&t->work, dtype, up, 3 * width),
        .attn = sa2_work_take(&t->work, dtype, up, width),
        .inner = sa2_work_take(&t->work, dtype, up, c->ffn),
    };
}

sa2_flow_room_bytes sa2_flow_encoder_room_bytes(const sa2_flow_config *c, sa2_dtype dtype,
                                                int64_t tokens, int n_chunks)
{
    sa2_flow_taking t = {0};
    int64_t up = tokens * c->up_stride;
    take_layout(&t, c, tokens, n_chunks);
    take_activations(&t, c, dtype, tokens, n_chunks);
    size_t behind = sa2_conv1d_scratch_bytes(SA2_F32, tokens + (int64_t)n_chunks * c->lookahead,
                                             c->width, n_chunks, SA2_FLOW_BEHIND_ROWS, 0);
    size_t upsample =
        sa2_conv1d_scratch_bytes(SA2_F32, up, c->width, n_chunks, 2 * c->up_stride, 0);
    return (sa2_flow_room_bytes){
        .work = t.work.bytes, .host = t.host.bytes, .scratch = sa2_larger(behind, upsample)};
}

/* Rows of one layer: those of tokens, or the upsampled ones. */
typedef struct layer_rows {
    sa2_rows rows;
    const int32_t *first;
    const sa2_row_list *places;
} layer_rows;

static layer_rows rows_of(const layout *l, bool up)
{
    return (layer_rows){.rows = {l->n, up ? l->up_offsets : l->offsets},
                        .first = up ? l->up_first : l->first,
                        .places = up ? &l->up_places : &l->places};
}

/* Where the keys and values of each chunk and of what came before it lie. */
static void find_keys(const layout *l, const layer_rows *r, sa2_tensor kv, int64_t slot_rows,
                      int64_t heads)
{
    int64_t width = kv.shape[1] / 2;
    for (int i = 0; i < l->n; i++) {
        int32_t rows = r->rows.offsets[i + 1] - r->rows.offsets[i];
        int64_t start = slot_rows > 0 ? l->chunks[i].slot * slot_rows : r->rows.offsets[i];
        sa2_tensor own = sa2_tensor_rows(kv, start, r->first[i] + rows);
        l->segments[i] =
            (sa2_key_segment){.k = sa2_tensor_heads(sa2_tensor_cols(own, 0, width), heads),
                              .v = sa2_tensor_heads(sa2_tensor_cols(own, width, width), heads)};
    }
}

static void norm(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor weight, sa2_tensor bias,
                 float eps)
{
    sa2_layer_norm(
        s, (sa2_layer_norm_args){.y = y, .x = x, .weight = weight, .bias = bias, .eps = eps});
}

static void run_attention(sa2_stream *s, const sa2_flow_encoder *e, int layer,
                          const sa2_flow_encoder_cache *cache, const activations *a,
                          const layout *l, const layer_rows *r)
{
    const sa2_flow_config *c = &e->config;
    const sa2_flow_encoder_layer *w = &e->layers[layer];
    int64_t width = c->width, heads = c->heads;
    sa2_tensor kv = sa2_tensor_cols(a->qkv, width, 2 * width);
    if (cache != NULL) {
        sa2_tensor kept = sa2_flow_encoder_kv(cache, c, layer);
        sa2_scatter_rows(s, kept, kv, r->places->on_device);
        find_keys(l, r, kept, cache->max_tokens * sa2_flow_encoder_stride(c, layer), heads);
    } else {
        find_keys(l, r, kv, 0, heads);
    }
    sa2_attention(s, (sa2_attention_args){
                         .y = sa2_tensor_heads(a->attn, heads),
                         .q = sa2_tensor_heads(sa2_tensor_cols(a->qkv, 0, width), heads),
                         .segments = l->segments,
                         .queries = r->rows,
                         .keys = {l->n, l->segment_offsets},
                         .scale = 1.0f / sqrtf((float)(width / heads)),
                         .u = w->u,
                         .w = w->w,
                         .r = sa2_tensor_heads(w->positions, heads),
                         .first_position = r->first,
                     });
}

/* x [rows, width] in place. `attention` as in sa2_flow_encoder_layer_forward(). */
static void run_layer(sa2_stream *s, const sa2_flow_encoder *e, int layer,
                      const sa2_flow_encoder_cache *cache, const activations *whole,
                      const layout *l, sa2_tensor x, sa2_tensor attention)
{
    const sa2_flow_encoder_layer *w = &e->layers[layer];
    layer_rows r = rows_of(l, layer >= e->config.layers);
    int64_t rows = x.shape[0];
    activations a = {.normed = sa2_tensor_rows(whole->normed, 0, rows),
                     .qkv = sa2_tensor_rows(whole->qkv, 0, rows),
                     .attn = sa2_tensor_rows(whole->attn, 0, rows),
                     .inner = sa2_tensor_rows(whole->inner, 0, rows)};
    norm(s, a.normed, x, w->attn_norm_weight, w->attn_norm_bias, layer_eps);
    sa2_linear(s, (sa2_linear_args){.y = a.qkv, .x = a.normed, .w = &w->qkv, .bias = w->qkv_bias});
    run_attention(s, e, layer, cache, &a, l, &r);
    if (attention.data != NULL)
        sa2_linear(
            s, (sa2_linear_args){.y = attention, .x = a.attn, .w = &w->out, .bias = w->out_bias});
    sa2_linear(s, (sa2_linear_args){
                      .y = x, .x = a.attn, .w = &w->out, .bias = w->out_bias, .accumulate = true});

    norm(s, a.normed, x, w->ffn_norm_weight, w->ffn_norm_bias, layer_eps);
    sa2_linear(s, (sa2_linear_args){.y = a.inner,
                                    .x = a.normed,
                                    .w = &w->up,
                                    .bias = w->up_bias,
                                    .activation = SA2_ACT_SILU});
    sa2_linear(s,
               (sa2_linear_args){
                   .y = x, .x = a.inner, .w = &w->down, .bias = w->down_bias, .accumulate = true});
}

/* ---- convolutions ---- */

/* The rows before each chunk, [n, rows, width]: from the cache, or zeros for a new stream. */
static sa2_tensor load_history(sa2_stream *s, const layout *l, const activations *a,
                               sa2_tensor kept, int64_t width)
{
    int64_t cols = kept.shape[1];
    for (int i = 0; i < l->n; i++)
        l->to.rows[i] = l->chunks[i].first > 0 ? l->chunks[i].slot : (int32_t)kept.shape[0] - 1;
    sa2_row_list_upload(s, &l->to);
    sa2_tensor history = sa2_tensor_2d(a->history.data, SA2_F32, l->n, cols);
    sa2_embedding(s, history, kept, l->to.on_device);
    return sa2_tensor_3d(history.data, SA2_F32, l->n, cols / width, width);
}

/* The last rows of x of each chunk that another one follows; such a chunk has enough of them. */
static void keep_history(sa2_stream *s, const layout *l, sa2_tensor kept, sa2_tensor x,
                         const int32_t *offsets)
{
    int64_t cols = kept.shape[1], rows = cols / x.shape[1];
    int n = 0;
    for (int i = 0; i < l->n; i++) {
        if (l->chunks[i].last)
            continue;
        l->to.rows[n] = l->chunks[i].slot;
        l->from.rows[n++] = offsets[i + 1] - (int32_t)rows;
    }
    if (n == 0)
        return;
    sa2_row_list_upload(s, &l->to);
    sa2_row_list_upload(s, &l->from);
    sa2_tensor groups = sa2_tensor_2d(x.data, SA2_F32, x.shape[0] - rows + 1, cols);
    groups.stride = x.stride; /* every `rows` neighbouring rows as one */
    sa2_copy_rows(s, kept, sa2_tensor_rows(l->to.on_device, 0, n), groups,
                  sa2_tensor_rows(l->from.on_device, 0, n));
}

/* y = e of x [rows, width], through a linear layer in y; padding: rows that become 0, or absent. */
static void run_embed(sa2_stream *s, const sa2_flow_encoder *e, const sa2_flow_embed *w,
                      sa2_tensor y, sa2_tensor x, sa2_tensor padding)
{
    int64_t kinds = padding.data != NULL ? 2 : 1;
    sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &w->linear, .bias = w->bias});
    sa2_layer_norm(s, (sa2_layer_norm_args){.y = y,
                                            .x = y,
                                            .weight = w->norm_weight,
                                            .bias = w->norm_bias,
                                            .eps = norm_eps,
                                            .scale = sa2_tensor_rows(e->embed_scale, 0, kinds),
                                            .shift = sa2_tensor_rows(e->no_shift, 0, kinds),
                                            .table_rows = padding});
}

/* Tokens to a->x, the residual stream of the first layers. */
static void run_lookahead(sa2_stream *s, const sa2_flow_encoder *e,
                          const sa2_flow_encoder_cache *cache, const activations *a,
                          const layout *l, const sa2_flow_encoder_stages *stages)
{
    sa2_tensor history = {0};
    sa2_embedding(s, a->ids_embedded, e->embedding, l->ids.on_device);
    run_embed(s, e, &e->embed, a->seen, a->ids_embedded, l->padding.on_device);
    sa2_embedding(s, a->x, a->seen, l->own.on_device);
    if (stages != NULL && stages->embed.data != NULL)
        sa2_copy(s, stages->embed, a->x);
    sa2_conv1d(s, (sa2_conv1d_args){.y = a->ahead,
                                    .x = a->seen,
                                    .sequences = {l->n, l->seen_offsets},
                                    .w = &e->ahead,
                                    .bias = e->ahead_bias,
                                    .kernel = e->config.lookahead + 1,
                                    .stride = 1,
                                    .dilation = 1,
                                    .activation = SA2_ACT_LEAKY,
                                    .slope = ahead_slope});
    if (cache != NULL) {
        history = load_history(s, l, a, cache->behind, e->config.width);
        keep_history(s, l, cache->behind, a->ahead, l->offsets);
    }
    sa2_conv1d(s, (sa2_conv1d_args){.y = a->x,
                                    .x = a->ahead,
                                    .sequences = {l->n, l->offsets},
                                    .w = &e->behind,
                                    .bias = e->behind_bias,
                                    .kernel = BEHIND_KERNEL,
                                    .stride = 1,
                                    .dilation = 1,
                                    .pad_left = SA2_FLOW_BEHIND_ROWS,
                                    .history = history,
                                    .accumulate = true});
    if (stages != NULL && stages->ahead.data != NULL)
        sa2_copy(s, stages->ahead, a->x);
}

/* a->x to a->up: each row up_stride times, a convolution, an embedding. */
static void run_upsample(sa2_stream *s, const sa2_flow_encoder *e,
                         const sa2_flow_encoder_cache *cache, const activations *a, const layout *l,
                         const sa2_flow_encoder_stages *stages)
{
    int before = 2 * e->config.up_stride;
    sa2_tensor history = {0};
    sa2_embedding(s, a->doubled, a->x, l->doubled.on_device);
    if (cache != NULL) {
        history = load_history(s, l, a, cache->upsample, e->config.width);
        keep_history(s, l, cache->upsample, a->doubled, l->up_offsets);
    }
    sa2_conv1d(s, (sa2_conv1d_args){.y = a->up,
                                    .x = a->doubled,
                                    .sequences = {l->n, l->up_offsets},
                                    .w = &e->upsample,
                                    .bias = e->upsample_bias,
                                    .kernel = before + 1,
                                    .stride = 1,
                                    .dilation = 1,
                                    .pad_left = before,
                                    .history = history});
    if (stages != NULL && stages->upsample.data != NULL)
        sa2_copy(s, stages->upsample, a->up);
    sa2_copy(s, a->doubled, a->up);
    run_embed(s, e, &e->up_embed, a->up, a->doubled, (sa2_tensor){0});
}

/* ---- forward ---- */

static sa2_status judge_chunk(const sa2_flow_encoder *e, const sa2_flow_encoder_cache *cache,
                              const sa2_flow_encoder_chunk *chunk, sa2_error *err)
{
    const sa2_flow_config *c = &e->config;
    int least = chunk->last ? 1 : 2;
    int most = cache != NULL ? cache->max_tokens : e->max_tokens;
    if (most > e->max_tokens)
        most = e->max_tokens;
    if (chunk->n < least)
        return sa2_fail(err, SA2_ERR_ARG, "flow encoder: a chunk of %d tokens, %d or more expected",
                        chunk->n, least);
    if (cache == NULL ? chunk->first != 0 || !chunk->last
                      : chunk->first < 0 || chunk->slot < 0 || chunk->slot >= cache->slots)
        return sa2_fail(err, SA2_ERR_ARG, "flow encoder: slot %d at token %d is not in its cache",
                        chunk->slot, chunk->first);
    if (chunk->n > most - chunk->first)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "flow encoder: %d tokens after %d, room for %d in a stream is planned",
                        chunk->n, chunk->first, most);
    for (int i = 0; i < chunk->n + (chunk->last ? 0 : c->lookahead); i++)
        if (chunk->tokens[i] < 0 || chunk->tokens[i] >= c->vocab)
            return sa2_fail(err, SA2_ERR_ARG,
                            "flow encoder: token %d at place %d, 0 to %d expected",
                            (int)chunk->tokens[i], i, c->vocab - 1);
    return SA2_OK;
}

sa2_status sa2_flow_encoder_forward(sa2_stream *s, const sa2_flow_encoder *e,
                                    const sa2_flow_encoder_cache *cache, const sa2_flow_room *room,
                                    sa2_tensor mu, const sa2_flow_encoder_chunk *chunks,
                                    int n_chunks, const sa2_flow_encoder_stages *stages,
                                    sa2_error *err)
{
    const sa2_flow_config *c = &e->config;
    int64_t tokens = 0;
    for (int i = 0; i < n_chunks; i++) {
        sa2_status st = judge_chunk(e, cache, &chunks[i], err);
        if (st != SA2_OK)
            return st;
        tokens += chunks[i].n;
    }
    sa2_flow_taking t = sa2_flow_room_open(room);
    layout l = take_layout(&t, c, tokens, n_chunks);
    activations a = take_activations(&t, c, e->dtype, tokens, n_chunks);
    sa2_status st = sa2_flow_room_judge(&t, "flow encoder", err);
    if (st != SA2_OK)
        return st;
    lay_out(&l, c, cache, chunks);
    upload_layout(s, &l);

    run_lookahead(s, e, cache, &a, &l, stages);
    for (int i = 0; i < c->layers; i++)
        run_layer(s, e, i, cache, &a, &l, a.x, (sa2_tensor){0});
    run_upsample(s, e, cache, &a, &l, stages);
    for (int i = c->layers; i < c->layers + c->up_layers; i++)
        run_layer(s, e, i, cache, &a, &l, a.up, (sa2_tensor){0});
    norm(s, a.doubled, a.up, e->norm_weight, e->norm_bias, norm_eps);
    if (stages != NULL && stages->hidden.data != NULL)
        sa2_copy(s, stages->hidden, a.doubled);
    sa2_linear(s, (sa2_linear_args){.y = mu, .x = a.doubled, .w = &e->mu, .bias = e->mu_bias});
    sa2_flow_room_close(&t);
    return SA2_OK;
}

sa2_status sa2_flow_encoder_layer_forward(sa2_stream *s, const sa2_flow_encoder *e, int layer,
                                          const sa2_flow_encoder_cache *cache,
                                          const sa2_flow_room *room, sa2_tensor x, int first,
                                          sa2_tensor attention, sa2_error *err)
{
    int rows = (int)x.shape[0];
    sa2_flow_taking t = sa2_flow_room_open(room);
    layout l = take_layout(&t, &e->config, rows, 1);
    activations a = take_activations(&t, &e->config, e->dtype, rows, 1);
    sa2_status st = sa2_flow_room_judge(&t, "flow encoder", err);
    if (st != SA2_OK)
        return st;
    sa2_flow_encoder_chunk chunk = {.n = rows, .first = first};
    l.chunks = &chunk;
    l.offsets[0] = l.segment_offsets[0] = 0;
    l.offsets[1] = rows;
    l.segment_offsets[1] = 1;
    l.first[0] = first;
    for (int r = 0; r < rows; r++)
        l.places.rows[r] = first + r;
    sa2_row_list_upload(s, &l.places);
    run_layer(s, e, layer, cache, &a, &l, x, attention);
    sa2_flow_room_close(&t);
    return SA2_OK;
}
