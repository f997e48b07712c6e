/* attention.cuh - what attention over rows and attention over pages share: who asks, where a key lies, and how the
 * results of ranges of keys become one.
 *
 * A tile is up to ROWS queries of one sequence that see the same head of keys: rows of x times the heads that share
 * it, row by row. Keys are taken in steps of STEP and ranges of RANGE from key 0 on, each range with a maximum and a
 * sum of its own, and ranges are joined in order: what a row gets depends on its keys alone, however rows are cut into
 * tiles and whether ranges are blocks of their own.
 */
#ifndef SA2_KERNELS_CUDA_ATTENTION_CUH
#define SA2_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int STEP = 32, RANGE = 512;

/* One sequence of a call. */
struct attention_sequence {
    int q_first, rows; /* of q and y */
    int position;      /* of the first row, among the keys */
    int visible;       /* keys that every row sees; -1: those up to its own position */
    int segment_first, n_segments;
};

/* Keys and values that lie together, from key number `first` of their sequence on. */
struct attention_segment {
    const void *k, *v;
    long long k_stride, v_stride; /* elements from a key to the next */
    int first, count;
};

struct attention_tile {
    int sequence, first; /* query of the sequence: row * group + head of the group */
};

struct attention_call {
    const void *q;
    void *y;
    long long q_stride, y_stride;
    bool is_bf16, y_is_bf16;
    int d, kv_heads, group; /* heads of q to one of the keys */
    float scale;
    const attention_sequence *sequences;
    const attention_tile *tiles;
    int n_tiles, n_ranges; /* n_ranges: 1 when a block does them all */
    float *partial;        /* [n_tiles, kv_heads, n_ranges, ROWS, d + 2]: maximum, sum, values */

    /* Keys: segments, or pages [kv_heads, 2, page_size, d] by a table [sequences, max_pages]. */
    const attention_segment *segments;
    const void *pages;
    const int32_t *table;
    int page_size, max_pages;

    /* Relative positions; u NULL: none. */
    const float *u, *w;
    const void *r;
    long long r_stride;
    int reach;
};

static __device__ __forceinline__ float load_value(const void *data, bool is_bf16, long long at)
{
    return is_bf16 ? __bfloat162float(((const __nv_bfloat16 *)data)[at])
                   : ((const float *)data)[at];
}

static __device__ __forceinline__ void store_value(void *data, bool is_bf16, long long at, float x)
{
    if (is_bf16)
        ((__nv_bfloat16 *)data)[at] = __float2bfloat16_rn(x);
    else
        ((float *)data)[at] = x;
}

/* Keys that query row t of a sequence sees. */
static __device__ __forceinline__ int limit_of(const attention_sequence &s, int t)
{
    return s.visible >= 0 ? s.visible : s.position + t + 1;
}

/* Joins a range to those before it. A range without keys has sum 0. */
struct join {
    float before, now; /* factors of what there was and of the range */
};

static __device__ __forceinline__ join join_range(float &most, float &sum, float range_most,
                                                  float range_sum)
{
    if (range_sum == 0.0f)
        return {1.0f, 0.0f};
    float larger = fmaxf(most, range_most);
    join j = {sum == 0.0f ? 0.0f : expf(most - larger), expf(range_most - larger)};
    most = larger;
    sum = fmaf(range_sum, j.now, sum * j.before);
    return j;
}

static __device__ __forceinline__ float join_value(const join &j, float total, float value)
{
    return j.now == 0.0f ? total : fmaf(value, j.now, total * j.before);
}

/* What is left to say of a call once its sequences are known: tiles, ranges, launches. `longest`: keys. */
sa2_status run_attention(sa2_stream *s, const char *op, attention_call *a,
                         const attention_sequence *sequences, int n, int longest, sa2_error *err);
} // namespace sa2_cuda

#endif
