/* decoder.h - the causal transformer that reads and writes tokens: one forward for prefill and decode.
 *
 * Maths: Qwen2 (Yang et al. 2024, section 2.2.1): RMSNorm before each half, grouped-query attention with
 * rotary positions and biases on q, k, v, SwiGLU; checked against transformers' Qwen2 with Step-Audio 2's
 * embedding rule, golden cases in tests/golden/language_model/.
 *
 * Rows of all sequences of a step are packed, prefill pieces and single decode rows alike. A row's
 * result depends on its sequence alone.
 *
 * Over several ranks (loader/shard.h) each computes its heads and feed-forward columns; the residual stream is the same
 * everywhere, because each half's parts are summed over all ranks in one order. Rank 0 alone embeds; each has the
 * logits of its vocabulary rows.
 */
#ifndef SA2_RUNTIME_DECODER_DECODER_H
#define SA2_RUNTIME_DECODER_DECODER_H

#include "kernels/backend.h"
#include "loader/model_config.h"
#include "runtime/serving/comm.h"
#include "runtime/weights.h"

typedef struct sa2_decoder_layer {
    sa2_tensor attn_norm; /* [hidden] */
    sa2_matrix qkv;       /* [(heads + 2 kv_heads) head_dim, hidden] */
    sa2_tensor qkv_bias;
    sa2_matrix out;      /* [hidden, heads head_dim] */
    sa2_tensor mlp_norm; /* [hidden] */
    sa2_matrix gate_up;  /* [2 ffn, hidden], interleaved */
    sa2_matrix down;     /* [hidden, ffn] */
} sa2_decoder_layer;

typedef struct sa2_decoder {
    sa2_decoder_config config; /* heads, kv_heads and ffn are those of this rank */
    sa2_tensor embedding;      /* [vocab, hidden]; absent but on rank 0 */
    sa2_decoder_layer *layers;
    sa2_tensor norm; /* [hidden] */
    sa2_matrix head; /* [vocab of this rank, hidden] */
} sa2_decoder;

/* Fills *decoder, or only measures (weights.h), for the rank of w->shard. */
void sa2_decoder_load(sa2_decoder *decoder, const sa2_decoder_config *config, sa2_weights *w);

/* One step: rows of n sequences. Tensors lie in the backend's memory. */
typedef struct sa2_decoder_batch {
    sa2_tensor ids;              /* i32 [rows]; only looked at on rank 0, as audio rows are */
    sa2_tensor positions;        /* i32 [rows] */
    sa2_paged_rows where;        /* the same rows in the cache */
    sa2_tensor audio_rows;       /* f32 [n, hidden]: what replaces the embeddings at */
    sa2_tensor audio_places;     /* i32 [n], rows of this step; both absent: none */
    sa2_tensor logits_rows;      /* i32 [m]: rows of this step whose logits are wanted, rising */
    const sa2_kv_cache_view *kv; /* [layers] */
    sa2_comm *comm;              /* NULL: one rank */
} sa2_decoder_batch;

/* The attention half of layer i before its output product, as the forward has it, for checks: attn [rows, heads head_dim]
 * from normed [rows, hidden], both in the cache's dtype; qkv [rows, (heads + 2 kv_heads) head_dim] is work. */
void sa2_decoder_attention(sa2_stream *s, const sa2_decoder *decoder, int i, sa2_tensor attn,
                           sa2_tensor normed, sa2_tensor positions, const sa2_kv_cache_view *kv,
                           const sa2_paged_rows *where, sa2_tensor qkv);

/* For steps of up to `rows` rows with logits for up to `logits` of them, by a rank with these sizes, alone or not.
 * Scratch is the stream's. */
size_t sa2_decoder_work_bytes(const sa2_decoder_config *config, bool alone, sa2_dtype activations,
                              int64_t rows, int64_t logits);

/* Writes the keys and values of all rows and the logits f32 [m, vocab of this rank] of those asked for. With m = 0
 * `logits` may be absent. `hidden` [m, hidden] f32 is what the head multiplies, for checks; absent: not kept.
 * activations is the dtype between the products and that of the cache. work is rewound.
 * Errors: SA2_ERR_NOMEM work too small; those of the ops stay in the stream. */
sa2_status sa2_decoder_forward(sa2_stream *s, const sa2_decoder *decoder, sa2_dtype activations,
                               sa2_arena *work, sa2_tensor logits, sa2_tensor hidden,
                               const sa2_decoder_batch *batch, sa2_error *err);

#endif
