/* kv_store.c - contract: sa2_kv_store() in kernels/ops.h. */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/kv_page.h"
#include "kernels/cpu/row_loop.h"

#include <math.h>

typedef struct store {
    const sa2_kv_cache_view *cache;
    sa2_tensor k, v;
    const sa2_paged_rows *where;
} store;

static float value_of(const sa2_tensor *x, const void *row, int64_t i)
{
    return x->dtype == SA2_F32 ? ((const float *)row)[i]
                               : sa2_bf16_to_f32(((const uint16_t *)row)[i]);
}

/* Values of one head as numbers of steps, `apart` from one to the next; the step is the result. */
static float round_values(int8_t *to, int64_t apart, const sa2_tensor *x, int64_t row, int64_t at,
                          int64_t d)
{
    static const float none = 0x1p-100f; /* 127 / largest would not be finite far below */
    const void *from = sa2_element(x, row, at);
    float largest = 0.0f;
    bool finite = true;
    for (int64_t i = 0; i < d; i++) {
        float magnitude = fabsf(value_of(x, from, i));
        finite = finite && magnitude < INFINITY;
        largest = magnitude > largest ? magnitude : largest;
    }
    float in_steps = finite && largest >= none ? 127.0f / largest : 0.0f;
    for (int64_t i = 0; i < d; i++)
        to[i * apart] = in_steps > 0.0f ? (int8_t)lrintf(value_of(x, from, i) * in_steps) : 0;
    return !finite ? NAN : in_steps > 0.0f ? largest / 127.0f : 0.0f;
}

/* The place of position `slot` in values that lie in units. */
static int64_t place_in_unit(const sa2_kv_cache_view *cache, int slot)
{
    int unit = sa2_kv_unit(cache);
    return (int64_t)(slot / unit) * cache->head_dim * unit + slot % unit;
}

static void one_rounded(const store *a, int64_t row, int32_t page, int slot)
{
    const sa2_kv_cache_view *cache = a->cache;
    int64_t d = cache->head_dim;
    for (int h = 0; h < cache->kv_heads; h++) {
        sa2_kv_head head = sa2_kv_head_of(cache, page, h);
        int8_t *k = (int8_t *)head.k + slot * d, *v = (int8_t *)head.v + place_in_unit(cache, slot);
        head.k_steps[slot] = round_values(k, 1, &a->k, row, h * d, d);
        head.v_steps[slot] = round_values(v, sa2_kv_unit(cache), &a->v, row, h * d, d);
    }
}

static void one(const store *a, int64_t row, int32_t page, int slot)
{
    const sa2_kv_cache_view *cache = a->cache;
    int64_t d = cache->head_dim;
    size_t row_bytes = (size_t)d * sa2_dtype_bytes(cache->dtype);
    for (int h = 0; h < cache->kv_heads; h++) {
        sa2_kv_head head = sa2_kv_head_of(cache, page, h);
        memcpy(head.k + (size_t)slot * row_bytes, sa2_element(&a->k, row, h * d), row_bytes);
        const void *v = sa2_element(&a->v, row, h * d);
        if (cache->dtype == SA2_F32) {
            memcpy(head.v + (size_t)slot * row_bytes, v, row_bytes);
            continue;
        }
        uint16_t *to = (uint16_t *)(void *)head.v + place_in_unit(cache, slot);
        for (int64_t i = 0; i < d; i++)
            to[i * sa2_kv_unit(cache)] = ((const uint16_t *)v)[i];
    }
}

static void rows(const void *context, int64_t first, int64_t end)
{
    const store *a = context;
    const sa2_paged_rows *where = a->where;
    for (int i = 0; i < where->rows.n; i++) {
        int64_t begin = where->rows.offsets[i], stop = where->rows.offsets[i + 1];
        const int32_t *table = where->block_table + (int64_t)i * where->max_pages;
        for (int64_t r = first > begin ? first : begin; r < stop && r < end; r++) {
            int64_t position = where->first_position[i] + r - begin;
            (a->cache->dtype == SA2_I8 ? one_rounded : one)(
                a, r, table[position / a->cache->page_size], (int)(position % a->cache->page_size));
        }
    }
}

sa2_status sa2_cpu_kv_store(sa2_stream *s, const sa2_kv_cache_view *cache, sa2_tensor k,
                            sa2_tensor v, const sa2_paged_rows *where, sa2_error *err)
{
    (void)err;
    store a = {.cache = cache, .k = k, .v = v, .where = where};
    double cost =
        (double)(cache->kv_heads * cache->head_dim) * (cache->dtype == SA2_I8 ? 4.0 : 1.0);
    sa2_row_loop(sa2_cpu_of(s), k.shape[0], cost, rows, &a);
    return SA2_OK;
}
