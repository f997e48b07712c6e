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

enum { RANGE = 512 }; /* keys of one partial result */

typedef struct paged {
    sa2_cpu *cpu;
    const sa2_tile_kernels *kernels;
    sa2_tensor y, q;
    const sa2_kv_cache_view *cache;
    const sa2_paged_rows *where;
    float scale;
    int group; /* query heads of a kv head */
} paged;

static sa2_key_run run_in_pages(const sa2_key_source *source, int64_t first, int n)
{
    const sa2_kv_cache_view *cache = source->cache;
    int slot = (int)(first % cache->page_size), left = cache->page_size - slot;
    sa2_kv_head head = sa2_kv_head_of(cache, source->table[first / cache->page_size], source->head);
    int64_t at = (int64_t)slot * cache->head_dim * (int64_t)sa2_dtype_bytes(cache->dtype);
    int unit = cache->dtype == SA2_F32 ? 0 : sa2_kv_unit(cache);
    return (sa2_key_run){.k = head.k + at,
                         .v = head.v + at, /* of rows, and of units: slot begins one */
                         .k_stride = cache->head_dim,
                         .unit = unit,
                         .v_stride = cache->head_dim * (unit > 0 ? unit : 1),
                         .n = n < left ? n : left};
}

/* Tile number t of sequence i, one kv head. */
static void one(const paged *op, int i, int head, int t, float *room)
{
    int64_t d = op->q.shape[2];
    int64_t begin = op->where->rows.offsets[i], rows = op->where->rows.offsets[i + 1] - begin;
    int64_t column = (int64_t)t * SA2_TILE_COLUMNS, rest = rows * op->group - column;
    sa2_key_source keys = {.run = run_in_pages,
                           .cache = op->cache,
                           .table = op->where->block_table + (int64_t)i * op->where->max_pages,
                           .head = head};
    sa2_attention_tile tile = {.keys = &keys,
                               .n = rest < SA2_TILE_COLUMNS ? (int)rest : SA2_TILE_COLUMNS,
                               .d = (int)d,
                               .dtype = op->q.dtype,
                               .y_dtype = op->y.dtype,
                               .scale = op->scale};
    for (int c = 0; c < tile.n; c++) {
        int64_t row = (column + c) / op->group, h = head * op->group + (column + c) % op->group;
        tile.q[c] = sa2_element(&op->q, begin + row, h * d);
        tile.y[c] = sa2_element(&op->y, begin + row, h * d);
        tile.visible[c] = op->where->first_position[i] + row + 1;
    }
    int64_t end = tile.visible[tile.n - 1];
    int64_t floats = sa2_partial_floats(d);
    sa2_partial whole = sa2_partial_at(room), part = sa2_partial_at(room + floats);
    room += 2 * floats;
    op->kernels->range(&tile, 0, end < RANGE ? end : RANGE, whole, room);
    for (int64_t first = RANGE; first < end; first += RANGE) {
        op->kernels->range(&tile, first, end - first < RANGE ? end : first + RANGE, part, room);
        op->kernels->join(whole, part, (int)d);
    }
    op->kernels->write(&tile, whole);
}

/* Tiles of sequence i, one kv head. */
static int tiles_of(const paged *op, int i)
{
    int rows = op->where->rows.offsets[i + 1] - op->where->rows.offsets[i];
    return (rows * op->group + SA2_TILE_COLUMNS - 1) / SA2_TILE_COLUMNS;
}

static void run_task(void *context, int task, int thread)
{
    const paged *op = context;
    int i = 0, heads = op->cache->kv_heads;
    for (; task >= tiles_of(op, i) * heads; i++)
        task -= tiles_of(op, i) * heads;
    one(op, i, task / tiles_of(op, i), task % tiles_of(op, i),
        sa2_cpu_thread_space(op->cpu, thread));
}

sa2_status sa2_cpu_attention_paged(sa2_stream *s, sa2_tensor y, sa2_tensor q,
                                   const sa2_kv_cache_view *cache, const sa2_paged_rows *where,
                                   float scale, sa2_error *err)
{
    if (q.shape[2] > SA2_TILE_MAX_DIM)
        return sa2_fail(err, SA2_ERR_LIMIT, "attention_paged: heads of %lld, up to %d are possible",
                        (long long)q.shape[2], SA2_TILE_MAX_DIM);
    paged op = {.cpu = sa2_cpu_of(s),
                .kernels = sa2_cpu_of(s)->tile,
                .y = y,
                .q = q,
                .cache = cache,
                .where = where,
                .scale = scale,
                .group = (int)q.shape[1] / cache->kv_heads};
    int tasks = 0;
    for (int i = 0; i < where->rows.n; i++)
        tasks += tiles_of(&op, i) * cache->kv_heads;
    sa2_threads_run(sa2_cpu_of(s)->threads, tasks, run_task, &op);
    return SA2_OK;
}
