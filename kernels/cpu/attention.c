/* attention.c - contract: sa2_attention() in kernels/ops.h.
 *
 * The unit of work is a tile of 32 queries of one pair, a head of a sequence. Where kernels want
 * keys packed, as many pairs are packed as the workspace holds, and then their tiles run.
 */
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"

#include <limits.h>

enum { PAIRS_A_THREAD = 4 }; /* that make a task each: one thread reads all keys of a head */

typedef struct attention {
    sa2_cpu *cpu;
    const sa2_tile_kernels *kernels;
    const sa2_attention_args *args;
    int heads, d;
    bool packs;
    int first, end; /* the pairs in hand; pair p is head p % heads of sequence p / heads */
    int tiles_a_task;
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

static sa2_key_run run_in_packed(const sa2_key_source *source, int64_t first, int n)
{
    sa2_key_run run = source->packed;
    run.k += first * run.k_stride * (int64_t)sizeof(uint16_t);
    run.v += first / run.unit * run.v_stride * (int64_t)sizeof(uint16_t);
    run.n = n;
    return run;
}

static int64_t visible_keys(const attention *op, int pair)
{
    const sa2_attention_args *a = op->args;
    int i = pair / op->heads;
    return a->n_visible != NULL ? a->n_visible[i] : sa2_attention_keys(a, i);
}

/* The keys of a pair where the caller has them; `rows` is a segment for those that are in none. */
static sa2_key_source find_keys(const attention *op, int pair, sa2_key_segment *rows)
{
    const sa2_attention_args *a = op->args;
    int64_t first = a->keys.offsets[pair / op->heads], at = (int64_t)(pair % op->heads) * op->d;
    sa2_key_source keys = {.run = run_in_segments, .at = at, .segments = rows};
    if (a->segments != NULL) {
        keys.segments = a->segments + first;
    } else {
        int64_t n = visible_keys(op, pair);
        *rows = (sa2_key_segment){.k = sa2_tensor_rows(a->k, first, n),
                                  .v = sa2_tensor_rows(a->v, first, n)};
    }
    return keys;
}

/* ---- packing ---- */

static int64_t padded_keys(const attention *op, int pair)
{
    return (visible_keys(op, pair) + SA2_TILE_UNIT - 1) / SA2_TILE_UNIT * SA2_TILE_UNIT;
}

static int64_t packed_bytes(const attention *op, int pair)
{
    int64_t dims = sa2_tile_key_dims(op->d) + sa2_tile_value_dims(op->d);
    return padded_keys(op, pair) * dims * (int64_t)sizeof(uint16_t);
}

/* Where a pair in hand is packed: those of one sequence are equally long. */
static unsigned char *packed_at(const attention *op, int pair)
{
    int64_t at = 0;
    for (int p = op->first, n; p < pair; p += n) {
        n = op->heads - p % op->heads < pair - p ? op->heads - p % op->heads : pair - p;
        at += n * packed_bytes(op, p);
    }
    return op->cpu->packed + at;
}

static void pack(void *context, int task, int thread)
{
    (void)thread;
    const attention *op = context;
    int pair = op->first + task;
    sa2_key_segment rows;
    sa2_key_source keys = find_keys(op, pair, &rows);
    op->kernels->pack(&keys, visible_keys(op, pair), op->d, packed_at(op, pair));
}

static sa2_key_source find_packed(const attention *op, int pair)
{
    int64_t key_dims = sa2_tile_key_dims(op->d);
    unsigned char *k = packed_at(op, pair);
    unsigned char *v = k + padded_keys(op, pair) * key_dims * (int64_t)sizeof(uint16_t);
    sa2_key_run packed = {.k = (char *)k,
                          .k_stride = key_dims,
                          .v = (char *)v,
                          .unit = SA2_TILE_UNIT,
                          .v_stride = sa2_tile_value_dims(op->d) * SA2_TILE_UNIT};
    return (sa2_key_source){.run = run_in_packed, .packed = packed};
}

/* ---- tiles ---- */

static int tiles_of(const attention *op, int pair)
{
    int i = pair / op->heads;
    int rows = op->args->queries.offsets[i + 1] - op->args->queries.offsets[i];
    return (rows + SA2_TILE_COLUMNS - 1) / SA2_TILE_COLUMNS;
}

/* Tile number t of a pair. */
static void run_tile(const attention *op, int pair, int t, float *room)
{
    const sa2_attention_args *a = op->args;
    int i = pair / op->heads, head = pair % op->heads;
    int64_t at = (int64_t)head * op->d, visible = visible_keys(op, pair);
    int64_t query = (int64_t)t * SA2_TILE_COLUMNS, row = a->queries.offsets[i] + query;
    int64_t rest = a->queries.offsets[i + 1] - row;
    sa2_key_segment rows;
    sa2_key_source keys = op->packs ? find_packed(op, pair) : find_keys(op, pair, &rows);
    sa2_attention_tile tile = {.keys = &keys,
                               .n = rest < SA2_TILE_COLUMNS ? (int)rest : SA2_TILE_COLUMNS,
                               .d = op->d,
                               .dtype = a->q.dtype,
                               .y_dtype = a->y.dtype,
                               .kv_dtype = a->q.dtype,
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
    op->kernels->range(&tile, 0, visible, whole, room + sa2_partial_floats(op->d));
    op->kernels->write(&tile, whole);
}

static int tasks_of(const attention *op, int pair)
{
    return (tiles_of(op, pair) - 1) / op->tiles_a_task + 1;
}

/* Tiles of one pair are neighbours, so that a thread finds its keys in the cache. */
static void run_task(void *context, int task, int thread)
{
    const attention *op = context;
    for (int pair = op->first;;) {
        int tasks = tasks_of(op, pair), left = op->heads - pair % op->heads;
        if (task < tasks * left) {
            int first = task % tasks * op->tiles_a_task, tiles = tiles_of(op, pair);
            int end = tiles - first < op->tiles_a_task ? tiles : first + op->tiles_a_task;
            for (int t = first; t < end; t++)
                run_tile(op, pair + task / tasks, t, sa2_cpu_thread_space(op->cpu, thread));
            return;
        }
        task -= tasks * left;
        pair += left;
    }
}

static void run_pairs(attention *op)
{
    int tasks = 0, n = op->end - op->first;
    bool whole = n >= PAIRS_A_THREAD * sa2_threads_count(op->cpu->threads);
    op->tiles_a_task = whole ? INT_MAX : 1;
    for (int pair = op->first; pair < op->end; pair++)
        tasks += tasks_of(op, pair);
    if (op->packs)
        sa2_threads_run(op->cpu->threads, n, pack, op);
    sa2_threads_run(op->cpu->threads, tasks, run_task, op);
}

sa2_status sa2_cpu_attention(sa2_stream *s, const sa2_attention_args *a, sa2_error *err)
{
    sa2_cpu *cpu = sa2_cpu_of(s);
    if (a->q.shape[2] > SA2_TILE_MAX_DIM)
        return sa2_fail(err, SA2_ERR_LIMIT, "attention: heads of %lld, up to %d are possible",
                        (long long)a->q.shape[2], SA2_TILE_MAX_DIM);
    attention op = {.cpu = cpu,
                    .kernels = cpu->tile,
                    .args = a,
                    .heads = (int)a->q.shape[1],
                    .d = (int)a->q.shape[2],
                    .packs =
                        cpu->tile->pack != NULL && a->q.dtype == SA2_BF16 && a->r.data == NULL};
    int pairs = a->queries.n * op.heads;
    for (; op.first < pairs; op.first = op.end) {
        int64_t bytes = 0;
        for (op.end = op.first; op.end < pairs; op.end++) {
            bytes += op.packs ? packed_bytes(&op, op.end) : 0;
            if (bytes > SA2_PACKED_SPACE)
                break;
        }
        if (op.end == op.first)
            return sa2_fail(err, SA2_ERR_LIMIT, "attention: %lld keys of %d do not fit %d bytes",
                            (long long)visible_keys(&op, op.first), op.d, (int)SA2_PACKED_SPACE);
        run_pairs(&op);
    }
    return SA2_OK;
}

size_t sa2_attention_scratch_bytes(int64_t q_rows, int heads, int head_dim, int64_t longest_keys)
{
    (void)q_rows, (void)heads, (void)head_dim, (void)longest_keys;
    return 0;
}
