/* matrix_e4m3.h - weight matrices in 8 bits of floating point on the CPU, the same for every instruction set.
 *
 * A weight is a number of kernels/base/e4m3.h times a power of two, one a row and group of 32 columns: MXFP8 of the OCP
 * Microscaling Formats Specification 1.0. Such a product is a bf16 number, so that unpacked tiles are those of matrix.h and
 * go through the products of bf16; and 32 columns are what ranks deal, so that a slice is not rounded again.
 * Rows in blocks of 16, blocks in pairs, columns in groups; what is beyond the matrix is 0:
 *   u8    [blocks, groups, 8, 16, 4]: of four columns of a row the codes of 0, 2, 1 and 3, so that a number of 16 bits has one
 *         of line 2 i of a tile in bf16 and one of line 2 i + 1
 *   u8    [blocks, groups, 16]: the powers s, for 2^(s - 127)
 */
#ifndef SA2_KERNELS_CPU_MATRIX_E4M3_H
#define SA2_KERNELS_CPU_MATRIX_E4M3_H

#include "kernels/cpu/matrix_rounded.h"

enum {
    SA2_E4M3_GROUP = SA2_TILE_COLS,
    SA2_E4M3_TILE_BYTES = SA2_BLOCK * SA2_E4M3_GROUP,
};

extern const sa2_layout sa2_cpu_layout_e4m3;

static inline int64_t sa2_e4m3_groups(int64_t cols)
{
    return (cols + SA2_E4M3_GROUP - 1) / SA2_E4M3_GROUP;
}

static inline uint8_t *sa2_e4m3_tiles(const sa2_matrix *w, int64_t block)
{
    return (uint8_t *)w->data + block * sa2_e4m3_groups(w->cols) * SA2_E4M3_TILE_BYTES;
}

static inline uint8_t *sa2_e4m3_powers(const sa2_matrix *w, int64_t block)
{
    return sa2_e4m3_tiles(w, sa2_matrix_blocks(w->rows)) +
           block * sa2_e4m3_groups(w->cols) * SA2_BLOCK;
}

/* What is added to the exponent of a code that stands where bf16 has its own: 2^-7 times the power. */
static inline uint16_t sa2_e4m3_bias(uint8_t power)
{
    return (uint16_t)((power - 7) << 7);
}

/* A code times its power in bf16, exactly. Below the smallest normal number the leading bit becomes an exponent. */
static inline uint16_t sa2_e4m3_to_bf16(uint8_t code, uint16_t bias)
{
    int size = code & 0x7f;
    int above = size >= 8   ? size << 4
                : size >= 4 ? (size - 4) << 5
                : size >= 2 ? ((size - 2) << 6) - (1 << 7)
                            : -(2 << 7);
    return (uint16_t)((size == 0 ? 0 : above + bias) | (code & 0x80) << 8);
}

/* A tile as matrix.h has it in bf16, [16, 32]. */
static inline void sa2_e4m3_unpack(const uint8_t *tile, const uint8_t *powers, uint16_t *out)
{
    uint16_t bias[SA2_TILE_COLS];
    for (int j = 0; j < SA2_TILE_COLS; j++)
        bias[j] = sa2_e4m3_bias(powers[j / 2]);
    for (int line = 0; line < SA2_BLOCK; line += 2, tile += 2 * SA2_TILE_COLS)
        for (int j = 0; j < SA2_TILE_COLS; j++) {
            out[line * SA2_TILE_COLS + j] = sa2_e4m3_to_bf16(tile[2 * j], bias[j]);
            out[(line + 1) * SA2_TILE_COLS + j] = sa2_e4m3_to_bf16(tile[2 * j + 1], bias[j]);
        }
}

extern const sa2_rounding sa2_rounding_e4m3;
size_t sa2_matrix_e4m3_bytes(int64_t rows, int64_t cols);

#endif
