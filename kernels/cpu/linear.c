#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/product.h"

/* Rows of a gate table are numbers from the caller: read only inside it. */
sa2_status sa2_cpu_gate(sa2_epilogue *e, const char *op, const sa2_tensor *gate,
                        const sa2_tensor *gate_rows, sa2_error *err)
{
    e->gate = gate->data;
    e->gate_rows = gate_rows->data;
    e->gate_step = gate->ndim == 2 ? gate->stride : 0;
    for (int64_t i = 0; e->gate_rows != NULL && i < gate_rows->shape[0]; i++)
        if (e->gate_rows[i] < 0 || e->gate_rows[i] >= gate->shape[0])
            return sa2_fail(err, SA2_ERR_ARG, "%s: row %lld takes gate %d of %lld", op,
                            (long long)i, e->gate_rows[i], (long long)gate->shape[0]);
    return SA2_OK;
}

sa2_status sa2_cpu_linear(sa2_stream *s, const sa2_linear_args *a, sa2_error *err)
{
    sa2_row_span all = {.y_last = INT64_MAX};
    sa2_product p = {
        .x = a->x.data,
        .y = a->y.data,
        .x_dtype = a->x.dtype,
        .y_dtype = a->y.dtype,
        .w = a->w,
        .rows = a->y.shape[0],
        .x_step = a->x.stride,
        .y_step = a->y.stride,
        .spans = &all,
        .n_spans = 1,
        .taps = 1,
        .tap_cols = a->w->cols,
        .epilogue = {.bias = a->bias.data,
                     .swiglu = a->swiglu,
                     .activation = a->activation,
                     .slope = a->slope,
                     .accumulate = a->accumulate},
    };
    sa2_status st = sa2_cpu_gate(&p.epilogue, "linear", &a->gate, &a->gate_rows, err);
    return st == SA2_OK ? sa2_product_run(s, &p, err) : st;
}
