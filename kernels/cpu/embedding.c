/* embedding.c - contracts: sa2_embedding(), sa2_scatter_rows() and sa2_copy_rows() in kernels/ops.h. */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 4096 }; /* elements of a row in f32 at a time */

/* The rows of one or both are chosen by ids. */
typedef struct selection {
    const sa2_floats *floats;
    sa2_tensor y, x;
    const int32_t *y_rows, *x_rows; /* NULL: in order */
} selection;

static void copy_row(const selection *a, int64_t to, int64_t from)
{
    int64_t count = a->x.shape[1];
    if (a->y.dtype == a->x.dtype) {
        memcpy(sa2_element(&a->y, to, 0), sa2_element(&a->x, from, 0),
               (size_t)count * sa2_dtype_bytes(a->x.dtype));
        return;
    }
    float room[PIECE];
    for (int64_t i = 0; i < count; i += PIECE) {
        int64_t n = count - i < PIECE ? count - i : PIECE;
        const float *x =
            sa2_floats_read(a->floats, room, sa2_element(&a->x, from, i), a->x.dtype, n);
        sa2_floats_write(a->floats, sa2_element(&a->y, to, i), a->y.dtype, x, n);
    }
}

static void rows(const void *context, int64_t first, int64_t end)
{
    const selection *a = context;
    for (int64_t r = first; r < end; r++)
        copy_row(a, a->y_rows != NULL ? a->y_rows[r] : r, a->x_rows != NULL ? a->x_rows[r] : r);
}

static sa2_status judge_ids(const char *op, const int32_t *ids, int64_t n, int64_t count,
                            sa2_error *err)
{
    for (int64_t r = 0; r < n; r++)
        if (ids[r] < 0 || ids[r] >= count)
            return sa2_fail(err, SA2_ERR_ARG, "%s: id %d at row %lld, 0 to %lld expected", op,
                            (int)ids[r], (long long)r, (long long)count - 1);
    return SA2_OK;
}

sa2_status sa2_cpu_embedding(sa2_stream *s, sa2_tensor y, sa2_tensor table, sa2_tensor ids,
                             sa2_error *err)
{
    selection a = {.floats = sa2_cpu_of(s)->floats, .y = y, .x = table, .x_rows = ids.data};
    sa2_status st = judge_ids("embedding", ids.data, ids.shape[0], table.shape[0], err);
    if (st == SA2_OK)
        sa2_row_loop(sa2_cpu_of(s), y.shape[0], 0.2 * (double)y.shape[1], rows, &a);
    return st;
}

sa2_status sa2_cpu_scatter_rows(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor where,
                                sa2_error *err)
{
    selection a = {.floats = sa2_cpu_of(s)->floats, .y = y, .x = x, .y_rows = where.data};
    sa2_status st = judge_ids("scatter_rows", where.data, where.shape[0], y.shape[0], err);
    if (st == SA2_OK) /* on one thread: of two equal ids the last one stays */
        rows(&a, 0, x.shape[0]);
    return st;
}

sa2_status sa2_cpu_copy_rows(sa2_stream *s, sa2_tensor y, sa2_tensor to, sa2_tensor x,
                             sa2_tensor from, sa2_error *err)
{
    int64_t n = to.shape[0];
    selection a = {.floats = sa2_cpu_of(s)->floats, .y = y, .x = x};
    a.y_rows = to.data;
    a.x_rows = from.data;
    sa2_status st = judge_ids("copy_rows: to", to.data, n, y.shape[0], err);
    if (st == SA2_OK)
        st = judge_ids("copy_rows: from", from.data, n, x.shape[0], err);
    if (st == SA2_OK)
        sa2_row_loop(sa2_cpu_of(s), n, 0.2 * (double)y.shape[1], rows, &a);
    return st;
}
