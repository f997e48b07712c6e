/* conv_transpose1d.c - contract: sa2_conv_transpose1d() in kernels/ops.h.
 *
 * Outputs u * stride - pad + phase, phase from 0 to stride - 1, need the rows x[u - m] alone,
 * m from 0 to kernel / stride rounded up: one row of a product with stride * out columns, which are
 * those outputs side by side. What lies before the first output or after the last is dropped.
 */
#include <string.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/padded.h"
#include "kernels/cpu/product.h"

static int64_t reach_of(int kernel, int stride)
{
    return (kernel + stride - 1) / stride;
}

size_t sa2_conv_transpose1d_scratch_bytes(int64_t x_rows, int64_t in, int64_t out, int n_sequences,
                                          int kernel, int stride)
{
    int64_t padding = 2 * (reach_of(kernel, stride) - 1);
    return sa2_arena_round(sa2_padded_bytes(SA2_F32, x_rows, in, n_sequences, padding)) +
           sa2_arena_round((size_t)n_sequences * sizeof(sa2_row_span)) +
           sa2_arena_round((size_t)(stride * out) * sizeof(float));
}

/* Fills spans; returns how many, and the rows of the product. */
static int find_rows(const sa2_conv_transpose1d_args *a, const sa2_padding *padding,
                     sa2_row_span *spans, int64_t *rows)
{
    int64_t in = a->x.shape[1], out = a->y.shape[1], y = 0;
    int n = 0;
    *rows = 0;
    for (int i = 0; i < a->sequences.n; i++) {
        int64_t length = a->sequences.offsets[i + 1] - a->sequences.offsets[i];
        int64_t n_out = (length - 1) * a->stride - 2 * a->pad + a->kernel;
        if (length == 0 || n_out <= 0)
            continue;
        spans[n++] = (sa2_row_span){.first = *rows,
                                    .x = sa2_padded_start(padding, i) * in,
                                    .y = (y - a->pad) * out,
                                    .y_first = y * out,
                                    .y_last = (y + n_out) * out};
        *rows += length + padding->before;
        y += n_out;
    }
    return n;
}

static const float *repeat_bias(const sa2_tensor *bias, int times, float *room)
{
    if (bias->data == NULL)
        return NULL;
    int64_t n = bias->shape[0];
    for (int i = 0; i < times; i++)
        memcpy(room + i * n, bias->data, (size_t)n * sizeof *room);
    return room;
}

sa2_status sa2_cpu_conv_transpose1d(sa2_stream *s, const sa2_conv_transpose1d_args *a,
                                    sa2_error *err)
{
    int64_t in = a->x.shape[1], out = a->y.shape[1], reach = reach_of(a->kernel, a->stride);
    sa2_padding padding = {.x = a->x,
                           .sequences = a->sequences,
                           .before = (int)reach - 1,
                           .after = (int)reach - 1,
                           .activation = a->input,
                           .slope = a->input_slope};
    size_t need = sa2_conv_transpose1d_scratch_bytes(a->x.shape[0], in, out, a->sequences.n,
                                                     a->kernel, a->stride);
    if (need > s->scratch.bytes - s->scratch.used)
        return sa2_fail(err, SA2_ERR_NOMEM,
                        "conv_transpose1d: %zu bytes of scratch needed, %zu left", need,
                        s->scratch.bytes - s->scratch.used);
    size_t mark = sa2_arena_mark(&s->scratch);
    void *x = sa2_arena_take(
        &s->scratch, sa2_padded_bytes(SA2_F32, a->x.shape[0], in, a->sequences.n, 2 * (reach - 1)));
    sa2_row_span *spans =
        sa2_arena_take(&s->scratch, (size_t)a->sequences.n * sizeof(sa2_row_span));
    float *bias = sa2_arena_take(&s->scratch, (size_t)(a->stride * out) * sizeof(float));
    sa2_pad_rows(sa2_cpu_of(s), &padding, x);
    sa2_product p = {
        .x = x,
        .y = a->y.data,
        .w = a->w,
        .x_step = in,
        .y_step = a->stride * out,
        .spans = spans,
        .taps = 1,
        .tap_cols = reach * in,
        .epilogue = {.bias = repeat_bias(&a->bias, a->stride, bias)},
    };
    p.n_spans = find_rows(a, &padding, spans, &p.rows);
    sa2_status st = sa2_product_run(s, &p, err);
    sa2_arena_rewind(&s->scratch, mark);
    return st;
}
