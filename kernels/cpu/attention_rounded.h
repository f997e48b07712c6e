/* attention_rounded.h - keys and values of 8 bits as the bf16 that tiles multiply: keys as whole numbers, which bf16
 * holds, so that steps are factors of scores; values times their steps, which are factors of no sum.
 *
 * Steps are 0, NaN, or so large that no product is denormal, which vcvtne2ps2bf16 would lose.
 */
#ifndef SA2_KERNELS_CPU_ATTENTION_ROUNDED_H
#define SA2_KERNELS_CPU_ATTENTION_ROUNDED_H

#if defined(__AVX512BF16__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { ROUNDED_HALF = 16, ROUNDED_UNIT = 32 };

static inline __m512 numbers_of(__m128i bytes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

static inline __mmask32 first_of_unit(int64_t n)
{
    return n < ROUNDED_UNIT ? (1u << n) - 1u : 0xffffffffu;
}

/* 16 keys of d numbers: to [16, dims], dims a multiple of 32. */
static inline void convert_keys(uint16_t *to, int64_t dims, const int8_t *k, int64_t d)
{
    for (int r = 0; r < ROUNDED_HALF; r++, k += d, to += dims)
        for (int64_t e = 0; e < d; e += ROUNDED_UNIT) {
            __m256i bytes = _mm256_maskz_loadu_epi8(first_of_unit(d - e), k + e);
            __m512 low = numbers_of(_mm256_castsi256_si128(bytes));
            __m512 high = numbers_of(_mm256_extracti128_si256(bytes, 1));
            _mm512_storeu_si512(to + e, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        }
}

/* Values [d, unit] of n positions: to [dims, 32], from position `place` of each 32 on, which is 0 or, of a unit of 16, 16.
 * From 0 on all that is no value becomes 0. */
static inline void convert_values(uint16_t *to, int64_t dims, int place, const int8_t *v, int64_t d,
                                  int unit, const float *steps, int n)
{
    __mmask32 there = first_of_unit(n);
    __m512 low = _mm512_maskz_loadu_ps((__mmask16)there, steps);
    __m512 high = _mm512_maskz_loadu_ps((__mmask16)(there >> ROUNDED_HALF), steps + ROUNDED_HALF);
    to += place;
    for (int64_t e = 0; e < d; e++, v += unit, to += ROUNDED_UNIT) {
        __m256i bytes = _mm256_maskz_loadu_epi8(first_of_unit(unit), v);
        __m512 first = numbers_of(_mm256_castsi256_si128(bytes)) * low;
        __m512 second = numbers_of(_mm256_extracti128_si256(bytes, 1)) * high;
        __m512i values = (__m512i)_mm512_cvtne2ps_pbh(second, first);
        if (place == 0)
            _mm512_storeu_si512(to, values);
        else
            _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(values));
    }
    if (place == 0)
        memset(to, 0, (size_t)((dims - d) * ROUNDED_UNIT) * sizeof *to);
}

#endif
#endif
