/* vector_avx512.h - vector.h in AVX-512 (F, BW, VL, DQ).
 */
#ifndef SA2_KERNELS_CPU_VECTOR_AVX512_H
#define SA2_KERNELS_CPU_VECTOR_AVX512_H

#include "kernels/base/tensor.h"

#if defined(__AVX512F__)
#include <immintrin.h>

enum { VF_WIDTH = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

static inline __mmask16 v_lanes(int n)
{
    return (__mmask16)((1u << n) - 1u);
}

static inline vf v_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf v_zero(void)
{
    return _mm512_setzero_ps();
}

static inline vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void v_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}

static inline vf v_load_part(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(v_lanes(n), p);
}

static inline void v_store_part(float *p, vf v, int n)
{
    _mm512_mask_storeu_ps(p, v_lanes(n), v);
}

static inline vf v_from_bf16(__m256i bits)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

/* sa2_f32_to_bf16() lane by lane. vcvtneps2bf16 would lose denormals. */
static inline __m256i v_to_bf16(vf v)
{
    vi bits = _mm512_castps_si512(v);
    vi odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    vi rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    vi quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    vm nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}

static inline vf v_load_bf16(const uint16_t *p)
{
    return v_from_bf16(_mm256_loadu_si256((const __m256i *)p));
}

static inline vf v_load_bf16_part(const uint16_t *p, int n)
{
    return v_from_bf16(_mm256_maskz_loadu_epi16(v_lanes(n), p));
}

static inline void v_store_bf16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)p, v_to_bf16(v));
}

static inline void v_store_bf16_part(uint16_t *p, vf v, int n)
{
    _mm256_mask_storeu_epi16(p, v_lanes(n), v_to_bf16(v));
}

static inline void v_load_pairs(const uint16_t *p, vf *even, vf *odd)
{
    vi bits = _mm512_loadu_si512(p);
    *even = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    *odd = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(-65536)));
}

static inline vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vf v_fused(vf a, vf b, vf c)
{
    return v_fma(a, b, c);
}

static inline vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

static inline vf v_sqrt(vf v)
{
    return _mm512_sqrt_ps(v);
}

static inline vf v_round(vf v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vf v_scale(vf v, vf n)
{
    return _mm512_scalef_ps(v, n);
}

static inline vf v_split(vf v, vf *n)
{
    *n = _mm512_getexp_ps(v);
    return _mm512_getmant_ps(v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}

static inline vf v_abs(vf v)
{
    return _mm512_abs_ps(v);
}

static inline vf v_copysign(vf v, vf sign)
{
    return _mm512_or_ps(_mm512_abs_ps(v), _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}

static inline vm v_less(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline vm v_is_odd(vf v)
{
    return _mm512_test_epi32_mask(_mm512_cvtps_epi32(v), _mm512_set1_epi32(1));
}

static inline vf v_select(vm m, vf a, vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
}

static inline bool v_all(vm m)
{
    return m == 0xffff;
}

static inline uint32_t v_bits(vm m)
{
    return m;
}

static inline float v_sum(vf v)
{
    return _mm512_reduce_add_ps(v);
}

typedef struct vd {
    __m512d low, high;
} vd;

static inline vd v_wide_zero(void)
{
    return (vd){_mm512_setzero_pd(), _mm512_setzero_pd()};
}

static inline vd v_wide_add(vd sum, vf v)
{
    return (vd){sum.low + _mm512_cvtps_pd(_mm512_castps512_ps256(v)),
                sum.high + _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
}

static inline double v_wide_sum(vd sum)
{
    return _mm512_reduce_add_pd(sum.low + sum.high);
}

static inline float v_largest(vf v)
{
    return _mm512_reduce_max_ps(v);
}

#endif
#endif
