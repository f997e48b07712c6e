/* linear.cu - contract: sa2_linear() in kernels/ops.h; kernels in product_*.cu. */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/matrix_rounded.cuh"
#include "kernels/cuda/product_library.cuh"

namespace sa2_cuda
{
void set_gate(epilogue *e, fault_kind kind, sa2_stream *s, const sa2_tensor &gate,
              const sa2_tensor &gate_rows)
{
    e->kind = kind;
    e->fault = queue_of(s)->fault;
    if (gate.data == nullptr)
        return;
    e->gate = (const float *)gate.data;
    e->gate_step = gate.ndim == 1 ? 0 : gate.stride;
    e->n_gates = gate.ndim == 1 ? 1 : gate.shape[0];
    e->gate_rows = (const int32_t *)gate_rows.data;
}

sa2_status run_product(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    if (p.rows == 0 || p.n == 0)
        return SA2_OK;
    if (p.steps != nullptr || p.factors != nullptr)
        return run_product_rounded(s, op, p, err);
    return p.w_is_bf16 ? run_product_mma(s, op, p, err) : run_product_f32(s, op, p, err);
}

static void set_steps(product *p, const sa2_matrix *w)
{
    const unsigned char *data = (const unsigned char *)w->data;
    if (w->dtype == SA2_E4M3)
        p->factors = data + powers_e4m3(w->rows, w->cols);
    if (w->dtype == SA2_I8)
        p->steps = (const float *)(data + steps_i8(w->rows, w->cols));
    if (w->dtype == SA2_I4) {
        p->factors = data + factors_i4(w->rows, w->cols);
        p->steps = (const float *)(data + steps_i4(w->rows, w->cols));
    }
}

sa2_status linear(sa2_stream *s, const sa2_linear_args *a, sa2_error *err)
{
    product p = {};
    p.x = a->x.data;
    p.y = a->y.data;
    p.w = a->w->data;
    p.x_is_bf16 = a->x.dtype == SA2_BF16;
    p.y_is_bf16 = a->y.dtype == SA2_BF16;
    p.w_is_bf16 = a->w->dtype == SA2_BF16;
    set_steps(&p, a->w);
    p.rows = (int)a->y.shape[0];
    p.n = (int)a->w->rows;
    p.k = (int)a->w->cols;
    p.x_step = a->x.stride;
    p.y_step = a->y.stride;
    p.n_spans = 1;
    p.one.y_last = INT64_MAX;
    p.taps = 1;
    p.tap_cols = p.k;
    int piece = p.x_is_bf16 ? 8 : 4;
    p.is_aligned = p.k % piece == 0 && p.x_step % piece == 0 && (uintptr_t)p.x % 16 == 0;
    p.epilogue.bias = (const float *)a->bias.data;
    p.epilogue.swiglu = a->swiglu;
    p.epilogue.activation = a->activation;
    p.epilogue.slope = a->slope;
    p.epilogue.accumulate = a->accumulate;
    set_gate(&p.epilogue, fault_kind::LINEAR, s, a->gate, a->gate_rows);
    return is_of_library(s, p) ? run_product_library(s, "linear", p, err)
                               : run_product(s, "linear", p, err);
}
} // namespace sa2_cuda
