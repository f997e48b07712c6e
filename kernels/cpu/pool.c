/* pool.c - contract: sa2_mean_pool() in kernels/ops.h. */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 2048 }; /* channels at a time */

typedef struct pool {
    const sa2_floats *floats;
    sa2_tensor y, x;
    sa2_rows sequences;
    int kernel;
} pool;

/* y row `to` from the rows of x that begin at `from`. */
static void one(const pool *a, int64_t to, int64_t from)
{
    float sum[PIECE], room[PIECE];
    int64_t channels = a->x.shape[1];
    for (int64_t i = 0; i < channels; i += PIECE) {
        int64_t n = channels - i < PIECE ? channels - i : PIECE;
        memset(sum, 0, (size_t)n * sizeof *sum);
        for (int k = 0; k < a->kernel; k++) {
            const void *x = sa2_element(&a->x, from + k, i);
            a->floats->add(sum, sum, sa2_floats_read(a->floats, room, x, a->x.dtype, n), n);
        }
        a->floats->scale(sum, sum, 1.0f / (float)a->kernel, n);
        sa2_floats_write(a->floats, sa2_element(&a->y, to, i), a->y.dtype, sum, n);
    }
}

static void rows(const void *context, int64_t first, int64_t end)
{
    const pool *a = context;
    int64_t begin = 0; /* row of y at which sequence i begins */
    for (int i = 0; i < a->sequences.n && begin < end; i++) {
        int64_t base = a->sequences.offsets[i];
        int64_t n = (a->sequences.offsets[i + 1] - base) / a->kernel;
        for (int64_t r = first > begin ? first - begin : 0; r < n && begin + r < end; r++)
            one(a, begin + r, base + r * a->kernel);
        begin += n;
    }
}

sa2_status sa2_cpu_mean_pool(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                             int kernel, sa2_error *err)
{
    (void)err;
    pool a = {
        .floats = sa2_cpu_of(s)->floats, .y = y, .x = x, .sequences = sequences, .kernel = kernel};
    sa2_row_loop(sa2_cpu_of(s), y.shape[0], 0.2 * (double)(x.shape[1] * kernel), rows, &a);
    return SA2_OK;
}
