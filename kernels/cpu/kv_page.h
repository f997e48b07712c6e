/* kv_page.h - how a page of the cache of keys and values is laid out on the CPU.
 *
 * A page holds its kv heads one after the other, and of each head first the keys, then the values.
 * Keys are [page_size, d]. Values in f32 are [page_size, d] too; in bf16 and in 8 bits they lie transposed
 * in units of 32 positions (16 when page_size is no multiple of 32), [page_size / unit, d, unit]: the
 * sums over positions then read pairs of neighbours, as products in bf16 want them. In 8 bits the steps
 * follow, those of the keys [page_size] and those of the values [page_size], f32. CUDA's pages differ in that values are
 * always in rows.
 */
#ifndef SA2_KERNELS_CPU_KV_PAGE_H
#define SA2_KERNELS_CPU_KV_PAGE_H

#include "kernels/ops.h"

typedef struct sa2_kv_head {
    char *k, *v;
    float *k_steps, *v_steps; /* NULL: not in 8 bits */
} sa2_kv_head;

/* Positions of a unit; 0: values lie in rows. */
static inline int sa2_kv_unit(const sa2_kv_cache_view *cache)
{
    if (cache->dtype == SA2_F32)
        return 0;
    return cache->page_size % 32 == 0 ? 32 : 16;
}

/* Of the keys, and of the values. */
static inline size_t sa2_kv_half_bytes(const sa2_kv_cache_view *cache)
{
    return (size_t)cache->page_size * (size_t)cache->head_dim * sa2_dtype_bytes(cache->dtype);
}

static inline size_t sa2_kv_head_bytes(const sa2_kv_cache_view *cache)
{
    return sa2_kv_page_bytes(cache) / (size_t)cache->kv_heads;
}

static inline sa2_kv_head sa2_kv_head_of(const sa2_kv_cache_view *cache, int32_t page, int head)
{
    size_t half = sa2_kv_half_bytes(cache);
    char *k = (char *)cache->pages +
              ((size_t)page * (size_t)cache->kv_heads + (size_t)head) * sa2_kv_head_bytes(cache);
    sa2_kv_head found = {.k = k, .v = k + half};
    if (cache->dtype == SA2_I8) {
        found.k_steps = (float *)(void *)(k + 2 * half);
        found.v_steps = found.k_steps + cache->page_size;
    }
    return found;
}

#endif
