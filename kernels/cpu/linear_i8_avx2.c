/* linear_i8_avx2.c - products with a matrix in 8 bits, in AVX2: widened to 16 bits, pairs by vpmaddwd. (vpmaddubsw would
 * cut sums of two products at 2^15.)
 */
#include <immintrin.h>

#include "kernels/cpu/linear_i8.h"

enum { QUARTERS = 4 }; /* of a block: 4 outputs of 4 columns fill a vector of 16 bits */

static inline __m256i four_columns(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_cvtepi8_epi16(_mm_set1_epi32(four));
}

/* Sums of a quarter: two halves of each output side by side. */
static void row_avx2(const int8_t *x, const int8_t *w, int64_t steps, int32_t *ints)
{
    __m256i upper[QUARTERS], lower[QUARTERS];
    for (int q = 0; q < QUARTERS; q++)
        upper[q] = lower[q] = _mm256_setzero_si256();
    for (int64_t step = 0; step < steps; step++, x += I8_STEP_BYTES)
        for (int k = 0; k < SA2_I8_COLS; k += 4, w += 4 * SA2_BLOCK) {
            __m256i a = four_columns(x + k), b = four_columns(x + SA2_I8_COLS + k);
#pragma GCC unroll 4
            for (int q = 0; q < QUARTERS; q++) {
                __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + q * 16)));
                upper[q] = _mm256_add_epi32(upper[q], _mm256_madd_epi16(a, wide));
                lower[q] = _mm256_add_epi32(lower[q], _mm256_madd_epi16(b, wide));
            }
        }
    for (int q = 0; q < QUARTERS; q++) {
        int32_t halves[2][8];
        _mm256_storeu_si256((__m256i *)halves[0], upper[q]);
        _mm256_storeu_si256((__m256i *)halves[1], lower[q]);
        for (int line = 0; line < 2; line++)
            for (int i = 0; i < 4; i++)
                ints[line * I8_OUTPUTS + q * 4 + i] = halves[line][2 * i] + halves[line][2 * i + 1];
    }
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    (void)space;
    i8_run_rows(p, part, panels, first_row, row_avx2);
}

const sa2_product_kernel sa2_product_i8_avx2 = {
    .panel_bytes = i8_panel_bytes, .pack = i8_pack, .run = run};
