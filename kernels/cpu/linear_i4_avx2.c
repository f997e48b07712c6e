/* linear_i4_avx2.c - products with a matrix in 4 bits, in AVX2: q has no sign and no more than 4 bits, so that vpmaddubsw
 * adds two products of 8 bits and half a group of them fits 16.
 */
#include <immintrin.h>

#include "kernels/cpu/linear_i4.h"

enum { HALF_LINES = SA2_BLOCK / 4 }; /* of half a tile: 8 sums of two products up to 2 * 127 * 15 */

static inline __m256i four_columns(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Half a tile, 8 outputs, as sums of 32 bits. */
static inline __m256i half_group(const int8_t *x, const uint8_t *tile)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sums = _mm256_setzero_si256();
    for (int line = 0; line < HALF_LINES; line++, x += 8, tile += SA2_I4_GROUP) {
        __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)tile);
        __m256i a = _mm256_and_si256(both, low);
        __m256i b = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(a, four_columns(x)));
        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(b, four_columns(x + 4)));
    }
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

static void row_avx2(const int8_t *x, int32_t of_group, const uint8_t *tile, const uint8_t *factors,
                     int32_t sums[SA2_BLOCK])
{
    for (int i = 0; i < SA2_BLOCK; i += 8, tile += SA2_I4_GROUP / 2, sums += 8, factors += 8) {
        __m256i here = _mm256_add_epi32(
            _mm256_set1_epi32(of_group),
            _mm256_add_epi32(half_group(x, tile),
                             half_group(x + SA2_I4_GROUP / 2, tile + HALF_LINES * SA2_I4_GROUP)));
        __m256i m = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)factors));
        __m256i *to = (__m256i *)(void *)sums;
        _mm256_storeu_si256(to,
                            _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_mullo_epi32(here, m)));
    }
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    (void)space;
    i4_run_rows(p, part, panels, first_row, row_avx2);
}

const sa2_product_kernel sa2_product_i4_avx2 = {
    .panel_bytes = i4_panel_bytes, .pack = i4_pack, .run = run};
