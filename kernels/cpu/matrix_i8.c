#include "kernels/cpu/matrix_i8.h"

#include <math.h>

size_t sa2_matrix_i8_bytes(int64_t rows, int64_t cols)
{
    int64_t padded_rows = sa2_matrix_blocks(rows) * SA2_BLOCK;
    return (size_t)(padded_rows * sa2_i8_padded(cols)) + (size_t)padded_rows * sizeof(float);
}

static void put_row(const sa2_matrix *w, int64_t block, int lane, const float *values, float most)
{
    int8_t *out = sa2_i8_block(w, block);
    float inverse = values != NULL ? 127.0f / most : 0.0f;
    sa2_i8_steps(w, block)[lane] = most / 127.0f;
    for (int64_t col = 0; col < sa2_i8_padded(w->cols); col++) {
        float value = values != NULL && col < w->cols ? nearbyintf(values[col] * inverse) : 0.0f;
        value = value < -127.0f ? -127.0f : value > 127.0f ? 127.0f : value;
        out[(col / 4 * SA2_BLOCK + lane) * 4 + col % 4] = (int8_t)value;
    }
}

const sa2_rounding sa2_rounding_i8 = {.max_cols = SA2_I8_MAX_COLS, .put_row = put_row};

/* As f32: what the products multiply by. */
static void read_row(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    int64_t place = sa2_matrix_place(half, row), block = place / SA2_BLOCK,
            lane = place % SA2_BLOCK;
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
