#include "runtime/encoder/audio_encoder.h"

#include <math.h>

#include "runtime/work.h"

static const float norm_eps = 1e-5f; /* PyTorch's default, which the reference keeps */

enum { KERNEL = 3, PAD = 1, CONV2_STRIDE = 2, POOL = 2 };

void sa2_audio_encoder_load(sa2_audio_encoder *encoder, const sa2_encoder_config *c, sa2_weights *w)
{
    sa2_audio_encoder e = {.config = *c};
    e.blocks = sa2_weights_host(w, (size_t)c->blocks * sizeof *e.blocks);
    e.conv1 = sa2_weights_conv1d(w, c->width, c->mel_bins, KERNEL, "encoder.conv1.weight");
    e.conv1_bias = sa2_weights_vector(w, c->width, "encoder.conv1.bias");
    e.conv2 = sa2_weights_conv1d(w, c->width, c->width, KERNEL, "encoder.conv2.weight");
    e.conv2_bias = sa2_weights_vector(w, c->width, "encoder.conv2.bias");
    e.positions = sa2_weights_table(w, c->context, c->width, "encoder.positional_embedding.weight");
    for (int i = 0; i < c->blocks; i++) {
        sa2_encoder_block b = sa2_encoder_block_load(w, c->width, c->ffn, i);
        if (e.blocks != NULL)
            e.blocks[i] = b;
        sa2_weights_release(w);
    }
    e.norm_weight = sa2_weights_vector(w, c->width, "encoder.after_norm.weight");
    e.norm_bias = sa2_weights_vector(w, c->width, "encoder.after_norm.bias");
    *encoder = e;
}

/* ---- forward ---- */

typedef struct activations {
    sa2_tensor mel;    /* [T, bins] bf16: the reference rounds it whatever follows */
    sa2_tensor conv1;  /* [T, width] */
    sa2_tensor x;      /* [M, width] f32: the residual stream */
    sa2_tensor normed; /* [M, width] */
    sa2_tensor qkv;    /* [M, 3 width] */
    sa2_tensor attn;   /* [M, width] */
    sa2_tensor hidden; /* [M, ffn] */
    sa2_tensor pooled; /* [P, width] f32 */
} activations;

static activations take_activations(sa2_work *work, const sa2_encoder_config *c, sa2_dtype dtype,
                                    int64_t frames, int64_t rows, int64_t pooled)
{
    return (activations){
        .mel = sa2_work_take(work, SA2_BF16, frames, c->mel_bins),
        .conv1 = sa2_work_take(work, dtype, frames, c->width),
        .x = sa2_work_take(work, SA2_F32, rows, c->width),
        .normed = sa2_work_take(work, dtype, rows, c->width),
        .qkv = sa2_work_take(work, dtype, rows, 3 * (int64_t)c->width),
        .attn = sa2_work_take(work, dtype, rows, c->width),
        .hidden = sa2_work_take(work, dtype, rows, c->ffn),
        .pooled = sa2_work_take(work, SA2_F32, pooled, c->width),
    };
}

size_t sa2_audio_encoder_work_bytes(const sa2_encoder_config *config, sa2_dtype dtype,
                                    int64_t frames, int n_clips)
{
    sa2_work work = {0};
    int64_t rows = (frames + n_clips) / CONV2_STRIDE; /* each clip may round up */
    take_activations(&work, config, dtype, frames, rows, rows / POOL);
    return work.bytes;
}

size_t sa2_audio_encoder_scratch_bytes(const sa2_encoder_config *config, sa2_dtype dtype,
                                       int64_t frames, int n_clips)
{
    size_t conv = sa2_conv1d_scratch_bytes(dtype, frames, config->width, n_clips, PAD, PAD);
    size_t attention = sa2_attention_scratch_bytes((frames + n_clips) / CONV2_STRIDE, config->heads,
                                                   config->width / config->heads, config->context);
    return conv > attention ? conv : attention;
}

static void run_conv(sa2_stream *s, sa2_tensor y, sa2_tensor x, const sa2_matrix *w,
                     sa2_tensor bias, int stride, const sa2_audio_clips *clips,
                     const int32_t *offsets)
{
    sa2_conv1d(s, (sa2_conv1d_args){.y = y,
                                    .x = x,
                                    .sequences = {clips->n, offsets},
                                    .w = w,
                                    .bias = bias,
                                    .kernel = KERNEL,
                                    .stride = stride,
                                    .dilation = 1,
                                    .pad_left = PAD,
                                    .pad_right = PAD,
                                    .activation = SA2_ACT_GELU});
}

/* mel to x: both convolutions, then the positions of each clip. */
static void run_stem(sa2_stream *s, const sa2_audio_encoder *e, const activations *a,
                     sa2_tensor mel, const sa2_audio_clips *clips, sa2_rows rows)
{
    sa2_copy(s, a->mel, mel);
    run_conv(s, a->conv1, a->mel, &e->conv1, e->conv1_bias, 1, clips, clips->mel_offsets);
    run_conv(s, a->x, a->conv1, &e->conv2, e->conv2_bias, CONV2_STRIDE, clips, clips->mel_offsets);
    for (int i = 0; i < rows.n; i++) {
        int64_t n = rows.offsets[i + 1] - rows.offsets[i];
        sa2_tensor clip = sa2_tensor_rows(a->x, rows.offsets[i], n);
        sa2_add(s, clip, clip, sa2_tensor_rows(e->positions, 0, n));
    }
}

static void run_block(sa2_stream *s, const sa2_encoder_config *c, const sa2_encoder_block *b,
                      const activations *a, sa2_rows rows, const int32_t *n_visible)
{
    int64_t width = c->width, heads = c->heads;
    sa2_encoder_block_qkv(s, b, a->qkv, a->normed, a->x, norm_eps);
    sa2_attention(s, (sa2_attention_args){
                         .y = sa2_tensor_heads(a->attn, heads),
                         .q = sa2_tensor_heads(sa2_tensor_cols(a->qkv, 0, width), heads),
                         .k = sa2_tensor_heads(sa2_tensor_cols(a->qkv, width, width), heads),
                         .v = sa2_tensor_heads(sa2_tensor_cols(a->qkv, 2 * width, width), heads),
                         .queries = rows,
                         .keys = rows,
                         .n_visible = n_visible,
                         .scale = 1.0f / sqrtf((float)(width / heads)),
                     });
    sa2_encoder_block_out(s, b, a->x, a->attn);
    sa2_encoder_block_mlp(s, b, a->x, a->normed, a->hidden, norm_eps);
}

sa2_status sa2_audio_encoder_forward(sa2_stream *s, const sa2_audio_encoder *e, sa2_dtype dtype,
                                     sa2_arena *arena, sa2_tensor out, sa2_tensor mel,
                                     const sa2_audio_clips *clips,
                                     const sa2_audio_encoder_stages *stages, sa2_error *err)
{
    if (clips->n < 1 || clips->n > SA2_MAX_CLIPS)
        return sa2_fail(err, SA2_ERR_ARG, "audio encoder: %d clips, 1 to %d expected", clips->n,
                        SA2_MAX_CLIPS);
    int32_t offsets[SA2_MAX_CLIPS + 1] = {0}; /* of the rows after conv2 */
    int32_t n_visible[SA2_MAX_CLIPS];
    for (int i = 0; i < clips->n; i++) {
        int32_t frames = clips->mel_offsets[i + 1] - clips->mel_offsets[i];
        int32_t rows = (frames + 1) / CONV2_STRIDE;
        if (rows > e->config.context)
            return sa2_fail(err, SA2_ERR_LIMIT,
                            "audio encoder: clip %d has %d frames, at most %d fit", i, frames,
                            e->config.context * CONV2_STRIDE);
        offsets[i + 1] = offsets[i] + rows;
        n_visible[i] = clips->see_all ? rows : rows - 1;
    }
    sa2_rows rows = {clips->n, offsets};

    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a =
        take_activations(&work, &e->config, dtype, mel.shape[0], offsets[clips->n], out.shape[0]);
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM,
                        "audio encoder: %zu bytes of work memory needed, %zu left", work.bytes,
                        arena->bytes - mark);
    }
    run_stem(s, e, &a, mel, clips, rows);
    if (stages != NULL && stages->conv.data != NULL)
        sa2_copy(s, stages->conv, a.x);
    for (int i = 0; i < e->config.blocks; i++) {
        run_block(s, &e->config, &e->blocks[i], &a, rows, n_visible);
        if (i == 0 && stages != NULL && stages->block0.data != NULL)
            sa2_copy(s, stages->block0, a.x);
    }
    sa2_mean_pool(s, a.pooled, a.x, rows, POOL);
    sa2_layer_norm(s, (sa2_layer_norm_args){.y = out,
                                            .x = a.pooled,
                                            .weight = e->norm_weight,
                                            .bias = e->norm_bias,
                                            .eps = norm_eps});
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}

sa2_status sa2_audio_encoder_block_forward(sa2_stream *s, const sa2_audio_encoder *e, int block,
                                           sa2_dtype dtype, sa2_arena *arena, sa2_tensor x,
                                           int32_t n_visible, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, &e->config, dtype, 0, x.shape[0], 0);
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM,
                        "audio encoder: %zu bytes of work memory needed, %zu left", work.bytes,
                        arena->bytes - mark);
    }
    a.x = x;
    const int32_t offsets[] = {0, (int32_t)x.shape[0]};
    run_block(s, &e->config, &e->blocks[block], &a, (sa2_rows){1, offsets}, &n_visible);
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}
