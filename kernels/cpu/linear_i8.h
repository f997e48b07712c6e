/* linear_i8.h - products with a matrix in 8 bits, around the sums of the including file.
 *
 * A row of x becomes 32512 steps to either side of 0 and each of those numbers two of 8 bits, q = 256 upper + lower,
 * lower from -128 to 127. So x is more exact than bf16 is, whatever its outliers, and a product of two
 * planes of 8 bits by 8 bits is summed in integers, exactly: its bits are the same on every instruction set and with any
 * other rows beside it. Then y = (256 upper + lower) * (step of the row of x * step of the row of w).
 *
 * A panel of 16 rows is [cols / 64, 32, 64]: lines 2 i and 2 i + 1 are the planes of row i, then f32 [16] the steps.
 */
#ifndef SA2_KERNELS_CPU_LINEAR_I8_H
#define SA2_KERNELS_CPU_LINEAR_I8_H

#include "kernels/cpu/linear_epilogue.h"
#include "kernels/cpu/matrix_i8.h"
#include "kernels/cpu/x_steps.h"

enum {
    I8_MOST = 32512,
    I8_LINES = 2 * SA2_BLOCK,
    I8_STEP_BYTES = I8_LINES * SA2_I8_COLS, /* of a panel, 64 columns */
    I8_OUTPUTS = 2 * SA2_BLOCK,             /* a pair of blocks */
};

static inline int64_t i8_planes_bytes(int64_t cols)
{
    return I8_LINES * sa2_i8_padded(cols);
}

static size_t i8_panel_bytes(int64_t cols)
{
    return (size_t)i8_planes_bytes(cols) + SA2_BLOCK * sizeof(float);
}

static inline void i8_split(const float values[SA2_I8_COLS], float inverse, int8_t *upper,
                            int8_t *lower)
{
    int32_t whole[SA2_I8_COLS];
    x_round(values, inverse, whole);
    for (int i = 0; i < SA2_I8_COLS; i++) {
        int32_t high = (whole[i] + 128) >> 8;
        upper[i] = (int8_t)high;
        lower[i] = (int8_t)(whole[i] - high * 256);
    }
}

/* Only layers have such matrices: one tap. */
static void i8_pack(const sa2_product *p, int64_t row, int n, void *panel)
{
    int at = sa2_span_find(p, row);
    float *steps = (float *)((char *)panel + i8_planes_bytes(p->w->cols));
    for (int i = 0; i < n; i++) {
        const sa2_row_span *span = sa2_span_of(p, row + i, &at);
        int64_t x = span->x + (row + i - span->first) * p->x_step;
        int8_t *out = (int8_t *)panel + 2 * i * SA2_I8_COLS;
        float inverse;
        steps[i] = x_step(p, x, p->tap_cols, I8_MOST, &inverse);
        for (int64_t col = 0; col < p->tap_cols; col += SA2_I8_COLS, out += I8_STEP_BYTES) {
            float values[SA2_I8_COLS];
            x_read(p, x + col, x_left(p->tap_cols, col), values);
            i8_split(values, inverse, out, out + SA2_I8_COLS);
        }
    }
}

/* n rows of a panel by a pair of blocks to y. ints: line 2 i + plane at ints + (2 i + plane) * step. */
static void i8_finish(const sa2_product *p, int64_t row, int n, int64_t block, const int32_t *ints,
                      int64_t step, const float *x_steps)
{
    float sums[SA2_BLOCK * I8_OUTPUTS];
    const float *w_steps = sa2_i8_steps(p->w, block);
    for (int i = 0; i < n; i++) {
        const int32_t *upper = ints + 2 * i * step, *lower = upper + step;
        for (int j = 0; j < I8_OUTPUTS; j++)
            sums[i * I8_OUTPUTS + j] =
                (256.0f * (float)upper[j] + (float)lower[j]) * (x_steps[i] * w_steps[j]);
    }
    finish_rows(p, row, n, block, 2, sums, I8_OUTPUTS);
}

/* ---- row by row, for instruction sets that are seldom met ---- */

/* The planes of one row by one block, all columns, to ints [2, I8_OUTPUTS]. */
typedef void (*i8_row)(const int8_t *x, const int8_t *w, int64_t steps, int32_t *ints);

static inline void i8_run_rows(const sa2_product *p, const sa2_product_part *part,
                               const void *panels, int64_t first_row, i8_row code)
{
    int64_t steps = sa2_i8_padded(p->w->cols) / SA2_I8_COLS;
    size_t panel_bytes = i8_panel_bytes(p->w->cols);
    for (int64_t block = part->block; block < part->block + part->n_blocks; block += 2)
        for (int64_t row = part->row; row < part->row + part->n_rows; row++) {
            int32_t ints[2 * I8_OUTPUTS];
            int64_t at = row - first_row, in_panel = at % SA2_BLOCK;
            const char *panel = (const char *)panels + (size_t)(at / SA2_BLOCK) * panel_bytes;
            for (int half = 0; half < 2; half++)
                code((const int8_t *)panel + 2 * in_panel * SA2_I8_COLS,
                     sa2_i8_block(p->w, block + half), steps, ints + half * SA2_BLOCK);
            i8_finish(p, row, 1, block, ints, I8_OUTPUTS,
                      (const float *)(panel + i8_planes_bytes(p->w->cols)) + in_panel);
        }
}

#endif
