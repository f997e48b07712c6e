/* unpack_e4m3.h - tiles of matrix_e4m3.h to bf16, in the instruction set of the including file.
 */
#ifndef SA2_KERNELS_CPU_UNPACK_E4M3_H
#define SA2_KERNELS_CPU_UNPACK_E4M3_H

#include "kernels/cpu/matrix_e4m3.h"

#if defined(__AVX512BW__)
#include <immintrin.h>

/* Sign and size of the upper one of each two codes, where bf16 has them. */
static inline __m512i e4m3_bits(__m512i codes)
{
    return _mm512_and_si512(_mm512_srai_epi16(codes, 4), _mm512_set1_epi16((short)0x87f0));
}

/* sa2_e4m3_to_bf16() of codes some of which are below the smallest normal number. */
static inline __m512i e4m3_small_too(__m512i bits, __m512i bias)
{
    static const int16_t above[32] = {0, -(2 << 7), -(1 << 7), -(1 << 6),
                                      0, 1 << 5,    2 << 5,    3 << 5};
    const __m512i sign = _mm512_and_si512(bits, _mm512_set1_epi16((short)0x8000));
    __mmask32 is_small = _mm512_testn_epi16_mask(bits, _mm512_set1_epi16(0x0780));
    __mmask32 is_zero = _mm512_testn_epi16_mask(bits, _mm512_set1_epi16(0x07f0));
    __m512i of_size =
        _mm512_permutexvar_epi16(_mm512_srli_epi16(bits, 4), _mm512_loadu_si512(above));
    __m512i size = _mm512_mask_mov_epi16(bits, is_small, _mm512_add_epi16(of_size, sign));
    return _mm512_mask_mov_epi16(_mm512_add_epi16(size, bias), is_zero, sign);
}

/* sa2_e4m3_unpack(). Few weights are that small, so that hardly a line has one. */
static inline void unpack_e4m3(const uint8_t *tile, const uint8_t *powers, uint16_t *out)
{
    const __m512i exponent = _mm512_set1_epi8(0x78);
    __m512i power = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)powers));
    __m512i half = _mm512_slli_epi32(_mm512_sub_epi32(power, _mm512_set1_epi32(7)), 7);
    __m512i bias = _mm512_or_si512(half, _mm512_slli_epi32(half, 16));
#pragma GCC unroll 8
    for (int line = 0; line < SA2_BLOCK; line += 2, tile += 2 * SA2_TILE_COLS) {
        __m512i both = _mm512_loadu_si512(tile);
        __m512i a = e4m3_bits(_mm512_slli_epi16(both, 8)), b = e4m3_bits(both);
        if (_mm512_testn_epi8_mask(both, exponent) == 0) {
            a = _mm512_add_epi16(a, bias);
            b = _mm512_add_epi16(b, bias);
        } else {
            a = e4m3_small_too(a, bias);
            b = e4m3_small_too(b, bias);
        }
        _mm512_storeu_si512(out + line * SA2_TILE_COLS, a);
        _mm512_storeu_si512(out + (line + 1) * SA2_TILE_COLS, b);
    }
}

#else

static inline void unpack_e4m3(const uint8_t *tile, const uint8_t *powers, uint16_t *out)
{
    sa2_e4m3_unpack(tile, powers, out);
}

#endif

/* Groups [from, to) of a block to tiles [to - from]. */
static inline void unpack_e4m3_groups(const sa2_matrix *w, int64_t block, int64_t from, int64_t to,
                                      uint16_t *out)
{
    const uint8_t *tiles = sa2_e4m3_tiles(w, block), *powers = sa2_e4m3_powers(w, block);
    for (int64_t i = from; i < to; i++, out += SA2_E4M3_TILE_BYTES)
        unpack_e4m3(tiles + i * SA2_E4M3_TILE_BYTES, powers + i * SA2_BLOCK, out);
}

#endif
