/* conv_transpose1d.cu - contract: sa2_conv_transpose1d() in kernels/ops.h.
 *
 * Outputs u * stride - pad + phase, phase from 0 to stride - 1, need the rows x[u - m] alone, m from 0 to
 * kernel / stride rounded up: one row of a product with stride * out columns, which are those outputs side by side.
 * What lies before the first output or after the last is dropped.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
/* Fills spans; returns how many, and the rows of the product. */
static int find_rows(const sa2_conv_transpose1d_args *a, const padding &pads, row_span *spans,
                     int *rows)
{
    int64_t in = a->x.shape[1], out = a->y.shape[1], y = 0, first = 0;
    int n = 0;
    for (int i = 0; i < a->sequences.n; i++) {
        int64_t length = a->sequences.offsets[i + 1] - a->sequences.offsets[i];
        int64_t n_out = (length - 1) * a->stride - 2 * a->pad + a->kernel;
        if (length == 0 || n_out <= 0)
            continue;
        spans[n++] = {first, padded_start(pads, i) * in, (y - a->pad) * out, y * out,
                      (y + n_out) * out};
        first += length + pads.before;
        y += n_out;
    }
    *rows = (int)first;
    return n;
}

static sa2_status run(sa2_stream *s, const sa2_conv_transpose1d_args *a, sa2_error *err)
{
    int64_t in = a->x.shape[1], out = a->y.shape[1],
            reach = (a->kernel + a->stride - 1) / a->stride;
    padding pads = {};
    pads.x = a->x;
    pads.sequences = a->sequences;
    pads.before = pads.after = (int)reach - 1;
    pads.activation = a->input;
    pads.slope = a->input_slope;
    product p = {};
    p.x = pad_rows(s, "conv_transpose1d", pads, err);
    row_span *spans = span_room(s, "conv_transpose1d", a->sequences.n, err);
    if (p.x == nullptr || spans == nullptr)
        return failure_of(err);
    p.y = a->y.data;
    p.w = a->w->data;
    p.w_is_bf16 = a->w->dtype == SA2_BF16;
    p.n = (int)a->w->rows;
    p.k = (int)a->w->cols;
    p.x_step = in;
    p.y_step = a->stride * out;
    p.taps = 1;
    p.tap_cols = p.k;
    p.is_aligned = in % 4 == 0;
    p.epilogue.bias = (const float *)a->bias.data;
    p.epilogue.bias_cols = (int)out;
    int n = find_rows(a, pads, spans, &p.rows);
    sa2_status st = set_spans(s, "conv_transpose1d", &p, spans, n, err);
    return st == SA2_OK ? run_product(s, "conv_transpose1d", p, err) : st;
}

sa2_status conv_transpose1d(sa2_stream *s, const sa2_conv_transpose1d_args *a, sa2_error *err)
{
    size_t mark = sa2_arena_mark(&s->scratch);
    sa2_status st = run(s, a, err);
    sa2_arena_rewind(&s->scratch, mark);
    return st;
}
} // namespace sa2_cuda
