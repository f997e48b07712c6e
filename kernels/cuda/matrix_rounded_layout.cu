/* matrix_rounded_layout.cu - matrices in 8 and 4 bits as files hold them: sizes, rows, cuts. All on the host.
 */
#include <math.h>

#include "kernels/base/e4m3.h"
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/matrix_rounded.cuh"
#include "kernels/layout.h"

namespace sa2_cuda
{
static size_t bytes_i8(int64_t rows, int64_t cols)
{
    return (size_t)steps_i8(rows, cols) + (size_t)padded_rows_of(rows) * sizeof(float);
}

static size_t bytes_i4(int64_t rows, int64_t cols)
{
    return (size_t)steps_i4(rows, cols) + (size_t)padded_rows_of(rows) * sizeof(float);
}

static size_t bytes_e4m3(int64_t rows, int64_t cols)
{
    return (size_t)(powers_e4m3(rows, cols) + padded_rows_of(rows) * parts_of(cols, CHUNK));
}

size_t rounded_bytes(sa2_dtype dtype, int64_t rows, int64_t cols)
{
    return dtype == SA2_I8   ? bytes_i8(rows, cols)
           : dtype == SA2_I4 ? bytes_i4(rows, cols)
                             : bytes_e4m3(rows, cols);
}

/* As f32: what the products multiply by. */
static void read_row_i8(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    row = place_of_row(half, row);
    float step = *step_at(w->data, steps_i8(w->rows, w->cols), row);
    for (int64_t col = 0; col < w->cols; col++) {
        uint32_t word = ((const uint32_t *)w->data)[word_i8(w->cols, row, col)];
        ((float *)out)[col] = step * (float)(int8_t)(word >> shift_i8(col) & 255);
    }
}

static void read_row_i4(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    row = place_of_row(half, row);
    float step = *step_at(w->data, steps_i4(w->rows, w->cols), row);
    const uint8_t *factors = (const uint8_t *)w->data + factors_i4(w->rows, w->cols);
    int groups = parts_of(w->cols, I4_GROUP);
    for (int64_t col = 0; col < w->cols; col++) {
        uint32_t word = ((const uint32_t *)w->data)[word_i4(w->cols, row, col)];
        int q = (int)(word >> shift_i4(col) & 15) + (int)I4_LEAST;
        ((float *)out)[col] =
            step * (float)(q * factors[factor_place(groups, row, col / I4_GROUP)]);
    }
}

static void read_row_e4m3(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    row = place_of_row(half, row);
    const uint8_t *powers = (const uint8_t *)w->data + powers_e4m3(w->rows, w->cols);
    int groups = parts_of(w->cols, CHUNK);
    for (int64_t col = 0; col < w->cols; col++) {
        uint32_t word = ((const uint32_t *)w->data)[word_i8(w->cols, row, col)];
        int power = powers[factor_place(groups, row, col / CHUNK)];
        ((float *)out)[col] =
            ldexpf(sa2_e4m3_to_f32((uint8_t)(word >> shift_i8(col))), power - 127);
    }
}

/* ---- cuts: word by word of 4 columns in 8 bits, 8 in 4 bits ---- */

/* Where a row lies in the two matrices, and the first column of it that is wanted. */
typedef struct cut_row {
    const sa2_matrix *to, *from;
    int64_t to_row, row, col;
} cut_row;

static void cut_words(const cut_row &c, int cols_of_word,
                      long long (*word)(long long cols, long long row, long long col))
{
    for (int64_t col = 0; col < c.to->cols; col += cols_of_word)
        ((uint32_t *)c.to->data)[word(c.to->cols, c.to_row, col)] =
            ((const uint32_t *)c.from->data)[word(c.from->cols, c.row, c.col + col)];
}

/* Factors or powers, which begin behind so many bytes. */
static void cut_groups(const cut_row &c, int cols_of_group, long long to_begin, long long begin)
{
    int groups = parts_of(c.to->cols, cols_of_group);
    int of_all = parts_of(c.from->cols, cols_of_group);
    uint8_t *to = (uint8_t *)c.to->data + to_begin;
    const uint8_t *from = (const uint8_t *)c.from->data + begin;
    for (int g = 0; g < groups; g++)
        to[factor_place(groups, c.to_row, g)] =
            from[factor_place(of_all, c.row, c.col / cols_of_group + g)];
}

static void cut_row_i8(const cut_row &c)
{
    cut_words(c, 4, word_i8);
    *step_at(c.to->data, steps_i8(c.to->rows, c.to->cols), c.to_row) =
        *step_at(c.from->data, steps_i8(c.from->rows, c.from->cols), c.row);
}

static void cut_row_i4(const cut_row &c)
{
    cut_words(c, 8, word_i4);
    cut_groups(c, I4_GROUP, factors_i4(c.to->rows, c.to->cols),
               factors_i4(c.from->rows, c.from->cols));
    *step_at(c.to->data, steps_i4(c.to->rows, c.to->cols), c.to_row) =
        *step_at(c.from->data, steps_i4(c.from->rows, c.from->cols), c.row);
}

static void cut_row_e4m3(const cut_row &c)
{
    cut_words(c, 4, word_i8);
    cut_groups(c, CHUNK, powers_e4m3(c.to->rows, c.to->cols),
               powers_e4m3(c.from->rows, c.from->cols));
}

/* Cuts begin at multiples of `unit` columns, and end there or with the matrix. */
static bool cut_rows(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *cut, int unit,
                     void (*copy)(const cut_row &))
{
    if (cut->col % unit != 0 || (to->cols % unit != 0 && cut->col + to->cols != from->cols))
        return false;
    for (int64_t i = 0; i < cut->n; i++)
        copy({to, from, place_of_row(cut->half, cut->to_row + i),
              place_of_row(cut->half, cut->row + i), cut->col});
    return true;
}

static bool cut_i8(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *cut)
{
    return cut_rows(to, from, cut, 4, cut_row_i8);
}

static bool cut_i4(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *cut)
{
    return cut_rows(to, from, cut, I4_GROUP, cut_row_i4);
}

static bool cut_e4m3(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *cut)
{
    return cut_rows(to, from, cut, CHUNK, cut_row_e4m3);
}

const sa2_layout layout_i8 = {.name = "cuda-i8-16x32-1",
                              .dtype = SA2_I8,
                              .row_dtype = SA2_F32,
                              .bytes = bytes_i8,
                              .read_row = read_row_i8,
                              .cut = cut_i8,
                              .rows_together = 0};
const sa2_layout layout_i4 = {.name = "cuda-i4-16x64-1",
                              .dtype = SA2_I4,
                              .row_dtype = SA2_F32,
                              .bytes = bytes_i4,
                              .read_row = read_row_i4,
                              .cut = cut_i4,
                              .rows_together = 0};
const sa2_layout layout_e4m3 = {.name = "cuda-e4m3-16x32-1",
                                .dtype = SA2_E4M3,
                                .row_dtype = SA2_F32,
                                .bytes = bytes_e4m3,
                                .read_row = read_row_e4m3,
                                .cut = cut_e4m3,
                                .rows_together = 0};
} // namespace sa2_cuda
