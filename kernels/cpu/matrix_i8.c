#include "kernels/cpu/matrix_i8.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu_backend.h"

size_t sa2_matrix_i8_bytes(int64_t rows, int64_t cols)
{
    int64_t padded_rows = sa2_matrix_blocks(rows) * SA2_BLOCK;
    return (size_t)(padded_rows * sa2_i8_padded(cols)) + (size_t)padded_rows * sizeof(float);
}

typedef struct write_job {
    const sa2_matrix *w;
    const sa2_tensor *src[2]; /* two: gate and up, block by block */
    int64_t first;            /* row of w of the first row of src[0]; 0 with two */
    int64_t first_block;
} write_job;

static float value_of(const sa2_tensor *src, int64_t row, int64_t col)
{
    int64_t at = row * src->stride + col;
    return src->dtype == SA2_F32 ? ((const float *)src->data)[at]
                                 : sa2_bf16_to_f32(((const uint16_t *)src->data)[at]);
}

/* Row `row` of src to lane `lane` of a block; a step so small that its inverse overflows is none. */
static void write_row(int8_t *out, float *step, const sa2_tensor *src, int64_t row, int lane)
{
    float most = 0.0f;
    int64_t cols = src->shape[1], padded = sa2_i8_padded(cols);
    for (int64_t col = 0; col < cols; col++)
        most = fmaxf(most, fabsf(value_of(src, row, col)));
    *step = most > 1e-30f ? most / 127.0f : 0.0f;
    float inverse = *step > 0.0f ? 127.0f / most : 0.0f;
    for (int64_t col = 0; col < padded; col++) {
        float value = col < cols ? nearbyintf(value_of(src, row, col) * inverse) : 0.0f;
        value = value < -127.0f ? -127.0f : value > 127.0f ? 127.0f : value;
        out[(col / 4 * SA2_BLOCK + lane) * 4 + col % 4] = (int8_t)value;
    }
}

static void clear_row(int8_t *out, float *step, int64_t padded, int lane)
{
    *step = 0.0f;
    for (int64_t col = 0; col < padded; col += 4)
        memset(out + (col / 4 * SA2_BLOCK + lane) * 4, 0, 4);
}

/* The rows of src that lie in one block, and zeros behind the last of the matrix. */
static void write_block(void *context, int index, int thread)
{
    (void)thread;
    const write_job *job = context;
    const sa2_matrix *w = job->w;
    int64_t block = job->first_block + index;
    bool two = job->src[1] != NULL;
    const sa2_tensor *src = two ? job->src[block % 2] : job->src[0];
    int64_t row = (two ? block / 2 : block) * SA2_BLOCK - job->first; /* of src, may lie outside */
    int64_t rows = src->shape[0];
    bool ends = two || job->first + rows == w->rows;
    int8_t *out = (int8_t *)w->data + (sa2_i8_block(w, block) - (const int8_t *)w->data);
    float *steps =
        (float *)((char *)w->data + ((const char *)sa2_i8_steps(w, block) - (const char *)w->data));
    for (int lane = 0; lane < SA2_BLOCK; lane++, row++) {
        if (row >= 0 && row < rows)
            write_row(out, &steps[lane], src, row, lane);
        else if (row >= rows && ends)
            clear_row(out, &steps[lane], sa2_i8_padded(w->cols), lane);
    }
}

static sa2_status judge(const sa2_matrix *w, sa2_error *err)
{
    if (w->cols <= SA2_I8_MAX_COLS)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_LIMIT, "matrix_write: %lld columns, one of i8 has up to %d",
                    (long long)w->cols, (int)SA2_I8_MAX_COLS);
}

sa2_status sa2_matrix_i8_write(sa2_stream *s, sa2_matrix *w, int64_t first, const sa2_tensor *src,
                               sa2_error *err)
{
    int64_t rows = src->shape[0], end = first + rows;
    write_job job = {.w = w, .src = {src}, .first = first, .first_block = first / SA2_BLOCK};
    int64_t last = end == w->rows ? sa2_matrix_blocks(w->rows) - 1 : (end - 1) / SA2_BLOCK;
    sa2_status st = judge(w, err);
    if (st == SA2_OK && rows > 0)
        sa2_threads_run(sa2_cpu_of(s)->threads, (int)(last - job.first_block + 1), write_block,
                        &job);
    return st;
}

sa2_status sa2_matrix_i8_write_swiglu(sa2_stream *s, sa2_matrix *w, const sa2_tensor *gate,
                                      const sa2_tensor *up, sa2_error *err)
{
    write_job job = {.w = w, .src = {gate, up}};
    sa2_status st = judge(w, err);
    if (st == SA2_OK)
        sa2_threads_run(sa2_cpu_of(s)->threads, (int)sa2_matrix_blocks(w->rows), write_block, &job);
    return st;
}

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
