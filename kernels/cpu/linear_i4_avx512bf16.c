/* linear_i4_avx512bf16.c - products with a matrix in 4 bits by vpdpbusd, whose first factor has no sign.
 *
 * Up to four rows multiply the q of matrix_i4.h as they are, in registers, and m multiplies the sum of its group. For more the
 * matrix is unpacked to m (q - 8) + 128 piece by piece; a strip is up to eight rows: 16 sums of a span in registers, which
 * then go to those in memory.
 */
#include "kernels/cpu/linear_i4.h"
#include "kernels/cpu/linear_vnni.h"
#include "kernels/cpu/unpack_i4.h"

enum {
    STRIP_ROWS = 8,
    CHUNK_ROWS = 512,
};

/* ---- panels: those of linear_i4.h, and behind them -128 times the sum of each span, [cols / 256, 16] ---- */

static size_t panel_bytes(int64_t cols)
{
    return i4_panel_bytes(cols) + (size_t)i4_spans(cols) * SA2_BLOCK * sizeof(int32_t);
}

static const int32_t *of_span(const char *panel, int64_t cols)
{
    return (const int32_t *)(panel + i4_panel_bytes(cols));
}

static void pack(const sa2_product *p, int64_t row, int n, void *panel)
{
    i4_pack(p, row, n, panel);
    int64_t cols = p->w->cols;
    const int32_t *of_group = i4_panel_at(panel, cols).of_group;
    int32_t *out = (int32_t *)((char *)panel + i4_panel_bytes(cols));
    memset(out, 0, (size_t)i4_spans(cols) * SA2_BLOCK * sizeof *out);
    for (int64_t g = 0; g < sa2_i4_groups(cols); g++)
        for (int i = 0; i < n; i++)
            out[g / I4_SPAN_GROUPS * SA2_BLOCK + i] += 16 * of_group[g * SA2_BLOCK + i];
}

/* vpdpbusd, as GCC 12 has two registers for each sum in a loop of _mm512_dpbusd_epi32() and moves it between them. */
static inline __attribute__((always_inline)) void add_products(__m512i *sum, __m512i unsigned_8,
                                                               __m512i signed_8)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(unsigned_8), "v"(signed_8));
}

/* ---- a strip by tiles that are unpacked ---- */

static inline __attribute__((always_inline)) void sum_rows(const vnni_strip *t, const int rows)
{
    i4_panel panel = i4_panel_at(t->panel, t->cols);
    const int8_t *x = panel.numbers + t->from * I4_GROUP_BYTES + t->row * SA2_I4_GROUP;
    const float *steps = panel.steps + t->from / I4_SPAN_GROUPS * SA2_BLOCK + t->row;
    const int32_t *first =
        of_span(t->panel, t->cols) + t->from / I4_SPAN_GROUPS * SA2_BLOCK + t->row;
    const int8_t *w[2] = {t->w[0], t->w[1]};
    const char *ahead[2] = {t->ahead[0], t->ahead[1]};
    for (int64_t g = t->from; g < t->to; steps += SA2_BLOCK, first += SA2_BLOCK) {
        int64_t end = g + I4_SPAN_GROUPS < t->to ? g + I4_SPAN_GROUPS : t->to;
        __m512i whole[STRIP_ROWS][2];
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
            whole[i][0] = whole[i][1] = _mm512_set1_epi32(first[i]);
        bool begins = g == 0;
        for (; g < end; g++, x += I4_GROUP_BYTES)
            for (int k = 0; k < SA2_I4_GROUP; k += 4) {
                __m512i weights[2];
                for (int half = 0; half < 2; half++) {
                    _mm_prefetch(ahead[half], _MM_HINT_T1);
                    weights[half] = _mm512_load_si512(w[half]);
                    w[half] += 64;
                    ahead[half] += t->ahead_bytes;
                }
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++) {
                    __m512i values = four_columns(x + i * SA2_I4_GROUP + k);
                    for (int half = 0; half < 2; half++)
                        add_products(&whole[i][half], weights[half], values);
                }
            }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
            for (int half = 0; half < 2; half++) {
                float *sums = (float *)t->sums + i * t->step + half * SA2_BLOCK;
                __m512 before = begins ? _mm512_setzero_ps() : _mm512_loadu_ps(sums);
                _mm512_storeu_ps(sums, _mm512_fmadd_ps(_mm512_set1_ps(steps[i]),
                                                       _mm512_cvtepi32_ps(whole[i][half]), before));
            }
    }
}

static void sum(const vnni_strip *t)
{
    switch (t->n) {
    case 1:
        sum_rows(t, 1);
        break;
    case 2:
        sum_rows(t, 2);
        break;
    case 3:
        sum_rows(t, 3);
        break;
    case 4:
        sum_rows(t, 4);
        break;
    case 5:
        sum_rows(t, 5);
        break;
    case 6:
        sum_rows(t, 6);
        break;
    case 7:
        sum_rows(t, 7);
        break;
    default:
        sum_rows(t, STRIP_ROWS);
        break;
    }
}

static void finish(const sa2_product *p, int64_t row, int n, int64_t block, const char *panel,
                   void *sums, int64_t step)
{
    (void)panel;
    i4_finish(p, row, n, block, sums, step);
}

static const char *tiles(const sa2_matrix *w, int64_t block, int64_t step)
{
    return (const char *)sa2_i4_tiles(w, block) + step * SA2_I4_TILE_BYTES;
}

static const vnni_kind kind = {.strip_rows = STRIP_ROWS,
                               .chunk_rows = CHUNK_ROWS,
                               .lines = 1,
                               .panel_bytes = panel_bytes,
                               .sum = sum,
                               .finish = finish,
                               .tiles = tiles,
                               .tile_bytes = SA2_I4_TILE_BYTES,
                               .unpack = unpack_i4_biased};

/* ---- few rows by one block as it is, all columns ---- */

typedef struct packed_strip {
    i4_panel x;
    const uint8_t *tiles, *factors;
    int64_t groups;
    float *sums; /* [rows, I4_OUTPUTS] */
} packed_strip;

/* A tile by `rows` rows, times m, is added to `whole`. */
static inline __attribute__((always_inline)) void add_tile(const packed_strip *t, int64_t g,
                                                           __m512 *whole, const int rows)
{
    const __m512i low = _mm512_set1_epi8(15);
    const int8_t *x = t->x.numbers + g * I4_GROUP_BYTES;
    const uint8_t *tile = t->tiles + g * SA2_I4_TILE_BYTES;
    const void *factors = t->factors + g * SA2_BLOCK;
    __m512i even[I4_FEW_ROWS], odd[I4_FEW_ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        even[i] = _mm512_set1_epi32(t->x.of_group[g * SA2_BLOCK + i]);
        odd[i] = _mm512_setzero_si512();
    }
#pragma GCC unroll 8
    for (int k = 0; k < SA2_I4_GROUP; k += 8, tile += 64) {
        __m512i both = _mm512_loadu_si512(tile);
        __m512i a = _mm512_and_si512(both, low);
        __m512i b = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            const int8_t *at = x + i * SA2_I4_GROUP + k;
            even[i] = _mm512_dpbusd_epi32(even[i], a, four_columns(at));
            odd[i] = _mm512_dpbusd_epi32(odd[i], b, four_columns(at + 4));
        }
    }
    __m512 m = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)factors)));
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
        whole[i] =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even[i], odd[i])), m, whole[i]);
}

static inline __attribute__((always_inline)) void sum_packed(const packed_strip *t, const int rows)
{
    __m512 sums[I4_FEW_ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
        sums[i] = _mm512_setzero_ps();
    for (int64_t g = 0; g < t->groups;) {
        const float *steps = t->x.steps + g / I4_SPAN_GROUPS * SA2_BLOCK;
        int64_t end = g + I4_SPAN_GROUPS < t->groups ? g + I4_SPAN_GROUPS : t->groups;
        __m512 whole[I4_FEW_ROWS];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
            whole[i] = _mm512_setzero_ps();
        for (; g < end; g++)
            add_tile(t, g, whole, rows);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
            sums[i] = _mm512_fmadd_ps(_mm512_set1_ps(steps[i]), whole[i], sums[i]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
        _mm512_storeu_ps(t->sums + i * I4_OUTPUTS, sums[i]);
}

static void sum_packed_1(const packed_strip *t)
{
    sum_packed(t, 1);
}

static void sum_packed_2(const packed_strip *t)
{
    sum_packed(t, 2);
}

static void sum_packed_3(const packed_strip *t)
{
    sum_packed(t, 3);
}

static void sum_packed_4(const packed_strip *t)
{
    sum_packed(t, 4);
}

/* Through pointers: in one function GCC 12 has no registers for all of them. */
static void (*const sum_packed_rows[I4_FEW_ROWS])(const packed_strip *) = {
    sum_packed_1, sum_packed_2, sum_packed_3, sum_packed_4};

/* The rows of a part, which lie in one panel. */
static void run_packed(const sa2_product *p, const sa2_product_part *part, const char *panel)
{
    const sa2_matrix *w = p->w;
    for (int64_t b = part->block; b < part->block + part->n_blocks; b += 2) {
        float sums[I4_FEW_ROWS * I4_OUTPUTS];
        for (int half = 0; half < 2; half++) {
            packed_strip t = {.x = i4_panel_at(panel, w->cols),
                              .tiles = sa2_i4_tiles(w, b + half),
                              .factors = sa2_i4_factors(w, b + half),
                              .groups = sa2_i4_groups(w->cols),
                              .sums = sums + half * SA2_BLOCK};
            sum_packed_rows[part->n_rows - 1](&t);
        }
        i4_finish(p, part->row, (int)part->n_rows, b, sums, I4_OUTPUTS);
    }
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    if (part->n_rows <= I4_FEW_ROWS)
        run_packed(p, part,
                   (const char *)panels +
                       (size_t)((part->row - first_row) / SA2_BLOCK) * panel_bytes(p->w->cols));
    else
        vnni_run(&kind, p, part, panels, first_row, space);
}

const sa2_product_kernel sa2_product_i4_avx512bf16 = {
    .panel_bytes = panel_bytes, .pack = pack, .run = run};
