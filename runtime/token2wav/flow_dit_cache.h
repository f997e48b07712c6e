/* flow_dit_cache.h - where things lie in a sa2_flow_dit_cache.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_DIT_CACHE_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_DIT_CACHE_H

#include "runtime/token2wav/flow_dit.h"

enum {
    SA2_FLOW_DIT_KERNEL = 3,
    SA2_FLOW_DIT_BEFORE = SA2_FLOW_DIT_KERNEL - 1, /* rows before a chunk, of a convolution */
    SA2_FLOW_DIT_CONVS = 2,                        /* in a block */
};

/* Keys and values of a block: place i has rows from i * rows on. */
static inline sa2_tensor sa2_flow_dit_kv(const sa2_flow_dit_cache *cache, int block)
{
    int64_t n = (int64_t)cache->places * cache->rows;
    return sa2_tensor_rows(cache->kv, block * n, n);
}

/* The rows before a chunk of convolution 0 or 1 of a block, a row for each place and one of zeros. */
static inline sa2_tensor sa2_flow_dit_conv(const sa2_flow_dit_cache *cache, int block, int conv)
{
    int64_t n = cache->places + 1;
    return sa2_tensor_rows(cache->conv, (block * SA2_FLOW_DIT_CONVS + conv) * n, n);
}

#endif
