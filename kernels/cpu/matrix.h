/* matrix.h - the layout of weight matrices on the CPU, the same for every instruction set.
 *
 * Rows (outputs) in blocks of 16, a block contiguous, columns one after the other inside:
 *   f32   [blocks, cols, 16]
 *   bf16  [blocks, cols / 2, 16, 2]: two columns side by side, as a tile of AMX-BF16 and vdpbf16ps take them
 * Blocks come in pairs and bf16 columns in multiples of 32; what is beyond the matrix is 0.
 * A gate-and-up matrix has 16 rows of the gate, 16 of up, and so on.
 */
#ifndef SA2_KERNELS_CPU_MATRIX_H
#define SA2_KERNELS_CPU_MATRIX_H

#include "kernels/layout.h"

enum {
    SA2_BLOCK = 16,     /* rows of a matrix, columns of a product */
    SA2_TILE_COLS = 32, /* bf16 columns of a matrix are padded to these */
};

extern const sa2_layout sa2_cpu_layout_f32, sa2_cpu_layout_bf16;

/* `cut` of all orders. */
bool sa2_cpu_matrix_cut(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *cut);

/* Blocks of a matrix with that many rows. */
static inline int64_t sa2_matrix_blocks(int64_t rows)
{
    return (rows + 2 * SA2_BLOCK - 1) / (2 * SA2_BLOCK) * 2;
}

/* Where a row of the matrix, or of its half, lies among the stored ones: gate and up take turns by blocks. */
static inline int64_t sa2_matrix_place(sa2_matrix_half half, int64_t row)
{
    if (half == SA2_MATRIX_ALL)
        return row;
    return (row / SA2_BLOCK * 2 + (half == SA2_MATRIX_UP)) * SA2_BLOCK + row % SA2_BLOCK;
}

/* How many of n rows from such a place on lie in one block, in this matrix and in another. */
static inline int64_t sa2_matrix_together(int64_t place, int64_t other, int64_t n)
{
    int64_t lane = place % SA2_BLOCK, other_lane = other % SA2_BLOCK;
    int64_t left = SA2_BLOCK - (lane > other_lane ? lane : other_lane);
    return n < left ? n : left;
}

/* Columns as stored. */
static inline int64_t sa2_matrix_padded(sa2_dtype dtype, int64_t cols)
{
    return dtype == SA2_F32 ? cols : (cols + SA2_TILE_COLS - 1) / SA2_TILE_COLS * SA2_TILE_COLS;
}

#endif
