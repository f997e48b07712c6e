/* attention_weights.h - scores to softmax weights in bf16, 16 columns and pairs of keys at a time.
 *
 * A weight 2^t begins as the integer k = 128 (t + 127), whose bits read as bf16 are 2^n (1 + f) with
 * t = n + f. What is left is a correction of the lower 7 bits A = 128 f: k - A (D - E A) / 2^15. E and D
 * are fitted over all t; a weight then errs by 0.26 % (root of the mean square), where rounding to bf16
 * alone is 0.17 %. Integers of 16 bits, because while tiles are at work floating-point products,
 * maxima and scaling run at half their speed (measured on Sapphire Rapids: port 0 only).
 *
 * k is the lower bits of one fused sum, score * factor + shift: shift contains `magic` and so no fraction.
 * A column's shift is set so that its largest score so far has the weight 2^-7, and again only when
 * a k reaches LIMIT, which is weight 2.
 */
#ifndef SA2_KERNELS_CPU_ATTENTION_WEIGHTS_H
#define SA2_KERNELS_CPU_ATTENTION_WEIGHTS_H

#if defined(__AVX512BF16__)
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    WEIGHTS_KEYS = 32,
    WEIGHTS_COLUMNS = 16,
    LARGEST = 120 * 128, /* k of the largest score when a shift is set */
    LIMIT = 128 * 128,
    LIMIT_BITS = 3 * LIMIT, /* k has one of them from LIMIT on */
    MAGIC_BITS = 0x4b400000,
    CORRECTION_E = 84,
    CORRECTION_D = 11025,
};
static const float magic = 0x1.8p23f, unit_of_k = 0.693147181f / 128.0f; /* in e-folds */

/* Of one block of columns. */
typedef struct softmax {
    __m512 factor, shift;
    __m512i seen; /* keys of this unit that a column sees */
} softmax;

/* Weights of keys i to i + 3 as two pairs of keys. A k that reaches LIMIT leaves its bits in *over, and so
 * does a score so low that k wraps. `careful`: low ones are 0, keys not seen too, NaN is NaN. */
static inline __attribute__((always_inline)) void
weigh_4(const float *scores, int i, const softmax *m, bool careful, __m512i pairs[2], __m512i *over)
{
    const __m512i bits = _mm512_set1_epi32(MAGIC_BITS);
    const __m512i low = _mm512_set1_epi16(127), d = _mm512_set1_epi16(CORRECTION_D);
    __m512i e = _mm512_set1_epi16(CORRECTION_E);
    __asm__("" : "+v"(e)); /* or gcc makes the product shifts and sums, which take longer here */
    __m512i k[4];
    __mmask16 bad[4] = {0};
    for (int j = 0; j < 4; j++) {
        __m512 x = _mm512_fmadd_ps(_mm512_loadu_ps(scores + (i + j) * WEIGHTS_COLUMNS), m->factor,
                                   m->shift);
        if (careful) {
            bad[j] = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
            x = _mm512_max_ps(x, _mm512_set1_ps(magic));
        }
        k[j] = _mm512_sub_epi32(_mm512_castps_si512(x), bits);
    }
    __m512i even = _mm512_packus_epi32(k[0], k[2]), odd = _mm512_packus_epi32(k[1], k[3]);
    pairs[0] = _mm512_unpacklo_epi16(even, odd);
    pairs[1] = _mm512_unpackhi_epi16(even, odd);
    *over = _mm512_ternarylogic_epi64(*over, pairs[0], pairs[1], 0xfe); /* any of them */
    for (int j = 0; j < 2; j++) {
        __m512i a = _mm512_and_si512(pairs[j], low);
        __m512i slope = _mm512_sub_epi16(d, _mm512_mullo_epi16(a, e));
        pairs[j] = _mm512_sub_epi16(pairs[j], _mm512_mulhrs_epi16(a, slope));
        if (!careful)
            continue;
        const __m512i upper = _mm512_set1_epi32(-65536), nan = _mm512_set1_epi32(0x7fc00000);
        __mmask16 first = _mm512_cmpgt_epi32_mask(m->seen, _mm512_set1_epi32(i + 2 * j));
        __mmask16 second = _mm512_cmpgt_epi32_mask(m->seen, _mm512_set1_epi32(i + 2 * j + 1));
        __m512i one = _mm512_mask_mov_epi32(_mm512_slli_epi32(pairs[j], 16), bad[2 * j], nan);
        __m512i two = _mm512_mask_mov_epi32(_mm512_and_si512(pairs[j], upper), bad[2 * j + 1], nan);
        one = _mm512_srli_epi32(_mm512_maskz_mov_epi32(first, one), 16);
        pairs[j] = _mm512_or_si512(_mm512_maskz_mov_epi32(second, two), one);
    }
}

/* Scores [32, 16] become weights [16 pairs, 16] and their sum as rounded; true if a k reaches LIMIT. */
static inline __attribute__((always_inline)) bool
weigh_keys(const float *scores, const softmax *m, bool careful, uint32_t *weights, __m512 *sum)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    __m512i over = _mm512_setzero_si512();
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int i = 0; i < WEIGHTS_KEYS; i += 4, weights += 2 * WEIGHTS_COLUMNS) {
        __m512i pairs[2];
        weigh_4(scores, i, m, careful, pairs, &over);
        _mm512_storeu_si512(weights, pairs[0]);
        _mm512_storeu_si512(weights + WEIGHTS_COLUMNS, pairs[1]);
        sums[0] = _mm512_dpbf16_ps(sums[0], (__m512bh)pairs[0], ones);
        sums[1] = _mm512_dpbf16_ps(sums[1], (__m512bh)pairs[1], ones);
    }
    *sum = sums[0] + sums[1];
    return _mm512_test_epi16_mask(over, _mm512_set1_epi16((short)LIMIT_BITS)) != 0;
}

#endif
#endif
