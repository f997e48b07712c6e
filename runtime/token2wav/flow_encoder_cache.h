/* flow_encoder_cache.h - where things lie in a sa2_flow_encoder_cache.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_ENCODER_CACHE_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_ENCODER_CACHE_H

#include "runtime/token2wav/flow_encoder.h"

enum { SA2_FLOW_BEHIND_ROWS = 2 }; /* before a chunk, of the second look-ahead convolution */

/* Rows of a layer for each token. */
static inline int64_t sa2_flow_encoder_stride(const sa2_flow_config *c, int layer)
{
    return layer < c->layers ? 1 : c->up_stride;
}

/* The keys and values of a layer, of all slots: slot i has rows from i * max_tokens * stride on. */
static inline sa2_tensor sa2_flow_encoder_kv(const sa2_flow_encoder_cache *cache,
                                             const sa2_flow_config *c, int layer)
{
    int64_t rows = (int64_t)cache->slots * cache->max_tokens, stride = c->up_stride;
    int64_t before = layer < c->layers ? layer : c->layers + (layer - c->layers) * stride;
    return sa2_tensor_rows(cache->kv, before * rows, rows * sa2_flow_encoder_stride(c, layer));
}

#endif
