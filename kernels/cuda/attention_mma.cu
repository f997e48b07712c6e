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

template <int WARPS> struct ring_of {
    static constexpr int STAGES = WARPS == 1 ? 3 : 2;
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

static __device__ __forceinline__ uint4 gather(const void *data, long long at)
{
    const uint16_t *x = (const uint16_t *)data + at;
    uint32_t pair[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        pair[i] = x[2 * i] | (uint32_t)x[2 * i + 1] << 16;
    return make_uint4(pair[0], pair[1], pair[2], pair[3]);
}

static __device__ __forceinline__ void bring_piece(uint4 *to, const void *data, long long at,
                                                   bool there, bool is_aligned)
{
    if (is_aligned)
        copy_async_16(to, (const __nv_bfloat16 *)data + at, there);
    else
        *to = there ? gather(data, at) : make_uint4(0, 0, 0, 0);
}

/* Keys [key, key + STEP) and their values; zeros from `end` on. A page holds 16 keys from such a border on. */
template <int D, int WARPS>
static __device__ __forceinline__ void bring(step_of_keys<D> *to, const attention_call &a,
                                             const work &w, int key, int end)
{
    constexpr int PIECES = D / PACK, EACH = 16 * PIECES / (WARPS * WARP);
#pragma unroll
    for (int half = 0; half < STEP; half += 16) {
        bool some = key + half < end;
        key_place page = a.pages != nullptr && some ? place_in_page(a, w, key + half) : key_place{};
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int at = i * WARPS * WARP + (int)threadIdx.x, j = at / PIECES, e = at % PIECES * PACK;
            bool there = key + half + j < end;
            key_place p = {a.q, a.q, 0, 0}; /* an address that may be named, when nothing is read */
            if (there && a.pages != nullptr)
                p = {page.k, page.v, page.k_at + j * D + e, page.v_at + j * D + e};
            else if (there) {
                p = place_of(a, w, key + half + j);
                p.k_at += e;
                p.v_at += e;
            }
            int place = placed<D>(half + j, e / PACK);
            bring_piece(&to->k[place], p.k, p.k_at, there, a.is_aligned);
            bring_piece(&to->v[place], p.v, p.v_at, there, a.is_aligned);
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
            for (int half = 0; half < 2; half++) {
                int e = 16 * k + 8 * half + 2 * t;
                l.q[k][2 * half + r] = there ? q[e] | (uint32_t)q[e + 1] << 16 : 0;
            }
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
    float most[2] = {l.most[0], l.most[1]}, base[2];
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            bool seen = key + 8 * n + 2 * t + (i & 1) < l.limit[i >> 1];
            scores[n][i] = seen ? scores[n][i] * scale : -INFINITY;
            most[i >> 1] = fmaxf(most[i >> 1], scores[n][i]);
        }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        most[r] = fmaxf(most[r], __shfl_xor_sync(ALL_LANES, most[r], 1));
        most[r] = fmaxf(most[r], __shfl_xor_sync(ALL_LANES, most[r], 2));
        base[r] = most[r] == -INFINITY ? 0.0f : most[r];
        float factor = exp2f(l.most[r] - base[r]);
        l.most[r] = most[r];
        l.sum[r] *= factor;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            l.part[n][2 * r] *= factor;
            l.part[n][2 * r + 1] *= factor;
        }
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
#pragma unroll
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
#pragma unroll
            for (int i = 0; i < 2; i++)
                out[2 + 8 * n + 2 * t + i] = l.part[n][2 * r + i];
    }
}

/* grid: tiles; heads of keys; ranges, or 1 for all of them in turn. */
template <int D, int WARPS>
static __global__ void __launch_bounds__(WARPS *WARP) attention_kernel(attention_call a)
{
    let_next_start();
    wait_for_earlier();
    constexpr int STAGES = ring_of<WARPS>::STAGES;
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
    int own = min(end, first < w.rows ? limit_of_row(a, w, min(first + ROWS, w.rows) - 1) : 0);
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (key + i * STEP < end)
            bring<D, WARPS>(&ring[i], a, w, key + i * STEP, end);
        copy_async_commit();
    }
    bool is_first = true;
    for (int i = 0; key < end; i++, key += STEP) {
        copy_async_wait<STAGES - 2>();
        __syncthreads(); /* this step is there for all, and all have left the one before it */
        int next = key + (STAGES - 1) * STEP;
        if (next < end)
            bring<D, WARPS>(&ring[(i + STAGES - 1) % STAGES], a, w, next, end);
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
    size_t shared = ring_of<WARPS>::STAGES * sizeof(step_of_keys<D>) +
                    (size_t)(WARPS * ROWS * D) * sizeof(float);
    st = launch(s, op, attention_kernel<D, WARPS>, grid, WARPS * WARP, shared, err, *a);
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
