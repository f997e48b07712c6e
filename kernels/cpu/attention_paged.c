/* attention_paged.c - contract: sa2_attention_paged() in kernels/ops.h.
 *
 * The columns of a tile are the query heads of one kv head, row after row of one sequence: column c
 * of a sequence is row c / group, query head c % group of the kv head. So the 7 heads that share
 * keys read them once, and so do neighbouring rows of a prompt.
 */
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/kv_page.h"

enum {
    RANGE = 512,     /* keys of one partial result */
    FEW_A_THREAD = 4 /* tiles: with fewer, ranges are tasks too */
};

typedef struct paged {
    sa2_cpu *cpu;
    const sa2_tile_kernels *kernels;
    sa2_tensor y, q;
    const sa2_kv_cache_view *cache;
    const sa2_paged_rows *where;
    float scale;
    int group;           /* query heads of a kv head */
    int first, n_ranges; /* in hand, of every tile, when ranges are tasks */
} paged;

static sa2_key_run run_in_pages(const sa2_key_source *source, int64_t first, int n)
{
    const sa2_kv_cache_view *cache = source->cache;
    int slot = (int)(first % cache->page_size), left = cache->page_size - slot;
    sa2_kv_head head = sa2_kv_head_of(cache, source->table[first / cache->page_size], source->head);
    int64_t at = (int64_t)slot * cache->head_dim * (int64_t)sa2_dtype_bytes(cache->dtype);
    int unit = sa2_kv_unit(cache);
    bool rounded = cache->dtype == SA2_I8;
    return (sa2_key_run){.k = head.k + at,
                         .v = head.v + at, /* of rows, and of units: slot begins one */
                         .k_steps = rounded ? head.k_steps + slot : NULL,
                         .v_steps = rounded ? head.v_steps + slot : NULL,
                         .k_stride = cache->head_dim,
                         .unit = unit,
                         .v_stride = cache->head_dim * (unit > 0 ? unit : 1),
                         .n = n < left ? n : left};
}

/* Tiles of sequence i, one kv head. */
static int tiles_of(const paged *op, int i)
{
    int rows = op->where->rows.offsets[i + 1] - op->where->rows.offsets[i];
    return (rows * op->group + SA2_TILE_COLUMNS - 1) / SA2_TILE_COLUMNS;
}

typedef struct paged_tile {
    sa2_key_source keys;
    sa2_attention_tile tile;
    int64_t end; /* of the keys that any column sees */
} paged_tile;

/* Tile number t of all; those of one sequence and one kv head are neighbours. */
static void find_tile(const paged *op, int t, paged_tile *found)
{
    int i = 0, heads = op->cache->kv_heads;
    for (; t >= tiles_of(op, i) * heads; i++)
        t -= tiles_of(op, i) * heads;
    int head = t / tiles_of(op, i);
    t %= tiles_of(op, i);

    int64_t d = op->q.shape[2];
    int64_t begin = op->where->rows.offsets[i], rows = op->where->rows.offsets[i + 1] - begin;
    int64_t column = (int64_t)t * SA2_TILE_COLUMNS, rest = rows * op->group - column;
    found->keys =
        (sa2_key_source){.run = run_in_pages,
                         .cache = op->cache,
                         .table = op->where->block_table + (int64_t)i * op->where->max_pages,
                         .head = head};
    sa2_attention_tile *tile = &found->tile;
    tile->keys = &found->keys;
    tile->n = rest < SA2_TILE_COLUMNS ? (int)rest : SA2_TILE_COLUMNS;
    tile->d = (int)d;
    tile->dtype = op->q.dtype;
    tile->y_dtype = op->y.dtype;
    tile->kv_dtype = op->cache->dtype;
    tile->scale = op->scale;
    tile->u = NULL;
    for (int c = 0; c < tile->n; c++) {
        int64_t row = (column + c) / op->group, h = head * op->group + (column + c) % op->group;
        tile->q[c] = sa2_element(&op->q, begin + row, h * d);
        tile->y[c] = sa2_element(&op->y, begin + row, h * d);
        tile->visible[c] = op->where->first_position[i] + row + 1;
    }
    found->end = tile->visible[tile->n - 1];
}

static void run_range(const paged *op, const paged_tile *t, int64_t range, sa2_partial out,
                      float *room)
{
    int64_t first = range * RANGE, end = t->end - first < RANGE ? t->end : first + RANGE;
    op->kernels->range(&t->tile, first, end, out, room);
}

/* ---- many tiles: each one a task ---- */

static void run_tile(void *context, int task, int thread)
{
    const paged *op = context;
    int64_t d = op->q.shape[2], floats = sa2_partial_floats(d);
    float *room = sa2_cpu_thread_space(op->cpu, thread);
    sa2_partial whole = sa2_partial_at(room), part = sa2_partial_at(room + floats);
    paged_tile t;
    find_tile(op, task, &t);
    run_range(op, &t, 0, whole, room + 2 * floats);
    for (int64_t range = 1; range * RANGE < t.end; range++) {
        run_range(op, &t, range, part, room + 2 * floats);
        op->kernels->join(whole, part, (int)d, t.tile.n);
    }
    op->kernels->write(&t.tile, whole);
}

/* ---- few tiles: each range of each one a task, as many ranges at a time as partials fit ---- */

/* Number `i` of a tile: 0 is the whole so far, the others follow in order. */
static sa2_partial partial_of(const paged *op, int tile, int i)
{
    int64_t at = (int64_t)tile * (op->n_ranges + 1) + i;
    return sa2_partial_at((float *)(void *)op->cpu->packed +
                          at * sa2_partial_floats(op->q.shape[2]));
}

static void run_one_range(void *context, int task, int thread)
{
    const paged *op = context;
    int tile = task / op->n_ranges, i = task % op->n_ranges, range = op->first + i;
    paged_tile t;
    find_tile(op, tile, &t);
    if ((int64_t)range * RANGE < t.end)
        run_range(op, &t, range, partial_of(op, tile, range == 0 ? 0 : i + 1),
                  sa2_cpu_thread_space(op->cpu, thread));
}

static void join_ranges(void *context, int task, int thread)
{
    (void)thread;
    const paged *op = context;
    paged_tile t;
    find_tile(op, task, &t);
    sa2_partial whole = partial_of(op, task, 0);
    int64_t all = (t.end + RANGE - 1) / RANGE;
    for (int64_t i = op->first == 0 ? 1 : 0; i < op->n_ranges && op->first + i < all; i++)
        op->kernels->join(whole, partial_of(op, task, (int)i + 1), t.tile.d, t.tile.n);
    if (op->first < all && all <= op->first + op->n_ranges)
        op->kernels->write(&t.tile, whole);
}

/* True when the ranges were run so. */
static bool run_ranges(paged *op, int tiles)
{
    int64_t most = 0;
    for (int i = 0; i < op->where->rows.n; i++) {
        int32_t rows = op->where->rows.offsets[i + 1] - op->where->rows.offsets[i];
        int64_t end = rows > 0 ? (int64_t)op->where->first_position[i] + rows : 0;
        most = most > end ? most : end;
    }
    most = (most + RANGE - 1) / RANGE;
    int64_t bytes = sa2_partial_floats(op->q.shape[2]) * (int64_t)sizeof(float) * tiles;
    int64_t fit = SA2_PACKED_SPACE / bytes - 1;
    if (most < 2 || fit < 1)
        return false;
    op->n_ranges = (int)(most < fit ? most : fit);
    for (; op->first < most; op->first += op->n_ranges) {
        sa2_threads_run(op->cpu->threads, tiles * op->n_ranges, run_one_range, op);
        sa2_threads_run(op->cpu->threads, tiles, join_ranges, op);
    }
    return true;
}

sa2_status sa2_cpu_attention_paged(sa2_stream *s, sa2_tensor y, sa2_tensor q,
                                   const sa2_kv_cache_view *cache, const sa2_paged_rows *where,
                                   float scale, sa2_error *err)
{
    if (q.shape[2] > SA2_TILE_MAX_DIM)
        return sa2_fail(err, SA2_ERR_LIMIT, "attention_paged: heads of %lld, up to %d are possible",
                        (long long)q.shape[2], SA2_TILE_MAX_DIM);
    sa2_cpu *cpu = sa2_cpu_of(s);
    paged op = {.cpu = cpu,
                .kernels = cpu->tile,
                .y = y,
                .q = q,
                .cache = cache,
                .where = where,
                .scale = scale,
                .group = (int)q.shape[1] / cache->kv_heads};
    int tiles = 0, threads = sa2_threads_count(cpu->threads);
    for (int i = 0; i < where->rows.n; i++)
        tiles += tiles_of(&op, i) * cache->kv_heads;
    bool few = threads > 1 && tiles < FEW_A_THREAD * threads;
    if (tiles > 0 && !(few && run_ranges(&op, tiles)))
        sa2_threads_run(cpu->threads, tiles, run_tile, &op);
    return SA2_OK;
}
