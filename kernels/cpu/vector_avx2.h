/* vector_avx2.h - vector.h in AVX2 with FMA.
 */
#ifndef SA2_KERNELS_CPU_VECTOR_AVX2_H
#define SA2_KERNELS_CPU_VECTOR_AVX2_H

#include "kernels/base/tensor.h"

#if defined(__AVX2__)
#include <immintrin.h>
#include <string.h>

enum { VF_WIDTH = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm; /* all bits of a lane or none */

static inline vi v_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vf v_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vf v_zero(void)
{
    return _mm256_setzero_ps();
}

static inline vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}

static inline vf v_load_part(const float *p, int n)
{
    return _mm256_maskload_ps(p, v_lanes(n));
}

static inline void v_store_part(float *p, vf v, int n)
{
    _mm256_maskstore_ps(p, v_lanes(n), v);
}

static inline vf v_from_bf16(__m128i bits)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

/* sa2_f32_to_bf16() lane by lane. */
static inline __m128i v_to_bf16(vf v)
{
    vi bits = _mm256_castps_si256(v);
    vi odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    vi rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    vi quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    vi nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    vi upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    vi packed = _mm256_packus_epi32(upper, upper); /* in each half: its four, twice */
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}

static inline vf v_load_bf16(const uint16_t *p)
{
    return v_from_bf16(_mm_loadu_si128((const __m128i *)p));
}

static inline vf v_load_bf16_part(const uint16_t *p, int n)
{
    uint16_t lanes[8] = {0};
    memcpy(lanes, p, (size_t)n * sizeof *p);
    return v_load_bf16(lanes);
}

static inline void v_store_bf16(uint16_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)p, v_to_bf16(v));
}

static inline void v_store_bf16_part(uint16_t *p, vf v, int n)
{
    uint16_t lanes[8];
    v_store_bf16(lanes, v);
    memcpy(p, lanes, (size_t)n * sizeof *p);
}

static inline void v_load_pairs(const uint16_t *p, vf *even, vf *odd)
{
    vi bits = _mm256_loadu_si256((const __m256i *)p);
    *even = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
    *odd = _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(-65536)));
}

static inline vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vf v_fused(vf a, vf b, vf c)
{
    return v_fma(a, b, c);
}

static inline vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

static inline vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}

static inline vf v_sqrt(vf v)
{
    return _mm256_sqrt_ps(v);
}

static inline vf v_round(vf v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vf v_power_of_2(vi n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* In two steps: 2^n itself may have no float. */
static inline vf v_scale(vf v, vf n)
{
    vi whole = _mm256_cvtps_epi32(n);
    vi half = _mm256_srai_epi32(whole, 1);
    return v * v_power_of_2(half) * v_power_of_2(_mm256_sub_epi32(whole, half));
}

static inline vf v_split(vf v, vf *n)
{
    vi bits = _mm256_castps_si256(v);
    *n = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(127)));
    vi fraction = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f800000)));
}

static inline vf v_abs(vf v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static inline vf v_copysign(vf v, vf sign)
{
    return _mm256_or_ps(v_abs(v), _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}

static inline vm v_less(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}

static inline vm v_is_odd(vf v)
{
    return _mm256_castsi256_ps(_mm256_srai_epi32(_mm256_slli_epi32(_mm256_cvtps_epi32(v), 31), 31));
}

static inline vf v_select(vm m, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, m);
}

static inline bool v_all(vm m)
{
    return _mm256_movemask_ps(m) == 0xff;
}

static inline uint32_t v_bits(vm m)
{
    return (uint32_t)_mm256_movemask_ps(m);
}

static inline float v_sum(vf v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

typedef struct vd {
    __m256d low, high;
} vd;

static inline vd v_wide_zero(void)
{
    return (vd){_mm256_setzero_pd(), _mm256_setzero_pd()};
}

static inline vd v_wide_add(vd sum, vf v)
{
    return (vd){sum.low + _mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                sum.high + _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}

static inline double v_wide_sum(vd sum)
{
    __m256d four = sum.low + sum.high;
    __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
    return two[0] + two[1];
}

static inline float v_largest(vf v)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#endif
#endif
