/* matrix_rounded.cuh - weight matrices in 8 and 4 bits on CUDA: how they lie in memory. The numbers are those of the CPU:
 * kernels/cpu/matrix_i8.h, matrix_i4.h, matrix_e4m3.h.
 *
 * As in bf16, rows are in tiles of 16, a tile's columns in chunks of 32, of which lane (g, t) has columns 8 t to 8 t + 7 of
 * rows g and g + 8. What it has is in words of 32 bits of one row each, with the two columns of a register of mma's a 16
 * bits apart, so that one mask takes them out:
 *   8 bits  [tiles, chunks, 32 lanes, 2 halves of the columns, 2 rows] words, four columns each
 *  e4m3     the same, and u8 [tiles, chunks, 8, 2 rows]: the powers
 *   4 bits  [tiles, groups, 32 lanes, 2 chunks, 2 rows] words, eight columns each; groups are of 64 columns
 *           u8 [tiles, groups, 8, 2 rows]: the factors
 *   f32     [tiles, 16]: the steps, at the end
 * What is beyond the matrix is 0. A gate-and-up matrix has 8 rows of the gate, 8 of up, and so on.
 */
#ifndef SA2_KERNELS_CUDA_MATRIX_ROUNDED_CUH
#define SA2_KERNELS_CUDA_MATRIX_ROUNDED_CUH

#include "kernels/cuda/product.cuh"

namespace sa2_cuda
{
/* Kinds of weights, for templates. */
struct in_8_bits {
};
struct in_4_bits {
};
struct in_e4m3 {
};

static constexpr int I4_GROUP = 64, LANE_WORDS = 4;
static constexpr float I4_LEAST = -8.0f, I4_MOST = 7.0f;

/* Where a row of the matrix, or of its half, lies among the stored ones. */
static __host__ __device__ __forceinline__ long long place_of_row(sa2_matrix_half half,
                                                                  long long row)
{
    return half == SA2_MATRIX_ALL ? row : swiglu_row(row, half == SA2_MATRIX_UP, TILE_ROWS);
}

/* ---- the word of row `row` that has column `col`, and the column's lowest bit in it ---- */

static __host__ __device__ __forceinline__ long long word_i8(long long cols, long long row,
                                                             long long col)
{
    long long chunk = row / TILE_ROWS * parts_of(cols, CHUNK) + col / CHUNK;
    int lane = (int)(row % 8 * 4 + col % CHUNK / 8), low = (int)(row / 8 % 2);
    return (chunk * WARP + lane) * LANE_WORDS + col % 8 / 4 * 2 + low;
}

static __host__ __device__ __forceinline__ int shift_i8(long long col)
{
    return (int)(col % 2 * 16 + col % 4 / 2 * 8);
}

static __host__ __device__ __forceinline__ long long word_i4(long long cols, long long row,
                                                             long long col)
{
    long long group = row / TILE_ROWS * parts_of(cols, I4_GROUP) + col / I4_GROUP;
    int lane = (int)(row % 8 * 4 + col % CHUNK / 8), low = (int)(row / 8 % 2);
    return (group * WARP + lane) * LANE_WORDS + col % I4_GROUP / CHUNK * 2 + low;
}

static __host__ __device__ __forceinline__ int shift_i4(long long col)
{
    return (int)(col % 2 * 16 + col % 8 / 2 * 4);
}

/* ---- what lies behind the words: bytes from the beginning ---- */

static __host__ __device__ __forceinline__ long long padded_rows_of(long long rows)
{
    return (long long)parts_of(rows, TILE_ROWS) * TILE_ROWS;
}

static __host__ __device__ __forceinline__ long long steps_i8(long long rows, long long cols)
{
    return padded_rows_of(rows) * parts_of(cols, CHUNK) * CHUNK;
}

static __host__ __device__ __forceinline__ long long factors_i4(long long rows, long long cols)
{
    return padded_rows_of(rows) * parts_of(cols, I4_GROUP) * I4_GROUP / 2;
}

static __host__ __device__ __forceinline__ long long steps_i4(long long rows, long long cols)
{
    return factors_i4(rows, cols) + padded_rows_of(rows) * parts_of(cols, I4_GROUP);
}

static __host__ __device__ __forceinline__ long long powers_e4m3(long long rows, long long cols)
{
    return padded_rows_of(rows) * parts_of(cols, CHUNK) * CHUNK;
}

/* Of a row in one of so many groups of columns, from the first factor or power on. */
static __host__ __device__ __forceinline__ long long factor_place(int groups, long long row,
                                                                  long long group)
{
    long long all = row / TILE_ROWS * groups + group;
    return all * TILE_ROWS + row % 8 * 2 + row / 8 % 2;
}

/* Of a row, in f32, behind `steps` bytes. */
static __host__ __device__ __forceinline__ float *step_at(void *w, long long steps, long long row)
{
    return (float *)((unsigned char *)w + steps) + row;
}

/* ---- writing: as matrix_write() and matrix_write_swiglu() ---- */

size_t rounded_bytes(sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_status rounded_write(sa2_stream *s, const sa2_matrix *w, int64_t first, const sa2_tensor &src,
                         sa2_error *err);
sa2_status rounded_write_swiglu(sa2_stream *s, const sa2_matrix *w, const sa2_tensor &gate,
                                const sa2_tensor &up, sa2_error *err);
} // namespace sa2_cuda

#endif
