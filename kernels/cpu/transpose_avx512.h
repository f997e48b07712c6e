/* transpose_avx512.h - a block of 16 x 16 elements of 32 bits turned over, in registers.
 */
#ifndef SA2_KERNELS_CPU_TRANSPOSE_AVX512_H
#define SA2_KERNELS_CPU_TRANSPOSE_AVX512_H

#if defined(__AVX512F__)
#include <immintrin.h>

/* Lane j of row i becomes lane i of row j: pairs, fours, then quarters of registers. */
static inline void transpose_16(__m512i row[16])
{
    __m512i two[16], four[16];
    for (int i = 0; i < 16; i += 2) {
        two[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        two[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        four[i] = _mm512_unpacklo_epi64(two[i], two[i + 2]);
        four[i + 1] = _mm512_unpackhi_epi64(two[i], two[i + 2]);
        four[i + 2] = _mm512_unpacklo_epi64(two[i + 1], two[i + 3]);
        four[i + 3] = _mm512_unpackhi_epi64(two[i + 1], two[i + 3]);
    }
    for (int i = 0; i < 4;
         i++) { /* quarter q of four[4 b + i] is lanes 4 b to 4 b + 3 of row 4 q + i */
        __m512i a = _mm512_shuffle_i32x4(four[i], four[4 + i], 0x88);
        __m512i b = _mm512_shuffle_i32x4(four[8 + i], four[12 + i], 0x88);
        __m512i c = _mm512_shuffle_i32x4(four[i], four[4 + i], 0xdd);
        __m512i d = _mm512_shuffle_i32x4(four[8 + i], four[12 + i], 0xdd);
        row[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        row[8 + i] = _mm512_shuffle_i32x4(a, b, 0xdd);
        row[4 + i] = _mm512_shuffle_i32x4(c, d, 0x88);
        row[12 + i] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
}

#endif
#endif
