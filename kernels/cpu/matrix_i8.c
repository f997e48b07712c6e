#include "kernels/cpu/matrix_i8.h"

#include <math.h>
#include <string.h>

size_t sa2_matrix_i8_bytes(int64_t rows, int64_t cols)
{
    int64_t padded_rows = sa2_matrix_blocks(rows) * SA2_BLOCK;
    return (size_t)(padded_rows * sa2_i8_padded(cols)) + (size_t)padded_rows * sizeof(float);
}

static int8_t *line_of(const sa2_matrix *w, int64_t block, int64_t col, int lane)
{
    int64_t at = (block * sa2_i8_padded(w->cols) + col) * SA2_BLOCK + lane * 4;
    return (int8_t *)w->data + at;
}

/* A step so small that its inverse overflows is none. */
static void put_row(const sa2_matrix *w, int64_t block, int lane, const float *values)
{
    float most = 0.0f;
    int64_t padded = sa2_i8_padded(w->cols);
    for (int64_t col = 0; values != NULL && col < w->cols; col++)
        most = fmaxf(most, fabsf(values[col]));
    float *steps = (float *)(void *)line_of(w, sa2_matrix_blocks(w->rows), 0, 0);
    steps[block * SA2_BLOCK + lane] = most > 1e-30f ? most / 127.0f : 0.0f;
    float inverse = most > 1e-30f ? 127.0f / most : 0.0f;
    for (int64_t col = 0; col < padded; col++) {
        float value = values != NULL && col < w->cols ? nearbyintf(values[col] * inverse) : 0.0f;
        value = value < -127.0f ? -127.0f : value > 127.0f ? 127.0f : value;
        line_of(w, block, col & ~3, lane)[col % 4] = (int8_t)value;
    }
}

const sa2_rounding sa2_rounding_i8 = {.max_cols = SA2_I8_MAX_COLS, .put_row = put_row};

/* As f32: what the products multiply by. */
static void read_row(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    int64_t block = row / SA2_BLOCK, lane = row % SA2_BLOCK;
    if (half != SA2_MATRIX_ALL)
        block = 2 * block + (half == SA2_MATRIX_UP);
    const int8_t *from = sa2_i8_block(w, block);
    float step = sa2_i8_steps(w, block)[lane], *to = out;
    for (int64_t col = 0; col < w->cols; col++)
        to[col] = step * (float)from[(col / 4 * SA2_BLOCK + lane) * 4 + col % 4];
}

const sa2_layout sa2_cpu_layout_i8 = {.name = "cpu-i8-16x4-1",
                                      .dtype = SA2_I8,
                                      .row_dtype = SA2_F32,
                                      .bytes = sa2_matrix_i8_bytes,
                                      .read_row = read_row,
                                      .cut = sa2_cpu_matrix_cut};
