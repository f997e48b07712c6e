/* linear_i4.h - products with a matrix in 4 bits, around the sums of the including file.
 *
 * Each span of 256 columns of a row of x becomes 127 steps to either side of 0, of a step of its own: its values err less than
 * a tenth of what 4 bits let those of the matrix. The sum of a span is a whole number below 2^22, exact in integers and in f32
 * whatever its order. Spans are added in order, sum = step of x * sum of the span + sum, rounded once; the end is
 * y = sum * step of the row of w. So every instruction set has the same bits, and a row the same beside any others.
 *
 * A panel of 16 rows is
 *   i8    [cols / 64, 16, 64]: the whole numbers
 *   f32   [cols / 256, 16]: the steps of x
 *   i32   [cols / 64, 16]: -8 times the sum of a group's 64 numbers, for those who multiply the q of matrix_i4.h, not q - 8
 */
#ifndef SA2_KERNELS_CPU_LINEAR_I4_H
#define SA2_KERNELS_CPU_LINEAR_I4_H

#include "kernels/cpu/linear_epilogue.h"
#include "kernels/cpu/matrix_i4.h"
#include "kernels/cpu/x_steps.h"

enum {
    I4_MOST = 127,
    I4_SPAN = 256,
    I4_SPAN_GROUPS = I4_SPAN / SA2_I4_GROUP,
    I4_GROUP_BYTES = SA2_BLOCK * SA2_I4_GROUP, /* of a panel */
    I4_OUTPUTS = 2 * SA2_BLOCK,                /* a pair of blocks */
    I4_FEW_ROWS = 4, /* multiply the matrix as it is, where there is vpdpbusd */
};

static inline int64_t i4_spans(int64_t cols)
{
    return (cols + I4_SPAN - 1) / I4_SPAN;
}

static inline size_t i4_numbers_bytes(int64_t cols)
{
    return (size_t)sa2_i4_groups(cols) * I4_GROUP_BYTES;
}

static inline size_t i4_steps_bytes(int64_t cols)
{
    return (size_t)i4_spans(cols) * SA2_BLOCK * sizeof(float);
}

static inline size_t i4_panel_bytes(int64_t cols)
{
    return i4_numbers_bytes(cols) + i4_steps_bytes(cols) +
           (size_t)sa2_i4_groups(cols) * SA2_BLOCK * sizeof(int32_t);
}

typedef struct i4_panel {
    const int8_t *numbers;
    const float *steps;
    const int32_t *of_group;
} i4_panel;

static inline i4_panel i4_panel_at(const void *panel, int64_t cols)
{
    const char *at = panel;
    return (i4_panel){.numbers = panel,
                      .steps = (const float *)(at + i4_numbers_bytes(cols)),
                      .of_group =
                          (const int32_t *)(at + i4_numbers_bytes(cols) + i4_steps_bytes(cols))};
}

/* A group of one row; returns the sum of its numbers. */
static inline int32_t i4_pack_group(const float values[X_COLS], float inverse, int8_t *out)
{
    int32_t whole[X_COLS], sum = 0;
    x_round(values, inverse, whole);
    for (int i = 0; i < X_COLS; i++) {
        out[i] = (int8_t)whole[i];
        sum += out[i];
    }
    return sum;
}

/* Only layers have such matrices: one tap. */
static inline void i4_pack(const sa2_product *p, int64_t row, int n, void *panel)
{
    int64_t cols = p->w->cols;
    int8_t *numbers = panel;
    float *steps = (float *)((char *)panel + i4_numbers_bytes(cols));
    int32_t *of_group = (int32_t *)((char *)steps + i4_steps_bytes(cols));
    int at = sa2_span_find(p, row);
    for (int i = 0; i < n; i++) {
        const sa2_row_span *rows = sa2_span_of(p, row + i, &at);
        int64_t x = rows->x + (row + i - rows->first) * p->x_step;
        float inverse = 0.0f;
        for (int64_t g = 0; g < sa2_i4_groups(cols); g++) {
            int64_t col = g * SA2_I4_GROUP, left = cols - col;
            float values[X_COLS];
            if (g % I4_SPAN_GROUPS == 0)
                steps[g / I4_SPAN_GROUPS * SA2_BLOCK + i] =
                    x_step(p, x + col, left < I4_SPAN ? left : I4_SPAN, I4_MOST, &inverse);
            x_read(p, x + col, x_left(cols, col), values);
            of_group[g * SA2_BLOCK + i] =
                -8 *
                i4_pack_group(values, inverse, numbers + g * I4_GROUP_BYTES + i * SA2_I4_GROUP);
        }
    }
}

/* n rows of a panel by a pair of blocks to y; sums [n, step], which are multiplied by the steps of w. */
static inline void i4_finish(const sa2_product *p, int64_t row, int n, int64_t block, float *sums,
                             int64_t step)
{
    const float *w_steps = sa2_i4_steps(p->w, block);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < I4_OUTPUTS; j++)
            sums[i * step + j] *= w_steps[j];
    finish_rows(p, row, n, block, 2, sums, step);
}

/* ---- row by row, for instruction sets that are seldom met ---- */

/* A group of one row by one tile: sums += m * (of_group + the numbers by q). */
typedef void (*i4_row)(const int8_t *x, int32_t of_group, const uint8_t *tile,
                       const uint8_t *factors, int32_t sums[SA2_BLOCK]);

static inline void i4_run_row(const sa2_product *p, int64_t row, int64_t block, i4_panel panel,
                              int64_t in_panel, i4_row code)
{
    int64_t groups = sa2_i4_groups(p->w->cols);
    float sums[I4_OUTPUTS] = {0};
    for (int half = 0; half < 2; half++) {
        const uint8_t *tiles = sa2_i4_tiles(p->w, block + half);
        const uint8_t *factors = sa2_i4_factors(p->w, block + half);
        for (int64_t g = 0; g < groups;) {
            int32_t whole[SA2_BLOCK] = {0};
            float step = panel.steps[g / I4_SPAN_GROUPS * SA2_BLOCK + in_panel];
            int64_t end = g + I4_SPAN_GROUPS < groups ? g + I4_SPAN_GROUPS : groups;
            for (; g < end; g++)
                code(panel.numbers + g * I4_GROUP_BYTES + in_panel * SA2_I4_GROUP,
                     panel.of_group[g * SA2_BLOCK + in_panel], tiles + g * SA2_I4_TILE_BYTES,
                     factors + g * SA2_BLOCK, whole);
            for (int i = 0; i < SA2_BLOCK; i++)
                sums[half * SA2_BLOCK + i] =
                    fmaf(step, (float)whole[i], sums[half * SA2_BLOCK + i]);
        }
    }
    i4_finish(p, row, 1, block, sums, I4_OUTPUTS);
}

static inline void i4_run_rows(const sa2_product *p, const sa2_product_part *part,
                               const void *panels, int64_t first_row, i4_row code)
{
    size_t panel_bytes = i4_panel_bytes(p->w->cols);
    for (int64_t block = part->block; block < part->block + part->n_blocks; block += 2)
        for (int64_t row = part->row; row < part->row + part->n_rows; row++) {
            int64_t at = row - first_row;
            const char *panel = (const char *)panels + (size_t)(at / SA2_BLOCK) * panel_bytes;
            i4_run_row(p, row, block, i4_panel_at(panel, p->w->cols), at % SA2_BLOCK, code);
        }
}

#endif
