/* matrix_i8.h - weight matrices in 8 bits on the CPU, the same for every instruction set.
 *
 * A row (output) is 127 steps to either side of 0; its step is f32. Rows in blocks of 16, blocks in pairs, columns in
 * multiples of 64; what is beyond the matrix is 0:
 *   i8    [blocks, cols / 4, 16, 4]: four columns side by side, as a tile of AMX-INT8 and vpdpbusd take them
 *   f32   [blocks, 16]: the steps, behind all blocks
 */
#ifndef SA2_KERNELS_CPU_MATRIX_I8_H
#define SA2_KERNELS_CPU_MATRIX_I8_H

#include "kernels/cpu/matrix_rounded.h"

enum {
    SA2_I8_COLS = 64,          /* columns are padded to these */
    SA2_I8_MAX_COLS = 1 << 17, /* sums of 127 * 128 each stay below 2^31 */
};

extern const sa2_layout sa2_cpu_layout_i8;

static inline int64_t sa2_i8_padded(int64_t cols)
{
    return (cols + SA2_I8_COLS - 1) / SA2_I8_COLS * SA2_I8_COLS;
}

static inline int8_t *sa2_i8_block(const sa2_matrix *w, int64_t block)
{
    return (int8_t *)w->data + block * SA2_BLOCK * sa2_i8_padded(w->cols);
}

/* Of rows from the block's first on. */
static inline float *sa2_i8_steps(const sa2_matrix *w, int64_t block)
{
    return (float *)(void *)sa2_i8_block(w, sa2_matrix_blocks(w->rows)) + block * SA2_BLOCK;
}

extern const sa2_rounding sa2_rounding_i8;
size_t sa2_matrix_i8_bytes(int64_t rows, int64_t cols);

#endif
