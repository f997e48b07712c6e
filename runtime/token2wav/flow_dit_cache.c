#include "runtime/token2wav/flow_dit_cache.h"

#include <stdlib.h>

static sa2_flow_dit_cache take(sa2_work *work, const sa2_flow_config *c, sa2_dtype dtype,
                               int places, int rows)
{
    int64_t width = c->dit_width, groups = (int64_t)c->dit_blocks * SA2_FLOW_DIT_CONVS;
    return (sa2_flow_dit_cache){
        .places = places,
        .rows = rows,
        .kv = sa2_work_take(work, dtype, (int64_t)c->dit_blocks * places * rows, 2 * width),
        .conv = sa2_work_take(work, SA2_F32, groups * (places + 1), SA2_FLOW_DIT_BEFORE * width),
    };
}

size_t sa2_flow_dit_cache_bytes(const sa2_flow_config *config, sa2_dtype dtype, int places,
                                int rows)
{
    sa2_work work = {0};
    take(&work, config, dtype, places, rows);
    return work.bytes;
}

sa2_status sa2_flow_dit_cache_init(sa2_stream *s, sa2_flow_dit_cache *cache,
                                   const sa2_flow_dit *dit, int places, int rows, sa2_arena *arena,
                                   sa2_error *err)
{
    if ((int64_t)places * rows > INT32_MAX)
        return sa2_fail(err, SA2_ERR_LIMIT, "flow: %d times %d kept frames are too many", places,
                        rows);
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    sa2_flow_dit_cache made = take(&work, &dit->config, dit->dtype, places, rows);
    float *zeros = calloc((size_t)made.conv.shape[1], sizeof *zeros);
    sa2_status st = SA2_OK;
    if (work.full || zeros == NULL) {
        sa2_arena_rewind(arena, mark);
        st = sa2_fail(err, SA2_ERR_NOMEM, "flow: %zu bytes for kept frames needed, %zu left",
                      work.bytes, arena->bytes - mark);
    } else {
        for (int i = 0; i < dit->config.dit_blocks * SA2_FLOW_DIT_CONVS; i++) {
            sa2_tensor group =
                sa2_flow_dit_conv(&made, i / SA2_FLOW_DIT_CONVS, i % SA2_FLOW_DIT_CONVS);
            sa2_upload(s, sa2_tensor_rows(group, places, 1), zeros);
        }
        st = sa2_stream_finish(s, err);
        *cache = made;
    }
    free(zeros);
    return st;
}

void sa2_flow_dit_cache_copy_conv(sa2_stream *s, const sa2_flow_dit *dit,
                                  const sa2_flow_dit_cache *to_cache, int to,
                                  const sa2_flow_dit_cache *from_cache, int from, int n)
{
    for (int i = 0; i < dit->config.dit_blocks; i++)
        for (int conv = 0; conv < SA2_FLOW_DIT_CONVS; conv++)
            sa2_copy(s, sa2_tensor_rows(sa2_flow_dit_conv(to_cache, i, conv), to, n),
                     sa2_tensor_rows(sa2_flow_dit_conv(from_cache, i, conv), from, n));
}
