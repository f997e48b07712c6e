#include "kernels/cpu/matrix.h"

#include <string.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/matrix_e4m3.h"
#include "kernels/cpu/matrix_i4.h"
#include "kernels/cpu/matrix_i8.h"

/* Both dtypes store 16 rows as 16 words of 32 bits side by side: one f32 column or two of bf16.
 * So a square of 16 rows by 16 words is turned over, whatever it holds. */
enum { WORDS = 16 };

size_t sa2_cpu_matrix_bytes(sa2_dtype dtype, int64_t rows, int64_t cols)
{
    if (dtype == SA2_I8)
        return sa2_matrix_i8_bytes(rows, cols);
    if (dtype == SA2_I4)
        return sa2_matrix_i4_bytes(rows, cols);
    if (dtype == SA2_E4M3)
        return sa2_matrix_e4m3_bytes(rows, cols);
    return (size_t)(sa2_matrix_blocks(rows) * SA2_BLOCK * sa2_matrix_padded(dtype, cols)) *
           sa2_dtype_bytes(dtype);
}

static const sa2_rounding *rounding_of(const sa2_matrix *w)
{
    return w->dtype == SA2_I8     ? &sa2_rounding_i8
           : w->dtype == SA2_I4   ? &sa2_rounding_i4
           : w->dtype == SA2_E4M3 ? &sa2_rounding_e4m3
                                  : NULL;
}

typedef struct write_job {
    const sa2_matrix *w;
    const sa2_tensor *src[2]; /* two: gate and up, block by block */
    int64_t first;            /* row of w of the first row of src[0]; 0 with two */
    int64_t first_block;
} write_job;

/* Columns [col, col + n) of one row of src as words of `dtype`; the rest of the words is 0. */
static void read_words(uint32_t words[WORDS], sa2_dtype dtype, const sa2_tensor *src, int64_t row,
                       int64_t col, int n)
{
    const uint32_t *f32 = (const uint32_t *)src->data + row * src->stride + col;
    const uint16_t *bf16 = (const uint16_t *)src->data + row * src->stride + col;
    uint16_t halves[2 * WORDS] = {0};
    memset(words, 0, WORDS * sizeof *words);
    if (dtype == SA2_F32 && src->dtype == SA2_F32) {
        memcpy(words, f32, (size_t)n * sizeof *f32);
    } else if (dtype == SA2_F32) {
        for (int i = 0; i < n; i++)
            words[i] = (uint32_t)bf16[i] << 16;
    } else if (src->dtype == SA2_BF16) {
        memcpy(words, bf16, (size_t)n * sizeof *bf16);
    } else {
        for (int i = 0; i < n; i++)
            halves[i] = sa2_f32_to_bf16(((const float *)src->data)[row * src->stride + col + i]);
        memcpy(words, halves, sizeof halves);
    }
}

/* The rows of src that lie in one block of w. */
static void write_block(void *context, int index, int thread)
{
    (void)thread;
    const write_job *job = context;
    const sa2_matrix *w = job->w;
    int64_t block = job->first_block + index;
    bool two = job->src[1] != NULL;
    const sa2_tensor *src = two ? job->src[block % 2] : job->src[0];
    int64_t from = (two ? block / 2 : block) * SA2_BLOCK - job->first; /* of src, may lie outside */
    int64_t words = sa2_matrix_padded(w->dtype, w->cols) / (w->dtype == SA2_F32 ? 1 : 2);
    int step = w->dtype == SA2_F32 ? WORDS : 2 * WORDS;
    uint32_t *out = (uint32_t *)w->data + block * words * SA2_BLOCK;
    int low = from < 0 ? (int)-from : 0;
    int64_t left = src->shape[0] - from;
    int high = left < SA2_BLOCK ? (int)left : SA2_BLOCK;
    for (int64_t col = 0; col < w->cols; col += step, out += WORDS * SA2_BLOCK) {
        uint32_t square[SA2_BLOCK][WORDS];
        int n = w->cols - col < step ? (int)(w->cols - col) : step;
        int deep =
            words - col / (step / WORDS) < WORDS ? (int)(words - col / (step / WORDS)) : WORDS;
        for (int i = low; i < high; i++)
            read_words(square[i], w->dtype, src, from + i, col, n);
        for (int k = 0; k < deep; k++)
            for (int i = low; i < high; i++)
                out[k * SA2_BLOCK + i] = square[i][k];
    }
}

/* What is beyond the last row must be 0: it is multiplied too. */
static void clear_beyond(const sa2_matrix *w, bool two_parts)
{
    int64_t blocks = sa2_matrix_blocks(w->rows);
    int64_t padded = sa2_matrix_padded(w->dtype, w->cols);
    size_t block_bytes = (size_t)(padded * SA2_BLOCK) * sa2_dtype_bytes(w->dtype);
    int64_t rows = two_parts ? w->rows / 2 : w->rows;
    for (int64_t block = blocks - 2; block < blocks; block++) {
        int64_t used = rows - (two_parts ? block / 2 : block) * SA2_BLOCK;
        used = used < 0 ? 0 : used;
        uint32_t *words = (uint32_t *)((char *)w->data + (size_t)block * block_bytes);
        for (size_t i = 0; used < SA2_BLOCK && i < block_bytes / sizeof *words; i++)
            if ((int64_t)(i % SA2_BLOCK) >= used)
                words[i] = 0;
    }
}

sa2_status sa2_cpu_matrix_write(sa2_stream *s, sa2_matrix *w, int64_t first, sa2_tensor src,
                                sa2_error *err)
{
    if (rounding_of(w) != NULL)
        return sa2_matrix_rounded_write(s, rounding_of(w), w, first, &src, err);
    int64_t end = first + src.shape[0];
    write_job job = {.w = w, .src = {&src}, .first = first, .first_block = first / SA2_BLOCK};
    int64_t n = src.shape[0] > 0 ? (end - 1) / SA2_BLOCK - job.first_block + 1 : 0;
    sa2_threads_run(sa2_cpu_of(s)->threads, (int)n, write_block, &job);
    if (end == w->rows)
        clear_beyond(w, false);
    return SA2_OK;
}

sa2_status sa2_cpu_matrix_write_swiglu(sa2_stream *s, sa2_matrix *w, sa2_tensor gate, sa2_tensor up,
                                       sa2_error *err)
{
    if (rounding_of(w) != NULL)
        return sa2_matrix_rounded_write_swiglu(s, rounding_of(w), w, &gate, &up, err);
    write_job job = {.w = w, .src = {&gate, &up}};
    sa2_threads_run(sa2_cpu_of(s)->threads, (int)sa2_matrix_blocks(w->rows), write_block, &job);
    clear_beyond(w, true);
    return SA2_OK;
}

static void put(const sa2_matrix *w, int64_t row, int64_t col, float value)
{
    int64_t block = row / SA2_BLOCK, lane = row % SA2_BLOCK;
    int64_t padded = sa2_matrix_padded(w->dtype, w->cols);
    if (w->dtype == SA2_F32)
        ((float *)w->data)[(block * padded + col) * SA2_BLOCK + lane] = value;
    else
        ((uint16_t *)w->data)[(block * padded / 2 + col / 2) * SA2_BLOCK * 2 + lane * 2 + col % 2] =
            sa2_f32_to_bf16(value);
}

/* Output j = u * stride + phase of a row u of the product takes x[u - m] by tap phase + m * stride.
 * Rows of x rise in memory, so the columns begin with the largest m. */
sa2_status sa2_cpu_matrix_write_transpose(sa2_stream *s, sa2_matrix *w, sa2_tensor src, int stride,
                                          sa2_error *err)
{
    (void)s;
    (void)err;
    int64_t in = src.shape[0], out = src.shape[1], kernel = src.shape[2];
    int64_t reach = (kernel + stride - 1) / stride;
    memset(w->data, 0, sa2_cpu_matrix_bytes(w->dtype, w->rows, w->cols));
    for (int64_t i = 0; i < in; i++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t k = 0; k < kernel; k++)
                put(w, k % stride * out + o, (reach - 1 - k / stride) * in + i,
                    ((const float *)src.data)[i * src.stride + o * kernel + k]);
    return SA2_OK;
}

/* ---- back to rows ---- */

static void read_row_f32(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    int64_t place = sa2_matrix_place(half, row);
    const uint32_t *from =
        (const uint32_t *)w->data + place / SA2_BLOCK * w->cols * SA2_BLOCK + place % SA2_BLOCK;
    uint32_t *to = out;
    for (int64_t col = 0; col < w->cols; col++)
        to[col] = from[col * SA2_BLOCK];
}

static void read_row_bf16(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    int64_t place = sa2_matrix_place(half, row), padded = sa2_matrix_padded(SA2_BF16, w->cols);
    const uint16_t *from =
        (const uint16_t *)w->data + place / SA2_BLOCK * padded * SA2_BLOCK + place % SA2_BLOCK * 2;
    uint16_t *to = out;
    for (int64_t col = 0; col < w->cols; col++)
        to[col] = from[col / 2 * SA2_BLOCK * 2 + col % 2];
}

static size_t bytes_f32(int64_t rows, int64_t cols)
{
    return sa2_cpu_matrix_bytes(SA2_F32, rows, cols);
}

static size_t bytes_bf16(int64_t rows, int64_t cols)
{
    return sa2_cpu_matrix_bytes(SA2_BF16, rows, cols);
}

const sa2_layout sa2_cpu_layout_f32 = {.name = "cpu-f32-16-1",
                                       .dtype = SA2_F32,
                                       .row_dtype = SA2_F32,
                                       .bytes = bytes_f32,
                                       .read_row = read_row_f32,
                                       .cut = sa2_cpu_matrix_cut,
                                       .rows_together = 2 * SA2_BLOCK};
const sa2_layout sa2_cpu_layout_bf16 = {.name = "cpu-bf16-16x2-1",
                                        .dtype = SA2_BF16,
                                        .row_dtype = SA2_BF16,
                                        .bytes = bytes_bf16,
                                        .read_row = read_row_bf16,
                                        .cut = sa2_cpu_matrix_cut,
                                        .rows_together = 2 * SA2_BLOCK};
