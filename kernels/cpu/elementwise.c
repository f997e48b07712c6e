/* elementwise.c - contracts: sa2_copy(), sa2_add(), sa2_mix() and sa2_activate() in kernels/ops.h. */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 2048 }; /* elements of a row in f32 at a time */

typedef struct elementwise {
    const sa2_floats *floats;
    sa2_tensor y, a, b;   /* b absent: not a sum */
    const float *factors; /* of a and b; NULL: 1 */
    sa2_activation kind;
    float slope;
    const float *alpha; /* [last dimension] */
    int64_t cols;       /* in one index of dimension 0 */
} elementwise;

static void one_piece(const elementwise *e, int64_t row, int64_t at, int64_t n, int64_t channel)
{
    const sa2_floats *floats = e->floats;
    float room[PIECE], other[PIECE];
    void *to = sa2_element(&e->y, row, at);
    const float *x = sa2_floats_read(floats, room, sa2_element(&e->a, row, at), e->a.dtype, n);
    if (e->b.data != NULL) {
        const void *from = sa2_element(&e->b, e->b.ndim == e->a.ndim ? row : 0, at);
        float *y = sa2_floats_target(room, to, e->y.dtype);
        const float *z = sa2_floats_read(floats, other, from, e->b.dtype, n);
        if (e->factors != NULL)
            floats->mix(y, e->factors[0], x, e->factors[1], z, n);
        else
            floats->add(y, x, z, n);
        x = y;
    } else if (e->kind != SA2_ACT_NONE) {
        float *y = sa2_floats_target(room, to, e->y.dtype);
        floats->activate(y, x, e->kind, e->slope, e->alpha != NULL ? e->alpha + channel : NULL, n);
        x = y;
    }
    sa2_floats_write(floats, to, e->y.dtype, x, n);
}

static void rows(const void *context, int64_t first, int64_t end)
{
    const elementwise *e = context;
    int64_t channels = e->a.shape[e->a.ndim - 1];
    for (int64_t row = first; row < end; row++)
        for (int64_t at = 0; at < e->cols;) {
            int64_t n = e->cols - at < PIECE ? e->cols - at : PIECE;
            if (e->alpha != NULL && n > channels - at % channels)
                n = channels - at % channels;
            one_piece(e, row, at, n, at % channels);
            at += n;
        }
}

static bool is_run(const sa2_tensor *x)
{
    return x->data == NULL || (x->ndim == 1 && x->stride == 1);
}

static void run(sa2_stream *s, elementwise *e, double cost)
{
    e->floats = sa2_cpu_of(s)->floats;
    if (is_run(&e->y) && is_run(&e->a) && is_run(&e->b)) { /* vectors: one row */
        sa2_tensor *each[] = {&e->y, &e->a, &e->b};
        for (int i = 0; i < 3; i++)
            if (each[i]->data != NULL)
                *each[i] = sa2_tensor_2d(each[i]->data, each[i]->dtype, 1, each[i]->shape[0]);
    }
    e->cols = sa2_tensor_row_count(&e->a);
    sa2_row_loop(sa2_cpu_of(s), e->a.shape[0], cost * (double)e->cols, rows, e);
}

sa2_status sa2_cpu_copy(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_error *err)
{
    (void)err;
    elementwise e = {.y = y, .a = x};
    run(s, &e, 0.2);
    return SA2_OK;
}

sa2_status sa2_cpu_add(sa2_stream *s, sa2_tensor y, sa2_tensor a, sa2_tensor b, sa2_error *err)
{
    (void)err;
    elementwise e = {.y = y, .a = a, .b = b};
    run(s, &e, 0.3);
    return SA2_OK;
}

sa2_status sa2_cpu_mix(sa2_stream *s, sa2_tensor y, float a, sa2_tensor x, float b, sa2_tensor z,
                       sa2_error *err)
{
    (void)err;
    const float factors[] = {a, b};
    elementwise e = {.y = y, .a = x, .b = z, .factors = factors};
    run(s, &e, 0.3);
    return SA2_OK;
}

sa2_status sa2_cpu_activate(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_activation activation,
                            float slope, sa2_tensor alpha, sa2_error *err)
{
    (void)err;
    elementwise e = {.y = y, .a = x, .kind = activation, .slope = slope, .alpha = alpha.data};
    run(s, &e, 1.0);
    return SA2_OK;
}
