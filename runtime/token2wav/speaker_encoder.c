#include "runtime/token2wav/speaker_encoder.h"

#include <assert.h>
#include <stdio.h>

#include "kernels/backend.h"
#include "loader/fold.h"
#include "runtime/token2wav/speaker_head.h"
#include "runtime/work.h"

enum {
    TDNN_KERNEL = 5,
    TDNN_STRIDE = 2,
    LOCAL_KERNEL = 3,
    SEGMENT = 100, /* rows that share a gate */
};

static const double norm_eps = 1e-5;
static const int dilations[SA2_SPEAKER_BLOCKS] = {1, 2, 2};

/* ---- sizes ---- */

int64_t sa2_speaker_encoder_channels(const sa2_speaker_dims *d, int block, int layer)
{
    int64_t channels = d->initial;
    for (int b = 0; b < block; b++)
        channels = (channels + (int64_t)d->layers[b] * d->growth) / 2;
    return channels + (int64_t)layer * d->growth;
}

/* At the end of a block, before it is halved. */
static int64_t block_channels(const sa2_speaker_dims *d, int block)
{
    return sa2_speaker_encoder_channels(d, block, d->layers[block]);
}

static int64_t widest(const sa2_speaker_dims *d)
{
    int64_t most = 0;
    for (int b = 0; b < SA2_SPEAKER_BLOCKS; b++)
        most = block_channels(d, b) > most ? block_channels(d, b) : most;
    return most;
}

static int64_t rows_of(int64_t frames)
{
    return (frames + TDNN_STRIDE - 1) / TDNN_STRIDE;
}

static int first_layer(const sa2_speaker_dims *d, int block)
{
    int n = 0;
    for (int b = 0; b < block; b++)
        n += d->layers[b];
    return n;
}

/* ---- weights ---- */

sa2_status sa2_speaker_encoder_fold(sa2_tensor_map *map, sa2_error *err)
{
    return sa2_fold_batch_norm(map, norm_eps, err);
}

static sa2_speaker_norm load_norm(sa2_weights *w, int64_t n, const char *prefix, const char *name)
{
    return (sa2_speaker_norm){
        .scale = sa2_weights_vector(w, n, "%s%s.scale", prefix, name),
        .shift = sa2_weights_vector(w, n, "%s%s.shift", prefix, name),
    };
}

static sa2_speaker_conv load_conv(sa2_weights *w, int64_t out, int64_t in, int64_t kernel,
                                  bool has_bias, const char *prefix, const char *name)
{
    sa2_speaker_conv c = {.w = sa2_weights_conv1d(w, out, in, kernel, "%s%s.weight", prefix, name)};
    if (has_bias)
        c.bias = sa2_weights_vector(w, out, "%s%s.bias", prefix, name);
    return c;
}

static sa2_speaker_layer load_layer(const sa2_speaker_dims *d, int block, int i, sa2_weights *w)
{
    int64_t channels = sa2_speaker_encoder_channels(d, block, i);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "xvector.block%d.tdnnd%d.", block + 1, i + 1);
    return (sa2_speaker_layer){
        .norm = load_norm(w, channels, prefix, "nonlinear1.batchnorm"),
        .narrow = load_conv(w, d->bottleneck, channels, 1, true, prefix, "linear1"),
        .local = load_conv(w, d->growth, d->bottleneck, LOCAL_KERNEL, false, prefix,
                           "cam_layer.linear_local"),
        .gate_in = load_conv(w, d->gate, d->bottleneck, 1, true, prefix, "cam_layer.linear1"),
        .gate_out = load_conv(w, d->growth, d->gate, 1, true, prefix, "cam_layer.linear2"),
    };
}

/* The last one has a bias: the norm that follows it is folded in. */
static sa2_speaker_transit load_transit(const sa2_speaker_dims *d, int block, sa2_weights *w)
{
    int64_t channels = block_channels(d, block);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "xvector.transit%d.", block + 1);
    return (sa2_speaker_transit){
        .norm = load_norm(w, channels, prefix, "nonlinear.batchnorm"),
        .linear = load_conv(w, channels / 2, channels, 1, block == SA2_SPEAKER_BLOCKS - 1, prefix,
                            "linear"),
    };
}

void sa2_speaker_encoder_load(sa2_speaker_encoder *encoder, const sa2_speaker_dims *d,
                              int64_t max_frames, sa2_weights *w)
{
    sa2_speaker_encoder e = {.dims = *d};
    e.layers = sa2_weights_host(w, (size_t)first_layer(d, SA2_SPEAKER_BLOCKS) * sizeof *e.layers);
    sa2_speaker_head_load(&e.head, d, w);
    e.tdnn.w = sa2_weights_conv1d_of_maps(w, d->initial, d->head_channels,
                                          d->mel / SA2_SPEAKER_HEAD_REDUCTION, TDNN_KERNEL,
                                          "xvector.tdnn.linear.weight");
    e.tdnn.bias = sa2_weights_vector(w, d->initial, "xvector.tdnn.linear.bias");
    for (int b = 0; b < SA2_SPEAKER_BLOCKS; b++) {
        for (int i = 0; i < d->layers[b]; i++) {
            sa2_speaker_layer layer = load_layer(d, b, i, w);
            if (e.layers != NULL)
                e.layers[first_layer(d, b) + i] = layer;
        }
        e.transits[b] = load_transit(d, b, w);
        sa2_weights_release(w);
    }
    int64_t channels = block_channels(d, SA2_SPEAKER_BLOCKS - 1) / 2;
    e.dense = load_conv(w, d->embedding, 2 * channels, 1, false, "xvector.dense.", "linear");
    e.dense_norm = load_norm(w, d->embedding, "xvector.dense.", "nonlinear.batchnorm");
    e.segments = sa2_weights_index(w, rows_of(max_frames), SEGMENT);
    sa2_weights_release(w);
    *encoder = e;
}

/* ---- forward ---- */

typedef struct activations {
    sa2_tensor head;     /* [Tf, maps * bins / 8] */
    sa2_tensor x;        /* [T', widest]: each layer reads the columns so far and appends its own */
    sa2_tensor normed;   /* [T', widest]: the front of it, dense */
    sa2_tensor narrow;   /* [T', bottleneck] */
    sa2_tensor context;  /* [segments, bottleneck] */
    sa2_tensor gate_in;  /* [segments, gate] */
    sa2_tensor gate_out; /* [segments, growth] */
    sa2_tensor pooled;   /* [1, 2 channels] */
} activations;

/* Of the layers alone with frames 0. */
static activations take_activations(sa2_work *work, const sa2_speaker_dims *d, int64_t frames,
                                    int64_t rows)
{
    int64_t segments = (rows + SEGMENT - 1) / SEGMENT;
    int64_t flat = (int64_t)d->head_channels * d->mel / SA2_SPEAKER_HEAD_REDUCTION;
    return (activations){
        .head = sa2_work_take(work, SA2_F32, frames, flat),
        .x = sa2_work_take(work, SA2_F32, frames > 0 ? rows : 0, widest(d)),
        .normed = sa2_work_take(work, SA2_F32, rows, widest(d)),
        .narrow = sa2_work_take(work, SA2_F32, rows, d->bottleneck),
        .context = sa2_work_take(work, SA2_F32, segments, d->bottleneck),
        .gate_in = sa2_work_take(work, SA2_F32, segments, d->gate),
        .gate_out = sa2_work_take(work, SA2_F32, segments, d->growth),
        .pooled = sa2_work_take(work, SA2_F32, 1, widest(d)),
    };
}

size_t sa2_speaker_encoder_work_bytes(const sa2_speaker_dims *dims, int64_t frames)
{
    sa2_work work = {0};
    take_activations(&work, dims, frames, rows_of(frames));
    return work.bytes + sa2_speaker_head_work_bytes(dims, frames);
}

size_t sa2_speaker_encoder_scratch_bytes(const sa2_speaker_dims *dims, int64_t frames)
{
    int64_t flat = (int64_t)dims->head_channels * dims->mel / SA2_SPEAKER_HEAD_REDUCTION;
    size_t head = sa2_speaker_head_scratch_bytes(dims, frames);
    size_t tdnn =
        sa2_conv1d_scratch_bytes(SA2_F32, frames, flat, 1, TDNN_KERNEL / 2, TDNN_KERNEL / 2);
    size_t local = sa2_conv1d_scratch_bytes(SA2_F32, rows_of(frames), dims->bottleneck, 1,
                                            dilations[1], dilations[1]);
    size_t most = head > tdnn ? head : tdnn;
    return most > local ? most : local;
}

static void linear(sa2_stream *s, sa2_tensor y, sa2_tensor x, const sa2_speaker_conv *c,
                   sa2_activation activation)
{
    sa2_linear(s, (sa2_linear_args){
                      .y = y, .x = x, .w = &c->w, .bias = c->bias, .activation = activation});
}

/* relu(norm(x)), dense. */
static sa2_tensor normed(sa2_stream *s, const activations *a, const sa2_speaker_norm *norm,
                         sa2_tensor x)
{
    sa2_tensor y = sa2_tensor_2d(a->normed.data, SA2_F32, x.shape[0], x.shape[1]);
    sa2_affine(s, y, x, norm->scale, norm->shift, SA2_ACT_RELU);
    return y;
}

/* What a layer adds to the columns that it reads. */
static void run_layer(sa2_stream *s, const sa2_speaker_encoder *e, const sa2_speaker_layer *layer,
                      int dilation, sa2_partial_rule partial, const activations *a, sa2_tensor y,
                      sa2_tensor x)
{
    const int32_t offsets[] = {0, (int32_t)x.shape[0]};
    sa2_rows clip = {1, offsets};
    linear(s, a->narrow, normed(s, a, &layer->norm, x), &layer->narrow, SA2_ACT_RELU);
    sa2_segment_context(s, a->context, a->narrow, clip, SEGMENT, partial);
    linear(s, a->gate_in, a->context, &layer->gate_in, SA2_ACT_RELU);
    linear(s, a->gate_out, a->gate_in, &layer->gate_out, SA2_ACT_SIGMOID);
    sa2_conv1d(s, (sa2_conv1d_args){.y = y,
                                    .x = a->narrow,
                                    .sequences = clip,
                                    .w = &layer->local.w,
                                    .kernel = LOCAL_KERNEL,
                                    .stride = 1,
                                    .dilation = dilation,
                                    .pad_left = dilation,
                                    .pad_right = dilation,
                                    .gate = a->gate_out,
                                    .gate_rows = sa2_tensor_rows(e->segments, 0, x.shape[0])});
}

static void run_tdnn(sa2_stream *s, const sa2_speaker_encoder *e, sa2_tensor y, sa2_tensor x)
{
    const int32_t offsets[] = {0, (int32_t)x.shape[0]};
    sa2_conv1d(s, (sa2_conv1d_args){.y = y,
                                    .x = x,
                                    .sequences = {1, offsets},
                                    .w = &e->tdnn.w,
                                    .bias = e->tdnn.bias,
                                    .kernel = TDNN_KERNEL,
                                    .stride = TDNN_STRIDE,
                                    .dilation = 1,
                                    .pad_left = TDNN_KERNEL / 2,
                                    .pad_right = TDNN_KERNEL / 2,
                                    .activation = SA2_ACT_RELU});
}

/* The columns of a->x grow through a block; its end brings half as many to the front. */
static void run_block(sa2_stream *s, const sa2_speaker_encoder *e, int block,
                      sa2_partial_rule partial, const activations *a)
{
    const sa2_speaker_dims *d = &e->dims;
    for (int i = 0; i < d->layers[block]; i++) {
        int64_t channels = sa2_speaker_encoder_channels(d, block, i);
        run_layer(s, e, &e->layers[first_layer(d, block) + i], dilations[block], partial, a,
                  sa2_tensor_cols(a->x, channels, d->growth), sa2_tensor_cols(a->x, 0, channels));
    }
    int64_t channels = block_channels(d, block);
    sa2_tensor x = normed(s, a, &e->transits[block].norm, sa2_tensor_cols(a->x, 0, channels));
    linear(s, sa2_tensor_cols(a->x, 0, channels / 2), x, &e->transits[block].linear,
           block == SA2_SPEAKER_BLOCKS - 1 ? SA2_ACT_RELU : SA2_ACT_NONE);
}

static sa2_status judge_frames(const sa2_speaker_encoder *e, int64_t frames, sa2_error *err)
{
    if (frames < SA2_SPEAKER_LEAST_FRAMES)
        return sa2_fail(err, SA2_ERR_ARG, "speaker encoder: %lld frames, %d or more expected",
                        (long long)frames, SA2_SPEAKER_LEAST_FRAMES);
    if (rows_of(frames) > e->segments.shape[0])
        return sa2_fail(err, SA2_ERR_LIMIT, "speaker encoder: %lld frames, up to %lld are possible",
                        (long long)frames, (long long)TDNN_STRIDE * e->segments.shape[0]);
    return SA2_OK;
}

static sa2_status too_little_work(sa2_arena *arena, size_t mark, size_t bytes, sa2_error *err)
{
    sa2_arena_rewind(arena, mark);
    return sa2_fail(err, SA2_ERR_NOMEM,
                    "speaker encoder: %zu bytes of work memory needed, %zu left", bytes,
                    arena->bytes - mark);
}

sa2_status sa2_speaker_encoder_forward(sa2_stream *s, const sa2_speaker_encoder *e,
                                       sa2_partial_rule partial, sa2_arena *arena, sa2_tensor out,
                                       sa2_tensor fbank, sa2_error *err)
{
    int64_t frames = fbank.shape[0], rows = rows_of(frames);
    sa2_status st = judge_frames(e, frames, err);
    if (st != SA2_OK)
        return st;
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, &e->dims, frames, rows);
    if (work.full)
        return too_little_work(arena, mark, work.bytes, err);
    st = sa2_speaker_encoder_head_forward(s, e, arena, a.head, fbank, err);
    if (st == SA2_OK) {
        const int32_t offsets[] = {0, (int32_t)rows};
        int64_t channels = block_channels(&e->dims, SA2_SPEAKER_BLOCKS - 1) / 2;
        sa2_tensor pooled = sa2_tensor_cols(a.pooled, 0, 2 * channels);
        run_tdnn(s, e, sa2_tensor_cols(a.x, 0, e->dims.initial), a.head);
        for (int b = 0; b < SA2_SPEAKER_BLOCKS; b++)
            run_block(s, e, b, partial, &a);
        sa2_mean_deviation(s, pooled, sa2_tensor_cols(a.x, 0, channels), (sa2_rows){1, offsets});
        linear(s, out, pooled, &e->dense, SA2_ACT_NONE);
        sa2_affine(s, out, out, e->dense_norm.scale, e->dense_norm.shift, SA2_ACT_NONE);
    }
    sa2_arena_rewind(arena, mark);
    return st;
}

sa2_status sa2_speaker_encoder_layer_forward(sa2_stream *s, const sa2_speaker_encoder *e, int block,
                                             int layer, sa2_partial_rule partial, sa2_arena *arena,
                                             sa2_tensor y, sa2_tensor x, sa2_error *err)
{
    assert(block >= 0 && block < SA2_SPEAKER_BLOCKS);
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, &e->dims, 0, x.shape[0]);
    if (work.full)
        return too_little_work(arena, mark, work.bytes, err);
    run_layer(s, e, &e->layers[first_layer(&e->dims, block) + layer], dilations[block], partial, &a,
              y, x);
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}
