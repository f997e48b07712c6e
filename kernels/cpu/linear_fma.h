/* linear_fma.h - products by multiply and add in f32, in the vectors of the including file.
 *
 * A row of x gives one number at a time, spread over a register; a block of the matrix gives 16
 * columns. The matrix may be bf16, widened as it is read; x in bf16 is widened beforehand.
 */
#ifndef SA2_KERNELS_CPU_LINEAR_FMA_H
#define SA2_KERNELS_CPU_LINEAR_FMA_H

#include "kernels/cpu/linear_strips.h"

/* sum += x[k] w[k, :] for one k */
static inline __attribute__((always_inline)) void
add_column(strip_sums sum, const strip *t, int64_t k, const vf w[STRIP_BLOCKS * BLOCK_VECTORS],
           const int rows, const int blocks)
{
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        vf x = v_set(((const float *)t->x[i])[k]);
#pragma GCC unroll 8
        for (int j = 0; j < blocks * BLOCK_VECTORS; j++)
            sum[i][j] = v_fma(x, w[j], sum[i][j]);
    }
}

static inline __attribute__((always_inline)) void strip_f32(const strip *t, const k_piece *piece,
                                                            const int rows, const int blocks)
{
    strip_sums sum;
    load_sums(sum, t, rows, blocks);
    const char *ahead = t->ahead;
    for (int64_t tap = piece->tap; tap < piece->tap + piece->n_taps; tap++) {
        const char *at = t->w + (size_t)((tap * t->tap_cols + piece->col - t->w_col) * SA2_BLOCK) *
                                    sizeof(float);
        int64_t k = tap * t->tap_step + piece->col, end = k + piece->n_cols;
#pragma GCC unroll 4
        for (; k < end; k++, at += SA2_BLOCK * sizeof(float), ahead += t->ahead_bytes) {
            __builtin_prefetch(ahead, 0, 2);
            vf w[STRIP_BLOCKS * BLOCK_VECTORS];
#pragma GCC unroll 8
            for (int j = 0; j < blocks * BLOCK_VECTORS; j++)
                w[j] = v_load((const float *)(at + j / BLOCK_VECTORS * t->block_bytes) +
                              j % BLOCK_VECTORS * VF_WIDTH);
            add_column(sum, t, k, w, rows, blocks);
        }
    }
    store_sums(sum, t, rows, blocks);
}

/* Two columns of a bf16 matrix lie side by side; a piece may begin or end between them. */
static inline __attribute__((always_inline)) void strip_mixed(const strip *t, const k_piece *piece,
                                                              const int rows, const int blocks)
{
    strip_sums sum;
    load_sums(sum, t, rows, blocks);
    for (int64_t tap = piece->tap; tap < piece->tap + piece->n_taps; tap++) {
        int64_t c = tap * t->tap_cols + piece->col, end = c + piece->n_cols; /* of the matrix */
        int64_t shift = tap * t->tap_step + piece->col - c;                  /* to x */
        for (int64_t k = c & ~(int64_t)1; k < end; k += 2) {
            const char *at = t->w + (size_t)((k - t->w_col) * SA2_BLOCK) * sizeof(uint16_t);
            vf even[STRIP_BLOCKS * BLOCK_VECTORS], odd[STRIP_BLOCKS * BLOCK_VECTORS];
#pragma GCC unroll 8
            for (int j = 0; j < blocks * BLOCK_VECTORS; j++)
                v_load_pairs((const uint16_t *)(at + j / BLOCK_VECTORS * t->block_bytes) +
                                 2 * (j % BLOCK_VECTORS) * VF_WIDTH,
                             &even[j], &odd[j]);
            if (k >= c)
                add_column(sum, t, k + shift, even, rows, blocks);
            if (k + 1 < end)
                add_column(sum, t, k + 1 + shift, odd, rows, blocks);
        }
    }
    store_sums(sum, t, rows, blocks);
}

static inline __attribute__((always_inline)) void
strip_of(const strip *t, const k_piece *piece, const int rows, const int blocks, const sa2_dtype w)
{
    if (w == SA2_F32)
        strip_f32(t, piece, rows, blocks);
    else
        strip_mixed(t, piece, rows, blocks);
}

/* One copy of the loops for each number of rows, so that all sums are registers. */
static inline __attribute__((always_inline)) void
strip_by_rows(const strip *t, const k_piece *piece, int rows, const int blocks, const sa2_dtype w)
{
    switch (rows) {
    case 1:
        strip_of(t, piece, 1, blocks, w);
        break;
    case 2:
        strip_of(t, piece, 2, blocks, w);
        break;
    case 3:
        strip_of(t, piece, 3, blocks, w);
        break;
    case 4:
        strip_of(t, piece, 4, blocks, w);
        break;
    case 5:
        strip_of(t, piece, 5, blocks, w);
        break;
    default:
        strip_of(t, piece, STRIP_ROWS, blocks, w);
        break;
    }
}

static void strip_code_f32(const strip *t, const k_piece *piece, int rows, int blocks)
{
    if (blocks == STRIP_BLOCKS)
        strip_by_rows(t, piece, rows, STRIP_BLOCKS, SA2_F32);
    else
        strip_by_rows(t, piece, rows, STRIP_BLOCKS > 2 ? 2 : STRIP_BLOCKS, SA2_F32);
}

static void strip_code_mixed(const strip *t, const k_piece *piece, int rows, int blocks)
{
    if (blocks == STRIP_BLOCKS)
        strip_by_rows(t, piece, rows, STRIP_BLOCKS, SA2_BF16);
    else
        strip_by_rows(t, piece, rows, STRIP_BLOCKS > 2 ? 2 : STRIP_BLOCKS, SA2_BF16);
}

/* ---- the three kernels of an instruction set ---- */

static void run_f32(const sa2_product *p, const sa2_product_part *part, const void *panels,
                    int64_t first_row, void *space)
{
    (void)panels;
    (void)first_row;
    strip_rows x = {.p = p, .taps = p->taps, .tap_cols = p->tap_cols, .tap_step = p->tap_step};
    run_strips(&x, part, space, p->w->dtype == SA2_F32 ? strip_code_f32 : strip_code_mixed);
}

/* Panels hold rows of x in f32, taps side by side. */
static size_t wide_panel_bytes(int64_t cols)
{
    return (size_t)(SA2_BLOCK * cols) * sizeof(float);
}

static void pack_wide(const sa2_product *p, int64_t row, int n, void *panel)
{
    int at = sa2_span_find(p, row);
    for (int i = 0; i < n; i++) {
        const sa2_row_span *span = sa2_span_of(p, row + i, &at);
        int64_t x = span->x + (row + i - span->first) * p->x_step;
        float *wide = (float *)panel + i * p->w->cols;
        for (int64_t tap = 0; tap < p->taps; tap++, x += p->tap_step, wide += p->tap_cols)
            for (int64_t k = 0; k < p->tap_cols; k += VF_WIDTH) {
                int left = p->tap_cols - k < VF_WIDTH ? (int)(p->tap_cols - k) : VF_WIDTH;
                v_store_as(SA2_F32, wide, k, v_load_as(SA2_BF16, p->x, x + k, left), left);
            }
    }
}

static void run_wide(const sa2_product *p, const sa2_product_part *part, const void *panels,
                     int64_t first_row, void *space)
{
    strip_rows x = {.p = p,
                    .panels = panels,
                    .first_row = first_row,
                    .panel_bytes = wide_panel_bytes(p->w->cols),
                    .row_bytes = (size_t)p->w->cols * sizeof(float),
                    .taps = 1,
                    .tap_cols = p->w->cols};
    run_strips(&x, part, space, strip_code_mixed);
}

#endif
