/* layer_norm.c - contract: sa2_layer_norm() in kernels/ops.h. */
#include <math.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 4096 }; /* elements of a row in f32 at a time */

typedef struct layer_norm {
    const sa2_floats *floats;
    const sa2_layer_norm_args *args;
    int64_t vectors, n; /* in a row of the tensor, elements of each */
} layer_norm;

static const float *piece(const layer_norm *a, float *room, int64_t row, int64_t at, int64_t n)
{
    const sa2_tensor *x = &a->args->x;
    return sa2_floats_read(a->floats, room, sa2_element(x, row, at), x->dtype, n);
}

/* Row `row` of a modulation table at element i, or NULL. */
static const float *table(const sa2_tensor *t, int64_t row, int64_t i)
{
    return t->data == NULL ? NULL
                           : (const float *)t->data + (t->ndim == 1 ? 0 : row * t->stride) + i;
}

static void one(const layer_norm *a, int64_t row, int64_t at)
{
    const sa2_layer_norm_args *args = a->args;
    const sa2_floats *floats = a->floats;
    float room[PIECE];
    float sum = 0.0f, squares = 0.0f;
    for (int64_t i = 0; i < a->n; i += PIECE) {
        int64_t n = a->n - i < PIECE ? a->n - i : PIECE;
        sum += floats->sum(piece(a, room, row, at + i, n), n);
    }
    float mean = sum / (float)a->n;
    for (int64_t i = 0; i < a->n; i += PIECE) {
        int64_t n = a->n - i < PIECE ? a->n - i : PIECE;
        squares += floats->sum_squares(piece(a, room, row, at + i, n), mean, n);
    }
    float factor = 1.0f / sqrtf(squares / (float)a->n + args->eps);
    const int32_t *table_rows = args->table_rows.data;
    int64_t which = table_rows != NULL ? table_rows[row] : 0;
    for (int64_t i = 0; i < a->n; i += PIECE) {
        int64_t n = a->n - i < PIECE ? a->n - i : PIECE;
        void *to = sa2_element(&args->y, row, at + i);
        const float *x = piece(a, room, row, at + i, n);
        float *y = sa2_floats_target(room, to, args->y.dtype);
        floats->normalise(y, x, mean, factor, table(&args->weight, 0, i), table(&args->bias, 0, i),
                          table(&args->scale, which, i), table(&args->shift, which, i), n);
        if (args->activation != SA2_ACT_NONE)
            floats->activate(y, y, args->activation, 0.0f, NULL, n);
        sa2_floats_write(floats, to, args->y.dtype, y, n);
    }
}

static void rows(const void *context, int64_t first, int64_t end)
{
    const layer_norm *a = context;
    for (int64_t row = first; row < end; row++)
        for (int64_t v = 0; v < a->vectors; v++)
            one(a, row, v * a->n);
}

sa2_status sa2_cpu_layer_norm(sa2_stream *s, const sa2_layer_norm_args *args, sa2_error *err)
{
    layer_norm a = {.floats = sa2_cpu_of(s)->floats, .args = args};
    a.n = args->x.shape[args->x.ndim - 1];
    a.vectors = sa2_tensor_row_count(&args->x) / (a.n > 0 ? a.n : 1);
    const int32_t *table_rows = args->table_rows.data;
    if (table_rows != NULL)
        for (int64_t r = 0; r < args->x.shape[0]; r++)
            if (table_rows[r] < 0 || table_rows[r] >= args->scale.shape[0])
                return sa2_fail(err, SA2_ERR_ARG,
                                "layer_norm: row %lld asks for row %d of a table of %lld",
                                (long long)r, (int)table_rows[r], (long long)args->scale.shape[0]);
    if (args->activation == SA2_ACT_SNAKE || args->activation == SA2_ACT_LEAKY)
        return sa2_fail(err, SA2_ERR_ARG, "layer_norm: an activation without parameters expected");
    double cost = args->activation == SA2_ACT_NONE ? 0.3 : 0.8;
    sa2_row_loop(sa2_cpu_of(s), args->x.shape[0], cost * (double)(a.vectors * a.n), rows, &a);
    return SA2_OK;
}
