/* attention_mma.cu - attention in bf16, over keys and values in bf16 or 8 bits, with heads of 64 or 128 on tensor cores; contract:
 * attention.cuh. After FlashAttention-2 (Dao 2023) and, for decoding, flash-decoding: scores never leave the registers.
 *
 * A warp has 16 queries: of one row all heads that share the keys, of a prompt as many rows as fit. Keys and values pass
 * through a ring of steps of 32 keys in shared memory (cp.async), which the warps of a block share: one warp for the few
 * queries of decoding, four for a prompt. The first product's sums are the second one's left side as they lie, once
 * they are weights rounded to bf16; the sum of weights is that of the rounded ones. What ranges before gave lies
 * in shared memory, in places of each lane's own.
 *
 * The floor is the bytes of keys and values for decoding, 4 rows keys d operations a head for a prompt.
 */
#include "kernels/cuda/attention_mma.cuh"

namespace sa2_cuda
{
static constexpr int ROWS = 16, RANGE = 128; /* queries of a warp; keys */
static constexpr int PROMPT_WARPS = 4;
static constexpr int64_t FEW_QUERIES = 32; /* of a sequence: up to this many, a warp is a block */

/* A range of decoding is on its way as a whole. */
template <int D, int WARPS, bool IN_8_BITS> struct ring_of {
    static constexpr int STAGES = WARPS == 1 ? RANGE / STEP : D == 64 || IN_8_BITS ? 3 : 2;
};

/* Row g, and g + 8, of the warp whose queries begin at row `first` of the tile. */
template <bool IN_8_BITS, int D>
static __device__ __forceinline__ void load_queries(lane_rows<D> &l, const attention_call &a,
                                                    const work &w, int first)
{
    int g = (int)threadIdx.x % WARP / 4, t = (int)threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int row = first + g + 8 * r;
        bool there = row < w.rows;
        l.limit[r] = there ? limit_of_row(a, w, row) : 0;
        l.total_most[r] = -INFINITY;
        l.total_sum[r] = 0.0f;
        const uint16_t *q = (const uint16_t *)a.q + (there ? q_at(a, w, row, a.q_stride) : 0);
#pragma unroll
        for (int k = 0; k < D / 16; k++)
            load_query<IN_8_BITS>(l.q[k][r], l.q[k][2 + r], q, there, k, t);
    }
}

template <int D> static __device__ __forceinline__ void begin_range(lane_rows<D> &l)
{
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            l.part[n][i] = 0.0f;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        l.most[r] = -INFINITY;
        l.sum[r] = 0.0f;
    }
}

/* Scores become weights about the new maximum, as the left side of the product with the values. */
template <int D>
static __device__ __forceinline__ void weigh(step_weights &weights, lane_rows<D> &l,
                                             step_scores &scores, int key, float scale)
{
    int t = (int)threadIdx.x % 4;
    float most[2] = {l.most[0], l.most[1]}, base[2], factor[2];
    if (key + STEP > min(l.limit[0], l.limit[1])) {
#pragma unroll
        for (int n = 0; n < STEP / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (key + 8 * n + 2 * t + (i & 1) >= l.limit[i >> 1])
                    scores[n][i] = -INFINITY;
    }
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            scores[n][i] *= scale;
            most[i >> 1] = fmaxf(most[i >> 1], scores[n][i]);
        }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        most[r] = fmaxf(most[r], __shfl_xor_sync(ALL_LANES, most[r], 1));
        most[r] = fmaxf(most[r], __shfl_xor_sync(ALL_LANES, most[r], 2));
        base[r] = most[r] == -INFINITY ? 0.0f : most[r];
        factor[r] = exp2f(l.most[r] - base[r]);
        l.most[r] = most[r];
        l.sum[r] *= factor[r];
    }
    if (factor[0] != 1.0f || factor[1] != 1.0f) {
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                l.part[n][i] *= factor[i >> 1];
    }
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t pair =
                bf16_pair(exp2f(scores[n][2 * r] - base[r]), exp2f(scores[n][2 * r + 1] - base[r]));
            l.sum[r] += low_half(pair) + high_half(pair);
            weights[n / 2][n % 2 * 2 + r] = pair;
        }
}

template <int D, bool IN_8_BITS>
static __device__ __forceinline__ void
attend(lane_rows<D> &l, const step_of_keys<D, IN_8_BITS> *from, int key, float scale)
{
    step_scores scores = {};
    step_weights weights;
    score(scores, l, from);
    weigh(weights, l, scores, key, scale);
    add_values(l, weights, from);
}

/* The sums of weights of four lanes that share rows; all get the same bits. */
template <int D> static __device__ __forceinline__ void end_range(lane_rows<D> &l)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        l.sum[r] += __shfl_xor_sync(ALL_LANES, l.sum[r], 1);
        l.sum[r] += __shfl_xor_sync(ALL_LANES, l.sum[r], 2);
    }
}

/* total [D / 8, 4, WARP] of the warp; the first range finds nothing there. */
template <int D>
static __device__ __forceinline__ void join_part(float *total, lane_rows<D> &l, bool is_first)
{
    total += threadIdx.x % WARP;
    join j[2];
#pragma unroll
    for (int r = 0; r < 2; r++)
        j[r] = join_range(l.total_most[r], l.total_sum[r], l.most[r], l.sum[r]);
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float *place = total + (n * 4 + i) * WARP;
            *place = join_value(j[i >> 1], is_first ? 0.0f : *place, l.part[n][i]);
        }
}

template <bool IN_8_BITS, int D>
static __device__ __forceinline__ void store_rows(const float *total, const lane_rows<D> &l,
                                                  const attention_call &a, const work &w, int first)
{
    int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int row = first + g + 8 * r;
        if (row >= w.rows)
            continue;
        long long at = q_at(a, w, row, a.y_stride);
        float sum = l.total_sum[r];
#pragma unroll 1 /* code that is fetched costs more than what it does */
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float value = sum == 0.0f ? 0.0f : total[(n * 4 + 2 * r + i) * WARP + lane] / sum;
                store_value(a.y, a.y_is_bf16, at + dimension_of<IN_8_BITS>(n, i, t), value);
            }
    }
}

/* What a block of one range leaves for join_ranges(). */
template <bool IN_8_BITS, int D>
static __device__ __forceinline__ void store_part(const lane_rows<D> &l, const attention_call &a,
                                                  const work &w, int first, int queries)
{
    int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    long long at = (long long)(blockIdx.x * gridDim.y + blockIdx.y) * a.n_ranges + blockIdx.z;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int row = first + g + 8 * r;
        if (row >= w.rows)
            continue;
        float *out = a.partial + (at * queries + row) * (D + 2);
        if (t == 0) {
            out[0] = l.most[r];
            out[1] = l.sum[r];
        }
        out += 2 + dimension_of<IN_8_BITS>(0, 0, t);
#pragma unroll
        for (int n = 0; n < D / 8; n += 2)
#pragma unroll
            for (int i = 0; i < 2; i++)
                if constexpr (IN_8_BITS) /* neighbours are in two tiles */
                    *(float2 *)(out + 8 * n + 2 * i) =
                        make_float2(l.part[n][2 * r + i], l.part[n + 1][2 * r + i]);
                else
                    *(float2 *)(out + 8 * (n + i)) =
                        make_float2(l.part[n + i][2 * r], l.part[n + i][2 * r + 1]);
    }
}

/* grid: tiles; heads of keys; ranges, or 1 for all of them in turn. */
template <int D, int WARPS, bool PAGED, bool IN_8_BITS>
static __global__ void __launch_bounds__(WARPS *WARP) attention_kernel(attention_call a)
{
    wait_for_earlier();
    constexpr int STAGES = ring_of<D, WARPS, IN_8_BITS>::STAGES;
    step_of_keys<D, IN_8_BITS> *ring = (step_of_keys<D, IN_8_BITS> *)shared_bytes();
    int warp = (int)threadIdx.x / WARP, first = warp * ROWS;
    float *total = (float *)(ring + STAGES) + warp * ROWS * D;
    work w = work_of(a, WARPS * ROWS);
    int end = limit_of_row(a, w, w.rows - 1); /* the last row sees the most */
    int key = a.n_ranges > 1 ? (int)blockIdx.z * RANGE : 0;
    end = a.n_ranges > 1 ? min(end, key + RANGE) : end;
    lane_rows<D> l;
    load_queries<IN_8_BITS>(l, a, w, first);
    begin_range(l);
    attention_segment segment = {};
    if (!PAGED && key < end)
        segment = segment_of(a, w, key);
    int own = min(end, first < w.rows ? limit_of_row(a, w, min(first + ROWS, w.rows) - 1) : 0);
#pragma unroll 1
    for (int i = 0; i < STAGES - 1; i++) {
        if (key + i * STEP < end)
            bring<WARPS, PAGED>(&ring[i], a, w, segment, key + i * STEP, end);
        copy_async_commit();
    }
    bool is_first = true;
    for (int i = 0; key < end; i++, key += STEP) {
        copy_async_wait<STAGES - 2>();
        __syncthreads(); /* this step is there for all, and all have left the one before it */
        int next = key + (STAGES - 1) * STEP;
        if (next < end)
            bring<WARPS, PAGED>(&ring[(i + STAGES - 1) % STAGES], a, w, segment, next, end);
        copy_async_commit();
        if (key < own)
            attend(l, &ring[i % STAGES], key, a.scale);
        if (a.n_ranges == 1 && ((key + STEP) % RANGE == 0 || key + STEP >= end)) {
            end_range(l);
            join_part(total, l, is_first);
            begin_range(l);
            is_first = false;
        }
    }
    copy_async_wait<0>(); /* no group is left, but an empty one */
    if (a.n_ranges > 1) {
        end_range(l);
        store_part<IN_8_BITS>(l, a, w, first, WARPS * ROWS);
    } else {
        store_rows<IN_8_BITS>(total, l, a, w, first);
    }
}

/* ---- the host's side ---- */

template <int D, int WARPS, bool IN_8_BITS> static constexpr size_t ring_bytes()
{
    return ring_of<D, WARPS, IN_8_BITS>::STAGES * sizeof(step_of_keys<D, IN_8_BITS>);
}

template <int D, int WARPS>
static sa2_status run_tiles(sa2_stream *s, const char *op, attention_call *a,
                            const attention_sequence *sequences, int n, int longest,
                            tile_choice choice, sa2_error *err)
{
    sa2_status st = list_tiles(s, op, a, sequences, n, choice, err);
    if (st != SA2_OK || a->n_tiles == 0)
        return st;
    choose_ranges(s, a, choice.queries, longest, RANGE);
    dim3 grid((unsigned)a->n_tiles, (unsigned)a->kv_heads, (unsigned)a->n_ranges);
    size_t shared = (a->in_8_bits ? ring_bytes<D, WARPS, true>() : ring_bytes<D, WARPS, false>()) +
                    (size_t)(WARPS * ROWS * D) * sizeof(float);
    auto kernel = a->in_8_bits          ? attention_kernel<D, WARPS, true, true>
                  : a->pages != nullptr ? attention_kernel<D, WARPS, true, false>
                                        : attention_kernel<D, WARPS, false, false>;
    st = launch(s, op, kernel, grid, WARPS * WARP, shared, err, *a);
    return st == SA2_OK ? join_ranges(s, op, a, choice.queries, err) : st;
}

template <int D>
static sa2_status run_both(sa2_stream *s, const char *op, attention_call *a,
                           const attention_sequence *sequences, int n, int longest, sa2_error *err)
{
    sa2_status st = run_tiles<D, 1>(s, op, a, sequences, n, longest, {ROWS, 1, FEW_QUERIES}, err);
    if (st != SA2_OK)
        return st;
    return run_tiles<D, PROMPT_WARPS>(s, op, a, sequences, n, longest,
                                      {PROMPT_WARPS * ROWS, FEW_QUERIES + 1, INT64_MAX}, err);
}

sa2_status run_attention_mma(sa2_stream *s, const char *op, attention_call *a,
                             const attention_sequence *sequences, int n, int longest,
                             sa2_error *err)
{
    return a->d == 64 ? run_both<64>(s, op, a, sequences, n, longest, err)
                      : run_both<128>(s, op, a, sequences, n, longest, err);
}
} // namespace sa2_cuda
