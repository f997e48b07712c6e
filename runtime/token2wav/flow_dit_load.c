/* flow_dit_load.c - weights and caches of flow_dit.h. */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/token2wav/flow_dit.h"
#include "runtime/token2wav/flow_dit_cache.h"

/* ---- tables of the timesteps ---- */

/* A linear layer that is needed for the tables alone: y [steps, n] = activation(x w^T + bias). */
static void apply_once(sa2_weights *w, sa2_tensor y, sa2_tensor x, sa2_activation activation,
                       const char *name)
{
    size_t mark = sa2_weights_mark(w);
    int64_t n = y.shape[1], cols = x.shape[1];
    sa2_matrix linear = sa2_weights_matrix(w, n, cols, "%s.weight", name);
    sa2_tensor bias = sa2_weights_vector(w, n, "%s.bias", name);
    if (sa2_weights_computes(w))
        sa2_linear(w->stream,
                   (sa2_linear_args){
                       .y = y, .x = x, .w = &linear, .bias = bias, .activation = activation});
    sa2_weights_rewind(w, mark);
}

static void fill_features(sa2_weights *w, sa2_tensor features, const double *t, int n_steps)
{
    float *values = malloc(sa2_tensor_bytes(&features));
    if (values == NULL) {
        w->status = sa2_fail_also(w->err, SA2_ERR_NOMEM, "flow: no memory for timesteps");
        return;
    }
    for (int k = 0; k < n_steps; k++)
        sa2_flow_time_features(values + (int64_t)k * SA2_FLOW_TIME_INPUTS, t[k]);
    sa2_upload(w->stream, features, values);
    sa2_status st = sa2_stream_finish(w->stream, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    free(values);
}

/* dit->time, and every table that follows from it. The weights behind them are not kept. */
static void load_tables(sa2_flow_dit *dit, const double *t, sa2_weights *w)
{
    const sa2_flow_config *c = &dit->config;
    int64_t steps = dit->n_steps, width = c->dit_width;
    sa2_dtype dtype = w->dtype;
    w->dtype = SA2_F32;
    dit->time = sa2_weights_room(w, SA2_F32, steps, width);
    for (int i = 0; i < c->dit_blocks; i++) {
        sa2_tensor table = sa2_weights_room(w, SA2_F32, steps, SA2_FLOW_MODULATIONS * width);
        if (dit->blocks != NULL)
            dit->blocks[i].modulation = table;
    }
    dit->final_modulation = sa2_weights_room(w, SA2_F32, steps, 2 * width);

    size_t mark = sa2_weights_mark(w);
    sa2_tensor features = sa2_weights_room(w, SA2_F32, steps, SA2_FLOW_TIME_INPUTS);
    sa2_tensor inner = sa2_weights_room(w, SA2_F32, steps, width);
    if (sa2_weights_computes(w))
        fill_features(w, features, t, dit->n_steps);
    apply_once(w, inner, features, SA2_ACT_SILU, "decoder.estimator.t_embedder.mlp.0");
    apply_once(w, dit->time, inner, SA2_ACT_NONE, "decoder.estimator.t_embedder.mlp.2");
    if (sa2_weights_computes(w))
        sa2_activate(w->stream, inner, dit->time, SA2_ACT_SILU, 0.0f, (sa2_tensor){0});
    for (int i = 0; i < c->dit_blocks; i++) {
        char name[64];
        snprintf(name, sizeof name, "decoder.estimator.blocks.%d.adaLN_modulation.1", i);
        sa2_tensor table = dit->blocks != NULL
                               ? dit->blocks[i].modulation
                               : sa2_tensor_2d(NULL, SA2_F32, steps, SA2_FLOW_MODULATIONS * width);
        apply_once(w, table, inner, SA2_ACT_NONE, name);
    }
    apply_once(w, dit->final_modulation, inner, SA2_ACT_NONE,
               "decoder.estimator.final_layer.adaLN_modulation.1");
    sa2_weights_rewind(w, mark);
    w->dtype = dtype;
}

/* ---- weights ---- */

static void load_block(sa2_flow_dit_block *block, const sa2_flow_config *c, int i, sa2_weights *w)
{
    int64_t width = c->dit_width, head_dim = c->dit_head_dim;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "decoder.estimator.blocks.%d.", i);
    sa2_flow_dit_block b = {0};
    if (block != NULL)
        b.modulation = block->modulation;
    const sa2_weights_part qkv[] = {
        {"attn.to_q", width, true}, {"attn.to_k", width, true}, {"attn.to_v", width, true}};
    b.qkv = sa2_weights_stack(w, width, prefix, 3, qkv, &b.qkv_bias);
    b.q_norm_weight = sa2_weights_vector(w, head_dim, "%sattn.q_norm.weight", prefix);
    b.q_norm_bias = sa2_weights_vector(w, head_dim, "%sattn.q_norm.bias", prefix);
    b.k_norm_weight = sa2_weights_vector(w, head_dim, "%sattn.k_norm.weight", prefix);
    b.k_norm_bias = sa2_weights_vector(w, head_dim, "%sattn.k_norm.bias", prefix);
    b.proj = sa2_weights_matrix(w, width, width, "%sattn.proj.weight", prefix);
    b.proj_bias = sa2_weights_vector(w, width, "%sattn.proj.bias", prefix);
    b.conv1 =
        sa2_weights_conv1d(w, width, width, SA2_FLOW_DIT_KERNEL, "%sconv.block.1.weight", prefix);
    b.conv1_bias = sa2_weights_vector(w, width, "%sconv.block.1.bias", prefix);
    b.conv_norm_weight = sa2_weights_vector(w, width, "%sconv.block.3.weight", prefix);
    b.conv_norm_bias = sa2_weights_vector(w, width, "%sconv.block.3.bias", prefix);
    b.conv2 =
        sa2_weights_conv1d(w, width, width, SA2_FLOW_DIT_KERNEL, "%sconv.block.6.weight", prefix);
    b.conv2_bias = sa2_weights_vector(w, width, "%sconv.block.6.bias", prefix);
    b.up = sa2_weights_matrix(w, c->dit_ffn, width, "%smlp.fc1.weight", prefix);
    b.up_bias = sa2_weights_vector(w, c->dit_ffn, "%smlp.fc1.bias", prefix);
    b.down = sa2_weights_matrix(w, width, c->dit_ffn, "%smlp.fc2.weight", prefix);
    b.down_bias = sa2_weights_vector(w, width, "%smlp.fc2.bias", prefix);
    if (block != NULL)
        *block = b;
}

void sa2_flow_dit_load(sa2_flow_dit *dit, const sa2_flow_config *c, const double *t, int n_steps,
                       sa2_weights *w)
{
    int64_t width = c->dit_width;
    sa2_flow_dit d = {.config = *c, .dtype = w->dtype, .n_steps = n_steps};
    d.blocks = sa2_weights_host(w, (size_t)c->dit_blocks * sizeof *d.blocks);
    load_tables(&d, t, w);
    d.in = sa2_weights_matrix(w, width, c->dit_in, "decoder.estimator.in_proj.weight");
    d.in_bias = sa2_weights_vector(w, width, "decoder.estimator.in_proj.bias");
    for (int i = 0; i < c->dit_blocks; i++) {
        load_block(d.blocks != NULL ? &d.blocks[i] : NULL, c, i, w);
        sa2_weights_release(w);
    }
    d.out = sa2_weights_matrix(w, c->mel, width, "decoder.estimator.final_layer.linear.weight");
    d.out_bias = sa2_weights_vector(w, c->mel, "decoder.estimator.final_layer.linear.bias");
    sa2_weights_release(w);
    *dit = d;
}
