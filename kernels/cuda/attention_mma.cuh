/* attention_mma.cuh - what attention on tensor cores has in registers and in shared memory: queries, and steps of keys and
 * values in bf16 or in 8 bits, with the two products over them; for attention_mma.cu.
 *
 * Keys in 8 bits are whole numbers, which bf16 holds, so their steps are factors of the scores; values are multiplied by
 * theirs and rounded to bf16. Both become bf16 in registers. A matrix load of 8 rows of 16 bytes gives a lane four
 * neighbours of a key, or two neighbours of two keys' values, of which one mask takes out the first and third byte and
 * another the second and fourth. So of 16 dimensions the products take those in another order than bf16 has
 * them: registers of queries are made to match, and columns of the result are told apart by dimension_of().
 */
#ifndef SA2_KERNELS_CUDA_ATTENTION_MMA_CUH
#define SA2_KERNELS_CUDA_ATTENTION_MMA_CUH

#include "kernels/cuda/attention.cuh"

namespace sa2_cuda
{
/* What a lane (g, t) has of rows g and g + 8 of the warp's queries. */
template <int D> struct lane_rows {
    uint32_t q[D / 16][4];
    float part[D / 8][4]; /* of this range */
    float most[2], sum[2];
    float total_most[2], total_sum[2];
    int limit[2]; /* keys that are seen */
};

/* STEP keys of D dimensions and their values. */
template <int D, bool IN_8_BITS> struct step_of_keys;

template <int D> struct step_of_keys<D, false> {
    uint4 k[STEP * D / PACK], v[STEP * D / PACK];
};

template <int D> struct step_of_keys<D, true> {
    uint4 k[STEP * D / 16], v[STEP * D / 16];
    float k_steps[STEP], v_steps[STEP];
};

typedef float step_scores[STEP / 8][4];
typedef uint32_t step_weights[STEP / 16][4];

/* Piece `piece`, of PIECES of 16 bytes, of key `j`: no two of eight keys that are read together share a bank. */
template <int PIECES> static __device__ __forceinline__ int placed(int j, int piece)
{
    constexpr int KEYS_A_LINE = PIECES < 8 ? 8 / PIECES : 1;
    return j * PIECES + (piece ^ (j / KEYS_A_LINE & (PIECES < 8 ? PIECES - 1 : 7)));
}

/* ---- queries: dimensions [16 k, 16 k + 16) of a row, the two registers of lane t ---- */

template <bool IN_8_BITS>
static __device__ __forceinline__ void load_query(uint32_t &first, uint32_t &second,
                                                  const uint16_t *q, bool there, int k, int t)
{
    const uint32_t *pairs = (const uint32_t *)(q + 16 * k);
    uint32_t low = there ? pairs[IN_8_BITS ? 2 * t : t] : 0;
    uint32_t high = there ? pairs[IN_8_BITS ? 2 * t + 1 : t + 4] : 0;
    first = IN_8_BITS ? (low & 0xffff) | high << 16 : low;
    second = IN_8_BITS ? low >> 16 | (high & 0xffff0000) : high;
}

/* The dimension that part[n][i], or [n][i + 2], of lane t belongs to. */
template <bool IN_8_BITS> static __device__ __forceinline__ int dimension_of(int n, int i, int t)
{
    return IN_8_BITS ? n / 2 * 16 + 4 * t + 2 * i + n % 2 : 8 * n + 2 * t + i;
}

/* ---- keys [key, key + STEP) and their values come; zeros from `end` on ---- */

/* A page holds 16 keys from such a border on; `segment` is the one of the last key that this thread brought. */
template <int WARPS, bool PAGED, int D>
static __device__ __forceinline__ void bring(step_of_keys<D, false> *to, const attention_call &a,
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
            int place = placed<PIECES>(half + j, piece), at = PAGED && there ? j * D : 0;
            copy_async_16(&to->k[place], k + at, there);
            copy_async_16(&to->v[place], v + at, there);
        }
    }
}

/* Steps of 16 keys are four pieces, and those of their values. */
template <int WARPS, bool PAGED, int D>
static __device__ __forceinline__ void bring(step_of_keys<D, true> *to, const attention_call &a,
                                             const work &w, attention_segment &, int key, int end)
{
    static_assert(PAGED, "segments are in bf16");
    constexpr int PIECES = D / 16, AT_ONCE = WARPS * WARP / PIECES;
    int piece = (int)threadIdx.x % PIECES, mine = (int)threadIdx.x / PIECES;
#pragma unroll 1
    for (int half = 0; half < STEP; half += 16) {
        int first = key + half, page = min(first, end - 1) / 16 * 16;
        key_place p = place_in_page(a, w, page);
#pragma unroll
        for (int j = mine; j < 16; j += AT_ONCE) {
            bool there = first + j < end;
            int place = placed<PIECES>(half + j, piece), at = there ? j * D : 0;
            copy_async_16(&to->k[place], (const int8_t *)p.k + p.k_at + piece * 16 + at, there);
            copy_async_16(&to->v[place], (const int8_t *)p.v + p.v_at + piece * 16 + at, there);
        }
        if (threadIdx.x < 8) {
            int at = (int)threadIdx.x % 4 * 4, n = min(max(end - first - at, 0), 4);
            const float *from = step_in_page(a, w, page) + at;
            bool values = threadIdx.x >= 4;
            copy_async_part((values ? to->v_steps : to->k_steps) + half + at,
                            from + (values ? a.page_size : 0), n * (int)sizeof(float));
        }
    }
}

/* ---- scores: queries times keys ---- */

template <int D>
static __device__ __forceinline__ void score(step_scores &scores, const lane_rows<D> &l,
                                             const step_of_keys<D, false> *from)
{
    int lane = (int)threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < D / 16; k++)
#pragma unroll
        for (int n = 0; n < STEP / 16; n++) {
            uint32_t b[4];
            int j = 16 * n + (lane & 7) + 8 * (lane >> 4);
            load_matrix_x4(b, &from->k[placed<D / PACK>(j, 2 * k + (lane >> 3 & 1))]);
            mma_bf16(scores[2 * n], l.q[k], {b[0], b[1]});
            mma_bf16(scores[2 * n + 1], l.q[k], {b[2], b[3]});
        }
}

template <int D>
static __device__ __forceinline__ void score(step_scores &scores, const lane_rows<D> &l,
                                             const step_of_keys<D, true> *from)
{
    int lane = (int)threadIdx.x % WARP, t = lane % 4;
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t b[STEP / 8];
        load_matrix_x4(b, &from->k[placed<D / 16>(lane, k)]);
#pragma unroll
        for (int n = 0; n < STEP / 8; n++)
            mma_bf16(scores[n], l.q[k], {pair_of_bytes(b[n], 0), pair_of_bytes(b[n], 1)});
    }
#pragma unroll
    for (int n = 0; n < STEP / 8; n++) {
        float2 steps = *(const float2 *)&from->k_steps[8 * n + 2 * t];
#pragma unroll
        for (int i = 0; i < 4; i++)
            scores[n][i] *= i % 2 == 0 ? steps.x : steps.y;
    }
}

/* ---- results: weights times values ---- */

template <int D>
static __device__ __forceinline__ void add_values(lane_rows<D> &l, const step_weights &weights,
                                                  const step_of_keys<D, false> *from)
{
    int lane = (int)threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < STEP / 16; k++)
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            uint32_t b[4];
            int j = 16 * k + (lane & 15);
            load_matrix_x4_transposed(b, &from->v[placed<D / PACK>(j, 2 * n + (lane >> 4))]);
            mma_bf16(l.part[2 * n], weights[k], {b[0], b[1]});
            mma_bf16(l.part[2 * n + 1], weights[k], {b[2], b[3]});
        }
}

/* Numbers of two keys, each times its step. */
static __device__ __forceinline__ uint32_t times_steps(uint32_t pair, float2 steps)
{
    return bf16_pair(low_half(pair) * steps.x, high_half(pair) * steps.y);
}

template <int D>
static __device__ __forceinline__ void add_values(lane_rows<D> &l, const step_weights &weights,
                                                  const step_of_keys<D, true> *from)
{
    int lane = (int)threadIdx.x % WARP, t = lane % 4;
#pragma unroll
    for (int k = 0; k < STEP / 16; k++) {
        float2 low = *(const float2 *)&from->v_steps[16 * k + 2 * t];
        float2 high = *(const float2 *)&from->v_steps[16 * k + 8 + 2 * t];
#pragma unroll
        for (int n = 0; n < D / 16; n += 2) {
            uint32_t b[4];
            int j = 16 * k + (lane & 15);
            load_matrix_x4_transposed(b, &from->v[placed<D / 16>(j, n + (lane >> 4))]);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const uint32_t *words = b + i / 2 * 2;
                mma_bf16(l.part[2 * n + i], weights[k],
                         {times_steps(pair_of_bytes(words[0], i % 2), low),
                          times_steps(pair_of_bytes(words[1], i % 2), high)});
            }
        }
    }
}
} // namespace sa2_cuda

#endif
