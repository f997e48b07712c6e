#include "runtime/encoder/encoder_block.h"

#include <stdio.h>

sa2_encoder_block sa2_encoder_block_load(sa2_weights *w, int64_t width, int64_t ffn, int i)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "encoder.blocks.%d.", i);
    sa2_encoder_block b = {0};
    b.attn_norm_weight = sa2_weights_vector(w, width, "%sattn_ln.weight", prefix);
    b.attn_norm_bias = sa2_weights_vector(w, width, "%sattn_ln.bias", prefix);
    const sa2_weights_part qkv[] = {
        {"attn.query", width, true}, {"attn.key", width, false}, {"attn.value", width, true}};
    b.qkv = sa2_weights_stack(w, width, prefix, 3, qkv, &b.qkv_bias);
    b.out = sa2_weights_matrix(w, width, width, "%sattn.out.weight", prefix);
    b.out_bias = sa2_weights_vector(w, width, "%sattn.out.bias", prefix);
    b.mlp_norm_weight = sa2_weights_vector(w, width, "%smlp_ln.weight", prefix);
    b.mlp_norm_bias = sa2_weights_vector(w, width, "%smlp_ln.bias", prefix);
    b.up = sa2_weights_matrix(w, ffn, width, "%smlp.0.weight", prefix);
    b.up_bias = sa2_weights_vector(w, ffn, "%smlp.0.bias", prefix);
    b.down = sa2_weights_matrix(w, width, ffn, "%smlp.2.weight", prefix);
    b.down_bias = sa2_weights_vector(w, width, "%smlp.2.bias", prefix);
    return b;
}

void sa2_encoder_block_qkv(sa2_stream *s, const sa2_encoder_block *b, sa2_tensor qkv,
                           sa2_tensor normed, sa2_tensor x, float eps)
{
    sa2_layer_norm(s, (sa2_layer_norm_args){.y = normed,
                                            .x = x,
                                            .weight = b->attn_norm_weight,
                                            .bias = b->attn_norm_bias,
                                            .eps = eps});
    sa2_linear(s, (sa2_linear_args){.y = qkv, .x = normed, .w = &b->qkv, .bias = b->qkv_bias});
}

void sa2_encoder_block_out(sa2_stream *s, const sa2_encoder_block *b, sa2_tensor x, sa2_tensor y)
{
    sa2_linear(s, (sa2_linear_args){
                      .y = x, .x = y, .w = &b->out, .bias = b->out_bias, .accumulate = true});
}

void sa2_encoder_block_mlp(sa2_stream *s, const sa2_encoder_block *b, sa2_tensor x,
                           sa2_tensor normed, sa2_tensor hidden, float eps)
{
    sa2_layer_norm(s, (sa2_layer_norm_args){.y = normed,
                                            .x = x,
                                            .weight = b->mlp_norm_weight,
                                            .bias = b->mlp_norm_bias,
                                            .eps = eps});
    sa2_linear(
        s,
        (sa2_linear_args){
            .y = hidden, .x = normed, .w = &b->up, .bias = b->up_bias, .activation = SA2_ACT_GELU});
    sa2_linear(s,
               (sa2_linear_args){
                   .y = x, .x = hidden, .w = &b->down, .bias = b->down_bias, .accumulate = true});
}
