/* attention.cuh - what attention over rows and attention over pages share: who asks, where a key lies, and how the
 * results of ranges of keys become one.
 *
 * A tile is a number of queries of one sequence that see the same head of keys: rows of x times the heads that share
 * it, row by row. Keys are taken in steps and ranges of fixed length from key 0 on, each range with a maximum and a
 * sum of its own, and ranges are joined in order: what a row gets depends on its keys alone, however rows are cut into
 * tiles and whether ranges are blocks of their own. There are two sets of kernels: attention_mma.cu for bf16 and heads
 * of 64 or 128, attention_core.cu for the rest; which one is used depends on nothing else. Keys and values in 8 bits are
 * read by both.
 */
#ifndef SA2_KERNELS_CUDA_ATTENTION_CUH
#define SA2_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int STEP = 32; /* keys */
static constexpr float LOG2_E = 1.4426950408889634f;

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

/* Sequences whose queries (rows times group) number from `least` to `most`, and tiles of so many queries. */
struct tile_choice {
    int queries;
    int64_t least, most;
};

struct attention_call {
    const void *q;
    void *y;
    long long q_stride, y_stride;
    bool is_bf16, y_is_bf16;
    int d, kv_heads, group; /* heads of q to one of the keys */
    float scale;            /* times log2(e): weights are powers of two */
    const attention_sequence *sequences;
    const attention_tile *tiles;
    int n_tiles, n_ranges; /* n_ranges: 1 when a block does them all */
    float *partial;        /* [n_tiles, kv_heads, n_ranges, queries, d + 2]: maximum, sum, values */

    /* Keys: segments, or pages [kv_heads, head_size] by a table [sequences, max_pages]: attention_paged.cu. */
    const attention_segment *segments;
    const void *pages;
    bool in_8_bits; /* pages */
    long long head_size;
    const int32_t *table;
    int page_size, max_pages;
    bool is_aligned; /* every head of a key or value begins at a multiple of 16 bytes */

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

/* What a block works on. */
struct work {
    attention_sequence sequence;
    int index, first, rows, head; /* the sequence's; queries of the tile; head of keys */
};

static __device__ __forceinline__ work work_of(const attention_call &a, int queries)
{
    attention_tile tile = a.tiles[blockIdx.x];
    work w = {a.sequences[tile.sequence], tile.sequence, tile.first, 0, (int)blockIdx.y};
    w.rows = min(queries, w.sequence.rows * a.group - w.first);
    return w;
}

/* Query `row` of the tile in q or y. */
static __device__ __forceinline__ long long q_at(const attention_call &a, const work &w, int row,
                                                 long long stride)
{
    int query = w.first + row;
    int head = w.head * a.group + query % a.group;
    return (w.sequence.q_first + query / a.group) * stride + (long long)head * a.d;
}

/* Keys that query `row` of the tile sees. */
static __device__ __forceinline__ int limit_of_row(const attention_call &a, const work &w, int row)
{
    return limit_of(w.sequence, (w.first + row) / a.group);
}

/* Where a key begins, and its values. */
struct key_place {
    const void *k, *v;
    long long k_at, v_at;
};

/* Where the head that has key j begins among the pages. */
static __device__ __forceinline__ long long head_in_page(const attention_call &a, const work &w,
                                                         int j)
{
    long long page = a.table[(long long)w.index * a.max_pages + j / a.page_size];
    return (page * a.kv_heads + w.head) * a.head_size;
}

static __device__ __forceinline__ key_place place_in_page(const attention_call &a, const work &w,
                                                          int j)
{
    long long at = head_in_page(a, w, j) + (long long)(j % a.page_size) * a.d;
    return {a.pages, a.pages, at, at + (long long)a.page_size * a.d};
}

/* In 8 bits: the step of key j; page_size later comes that of its values. */
static __device__ __forceinline__ const float *step_in_page(const attention_call &a, const work &w,
                                                            int j)
{
    long long steps = head_in_page(a, w, j) + 2LL * a.page_size * a.d;
    return (const float *)((const char *)a.pages + steps) + j % a.page_size;
}

/* The segment that holds key j. */
static __device__ __forceinline__ attention_segment segment_of(const attention_call &a,
                                                               const work &w, int j)
{
    int low = w.sequence.segment_first, high = low + w.sequence.n_segments - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (a.segments[middle].first <= j)
            low = middle;
        else
            high = middle - 1;
    }
    return a.segments[low];
}

static __device__ __forceinline__ key_place place_in_segment(const attention_segment &s,
                                                             const attention_call &a, const work &w,
                                                             int j)
{
    long long head = (long long)w.head * a.d;
    return {s.k, s.v, (j - s.first) * s.k_stride + head, (j - s.first) * s.v_stride + head};
}

static __device__ __forceinline__ key_place place_of(const attention_call &a, const work &w, int j)
{
    return a.pages != nullptr ? place_in_page(a, w, j)
                              : place_in_segment(segment_of(a, w, j), a, w, j);
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
    join j = {sum == 0.0f ? 0.0f : exp2f(most - larger), exp2f(range_most - larger)};
    most = larger;
    sum = fmaf(range_sum, j.now, sum * j.before);
    return j;
}

static __device__ __forceinline__ float join_value(const join &j, float total, float value)
{
    return j.now == 0.0f ? total : fmaf(value, j.now, total * j.before);
}

/* ---- the host's side ---- */

/* All but tiles, ranges and launches is said in `a`. `longest`: keys. */
sa2_status run_attention(sa2_stream *s, const char *op, attention_call *a,
                         const attention_sequence *sequences, int n, int longest, sa2_error *err);
sa2_status run_attention_mma(sa2_stream *s, const char *op, attention_call *a,
                             const attention_sequence *sequences, int n, int longest,
                             sa2_error *err);

/* Sets tiles and n_tiles. */
sa2_status list_tiles(sa2_stream *s, const char *op, attention_call *a,
                      const attention_sequence *sequences, int n, tile_choice choice,
                      sa2_error *err);

/* Sets n_ranges and partial: blocks for each range of keys when there are few others. */
void choose_ranges(sa2_stream *s, attention_call *a, int queries, int longest, int range);

/* Joins what the blocks of ranges left behind; grid as theirs. */
sa2_status join_ranges(sa2_stream *s, const char *op, const attention_call *a, int queries,
                       sa2_error *err);
} // namespace sa2_cuda

#endif
