/* affine.c - contract: sa2_affine() in kernels/ops.h. */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 1024 }; /* elements of a row in f32 at a time: they stay in the first-level cache */

typedef struct affine {
    const sa2_floats *floats;
    sa2_tensor y, x;
    const float *scale, *shift; /* [cols] */
    sa2_activation activation;
} affine;

static void rows(const void *context, int64_t first, int64_t end)
{
    const affine *a = context;
    float room[PIECE];
    int64_t cols = a->x.shape[1];
    for (int64_t row = first; row < end; row++)
        for (int64_t at = 0; at < cols; at += PIECE) {
            int64_t n = cols - at < PIECE ? cols - at : PIECE;
            void *to = sa2_element(&a->y, row, at);
            float *y = sa2_floats_target(room, to, a->y.dtype);
            const float *x =
                sa2_floats_read(a->floats, room, sa2_element(&a->x, row, at), a->x.dtype, n);
            a->floats->normalise(y, x, 0.0f, 1.0f, a->scale + at, a->shift + at, NULL, NULL, n);
            if (a->activation != SA2_ACT_NONE)
                a->floats->activate(y, y, a->activation, 0.0f, NULL, n);
            sa2_floats_write(a->floats, to, a->y.dtype, y, n);
        }
}

sa2_status sa2_cpu_affine(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor scale,
                          sa2_tensor shift, sa2_activation activation, sa2_error *err)
{
    (void)err;
    affine a = {.floats = sa2_cpu_of(s)->floats,
                .y = y,
                .x = x,
                .scale = scale.data,
                .shift = shift.data,
                .activation = activation};
    sa2_row_loop(sa2_cpu_of(s), x.shape[0], 0.2 * (double)x.shape[1], rows, &a);
    return SA2_OK;
}
