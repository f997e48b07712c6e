/* flow_encoder_load.c - weights and caches of flow_encoder.h. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/token2wav/flow_encoder.h"
#include "runtime/token2wav/flow_time.h"

enum { BEHIND_KERNEL = 3 };

static void layer_name(char prefix[64], const sa2_flow_config *c, int i)
{
    bool up = i >= c->layers;
    snprintf(prefix, 64, "encoder.%s.%d.", up ? "up_encoders" : "encoders", up ? i - c->layers : i);
}

static void load_layer(sa2_flow_encoder_layer *layer, const sa2_flow_config *c, int i,
                       sa2_weights *w)
{
    int64_t width = c->width;
    char prefix[64];
    layer_name(prefix, c, i);
    sa2_flow_encoder_layer l = {0};
    if (layer != NULL)
        l.positions = layer->positions;
    l.attn_norm_weight = sa2_weights_vector(w, width, "%snorm_mha.weight", prefix);
    l.attn_norm_bias = sa2_weights_vector(w, width, "%snorm_mha.bias", prefix);
    const sa2_weights_part qkv[] = {{"self_attn.linear_q", width, true},
                                    {"self_attn.linear_k", width, true},
                                    {"self_attn.linear_v", width, true}};
    l.qkv = sa2_weights_stack(w, width, prefix, 3, qkv, &l.qkv_bias);
    sa2_dtype dtype = w->dtype;
    w->dtype = SA2_F32; /* they are added to f32 scores */
    l.u = sa2_weights_table(w, c->heads, width / c->heads, "%sself_attn.pos_bias_u", prefix);
    l.w = sa2_weights_table(w, c->heads, width / c->heads, "%sself_attn.pos_bias_v", prefix);
    w->dtype = dtype;
    l.out = sa2_weights_matrix(w, width, width, "%sself_attn.linear_out.weight", prefix);
    l.out_bias = sa2_weights_vector(w, width, "%sself_attn.linear_out.bias", prefix);
    l.ffn_norm_weight = sa2_weights_vector(w, width, "%snorm_ff.weight", prefix);
    l.ffn_norm_bias = sa2_weights_vector(w, width, "%snorm_ff.bias", prefix);
    l.up = sa2_weights_matrix(w, c->ffn, width, "%sfeed_forward.w_1.weight", prefix);
    l.up_bias = sa2_weights_vector(w, c->ffn, "%sfeed_forward.w_1.bias", prefix);
    l.down = sa2_weights_matrix(w, width, c->ffn, "%sfeed_forward.w_2.weight", prefix);
    l.down_bias = sa2_weights_vector(w, width, "%sfeed_forward.w_2.bias", prefix);
    if (layer != NULL)
        *layer = l;
}

static sa2_flow_embed load_embed(sa2_weights *w, int64_t width, const char *prefix)
{
    return (sa2_flow_embed){
        .linear = sa2_weights_matrix(w, width, width, "%s.out.0.weight", prefix),
        .bias = sa2_weights_vector(w, width, "%s.out.0.bias", prefix),
        .norm_weight = sa2_weights_vector(w, width, "%s.out.1.weight", prefix),
        .norm_bias = sa2_weights_vector(w, width, "%s.out.1.bias", prefix),
    };
}

/* ---- what is computed ---- */

/* The encodings of distances 1 - reach to reach - 1, made on the host in pieces. */
static void fill_encodings(sa2_weights *w, sa2_tensor encodings)
{
    enum { PIECE = 512 };
    int64_t rows = encodings.shape[0], width = encodings.shape[1];
    float *piece = malloc((size_t)(PIECE * width) * sizeof *piece);
    if (piece == NULL) {
        w->status = sa2_fail_also(w->err, SA2_ERR_NOMEM, "flow encoder: no memory for positions");
        return;
    }
    for (int64_t first = 0; first < rows; first += PIECE) {
        int n = (int)(rows - first < PIECE ? rows - first : PIECE);
        sa2_flow_distance_rows(piece, n, (int)width, (int)(first - rows / 2));
        sa2_upload(w->stream, sa2_tensor_rows(encodings, first, n), piece);
        sa2_status st = sa2_stream_finish(w->stream, w->err); /* the piece is filled again */
        if (w->status == SA2_OK)
            w->status = st;
    }
    free(piece);
}

/* positions of every layer: its linear_pos applied to the encoding of each distance. */
static void load_positions(sa2_flow_encoder *e, sa2_weights *w)
{
    const sa2_flow_config *c = &e->config;
    sa2_dtype dtype = w->dtype;
    int n = c->layers + c->up_layers;
    int64_t longest = (int64_t)e->max_tokens * c->up_stride;
    for (int i = 0; i < n; i++) {
        int64_t reach = i < c->layers ? e->max_tokens : longest;
        sa2_tensor table = sa2_weights_room(w, dtype, 2 * reach - 1, c->width);
        if (e->layers != NULL)
            e->layers[i].positions = table;
    }
    size_t before = sa2_weights_mark(w);
    sa2_tensor encodings = sa2_weights_room(w, SA2_F32, 2 * longest - 1, c->width);
    if (sa2_weights_computes(w))
        fill_encodings(w, encodings);
    w->dtype = SA2_F32;
    for (int i = 0; i < n; i++) {
        char prefix[64];
        layer_name(prefix, c, i);
        size_t mark = sa2_weights_mark(w);
        sa2_matrix linear =
            sa2_weights_matrix(w, c->width, c->width, "%sself_attn.linear_pos.weight", prefix);
        if (sa2_weights_computes(w)) {
            assert(e->layers != NULL);
            sa2_tensor table = e->layers[i].positions;
            int64_t skip = (encodings.shape[0] - table.shape[0]) / 2;
            sa2_linear(w->stream,
                       (sa2_linear_args){.y = table,
                                         .x = sa2_tensor_rows(encodings, skip, table.shape[0]),
                                         .w = &linear});
        }
        sa2_weights_rewind(w, mark);
    }
    w->dtype = dtype;
    sa2_weights_rewind(w, before);
}

/* A norm's result is multiplied by 1 + scale. */
static void load_scales(sa2_flow_encoder *e, sa2_weights *w)
{
    int64_t width = e->config.width;
    e->embed_scale = sa2_weights_room(w, SA2_F32, 2, width);
    e->no_shift = sa2_weights_room(w, SA2_F32, 2, width);
    if (!sa2_weights_computes(w))
        return;
    float *values = calloc((size_t)(4 * width), sizeof *values);
    if (values == NULL) {
        w->status = sa2_fail_also(w->err, SA2_ERR_NOMEM, "flow encoder: no memory for scales");
        return;
    }
    for (int64_t i = 0; i < width; i++) {
        values[i] = (float)(sqrt((double)width) - 1.0);
        values[width + i] = -1.0f;
    }
    sa2_upload(w->stream, e->embed_scale, values);
    sa2_upload(w->stream, e->no_shift, values + 2 * width);
    sa2_status st = sa2_stream_finish(w->stream, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    free(values);
}

void sa2_flow_encoder_load(sa2_flow_encoder *encoder, const sa2_flow_config *c, int max_tokens,
                           sa2_weights *w)
{
    int64_t width = c->width;
    int n_layers = c->layers + c->up_layers;
    sa2_flow_encoder e = {.config = *c, .dtype = w->dtype, .max_tokens = max_tokens};
    e.layers = sa2_weights_host(w, (size_t)n_layers * sizeof *e.layers);
    load_positions(&e, w);
    load_scales(&e, w);
    e.embedding = sa2_weights_table(w, c->vocab, width, "input_embedding.weight");
    e.embed = load_embed(w, width, "encoder.embed");
    e.up_embed = load_embed(w, width, "encoder.up_embed");
    e.ahead = sa2_weights_conv1d(w, width, width, c->lookahead + 1,
                                 "encoder.pre_lookahead_layer.conv1.weight");
    e.ahead_bias = sa2_weights_vector(w, width, "encoder.pre_lookahead_layer.conv1.bias");
    e.behind = sa2_weights_conv1d(w, width, width, BEHIND_KERNEL,
                                  "encoder.pre_lookahead_layer.conv2.weight");
    e.behind_bias = sa2_weights_vector(w, width, "encoder.pre_lookahead_layer.conv2.bias");
    e.upsample = sa2_weights_conv1d(w, width, width, 2 * (int64_t)c->up_stride + 1,
                                    "encoder.up_layer.conv.weight");
    e.upsample_bias = sa2_weights_vector(w, width, "encoder.up_layer.conv.bias");
    for (int i = 0; i < n_layers; i++) {
        load_layer(e.layers != NULL ? &e.layers[i] : NULL, c, i, w);
        sa2_weights_release(w);
    }
    e.norm_weight = sa2_weights_vector(w, width, "encoder.after_norm.weight");
    e.norm_bias = sa2_weights_vector(w, width, "encoder.after_norm.bias");
    e.mu = sa2_weights_matrix(w, c->mel, width, "encoder_proj.weight");
    e.mu_bias = sa2_weights_vector(w, c->mel, "encoder_proj.bias");
    sa2_weights_release(w);
    *encoder = e;
}
