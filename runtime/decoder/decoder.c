#include "runtime/decoder/decoder.h"

#include <math.h>
#include <stdio.h>

#include "runtime/work.h"

static void load_layer(sa2_decoder_layer *layer, const sa2_decoder_config *c, int i, sa2_weights *w)
{
    int64_t hidden = c->hidden, q = (int64_t)c->heads * c->head_dim;
    int64_t kv = (int64_t)c->kv_heads * c->head_dim;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "model.layers.%d.", i);
    sa2_decoder_layer l = {0};
    l.attn_norm = sa2_weights_vector(w, hidden, "%sinput_layernorm.weight", prefix);
    const sa2_weights_part qkv[] = {{"self_attn.q_proj", q, true},
                                    {"self_attn.k_proj", kv, true},
                                    {"self_attn.v_proj", kv, true}};
    l.qkv = sa2_weights_stack(w, hidden, prefix, 3, qkv, &l.qkv_bias);
    l.out = sa2_weights_matrix(w, hidden, q, "%sself_attn.o_proj.weight", prefix);
    l.mlp_norm = sa2_weights_vector(w, hidden, "%spost_attention_layernorm.weight", prefix);
    l.gate_up = sa2_weights_swiglu(w, c->ffn, hidden, prefix, "mlp.gate_proj", "mlp.up_proj");
    l.down = sa2_weights_matrix(w, hidden, c->ffn, "%smlp.down_proj.weight", prefix);
    if (layer != NULL)
        *layer = l;
}

void sa2_decoder_load(sa2_decoder *decoder, const sa2_decoder_config *config, sa2_weights *w)
{
    const sa2_shard alone = {0}, *shard = w->shard != NULL ? w->shard : &alone;
    sa2_decoder d = {.config = sa2_shard_config(shard, config)};
    const sa2_decoder_config *c = &d.config;
    d.layers = sa2_weights_host(w, (size_t)c->layers * sizeof *d.layers);
    if (shard->rank == 0)
        d.embedding = sa2_weights_table(w, c->vocab, c->hidden, "model.embed_tokens.weight");
    sa2_weights_release(w);
    for (int i = 0; i < c->layers; i++) {
        bool rounded = w->decoder.only_layer == 0 || w->decoder.only_layer == i + 1;
        w->quant = rounded ? w->decoder.layers : SA2_QUANT_NONE;
        load_layer(d.layers != NULL ? &d.layers[i] : NULL, c, i, w);
        sa2_weights_release(w);
    }
    d.norm = sa2_weights_vector(w, c->hidden, "model.norm.weight");
    w->quant = w->decoder.head;
    d.head = sa2_weights_matrix(w, sa2_shard_vocab(shard, config), c->hidden, "lm_head.weight");
    w->quant = SA2_QUANT_NONE;
    sa2_weights_release(w);
    *decoder = d;
}

/* ---- forward ---- */

typedef struct activations {
    sa2_tensor x;      /* [rows, hidden] f32: the residual stream */
    sa2_tensor part;   /* [rows, hidden] f32: what this rank adds to it; absent when it is alone */
    sa2_tensor normed; /* [rows, hidden] */
    sa2_tensor qkv;    /* [rows, (heads + 2 kv_heads) head_dim] */
    sa2_tensor attn;   /* [rows, heads head_dim] */
    sa2_tensor hidden; /* [rows, ffn] */
    sa2_tensor last;   /* [m, hidden] f32: the rows that go on to logits */
    sa2_tensor last_attn; /* [m, heads head_dim] */
} activations;

static activations take_activations(sa2_work *work, const sa2_decoder_config *c, bool alone,
                                    sa2_dtype dtype, int64_t rows, int64_t logits)
{
    int64_t q = (int64_t)c->heads * c->head_dim, kv = (int64_t)c->kv_heads * c->head_dim;
    sa2_tensor none = {0};
    return (activations){
        .x = sa2_work_take(work, SA2_F32, rows, c->hidden),
        .part = alone ? none : sa2_work_take(work, SA2_F32, rows, c->hidden),
        .normed = sa2_work_take(work, dtype, rows, c->hidden),
        .qkv = sa2_work_take(work, dtype, rows, q + 2 * kv),
        .attn = sa2_work_take(work, dtype, rows, q),
        .hidden = sa2_work_take(work, dtype, rows, c->ffn),
        .last = sa2_work_take(work, SA2_F32, logits, c->hidden),
        .last_attn = sa2_work_take(work, dtype, logits, q),
    };
}

size_t sa2_decoder_work_bytes(const sa2_decoder_config *config, bool alone, sa2_dtype dtype,
                              int64_t rows, int64_t logits)
{
    sa2_work work = {0};
    take_activations(&work, config, alone, dtype, rows, logits);
    return work.bytes;
}

/* x = embeddings, with rows of sound where the prompt has sound; rank 0's are everybody's. */
static void run_embedding(sa2_stream *s, const sa2_decoder *d, sa2_tensor x,
                          const sa2_decoder_batch *batch)
{
    if (sa2_comm_rank(batch->comm) == 0)
        sa2_embedding(s, x, d->embedding, batch->ids);
    if (sa2_comm_rank(batch->comm) == 0 && batch->audio_rows.data != NULL)
        sa2_scatter_rows(s, x, batch->audio_rows, batch->audio_places);
    sa2_comm_copy(batch->comm, s, x, (sa2_comm_place){"the embedding", -1});
}

void sa2_decoder_attention(sa2_stream *s, const sa2_decoder *d, int i, sa2_tensor attn,
                           sa2_tensor normed, sa2_tensor positions, const sa2_kv_cache_view *kv,
                           const sa2_paged_rows *where, sa2_tensor qkv)
{
    const sa2_decoder_config *c = &d->config;
    const sa2_decoder_layer *l = &d->layers[i];
    int64_t q_cols = (int64_t)c->heads * c->head_dim, kv_cols = (int64_t)c->kv_heads * c->head_dim;
    sa2_linear(s, (sa2_linear_args){.y = qkv, .x = normed, .w = &l->qkv, .bias = l->qkv_bias});
    sa2_tensor q = sa2_tensor_heads(sa2_tensor_cols(qkv, 0, q_cols), c->heads);
    sa2_tensor k = sa2_tensor_heads(sa2_tensor_cols(qkv, q_cols, kv_cols), c->kv_heads);
    sa2_tensor v = sa2_tensor_heads(sa2_tensor_cols(qkv, q_cols + kv_cols, kv_cols), c->kv_heads);
    sa2_tensor both = sa2_tensor_heads(sa2_tensor_cols(qkv, 0, q_cols + kv_cols),
                                       c->heads + c->kv_heads); /* q and k, side by side */
    sa2_rope(s, both, positions, c->rope_theta);
    sa2_kv_store(s, kv, k, v, where);
    sa2_attention_paged(s, sa2_tensor_heads(attn, c->heads), q, kv, where,
                        1.0f / sqrtf((float)c->head_dim));
}

/* x += y w^T, of all ranks' y and w together. */
static void add_product(sa2_stream *s, sa2_comm *comm, sa2_tensor x, sa2_tensor y,
                        const sa2_matrix *w, const activations *a, sa2_comm_place place)
{
    if (comm == NULL) {
        sa2_linear(s, (sa2_linear_args){.y = x, .x = y, .w = w, .accumulate = true});
        return;
    }
    sa2_tensor part = sa2_tensor_rows(a->part, 0, x.shape[0]);
    sa2_linear(s, (sa2_linear_args){.y = part, .x = y, .w = w});
    sa2_comm_sum(comm, s, x, part, place);
}

/* x += out(attn), then x += down(silu(gate) * up). */
static void run_rest(sa2_stream *s, const sa2_decoder *d, int i, sa2_comm *comm, sa2_tensor x,
                     sa2_tensor attn, const activations *a)
{
    const sa2_decoder_layer *l = &d->layers[i];
    sa2_tensor normed = sa2_tensor_rows(a->normed, 0, x.shape[0]);
    sa2_tensor hidden = sa2_tensor_rows(a->hidden, 0, x.shape[0]);
    add_product(s, comm, x, attn, &l->out, a, (sa2_comm_place){"the sum behind the attention", i});
    sa2_rms_norm(s, normed, x, l->mlp_norm, d->config.rms_norm_eps);
    sa2_linear(s, (sa2_linear_args){.y = hidden, .x = normed, .w = &l->gate_up, .swiglu = true});
    add_product(s, comm, x, hidden, &l->down, a,
                (sa2_comm_place){"the sum behind the feed-forward", i});
}

sa2_status sa2_decoder_forward(sa2_stream *s, const sa2_decoder *d, sa2_dtype dtype,
                               sa2_arena *arena, sa2_tensor logits, sa2_tensor hidden,
                               const sa2_decoder_batch *batch, sa2_error *err)
{
    const sa2_decoder_config *c = &d->config;
    int64_t rows = batch->positions.shape[0], m = batch->logits_rows.shape[0];
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, c, batch->comm == NULL, dtype, rows, m);
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "decoder: %zu bytes of work memory needed, %zu left",
                        work.bytes, arena->bytes - mark);
    }
    bool decodes = batch->comm == NULL && batch->where.rows.n == rows; /* shapes that come again */
    if (decodes)
        sa2_stream_group_begin(s, "a decode step");
    run_embedding(s, d, a.x, batch);
    for (int i = 0; i < c->layers; i++) {
        sa2_rms_norm(s, a.normed, a.x, d->layers[i].attn_norm, c->rms_norm_eps);
        sa2_decoder_attention(s, d, i, a.attn, a.normed, batch->positions, &batch->kv[i],
                              &batch->where, a.qkv);
        if (i < c->layers - 1)
            run_rest(s, d, i, batch->comm, a.x, a.attn, &a);
    }
    if (m > 0) { /* after the last attention only the rows that are asked for go on */
        sa2_embedding(s, a.last, a.x, batch->logits_rows);
        sa2_embedding(s, a.last_attn, a.attn, batch->logits_rows);
        run_rest(s, d, c->layers - 1, batch->comm, a.last, a.last_attn, &a);
        sa2_tensor normed = sa2_tensor_rows(a.normed, 0, m);
        sa2_rms_norm(s, normed, a.last, d->norm, c->rms_norm_eps);
        if (hidden.data != NULL)
            sa2_copy(s, hidden, normed);
        if (logits.data != NULL)
            sa2_linear(s, (sa2_linear_args){.y = logits, .x = normed, .w = &d->head});
    }
    if (decodes)
        sa2_stream_group_end(s);
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}
