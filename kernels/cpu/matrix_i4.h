/* matrix_i4.h - weight matrices in 4 bits on the CPU, the same for every instruction set.
 *
 * A weight is step * m * (q - 8): the step is f32, one a row; m from 1 to 16, one a row and group of 64 columns; q from 0 to
 * 15. So m * (q - 8) fits 8 bits, and its products with whole numbers are whole numbers. 4.125 bits a weight.
 * Rows in blocks of 16, blocks in pairs, columns in groups; what is beyond the matrix is 0:
 *   u8    [blocks, groups, 8, 64]: q of a tile of matrix_i8.h, whose lines 2 i and 2 i + 1 are the lower and upper halves
 *         of line i here
 *   u8    [blocks, groups, 16]: m
 *   f32   [blocks, 16]: the steps
 */
#ifndef SA2_KERNELS_CPU_MATRIX_I4_H
#define SA2_KERNELS_CPU_MATRIX_I4_H

#include "kernels/cpu/matrix_i8.h"

enum {
    SA2_I4_GROUP = SA2_I8_COLS,
    SA2_I4_TILE_BYTES = SA2_BLOCK * SA2_I4_GROUP / 2,
};

extern const sa2_layout sa2_cpu_layout_i4;

static inline int64_t sa2_i4_groups(int64_t cols)
{
    return (cols + SA2_I4_GROUP - 1) / SA2_I4_GROUP;
}

static inline uint8_t *sa2_i4_tiles(const sa2_matrix *w, int64_t block)
{
    return (uint8_t *)w->data + block * sa2_i4_groups(w->cols) * SA2_I4_TILE_BYTES;
}

static inline uint8_t *sa2_i4_factors(const sa2_matrix *w, int64_t block)
{
    return sa2_i4_tiles(w, sa2_matrix_blocks(w->rows)) + block * sa2_i4_groups(w->cols) * SA2_BLOCK;
}

/* Of rows from the block's first on. */
static inline float *sa2_i4_steps(const sa2_matrix *w, int64_t block)
{
    return (float *)(void *)sa2_i4_factors(w, sa2_matrix_blocks(w->rows)) + block * SA2_BLOCK;
}

extern const sa2_rounding sa2_rounding_i4;
size_t sa2_matrix_i4_bytes(int64_t rows, int64_t cols);

#endif
