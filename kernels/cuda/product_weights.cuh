/* product_weights.cuh - weights as tensor cores take them, for product_thin.cuh and product_tiled.cuh: registers of mma's a
 * in bf16, as they lie in memory or made of 8 or 4 bits on the way.
 *
 * A weight in 8 bits is a whole number of steps from -127 to 127, one in 4 bits from -128 to 112: bf16 holds them
 * exactly. So sums are of steps, and the whole sum is multiplied once by the step of its row. One in e4m3 is a number of
 * bf16 as it is, with the power of two of its group.
 */
#ifndef SA2_KERNELS_CUDA_PRODUCT_WEIGHTS_CUH
#define SA2_KERNELS_CUDA_PRODUCT_WEIGHTS_CUH

#include "kernels/cuda/matrix_rounded.cuh"

namespace sa2_cuda
{
/* What a lane reads of a tile at one time, in words of 16 bytes: its weights of CHUNKS chunks. In a thin product AHEAD
 * of them are on their way. */
template <typename W> struct bundle;

template <> struct bundle<__nv_bfloat16> {
    static constexpr int CHUNKS = 1, WORDS = 2, AHEAD = 4;
    static constexpr bool HAS_STEPS = false, HAS_FACTORS = false;
    uint4 word[WORDS];
};

template <> struct bundle<in_8_bits> {
    static constexpr int CHUNKS = 1, WORDS = 1, AHEAD = 5;
    static constexpr bool HAS_STEPS = true, HAS_FACTORS = false;
    uint4 word[WORDS];
};

template <> struct bundle<in_e4m3> {
    static constexpr int CHUNKS = 1, WORDS = 1, AHEAD = 5;
    static constexpr bool HAS_STEPS = false, HAS_FACTORS = true;
    uint4 word[WORDS];
    uint16_t factors; /* powers of rows g and g + 8, a byte each */
};

template <> struct bundle<in_4_bits> {
    static constexpr int CHUNKS = I4_GROUP / CHUNK, WORDS = 1, AHEAD = 4;
    static constexpr bool HAS_STEPS = true, HAS_FACTORS = true;
    uint4 word[WORDS];
    uint16_t factors; /* of rows g and g + 8, a byte each */
};

/* Of a row. */
template <typename W> static __device__ __forceinline__ int bundles_of(const product &p)
{
    return parts_of(p.k, CHUNK * bundle<W>::CHUNKS);
}

/* ---- from memory ---- */

/* Where this lane's bundles of a tile lie, from number `first` on. */
template <typename W> struct bundle_place {
    const uint4 *words;
    const uint16_t *factors; /* unset of what has none */
};

static constexpr int FACTOR_PAIRS = TILE_ROWS / 2; /* of a tile and bundle */

template <typename W>
static __device__ __forceinline__ void find_place(bundle_place<W> &place, const product &p,
                                                  long long tile, int first)
{
    long long number = tile * bundles_of<W>(p) + first;
    place.words = (const uint4 *)p.w + number * bundle<W>::WORDS * WARP + threadIdx.x % WARP;
    if constexpr (bundle<W>::HAS_FACTORS)
        place.factors =
            (const uint16_t *)p.factors + number * FACTOR_PAIRS + threadIdx.x % WARP / 4;
}

template <typename W>
static __device__ __forceinline__ void load(bundle<W> &b, const bundle_place<W> &place, int i)
{
#pragma unroll
    for (int n = 0; n < bundle<W>::WORDS; n++)
        b.word[n] = load_once(place.words + (i * bundle<W>::WORDS + n) * WARP);
    if constexpr (bundle<W>::HAS_FACTORS)
        b.factors = __ldg(place.factors + i * FACTOR_PAIRS);
}

template <typename W> static __device__ __forceinline__ void move_on(bundle_place<W> &place, int n)
{
    place.words += n * bundle<W>::WORDS * WARP;
    if constexpr (bundle<W>::HAS_FACTORS)
        place.factors += n * FACTOR_PAIRS;
}

/* ---- to registers ---- */

/* A factor m and -136 m, for (128 + q) m - 136 m = (q - 8) m. */
struct factor {
    __nv_bfloat162 m, offset;
};

static __device__ __forceinline__ factor factor_of(int m)
{
    float value = (float)m;
    return {as_pair(bf16_pair(value, value)), as_pair(bf16_pair(-136.0f * value, -136.0f * value))};
}

/* Columns 2 i and 2 i + 1 of a word of eight. */
static __device__ __forceinline__ uint32_t pair_of_nibbles(uint32_t word, int i, const factor &f)
{
    return as_bits(__hfma2(as_pair((word >> 4 * i & 0x000f000f) | PAIR_OF_128), f.m, f.offset));
}

/* 2^(power - 7), twice. */
static __device__ __forceinline__ __nv_bfloat162 pair_of_power(int power)
{
    return as_pair((uint32_t)(power + 120) * 0x00800080);
}

/* Columns 0 and 1 (half 0), or 2 and 3, of a word of four in e4m3. Where bf16 has exponent and fraction a code stands for
 * 2^-120 of its number, also below the smallest normal one; less than nothing is added, so that -0 stays. */
static __device__ __forceinline__ uint32_t pair_of_e4m3(uint32_t word, int half,
                                                        __nv_bfloat162 power)
{
    word <<= half == 0 ? 8 : 0;
    return as_bits(__hfma2(as_pair((word >> 4 & 0x07f007f0) | (word & 0x80008000)), power,
                           as_pair(0x80008000)));
}

/* Both steps of chunk `chunk` of a bundle. */
static __device__ __forceinline__ void unpack(uint4 &first, uint4 &second,
                                              const bundle<__nv_bfloat16> &b, int)
{
    first = b.word[0];
    second = b.word[1];
}

static __device__ __forceinline__ void unpack(uint4 &first, uint4 &second,
                                              const bundle<in_8_bits> &b, int)
{
    const uint4 &w = b.word[0];
    first = make_uint4(pair_of_bytes(w.x, 0), pair_of_bytes(w.y, 0), pair_of_bytes(w.x, 1),
                       pair_of_bytes(w.y, 1));
    second = make_uint4(pair_of_bytes(w.z, 0), pair_of_bytes(w.w, 0), pair_of_bytes(w.z, 1),
                        pair_of_bytes(w.w, 1));
}

static __device__ __forceinline__ void unpack(uint4 &first, uint4 &second, const bundle<in_e4m3> &b,
                                              int)
{
    const uint4 &w = b.word[0];
    __nv_bfloat162 high = pair_of_power(b.factors & 255), low = pair_of_power(b.factors >> 8);
    first = make_uint4(pair_of_e4m3(w.x, 0, high), pair_of_e4m3(w.y, 0, low),
                       pair_of_e4m3(w.x, 1, high), pair_of_e4m3(w.y, 1, low));
    second = make_uint4(pair_of_e4m3(w.z, 0, high), pair_of_e4m3(w.w, 0, low),
                        pair_of_e4m3(w.z, 1, high), pair_of_e4m3(w.w, 1, low));
}

static __device__ __forceinline__ void unpack(uint4 &first, uint4 &second,
                                              const bundle<in_4_bits> &b, int chunk)
{
    uint32_t high = chunk == 0 ? b.word[0].x : b.word[0].z, /* rows g and g + 8 */
        low = chunk == 0 ? b.word[0].y : b.word[0].w;
    factor of_high = factor_of(b.factors & 255), of_low = factor_of(b.factors >> 8);
    first = make_uint4(pair_of_nibbles(high, 0, of_high), pair_of_nibbles(low, 0, of_low),
                       pair_of_nibbles(high, 1, of_high), pair_of_nibbles(low, 1, of_low));
    second = make_uint4(pair_of_nibbles(high, 2, of_high), pair_of_nibbles(low, 2, of_low),
                        pair_of_nibbles(high, 3, of_high), pair_of_nibbles(low, 3, of_low));
}

/* A whole sum of steps of row `row` of w. */
template <typename W>
static __device__ __forceinline__ float times_step(const product &p, long long row, float sum)
{
    if constexpr (bundle<W>::HAS_STEPS)
        return __fmul_rn(sum, p.steps[row]);
    return sum;
}
} // namespace sa2_cuda

#endif
