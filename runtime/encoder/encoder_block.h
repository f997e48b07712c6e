/* encoder_block.h - what the blocks of the audio encoder and of the speech tokenizer share: Whisper's, with a norm before
 * each half, one matrix for queries, keys and values, and a GELU between two linear layers.
 *
 * Reference: ResidualAttentionBlock, in modeling_step_audio_2.py and in S3TokenizerV2.
 */
#ifndef SA2_RUNTIME_ENCODER_BLOCK_H
#define SA2_RUNTIME_ENCODER_BLOCK_H

#include "runtime/weights.h"

typedef struct sa2_encoder_block {
    sa2_tensor attn_norm_weight, attn_norm_bias; /* [width] */
    sa2_matrix qkv;                              /* [3 width, width] */
    sa2_tensor qkv_bias;                         /* zeros for the keys, which have none */
    sa2_matrix out;                              /* [width, width] */
    sa2_tensor out_bias;
    sa2_tensor mlp_norm_weight, mlp_norm_bias;
    sa2_matrix up; /* [ffn, width] */
    sa2_tensor up_bias;
    sa2_matrix down; /* [width, ffn] */
    sa2_tensor down_bias;
} sa2_encoder_block;

/* Block `i`, or only its measure (weights.h). */
sa2_encoder_block sa2_encoder_block_load(sa2_weights *w, int64_t width, int64_t ffn, int i);

/* x [M, width] f32 through the first norm to qkv [M, 3 width]; normed [M, width] is in between. */
void sa2_encoder_block_qkv(sa2_stream *s, const sa2_encoder_block *b, sa2_tensor qkv,
                           sa2_tensor normed, sa2_tensor x, float eps);

/* x += y times `out`. */
void sa2_encoder_block_out(sa2_stream *s, const sa2_encoder_block *b, sa2_tensor x, sa2_tensor y);

/* The second half, added to x; normed [M, width] and hidden [M, ffn] are in between. */
void sa2_encoder_block_mlp(sa2_stream *s, const sa2_encoder_block *b, sa2_tensor x,
                           sa2_tensor normed, sa2_tensor hidden, float eps);

#endif
