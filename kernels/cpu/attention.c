/* attention.c - contract: sa2_attention() in kernels/ops.h. */
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"

typedef struct attention {
    const sa2_tile_kernels *kernels;
    const sa2_attention_args *args;
} attention;

static sa2_key_run whole_run(const sa2_key_source *source, int64_t first, int n)
{
    sa2_key_run run = source->whole;
    int64_t bytes = (int64_t)sa2_dtype_bytes(source->dtype);
    run.k += first * run.k_stride * bytes;
    run.v += first * run.v_key_stride * bytes;
    run.n = n;
    return run;
}

/* Tile number t of sequence i, one head. */
static void one(const attention *op, int i, int head, int t)
{
    const sa2_attention_args *a = op->args;
    int64_t d = a->q.shape[2], at = head * d;
    int64_t first_key = a->keys.offsets[i];
    int64_t n_keys = a->keys.offsets[i + 1] - first_key;
    int64_t visible = a->n_visible != NULL ? a->n_visible[i] : n_keys;
    int64_t query = (int64_t)t * SA2_TILE_COLUMNS, row = a->queries.offsets[i] + query;
    int64_t rest = a->queries.offsets[i + 1] - row;
    sa2_key_source keys = {.run = whole_run,
                           .dtype = a->k.dtype,
                           .whole = {.k = sa2_element(&a->k, first_key, at),
                                     .v = sa2_element(&a->v, first_key, at),
                                     .k_stride = a->k.stride,
                                     .v_key_stride = a->v.stride,
                                     .v_dim_stride = 1}};
    sa2_attention_tile tile = {.keys = &keys,
                               .n = rest < SA2_TILE_COLUMNS ? (int)rest : SA2_TILE_COLUMNS,
                               .d = (int)d,
                               .dtype = a->q.dtype,
                               .y_dtype = a->y.dtype,
                               .scale = a->scale};
    for (int c = 0; c < tile.n; c++) {
        tile.q[c] = sa2_element(&a->q, row + c, at);
        tile.y[c] = sa2_element(&a->y, row + c, at);
        tile.visible[c] = visible;
    }
    if (a->r.data != NULL) {
        tile.u = sa2_element(&a->u, head, 0);
        tile.w = sa2_element(&a->w, head, 0);
        tile.r = sa2_element(&a->r, 0, at);
        tile.r_stride = a->r.stride;
        tile.place = a->r.shape[0] / 2 + a->first_position[i] + query;
    }
    float room[(SA2_TILE_MAX_DIM + 2) * SA2_TILE_COLUMNS] __attribute__((aligned(64)));
    sa2_partial whole = sa2_partial_at(room);
    op->kernels->range(&tile, 0, visible, whole);
    op->kernels->write(&tile, whole);
}

/* Tiles of sequence i, one head. */
static int tiles_of(const sa2_attention_args *a, int i)
{
    int rows = a->queries.offsets[i + 1] - a->queries.offsets[i];
    return (rows + SA2_TILE_COLUMNS - 1) / SA2_TILE_COLUMNS;
}

/* Tiles of one head are neighbours, so that a thread finds the head's keys in its cache. */
static void run_task(void *context, int task, int thread)
{
    (void)thread;
    const attention *op = context;
    int i = 0, heads = (int)op->args->q.shape[1];
    for (; task >= tiles_of(op->args, i) * heads; i++)
        task -= tiles_of(op->args, i) * heads;
    one(op, i, task / tiles_of(op->args, i), task % tiles_of(op->args, i));
}

sa2_status sa2_cpu_attention(sa2_stream *s, const sa2_attention_args *a, sa2_error *err)
{
    if (a->q.shape[2] > SA2_TILE_MAX_DIM)
        return sa2_fail(err, SA2_ERR_LIMIT, "attention: heads of %lld, up to %d are possible",
                        (long long)a->q.shape[2], SA2_TILE_MAX_DIM);
    attention op = {.kernels = sa2_cpu_of(s)->tile, .args = a};
    int tasks = 0;
    for (int i = 0; i < a->queries.n; i++)
        tasks += tiles_of(a, i) * (int)a->q.shape[1];
    sa2_threads_run(sa2_cpu_of(s)->threads, tasks, run_task, &op);
    return SA2_OK;
}

size_t sa2_attention_scratch_bytes(int64_t q_rows, int heads, int head_dim, int64_t longest_keys)
{
    (void)q_rows, (void)heads, (void)head_dim, (void)longest_keys;
    return 0;
}
