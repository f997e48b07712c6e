/* conv1d.cu - contract: sa2_conv1d() in kernels/ops.h.
 *
 * x is copied once with its padding, activated on the way (padded.cu); then each row of y is a row of a product whose
 * patch lies in that copy, overlapping its neighbours.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static int64_t rows_out(const sa2_conv1d_args *a, int i)
{
    int64_t length = a->sequences.offsets[i + 1] - a->sequences.offsets[i];
    int64_t room = length + a->pad_left + a->pad_right - (int64_t)a->dilation * (a->kernel - 1) - 1;
    return room < 0 ? 0 : room / a->stride + 1;
}

/* Sequences that give no row have no span. */
static int find_rows(const sa2_conv1d_args *a, const padding &pads, int64_t x_step, row_span *spans)
{
    int n = 0;
    int64_t first = 0;
    for (int i = 0; i < a->sequences.n; i++) {
        int64_t rows = rows_out(a, i);
        if (rows == 0)
            continue;
        spans[n++] = {first, padded_start(pads, i) * x_step, first * a->y.stride, 0, INT64_MAX};
        spans[n - 1].y_first = INT64_MIN;
        first += rows;
    }
    return n;
}

/* Rows of the product lie x_step elements apart; where they begin is not said yet. */
static product product_of(sa2_stream *s, const sa2_conv1d_args *a, const void *x, int64_t x_step)
{
    int64_t in = a->x.shape[1];
    bool whole = a->dilation == 1 && x_step == in; /* a patch is one stretch */
    product p = {};
    p.x = x;
    p.y = a->y.data;
    p.w = a->w->data;
    p.x_is_bf16 = a->x.dtype == SA2_BF16;
    p.y_is_bf16 = a->y.dtype == SA2_BF16;
    p.w_is_bf16 = a->w->dtype == SA2_BF16;
    p.rows = (int)a->y.shape[0];
    p.n = (int)a->w->rows;
    p.k = (int)a->w->cols;
    p.x_step = a->stride * x_step;
    p.y_step = a->y.stride;
    p.taps = whole ? 1 : a->kernel;
    p.tap_cols = (int)(whole ? a->kernel * in : in);
    p.tap_step = a->dilation * x_step;
    int piece = p.x_is_bf16 ? 8 : 4;
    p.is_aligned = in % piece == 0 && x_step % piece == 0 && (uintptr_t)x % 16 == 0;
    p.epilogue.bias = (const float *)a->bias.data;
    p.epilogue.activation = a->activation;
    p.epilogue.slope = a->slope;
    p.epilogue.accumulate = a->accumulate;
    set_gate(&p.epilogue, fault_kind::CONV1D, s, a->gate, a->gate_rows);
    return p;
}

static sa2_status run(sa2_stream *s, const sa2_conv1d_args *a, sa2_error *err)
{
    padding pads = {.x = a->x,
                    .sequences = a->sequences,
                    .before = a->pad_left,
                    .after = a->pad_right,
                    .history = a->history,
                    .activation = a->input,
                    .slope = a->input_slope,
                    .alpha = (const float *)a->input_alpha.data};
    bool copied = a->pad_left + a->pad_right > 0 || a->input != SA2_ACT_NONE;
    const void *x = copied ? pad_rows(s, "conv1d", pads, err) : a->x.data;
    if (x == nullptr)
        return failure_of(err);
    int64_t x_step = copied ? a->x.shape[1] : a->x.stride;
    product p = product_of(s, a, x, x_step);
    row_span *spans = span_room(s, "conv1d", a->sequences.n, err);
    if (spans == nullptr)
        return failure_of(err);
    sa2_status st = set_spans(s, "conv1d", &p, spans, find_rows(a, pads, x_step, spans), err);
    return st == SA2_OK ? run_product(s, "conv1d", p, err) : st;
}

sa2_status conv1d(sa2_stream *s, const sa2_conv1d_args *a, sa2_error *err)
{
    size_t mark = sa2_arena_mark(&s->scratch);
    sa2_status st = run(s, a, err);
    sa2_arena_rewind(&s->scratch, mark); /* ops after this one come after it in the stream */
    return st;
}
} // namespace sa2_cuda
