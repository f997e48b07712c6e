/* linear_avx512bf16.c - bf16 products by vdpbf16ps: pairs of columns, multiplied and summed at once. */
enum { STRIP_ROWS = 6, STRIP_BLOCKS = 4 };

#include "kernels/cpu/linear_strips.h"
#include "kernels/cpu/linear_tiles.h"

/* x points to the row in its first tile; the next 32 columns are a tile further. */
static inline __attribute__((always_inline)) void strip_pairs(const strip *t, const k_piece *piece,
                                                              const int rows, const int blocks)
{
    strip_sums sum;
    load_sums(sum, t, rows, blocks);
    for (int64_t col = piece->col; col < piece->col + piece->n_cols; col += 2) {
        const char *at = t->w + (size_t)((col - t->w_col) * SA2_BLOCK) * sizeof(uint16_t);
        int64_t k = col / SA2_TILE_COLS * TILE_VALUES + col % SA2_TILE_COLS;
        __m512bh w[STRIP_BLOCKS];
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++)
            w[j] = (__m512bh)_mm512_loadu_si512(at + j * t->block_bytes);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, (const uint16_t *)t->x[i] + k, sizeof pair);
            __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 8
            for (int j = 0; j < blocks; j++)
                sum[i][j] = _mm512_dpbf16_ps(sum[i][j], x, w[j]);
        }
    }
    store_sums(sum, t, rows, blocks);
}

static inline __attribute__((always_inline)) void
strip_by_rows(const strip *t, const k_piece *piece, int rows, const int blocks)
{
    switch (rows) {
    case 1:
        strip_pairs(t, piece, 1, blocks);
        break;
    case 2:
        strip_pairs(t, piece, 2, blocks);
        break;
    case 3:
        strip_pairs(t, piece, 3, blocks);
        break;
    case 4:
        strip_pairs(t, piece, 4, blocks);
        break;
    case 5:
        strip_pairs(t, piece, 5, blocks);
        break;
    default:
        strip_pairs(t, piece, STRIP_ROWS, blocks);
        break;
    }
}

static void strip_code_pairs(const strip *t, const k_piece *piece, int rows, int blocks)
{
    if (blocks == STRIP_BLOCKS)
        strip_by_rows(t, piece, rows, STRIP_BLOCKS);
    else
        strip_by_rows(t, piece, rows, 2);
}

static void run_pairs(const sa2_product *p, const sa2_product_part *part, const void *panels,
                      int64_t first_row, void *space)
{
    strip_rows x = {.p = p,
                    .panels = panels,
                    .first_row = first_row,
                    .panel_bytes = tile_panel_bytes(p->w->cols),
                    .row_bytes = SA2_TILE_COLS * sizeof(uint16_t),
                    .taps = 1,
                    .tap_cols = sa2_matrix_padded(SA2_BF16, p->w->cols)};
    run_strips(&x, part, space, strip_code_pairs);
}

const sa2_product_kernel sa2_product_bf16_avx512bf16 = {
    .panel_bytes = tile_panel_bytes, .pack = pack_tiles, .run = run_pairs};
