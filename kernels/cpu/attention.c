/* attention.c - contract: sa2_attention() in kernels/ops.h. */
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"

typedef struct attention {
    sa2_cpu *cpu;
    const sa2_tile_kernels *kernels;
    const sa2_attention_args *args;
} attention;

static sa2_key_run run_in_segments(const sa2_key_source *source, int64_t first, int n)
{
    const sa2_key_segment *segment = source->segments;
    for (; first >= segment->k.shape[0]; segment++)
        first -= segment->k.shape[0];
    int64_t left = segment->k.shape[0] - first;
    return (sa2_key_run){.k = sa2_element(&segment->k, first, source->at),
                         .v = sa2_element(&segment->v, first, source->at),
                         .k_stride = segment->k.stride,
                         .v_stride = segment->v.stride,
                         .n = n < left ? n : (int)left};
}

/* Tile number t of sequence i, one head. */
static void one(const attention *op, int i, int head, int t, float *room)
{
    const sa2_attention_args *a = op->args;
    int64_t d = a->q.shape[2], at = head * d;
    int64_t visible = a->n_visible != NULL ? a->n_visible[i] : sa2_attention_keys(a, i);
    int64_t query = (int64_t)t * SA2_TILE_COLUMNS, row = a->queries.offsets[i] + query;
    int64_t rest = a->queries.offsets[i + 1] - row;
    sa2_key_segment rows; /* the keys, when they are not in segments */
    sa2_key_source keys = {.run = run_in_segments, .at = at, .segments = &rows};
    int64_t first_key = a->keys.offsets[i];
    if (a->segments != NULL)
        keys.segments = a->segments + first_key;
    else
        rows = (sa2_key_segment){.k = sa2_tensor_rows(a->k, first_key, visible),
                                 .v = sa2_tensor_rows(a->v, first_key, visible)};
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
    sa2_partial whole = sa2_partial_at(room);
    op->kernels->range(&tile, 0, visible, whole, room + sa2_partial_floats(d));
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
    const attention *op = context;
    int i = 0, heads = (int)op->args->q.shape[1];
    for (; task >= tiles_of(op->args, i) * heads; i++)
        task -= tiles_of(op->args, i) * heads;
    one(op, i, task / tiles_of(op->args, i), task % tiles_of(op->args, i),
        sa2_cpu_thread_space(op->cpu, thread));
}

sa2_status sa2_cpu_attention(sa2_stream *s, const sa2_attention_args *a, sa2_error *err)
{
    if (a->q.shape[2] > SA2_TILE_MAX_DIM)
        return sa2_fail(err, SA2_ERR_LIMIT, "attention: heads of %lld, up to %d are possible",
                        (long long)a->q.shape[2], SA2_TILE_MAX_DIM);
    attention op = {.cpu = sa2_cpu_of(s), .kernels = sa2_cpu_of(s)->tile, .args = a};
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
