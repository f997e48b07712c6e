/* conv2d.cu - contract: sa2_conv2d() in kernels/ops.h.
 *
 * In a copy of x with a border of zeros the patch of one output is three stretches of three frequencies by all
 * channels, a frame apart: a row of a product with three taps.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

/* copy [frames + 2, frame + 2 border] floats around x [frames, frame]. */
static __global__ void __launch_bounds__(THREADS)
    border_kernel(float *copy, const float *x, long long frames, long long frame, long long border)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x, whole = frame + 2 * border;
    long long t = i / whole - 1, at = i % whole - border;
    if (t > frames)
        return;
    bool inside = t >= 0 && t < frames && at >= 0 && at < frame;
    copy[i] = inside ? x[t * frame + at] : 0.0f;
}

/* x with its border in the scratch of s; NULL and the reason in err when there is no room. */
static const float *with_border(sa2_stream *s, const sa2_conv2d_args *a, sa2_error *err)
{
    int64_t frames = a->x.shape[0], in = a->x.shape[2], frame = a->x.shape[1] * in;
    int64_t count = (frames + 2) * (frame + 2 * in);
    float *copy = (float *)sa2_arena_take(&s->scratch, (size_t)count * sizeof(float));
    if (copy == nullptr) {
        sa2_fail(err, SA2_ERR_NOMEM, "conv2d: %zu bytes of scratch needed, %zu left",
                 (size_t)count * sizeof(float), s->scratch.bytes - s->scratch.used);
        return nullptr;
    }
    sa2_status st = launch(s, "conv2d", border_kernel, dim3(blocks_for(count, THREADS)), THREADS, 0,
                           err, copy, (const float *)a->x.data, frames, frame, in);
    return st == SA2_OK ? copy : nullptr;
}

static sa2_status run(sa2_stream *s, const sa2_conv2d_args *a, sa2_error *err)
{
    int64_t frames = a->x.shape[0], in = a->x.shape[2], bins_out = a->y.shape[1];
    int64_t out = a->y.shape[2], frame = (a->x.shape[1] + (a->kernel == 3 ? 2 : 0)) * in;
    product p = {};
    p.x = a->kernel == 3 ? with_border(s, a, err) : (const float *)a->x.data;
    row_span *spans = span_room(s, "conv2d", (int)frames, err);
    if (p.x == nullptr || spans == nullptr)
        return failure_of(err);
    for (int64_t t = 0; t < frames; t++)
        spans[t] = {t * bins_out, t * frame, t * bins_out * out, INT64_MIN, INT64_MAX};
    p.y = a->y.data;
    p.w = a->w->data;
    p.w_is_bf16 = a->w->dtype == SA2_BF16;
    p.rows = (int)(frames * bins_out);
    p.n = (int)a->w->rows;
    p.k = (int)a->w->cols;
    p.x_step = a->stride * in;
    p.y_step = out;
    p.taps = a->kernel;
    p.tap_cols = (int)(a->kernel * in);
    p.tap_step = frame;
    p.is_aligned = in % 4 == 0 && (uintptr_t)p.x % 16 == 0;
    p.epilogue.bias = (const float *)a->bias.data;
    p.epilogue.residual = a->accumulate;
    p.epilogue.activation = a->activation;
    sa2_status st = set_spans(s, "conv2d", &p, spans, (int)frames, err);
    return st == SA2_OK ? run_product(s, "conv2d", p, err) : st;
}

sa2_status conv2d(sa2_stream *s, const sa2_conv2d_args *a, sa2_error *err)
{
    size_t mark = sa2_arena_mark(&s->scratch);
    sa2_status st = run(s, a, err);
    sa2_arena_rewind(&s->scratch, mark);
    return st;
}
} // namespace sa2_cuda
