/* unpack_i4.h - tiles of matrix_i4.h to tiles of matrix_i8.h, in AVX-512: m (q - 8), or 128 more, which has no sign. */
#ifndef SA2_KERNELS_CPU_UNPACK_I4_H
#define SA2_KERNELS_CPU_UNPACK_I4_H

#include <immintrin.h>

#include "kernels/cpu/matrix_i4.h"

/* Two values of 8 bits times their factor are one product of 16, as q * m stays below 256. `out` is aligned to 64 bytes. */
static inline __attribute__((always_inline)) void
unpack_i4_tile(const uint8_t *tile, const uint8_t *factors, const int more, int8_t *out)
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512i words = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)factors));
    __m512i factor = _mm512_or_si512(words, _mm512_slli_epi32(words, 16));
    __m512i shift = _mm512_slli_epi16(_mm512_or_si512(factor, _mm512_slli_epi16(factor, 8)), 3);
    shift = _mm512_sub_epi8(shift, _mm512_set1_epi8((char)more));
#pragma GCC unroll 8
    for (int line = 0; line < SA2_BLOCK / 2; line++) {
        __m512i both = _mm512_loadu_si512(tile + line * SA2_I4_GROUP);
        __m512i a = _mm512_and_si512(both, low);
        __m512i b = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        a = _mm512_sub_epi8(_mm512_mullo_epi16(a, factor), shift);
        b = _mm512_sub_epi8(_mm512_mullo_epi16(b, factor), shift);
        _mm512_store_si512(out + 2 * line * SA2_I4_GROUP, a);
        _mm512_store_si512(out + (2 * line + 1) * SA2_I4_GROUP, b);
    }
}

/* Groups [from, to) of a block to tiles [to - from]. */
static inline __attribute__((always_inline)) void unpack_i4_groups(const sa2_matrix *w,
                                                                   int64_t block, int64_t from,
                                                                   int64_t to, const int more,
                                                                   int8_t *out)
{
    const uint8_t *tiles = sa2_i4_tiles(w, block), *factors = sa2_i4_factors(w, block);
    for (int64_t i = from; i < to; i++, out += SA2_BLOCK * SA2_I4_GROUP)
        unpack_i4_tile(tiles + i * SA2_I4_TILE_BYTES, factors + i * SA2_BLOCK, more, out);
}

static inline void unpack_i4_signed(const sa2_matrix *w, int64_t block, int64_t from, int64_t to,
                                    int8_t *out)
{
    unpack_i4_groups(w, block, from, to, 0, out);
}

static inline void unpack_i4_biased(const sa2_matrix *w, int64_t block, int64_t from, int64_t to,
                                    int8_t *out)
{
    unpack_i4_groups(w, block, from, to, 128, out);
}

#endif
