/* attention_mma.cu - attention over bf16 with heads of 64 or 128 on tensor cores; contract: attention.cuh. After
 * FlashAttention-2 (Dao 2023) and, for decoding, flash-decoding: scores never leave the registers.
 *
 * A warp has 16 queries: of one row all heads that share the keys, of a prompt as many rows as fit. Keys and values pass
 * through a ring of steps of 32 keys in shared memory (cp.async), which the warps of a block share: one warp for the few
 * queries of decoding, four for a prompt. The first product's sums are the second one's left side as they lie, once
 * they are weights rounded to bf16; the sum of weights is that of the rounded ones. What ranges before gave lies
 * in shared memory, in places of each lane's own.
 *
 * The floor is the bytes of keys and values for decoding, 4 rows keys d operations a head for a prompt.
 */
#include "kernels/cuda/attention.cuh"

namespace sa2_cuda
{
static constexpr int ROWS = 16, RANGE = 128; /* queries of a warp; keys */
static constexpr int PROMPT_WARPS = 4;
static constexpr int64_t FEW_QUERIES = 32; /* of a sequence: up to this many, a warp is a block */

template <int D> struct step_of_keys {
    uint4 k[STEP * D / PACK], v[STEP * D / PACK];
};

/* A range of decoding is on its way as a whole. */
template <int D, int WARPS> struct ring_of {
    static constexpr int STAGES = WARPS == 1 ? RANGE / STEP : D == 64 ? 3 : 2;
};

/* What a lane (g, t) has of rows g and g + 8 of the warp's queries. */
template <int D> struct lane_rows {
    uint32_t q[D / 16][4];
    float part[D / 8][4]; /* of this range */
    float most[2], sum[2];
    float total_most[2], total_sum[2];
    int limit[2]; /* keys that are seen */
};

/* Piece `piece` of eight elements of key `j`: no two of eight keys that are read together share a bank. */
template <int D> static __device__ __forceinline__ int placed(int j, int piece)
{
    return j * (D / PACK) + (piece ^ (j & 7));
}

/* Keys [key, key + STEP) and their values; zeros from `end` on. A page holds 16 keys from such a border on; `segment` is
 * the one of the last key that this thread brought. */
template <int D, int WARPS, bool PAGED>
static __device__ __forceinline__ void bring(step_of_keys<D> *to, const attention_call &a,
                                             const work &w, attention_segment &segment, int key,
                                             int end)
{
    constexpr int PIECES = D / PACK, AT_ONCE = WARPS * WARP / PIECES;
    int piece = (int)threadIdx.x % PIECES, mine = (int)threadIdx.x / PIECES;
#pragma unroll 1
    for (int half = 0; half < STEP; half += 16) {
        int first = key + half;
        key_place page = {};
        if (PAGED)
            page = place_in_page(a, w, min(first, end - 1) / 16 * 16);
#pragma unroll
        for (int j = mine; j < 16; j += AT_ONCE) {
            bool there = first + j < end;
            if (!PAGED && there && first + j - segment.first >= segment.count)
                segment = segment_of(a, w, first + j);
            key_place p =
                PAGED ? page : place_in_segment(segment, a, w, there ? first + j : segment.first);
            const __nv_bfloat16 *k = (const __nv_bfloat16 *)p.k + p.k_at + piece * PACK;
            const __nv_bfloat16 *v = (const __nv_bfloat16 *)p.v + p.v_at + piece * PACK;
            int place = placed<D>(half + j, piece), at = PAGED && there ? j * D : 0;
            copy_async_16(&to->k[place], k + at, there);
            copy_async_16(&to->v[place], v + at, there);
        }
    }
}

/* Row g, and g + 8, of the warp whose queries begin at row `first` of the tile. */
template <int D>
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
#pragma unroll
            for (int half = 0; half < 2; half++)
                l.q[k][2 * half + r] =
                    there ? *(const uint32_t *)(q + 16 * k + 8 * half + 2 * t) : 0;
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

typedef float step_scores[STEP / 8][4];

template <int D>
static __device__ __forceinline__ void score(step_scores &scores, const lane_rows<D> &l,
                                             const step_of_keys<D> *from)
{
    int lane = (int)threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < D / 16; k++)
#pragma unroll
        for (int n = 0; n < STEP / 16; n++) {
            uint32_t b[4];
            int j = 16 * n + (lane & 7) + 8 * (lane >> 4);
            load_matrix_x4(b, &from->k[placed<D>(j, 2 * k + (lane >> 3 & 1))]);
            mma_bf16(scores[2 * n], l.q[k], {b[0], b[1]});
            mma_bf16(scores[2 * n + 1], l.q[k], {b[2], b[3]});
        }
}

/* Scores become weights about the new maximum, as the left side of the product with the values. */
template <int D>
static __device__ __forceinline__ void weigh(uint32_t (&weights)[STEP / 16][4], lane_rows<D> &l,
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

template <int D>
static __device__ __forceinline__ void attend(lane_rows<D> &l, const step_of_keys<D> *from, int key,
                                              float scale)
{
    int lane = (int)threadIdx.x % WARP;
    step_scores scores = {};
    uint32_t weights[STEP / 16][4];
    score(scores, l, from);
    weigh(weights, l, scores, key, scale);
#pragma unroll
    for (int k = 0; k < STEP / 16; k++)
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            uint32_t b[4];
            int j = 16 * k + (lane & 15);
            load_matrix_x4_transposed(b, &from->v[placed<D>(j, 2 * n + (lane >> 4))]);
            mma_bf16(l.part[2 * n], weights[k], {b[0], b[1]});
            mma_bf16(l.part[2 * n + 1], weights[k], {b[2], b[3]});
        }
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

template <int D>
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
                store_value(a.y, a.y_is_bf16, at + 8 * n + 2 * t + i, value);
            }
    }
}

/* What a block of one range leaves for join_ranges(). */
template <int D>
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
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            *(float2 *)(out + 2 + 8 * n + 2 * t) =
                make_float2(l.part[n][2 * r], l.part[n][2 * r + 1]);
    }
}

/* grid: tiles; heads of keys; ranges, or 1 for all of them in turn. */
template <int D, int WARPS, bool PAGED>
static __global__ void __launch_bounds__(WARPS *WARP) attention_kernel(attention_call a)
{
    wait_for_earlier();
    constexpr int STAGES = ring_of<D, WARPS>::STAGES;
    step_of_keys<D> *ring = (step_of_keys<D> *)shared_bytes();
    int warp = (int)threadIdx.x / WARP, first = warp * ROWS;
    float *total = (float *)(ring + STAGES) + warp * ROWS * D;
    work w = work_of(a, WARPS * ROWS);
    int end = limit_of_row(a, w, w.rows - 1); /* the last row sees the most */
    int key = a.n_ranges > 1 ? (int)blockIdx.z * RANGE : 0;
    end = a.n_ranges > 1 ? min(end, key + RANGE) : end;
    lane_rows<D> l;
    load_queries(l, a, w, first);
    begin_range(l);
    attention_segment segment = {};
    if (!PAGED && key < end)
        segment = segment_of(a, w, key);
    int own = min(end, first < w.rows ? limit_of_row(a, w, min(first + ROWS, w.rows) - 1) : 0);
#pragma unroll 1
    for (int i = 0; i < STAGES - 1; i++) {
        if (key + i * STEP < end)
            bring<D, WARPS, PAGED>(&ring[i], a, w, segment, key + i * STEP, end);
        copy_async_commit();
    }
    bool is_first = true;
    for (int i = 0; key < end; i++, key += STEP) {
        copy_async_wait<STAGES - 2>();
        __syncthreads(); /* this step is there for all, and all have left the one before it */
        int next = key + (STAGES - 1) * STEP;
        if (next < end)
            bring<D, WARPS, PAGED>(&ring[(i + STAGES - 1) % STAGES], a, w, segment, next, end);
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
        store_part(l, a, w, first, WARPS * ROWS);
    } else {
        store_rows(total, l, a, w, first);
    }
}

/* ---- the host's side ---- */

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
    size_t shared = ring_of<D, WARPS>::STAGES * sizeof(step_of_keys<D>) +
                    (size_t)(WARPS * ROWS * D) * sizeof(float);
    auto kernel =
        a->pages != nullptr ? attention_kernel<D, WARPS, true> : attention_kernel<D, WARPS, false>;
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
