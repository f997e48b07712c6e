#include "runtime/token2wav/flow_encoder_cache.h"

#include <stdlib.h>

/* The three tensors, taken or measured. */
static sa2_flow_encoder_cache take(sa2_work *work, const sa2_flow_config *c, sa2_dtype dtype,
                                   int slots, int max_tokens)
{
    int64_t width = c->width, rows = (int64_t)slots * max_tokens;
    int64_t strides = c->layers + (int64_t)c->up_layers * c->up_stride;
    return (sa2_flow_encoder_cache){
        .slots = slots,
        .max_tokens = max_tokens,
        .kv = sa2_work_take(work, dtype, rows * strides, 2 * width),
        .behind = sa2_work_take(work, SA2_F32, slots + 1, SA2_FLOW_BEHIND_ROWS * width),
        .upsample = sa2_work_take(work, SA2_F32, slots + 1, 2 * c->up_stride * width),
    };
}

size_t sa2_flow_encoder_cache_bytes(const sa2_flow_config *config, sa2_dtype dtype, int slots,
                                    int max_tokens)
{
    sa2_work work = {0};
    take(&work, config, dtype, slots, max_tokens);
    return work.bytes;
}

sa2_status sa2_flow_encoder_cache_init(sa2_stream *s, sa2_flow_encoder_cache *cache,
                                       const sa2_flow_encoder *encoder, int slots, int max_tokens,
                                       sa2_arena *arena, sa2_error *err)
{
    const sa2_flow_config *c = &encoder->config;
    if ((int64_t)slots * max_tokens > INT32_MAX / c->up_stride)
        return sa2_fail(err, SA2_ERR_LIMIT, "flow encoder: %d streams of %d tokens are too many",
                        slots, max_tokens);
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    sa2_flow_encoder_cache made = take(&work, c, encoder->dtype, slots, max_tokens);
    float *zeros = calloc((size_t)sa2_tensor_row_count(&made.upsample) +
                              (size_t)sa2_tensor_row_count(&made.behind),
                          sizeof *zeros);
    sa2_status st = SA2_OK;
    if (work.full || zeros == NULL) {
        sa2_arena_rewind(arena, mark);
        st = sa2_fail(err, SA2_ERR_NOMEM, "flow encoder: %zu bytes for %d streams needed",
                      work.bytes, slots);
    } else {
        sa2_upload(s, sa2_tensor_rows(made.behind, slots, 1), zeros);
        sa2_upload(s, sa2_tensor_rows(made.upsample, slots, 1), zeros);
        st = sa2_stream_finish(s, err);
        *cache = made;
    }
    free(zeros);
    return st;
}

void sa2_flow_encoder_cache_copy(sa2_stream *s, const sa2_flow_encoder *encoder,
                                 const sa2_flow_encoder_cache *to_cache, int to,
                                 const sa2_flow_encoder_cache *from_cache, int from, int n_tokens)
{
    const sa2_flow_config *c = &encoder->config;
    for (int i = 0; i < c->layers + c->up_layers; i++) {
        int64_t stride = sa2_flow_encoder_stride(c, i), rows = n_tokens * stride;
        sa2_tensor into = sa2_flow_encoder_kv(to_cache, c, i);
        sa2_tensor out_of = sa2_flow_encoder_kv(from_cache, c, i);
        sa2_copy(s, sa2_tensor_rows(into, to * to_cache->max_tokens * stride, rows),
                 sa2_tensor_rows(out_of, from * from_cache->max_tokens * stride, rows));
    }
    sa2_copy(s, sa2_tensor_rows(to_cache->behind, to, 1),
             sa2_tensor_rows(from_cache->behind, from, 1));
    sa2_copy(s, sa2_tensor_rows(to_cache->upsample, to, 1),
             sa2_tensor_rows(from_cache->upsample, from, 1));
}
