/* linear_i8_avx512bf16.c - products with a matrix in 8 bits by vpdpbusd, whose first factor has no sign: 128 is added to
 * the weights, and 128 times the sum of a line of x is taken away again. A strip is up to six rows of x, two lines each:
 * 24 sums in registers.
 */
#include "kernels/cpu/linear_i8.h"
#include "kernels/cpu/linear_vnni.h"

enum {
    STRIP_ROWS = 6,
    MAX_LINES = 2 * STRIP_ROWS,
    CHUNK_ROWS = 96,
};

/* ---- panels: those of linear_i8.h, and behind them what sums of the lines begin with, [32] ---- */

static size_t panel_bytes(int64_t cols)
{
    return i8_panel_bytes(cols) + I8_LINES * sizeof(int32_t);
}

static void pack(const sa2_product *p, int64_t row, int n, void *panel)
{
    i8_pack(p, row, n, panel);
    const __m512i ones = _mm512_set1_epi8(1);
    int64_t steps = sa2_i8_padded(p->w->cols) / SA2_I8_COLS;
    int32_t *first = (int32_t *)((char *)panel + i8_panel_bytes(p->w->cols));
    for (int i = 0; i < 2 * n; i++) {
        const int8_t *line = (const int8_t *)panel + i * SA2_I8_COLS;
        __m512i sums = _mm512_setzero_si512();
        for (int64_t step = 0; step < steps; step++, line += I8_STEP_BYTES)
            sums = _mm512_dpbusd_epi32(sums, ones, _mm512_loadu_si512(line));
        first[i] = -128 * _mm512_reduce_add_epi32(sums);
    }
}

/* ---- a strip in registers ---- */

static inline __attribute__((always_inline)) void sum_lines(const vnni_strip *t, const int lines)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const int8_t *x = (const int8_t *)t->panel + t->from * I8_STEP_BYTES + 2 * t->row * SA2_I8_COLS;
    const int32_t *first = (const int32_t *)(t->panel + i8_panel_bytes(t->cols)) + 2 * t->row;
    const int8_t *w[2] = {t->w[0], t->w[1]};
    const char *ahead[2] = {t->ahead[0], t->ahead[1]};
    int32_t *ints = t->sums;
    __m512i sums[MAX_LINES][2];
#pragma GCC unroll 12
    for (int i = 0; i < lines; i++)
        for (int half = 0; half < 2; half++)
            sums[i][half] = t->from == 0
                                ? _mm512_set1_epi32(first[i])
                                : _mm512_loadu_si512(ints + i * t->step + half * SA2_BLOCK);
    for (int64_t step = t->from; step < t->to; step++, x += I8_STEP_BYTES)
        for (int k = 0; k < SA2_I8_COLS; k += 4) {
            __m512i weights[2];
            for (int half = 0; half < 2; half++) {
                _mm_prefetch(ahead[half], _MM_HINT_T1);
                weights[half] = _mm512_xor_si512(_mm512_loadu_si512(w[half]), flip);
                w[half] += 64;
                ahead[half] += t->ahead_bytes;
            }
#pragma GCC unroll 12
            for (int i = 0; i < lines; i++) {
                __m512i values = four_columns(x + i * SA2_I8_COLS + k);
                for (int half = 0; half < 2; half++)
                    sums[i][half] = _mm512_dpbusd_epi32(sums[i][half], weights[half], values);
            }
        }
#pragma GCC unroll 12
    for (int i = 0; i < lines; i++)
        for (int half = 0; half < 2; half++)
            _mm512_storeu_si512(ints + i * t->step + half * SA2_BLOCK, sums[i][half]);
}

static void sum(const vnni_strip *t)
{
    switch (t->n) {
    case 1:
        sum_lines(t, 2);
        break;
    case 2:
        sum_lines(t, 4);
        break;
    case 3:
        sum_lines(t, 6);
        break;
    case 4:
        sum_lines(t, 8);
        break;
    case 5:
        sum_lines(t, 10);
        break;
    default:
        sum_lines(t, MAX_LINES);
        break;
    }
}

static void finish(const sa2_product *p, int64_t row, int n, int64_t block, const char *panel,
                   void *sums, int64_t step)
{
    i8_finish(p, row, n, block, sums, step, (const float *)(panel + i8_planes_bytes(p->w->cols)));
}

static const char *tiles(const sa2_matrix *w, int64_t block, int64_t step)
{
    return (const char *)sa2_i8_block(w, block) + step * VNNI_TILE_BYTES;
}

static const vnni_kind kind = {.strip_rows = STRIP_ROWS,
                               .chunk_rows = CHUNK_ROWS,
                               .lines = 2,
                               .panel_bytes = panel_bytes,
                               .sum = sum,
                               .finish = finish,
                               .tiles = tiles,
                               .tile_bytes = VNNI_TILE_BYTES};

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    vnni_run(&kind, p, part, panels, first_row, space);
}

const sa2_product_kernel sa2_product_i8_avx512bf16 = {
    .panel_bytes = panel_bytes, .pack = pack, .run = run};
