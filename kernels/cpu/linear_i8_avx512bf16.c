/* linear_i8_avx512bf16.c - products with a matrix in 8 bits by vpdpbusd, which takes x without sign: 128 is added to each of
 * its values, and 128 times the sums of the matrix are taken away again.
 */
#include <immintrin.h>

#include "kernels/cpu/linear_i8.h"

enum { STRIP_ROWS = 4, MAX_LINES = 2 * STRIP_ROWS };

static inline __attribute__((always_inline)) void
strip_lines(const int8_t *x, const int8_t *w, int64_t steps, const int lines, int32_t *ints)
{
    const __m512i ones = _mm512_set1_epi8(1), flip = _mm512_set1_epi8((char)0x80);
    __m512i sums[MAX_LINES], all = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int i = 0; i < lines; i++)
        sums[i] = _mm512_setzero_si512();
    for (int64_t step = 0; step < steps; step++, x += I8_STEP_BYTES)
        for (int k = 0; k < SA2_I8_COLS; k += 4, w += 4 * SA2_BLOCK) {
            __m512i weights = _mm512_loadu_si512(w);
            all = _mm512_dpbusd_epi32(all, ones, weights);
#pragma GCC unroll 8
            for (int i = 0; i < lines; i++) {
                int32_t four;
                memcpy(&four, x + i * SA2_I8_COLS + k, sizeof four);
                __m512i values = _mm512_xor_si512(_mm512_set1_epi32(four), flip);
                sums[i] = _mm512_dpbusd_epi32(sums[i], values, weights);
            }
        }
    all = _mm512_slli_epi32(all, 7);
#pragma GCC unroll 8
    for (int i = 0; i < lines; i++)
        _mm512_storeu_si512(ints + i * I8_OUTPUTS, _mm512_sub_epi32(sums[i], all));
}

static void strip_vnni(const int8_t *x, const int8_t *w, int64_t steps, int rows, int32_t *ints)
{
    switch (rows) {
    case 1:
        strip_lines(x, w, steps, 2, ints);
        break;
    case 2:
        strip_lines(x, w, steps, 4, ints);
        break;
    case 3:
        strip_lines(x, w, steps, 6, ints);
        break;
    default:
        strip_lines(x, w, steps, MAX_LINES, ints);
        break;
    }
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    i8_run_strips(p, part, panels, first_row, space, STRIP_ROWS, strip_vnni);
}

const sa2_product_kernel sa2_product_i8_avx512bf16 = {
    .panel_bytes = i8_panel_bytes, .pack = i8_pack, .run = run};
