/* linear_i8.h - products with a matrix in 8 or 4 bits, around the sums of the including file. One in 4 bits is unpacked
 * to 8 tile by tile (matrix_i4.h).
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

#include <string.h>

#include "kernels/cpu/linear_epilogue.h"
#include "kernels/cpu/matrix_i4.h"

enum {
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

/* Up to 64 values of a row as f32; behind n there are zeros. */
static inline void i8_read(const sa2_product *p, int64_t at, int n, float values[SA2_I8_COLS])
{
    const float *f32 = (const float *)p->x + at;
    const uint16_t *bf16 = (const uint16_t *)p->x + at;
    if (n < SA2_I8_COLS)
        memset(values, 0, SA2_I8_COLS * sizeof *values);
    if (p->x_dtype == SA2_F32)
        memcpy(values, f32, (size_t)n * sizeof *values);
    else if (n == SA2_I8_COLS)
        for (int i = 0; i < SA2_I8_COLS; i++)
            values[i] = sa2_bf16_to_f32(bf16[i]);
    else
        for (int i = 0; i < n; i++)
            values[i] = sa2_bf16_to_f32(bf16[i]);
}

/* Of a row from `col` on, at most 64. */
static inline int i8_left(const sa2_product *p, int64_t col)
{
    return p->tap_cols - col < SA2_I8_COLS ? (int)(p->tap_cols - col) : SA2_I8_COLS;
}

/* The step of a row of x, and the number that a value is multiplied by. A row with a NaN or an infinity has the
 * step NaN, so that its results are NaN; one that is all but 0 has the step 0. */
static inline float i8_step(const sa2_product *p, int64_t x, float *inverse)
{
    int32_t most[SA2_I8_COLS] = {0}; /* bits of a magnitude rise with it, NaN above all */
    for (int64_t col = 0; col < p->tap_cols; col += SA2_I8_COLS) {
        float values[SA2_I8_COLS];
        int32_t bits[SA2_I8_COLS];
        i8_read(p, x + col, i8_left(p, col), values);
        memcpy(bits, values, sizeof bits);
        for (int i = 0; i < SA2_I8_COLS; i++) {
            int32_t size = bits[i] & 0x7fffffff;
            most[i] = size > most[i] ? size : most[i];
        }
    }
    for (int i = 1; i < SA2_I8_COLS; i++)
        most[0] = most[i] > most[0] ? most[i] : most[0];
    float size;
    memcpy(&size, &most[0], sizeof size);
    *inverse = 0.0f;
    if (most[0] >= 0x7f800000)
        return NAN;
    if (size < 1e-30f) /* 32512 / size would overflow */
        return 0.0f;
    *inverse = 32512.0f / size;
    return size / 32512.0f;
}

static inline void i8_split(const float values[SA2_I8_COLS], float inverse, int8_t *upper,
                            int8_t *lower)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to an integer */
    for (int i = 0; i < SA2_I8_COLS; i++) {
        int32_t q = (int32_t)((values[i] * inverse + shift) - shift);
        int32_t high = (q + 128) >> 8;
        upper[i] = (int8_t)high;
        lower[i] = (int8_t)(q - high * 256);
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
        steps[i] = i8_step(p, x, &inverse);
        for (int64_t col = 0; col < p->tap_cols; col += SA2_I8_COLS, out += I8_STEP_BYTES) {
            float values[SA2_I8_COLS];
            i8_read(p, x + col, i8_left(p, col), values);
            i8_split(values, inverse, out, out + SA2_I8_COLS);
        }
    }
}

/* n rows of a panel by a pair of blocks to y. ints: line 2 i + plane at ints + (2 i + plane) * step. */
static void i8_finish(const sa2_product *p, int64_t row, int n, int64_t block, const int32_t *ints,
                      int64_t step, const float *x_steps)
{
    float sums[SA2_BLOCK * I8_OUTPUTS];
    const float *w_steps =
        p->w->dtype == SA2_I4 ? sa2_i4_steps(p->w, block) : sa2_i8_steps(p->w, block);
    for (int i = 0; i < n; i++) {
        const int32_t *upper = ints + 2 * i * step, *lower = upper + step;
        for (int j = 0; j < I8_OUTPUTS; j++)
            sums[i * I8_OUTPUTS + j] =
                (256.0f * (float)upper[j] + (float)lower[j]) * (x_steps[i] * w_steps[j]);
    }
    finish_rows(p, row, n, block, 2, sums, I8_OUTPUTS);
}

/* ---- rows in strips, for instruction sets without tiles ---- */

/* Planes of `rows` rows from `x` on (in a panel, which they do not leave) by one block, all columns, to
 * ints [2 rows, I8_OUTPUTS]. */
typedef void (*i8_strip)(const int8_t *x, const int8_t *w, int64_t steps, int rows, int32_t *ints);

/* A pair of blocks in 8 bits, [2] each of all columns: where they lie, or unpacked to `space`. */
static inline void i8_pair(const sa2_matrix *w, int64_t block, int8_t *space, const int8_t *pair[2])
{
    int64_t groups = sa2_i4_groups(w->cols);
    for (int half = 0; half < 2; half++) {
        if (w->dtype == SA2_I8) {
            pair[half] = sa2_i8_block(w, block + half);
            continue;
        }
        const uint8_t *tiles = sa2_i4_tiles(w, block + half);
        const uint8_t *factors = sa2_i4_factors(w, block + half);
        int8_t *to = space + half * groups * SA2_BLOCK * SA2_I4_GROUP;
        pair[half] = to;
        for (int64_t g = 0; g < groups; g++)
            sa2_i4_unpack(tiles + g * SA2_I4_TILE_BYTES, factors + g * SA2_BLOCK,
                          to + g * SA2_BLOCK * SA2_I4_GROUP);
    }
}

static inline void i8_run_strips(const sa2_product *p, const sa2_product_part *part,
                                 const void *panels, int64_t first_row, void *space, int strip_rows,
                                 i8_strip code)
{
    int64_t steps = sa2_i8_padded(p->w->cols) / SA2_I8_COLS;
    size_t panel_bytes = i8_panel_bytes(p->w->cols);
    for (int64_t block = part->block; block < part->block + part->n_blocks; block += 2) {
        const int8_t *pair[2];
        i8_pair(p->w, block, space, pair);
        for (int64_t row = part->row; row < part->row + part->n_rows;) {
            int32_t ints[2 * SA2_BLOCK * I8_OUTPUTS];
            int64_t in_panel = (row - first_row) % SA2_BLOCK, left = part->row + part->n_rows - row;
            const char *panel =
                (const char *)panels + (size_t)((row - first_row) / SA2_BLOCK) * panel_bytes;
            int n = strip_rows;
            n = left < n ? (int)left : n;
            n = SA2_BLOCK - in_panel < n ? (int)(SA2_BLOCK - in_panel) : n;
            for (int half = 0; half < 2; half++)
                code((const int8_t *)panel + 2 * in_panel * SA2_I8_COLS, pair[half], steps, n,
                     ints + half * SA2_BLOCK);
            i8_finish(p, row, n, block, ints, I8_OUTPUTS,
                      (const float *)(panel + i8_planes_bytes(p->w->cols)) + in_panel);
            row += n;
        }
    }
}

#endif
