/* conv1d.c - contract: sa2_conv1d() in kernels/ops.h.
 *
 * x is copied once with its padding, activated on the way; then each row of y is a row of a product
 * whose patch lies in that copy, overlapping its neighbours.
 */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/padded.h"
#include "kernels/cpu/product.h"

size_t sa2_conv1d_scratch_bytes(sa2_dtype x, int64_t x_rows, int64_t in, int n_sequences,
                                int pad_left, int pad_right)
{
    size_t copy = sa2_padded_bytes(x, x_rows, in, n_sequences, (int64_t)pad_left + pad_right);
    return sa2_arena_round(copy) + sa2_arena_round((size_t)n_sequences * sizeof(sa2_row_span));
}

static int64_t rows_out(const sa2_conv1d_args *a, int i)
{
    int64_t length = a->sequences.offsets[i + 1] - a->sequences.offsets[i];
    int64_t room = length + a->pad_left + a->pad_right - (int64_t)a->dilation * (a->kernel - 1) - 1;
    return room < 0 ? 0 : room / a->stride + 1;
}

/* Sequences that give no row have no span. */
static int find_rows(const sa2_conv1d_args *a, const sa2_padding *padding, int64_t x_step,
                     sa2_row_span *spans)
{
    int n = 0;
    int64_t first = 0;
    for (int i = 0; i < a->sequences.n; i++) {
        int64_t rows = rows_out(a, i);
        if (rows == 0)
            continue;
        spans[n++] = (sa2_row_span){.first = first,
                                    .x = sa2_padded_start(padding, i) * x_step,
                                    .y = first * a->y.stride,
                                    .y_last = INT64_MAX};
        first += rows;
    }
    return n;
}

sa2_status sa2_cpu_conv1d(sa2_stream *s, const sa2_conv1d_args *a, sa2_error *err)
{
    int64_t in = a->x.shape[1], x_step = a->x.stride;
    sa2_padding padding = {.x = a->x,
                           .sequences = a->sequences,
                           .before = a->pad_left,
                           .after = a->pad_right,
                           .history = a->history,
                           .activation = a->input,
                           .slope = a->input_slope,
                           .alpha = a->input_alpha.data};
    size_t need = sa2_conv1d_scratch_bytes(a->x.dtype, a->x.shape[0], in, a->sequences.n,
                                           a->pad_left, a->pad_right);
    if (need > s->scratch.bytes - s->scratch.used)
        return sa2_fail(err, SA2_ERR_NOMEM, "conv1d: %zu bytes of scratch needed, %zu left", need,
                        s->scratch.bytes - s->scratch.used);
    size_t mark = sa2_arena_mark(&s->scratch);
    sa2_row_span *spans =
        sa2_arena_take(&s->scratch, (size_t)a->sequences.n * sizeof(sa2_row_span));
    const void *x = a->x.data;
    if (a->pad_left + a->pad_right > 0 || a->input != SA2_ACT_NONE) {
        void *copy = sa2_arena_take(&s->scratch,
                                    sa2_padded_bytes(a->x.dtype, a->x.shape[0], in, a->sequences.n,
                                                     (int64_t)a->pad_left + a->pad_right));
        sa2_pad_rows(sa2_cpu_of(s), &padding, copy);
        x = copy;
        x_step = in;
    }
    bool whole = a->dilation == 1 && x_step == in; /* a patch is one stretch */
    sa2_product p = {
        .x = x,
        .y = a->y.data,
        .x_dtype = a->x.dtype,
        .y_dtype = a->y.dtype,
        .w = a->w,
        .rows = a->y.shape[0],
        .x_step = a->stride * x_step,
        .y_step = a->y.stride,
        .spans = spans,
        .n_spans = find_rows(a, &padding, x_step, spans),
        .taps = whole ? 1 : a->kernel,
        .tap_cols = whole ? a->kernel * in : in,
        .tap_step = a->dilation * x_step,
        .epilogue = {.bias = a->bias.data,
                     .activation = a->activation,
                     .slope = a->slope,
                     .accumulate = a->accumulate},
    };
    sa2_status st = sa2_cpu_gate(&p.epilogue, "conv1d", &a->gate, &a->gate_rows, err);
    if (st == SA2_OK)
        st = sa2_product_run(s, &p, err);
    sa2_arena_rewind(&s->scratch, mark);
    return st;
}
