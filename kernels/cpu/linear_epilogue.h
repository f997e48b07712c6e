/* linear_epilogue.h - from sums to y, one row at a time, in the vectors of the including file.
 */
#ifndef SA2_KERNELS_CPU_LINEAR_EPILOGUE_H
#define SA2_KERNELS_CPU_LINEAR_EPILOGUE_H

#include "kernels/cpu/matrix.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/vector_math.h"

/* One vector at column col of y: n lanes of `sum`, to element `at` of y. */
static inline void finish_lanes(const sa2_product *p, int64_t row, int64_t col, int64_t at, vf sum,
                                int n)
{
    const sa2_epilogue *e = &p->epilogue;
    if (e->residual)
        sum = sum + v_load_as(p->y_dtype, p->y, at, n);
    if (e->activation != SA2_ACT_NONE)
        sum = v_activate(e->activation, sum, e->slope, v_zero());
    if (e->gate != NULL) {
        int64_t g = e->gate_rows != NULL ? e->gate_rows[row] : 0;
        sum = sum * v_load_as(SA2_F32, e->gate, g * e->gate_step + col, n);
    }
    if (e->accumulate)
        sum = sum + v_load_as(p->y_dtype, p->y, at, n);
    v_store_as(p->y_dtype, p->y, at, sum, n);
}

static inline vf with_bias(const sa2_epilogue *e, vf sum, int64_t at, int n)
{
    if (e->bias == NULL)
        return sum;
    return sum + v_load_as(SA2_F32, e->bias, at, n);
}

/* Whole vectors of a row with nothing but a bias and an accumulation; returns the column after. */
static inline __attribute__((always_inline)) int64_t finish_bare(const sa2_product *p,
                                                                 const sa2_dtype dtype, int64_t y,
                                                                 int64_t col, int64_t end,
                                                                 const float *sums)
{
    const sa2_epilogue *e = &p->epilogue;
    for (; col + VF_WIDTH <= end; col += VF_WIDTH, sums += VF_WIDTH) {
        vf sum = v_load(sums);
        if (e->bias != NULL)
            sum = sum + v_load(e->bias + col);
        if (e->accumulate)
            sum = sum + v_load_as(dtype, p->y, y + col, VF_WIDTH);
        v_store_as(dtype, p->y, y + col, sum, VF_WIDTH);
    }
    return col;
}

/* Columns [col, end) of one row; sums[0] is column `col`. */
static inline void finish_plain(const sa2_product *p, int64_t row, int64_t y, int64_t col,
                                int64_t end, const float *sums)
{
    const sa2_epilogue *e = &p->epilogue;
    if (!e->residual && e->activation == SA2_ACT_NONE && e->gate == NULL) {
        int64_t from = col;
        if (p->y_dtype == SA2_F32)
            col = finish_bare(p, SA2_F32, y, col, end, sums);
        else
            col = finish_bare(p, SA2_BF16, y, col, end, sums);
        sums += col - from;
    }
    for (; col < end; col += VF_WIDTH, sums += VF_WIDTH) {
        int n = end - col < VF_WIDTH ? (int)(end - col) : VF_WIDTH;
        vf sum = with_bias(e, v_load_as(SA2_F32, sums, 0, n), col, n);
        finish_lanes(p, row, col, y + col, sum, n);
    }
}

/* Blocks in turn of the gate and of up; `col`, `end` count columns of y. */
static inline void finish_swiglu(const sa2_product *p, int64_t row, int64_t y, int64_t col,
                                 int64_t end, const float *sums)
{
    for (; col < end; col += SA2_BLOCK, sums += 2 * SA2_BLOCK)
        for (int i = 0; i < SA2_BLOCK && col + i < end; i += VF_WIDTH) {
            int n = end - col - i < VF_WIDTH ? (int)(end - col - i) : VF_WIDTH;
            vf gate = with_bias(&p->epilogue, v_load(sums + i), col + i, n);
            vf up =
                with_bias(&p->epilogue, v_load(sums + SA2_BLOCK + i), p->w->rows / 2 + col + i, n);
            finish_lanes(p, row, col + i, y + col + i, v_silu(gate) * up, n);
        }
}

/* Rows [row, row + n) of the product, n_blocks blocks from `block`; sums [n, step]. */
static void finish_rows(const sa2_product *p, int64_t row, int n, int64_t block, int64_t n_blocks,
                        const float *sums, int64_t step)
{
    bool swiglu = p->epilogue.swiglu;
    int64_t col = swiglu ? block / 2 * SA2_BLOCK : block * SA2_BLOCK;
    int64_t end = col + (swiglu ? n_blocks / 2 : n_blocks) * SA2_BLOCK;
    int64_t cols = swiglu ? p->w->rows / 2 : p->w->rows;
    if (end > cols)
        end = cols;
    int at = sa2_span_find(p, row);
    for (int i = 0; i < n; i++, sums += step) {
        const sa2_row_span *span = sa2_span_of(p, row + i, &at);
        int64_t y = span->y + (row + i - span->first) * p->y_step;
        if (swiglu) {
            finish_swiglu(p, row + i, y, col, end, sums);
            continue;
        }
        int64_t from = span->y_first - y > col ? span->y_first - y : col;
        int64_t to = span->y_last - y < end ? span->y_last - y : end;
        if (from < to)
            finish_plain(p, row + i, y, from, to, sums + (from - col));
    }
}

#endif
