/* rms_norm.c - contract: sa2_rms_norm() in kernels/ops.h. */
#include <math.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 4096 }; /* elements of a row in f32 at a time */

typedef struct rms_norm {
    const sa2_floats *floats;
    sa2_tensor y, x, weight;
    int64_t vectors, n; /* in a row of the tensor, elements of each */
    float eps;
} rms_norm;

static void one(const rms_norm *a, int64_t row, int64_t at)
{
    float room[PIECE];
    const float *weight = a->weight.data;
    float squares = 0.0f;
    for (int64_t i = 0; i < a->n; i += PIECE) {
        int64_t n = a->n - i < PIECE ? a->n - i : PIECE;
        const float *x =
            sa2_floats_read(a->floats, room, sa2_element(&a->x, row, at + i), a->x.dtype, n);
        squares += a->floats->sum_squares(x, 0.0f, n);
    }
    float factor = 1.0f / sqrtf(squares / (float)a->n + a->eps);
    for (int64_t i = 0; i < a->n; i += PIECE) {
        int64_t n = a->n - i < PIECE ? a->n - i : PIECE;
        void *to = sa2_element(&a->y, row, at + i);
        const float *x =
            sa2_floats_read(a->floats, room, sa2_element(&a->x, row, at + i), a->x.dtype, n);
        float *y = sa2_floats_target(room, to, a->y.dtype);
        a->floats->scale_each(y, x, factor, weight + i, n);
        sa2_floats_write(a->floats, to, a->y.dtype, y, n);
    }
}

static void rows(const void *context, int64_t first, int64_t end)
{
    const rms_norm *a = context;
    for (int64_t row = first; row < end; row++)
        for (int64_t v = 0; v < a->vectors; v++)
            one(a, row, v * a->n);
}

sa2_status sa2_cpu_rms_norm(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor weight, float eps,
                            sa2_error *err)
{
    (void)err;
    rms_norm a = {.floats = sa2_cpu_of(s)->floats, .y = y, .x = x, .weight = weight, .eps = eps};
    a.n = weight.shape[0];
    a.vectors = sa2_tensor_row_count(&x) / (a.n > 0 ? a.n : 1);
    sa2_row_loop(sa2_cpu_of(s), x.shape[0], 0.2 * (double)(a.vectors * a.n), rows, &a);
    return SA2_OK;
}
