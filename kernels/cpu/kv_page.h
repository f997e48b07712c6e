/* kv_page.h - how a page of the cache of keys and values is laid out on the CPU.
 *
 * A page holds its kv heads one after the other, and of each head first the keys, then the values.
 * Keys are [page_size, d]. Values in f32 are [page_size, d] too; in bf16 they lie transposed in
 * units of 32 positions (16 when page_size is no multiple of 32), [page_size / unit, d, unit]: the
 * sums over positions then read pairs of neighbours, as products in bf16 want them.
 */
#ifndef SA2_KERNELS_CPU_KV_PAGE_H
#define SA2_KERNELS_CPU_KV_PAGE_H

#include "kernels/ops.h"

typedef struct sa2_kv_head {
    char *k, *v;
} sa2_kv_head;

static inline int sa2_kv_unit(const sa2_kv_cache_view *cache)
{
    return cache->page_size % 32 == 0 ? 32 : 16;
}

static inline size_t sa2_kv_head_bytes(const sa2_kv_cache_view *cache)
{
    return 2 * (size_t)cache->page_size * (size_t)cache->head_dim * sa2_dtype_bytes(cache->dtype);
}

static inline sa2_kv_head sa2_kv_head_of(const sa2_kv_cache_view *cache, int32_t page, int head)
{
    size_t bytes = sa2_kv_head_bytes(cache);
    char *k =
        (char *)cache->pages + ((size_t)page * (size_t)cache->kv_heads + (size_t)head) * bytes;
    return (sa2_kv_head){.k = k, .v = k + bytes / 2};
}

#endif
