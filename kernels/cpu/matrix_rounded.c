#include "kernels/cpu/matrix_rounded.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu_backend.h"

typedef struct write_job {
    sa2_cpu *cpu;
    const sa2_rounding *rounding;
    const sa2_matrix *w;
    const sa2_tensor *src[2]; /* two: gate and up, block by block */
    int64_t first;            /* row of w of the first row of src[0]; 0 with two */
    int64_t first_block;
} write_job;

static void read_values(float *values, const sa2_tensor *src, int64_t row)
{
    int64_t at = row * src->stride, n = src->shape[1];
    if (src->dtype == SA2_F32)
        memcpy(values, (const float *)src->data + at, (size_t)n * sizeof *values);
    else
        for (int64_t i = 0; i < n; i++)
            values[i] = sa2_bf16_to_f32(((const uint16_t *)src->data)[at + i]);
}

float sa2_largest(const float *values, int64_t n)
{
    float most = 0.0f;
    for (int64_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(values[i]));
    return most;
}

/* A row so small that the inverse of its step overflows is one of zeros. */
static void put_values(const write_job *job, int64_t block, int lane, const float *values)
{
    float most = sa2_largest(values, job->w->cols);
    bool zeros = most <= 1e-30f;
    job->rounding->put_row(job->w, block, lane, zeros ? NULL : values, zeros ? 0.0f : most);
}

/* The rows of src that lie in one block, and zeros behind the last of the matrix. */
static void write_block(void *context, int index, int thread)
{
    const write_job *job = context;
    const sa2_matrix *w = job->w;
    float *values = sa2_cpu_thread_space(job->cpu, thread);
    int64_t block = job->first_block + index;
    bool two = job->src[1] != NULL;
    const sa2_tensor *src = two ? job->src[block % 2] : job->src[0];
    int64_t row = (two ? block / 2 : block) * SA2_BLOCK - job->first; /* of src, may lie outside */
    int64_t rows = src->shape[0];
    bool ends = two || job->first + rows == w->rows;
    for (int lane = 0; lane < SA2_BLOCK; lane++, row++) {
        if (row >= 0 && row < rows) {
            read_values(values, src, row);
            put_values(job, block, lane, values);
        } else if (row >= rows && ends) {
            job->rounding->put_row(w, block, lane, NULL, 0.0f);
        }
    }
}

static sa2_status judge(const sa2_rounding *rounding, const sa2_matrix *w, sa2_error *err)
{
    const int64_t most = SA2_THREAD_SPACE / (int64_t)sizeof(float) < rounding->max_cols
                             ? SA2_THREAD_SPACE / (int64_t)sizeof(float)
                             : rounding->max_cols;
    if (w->cols <= most)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_LIMIT, "matrix_write: %lld columns, one of %s has up to %lld",
                    (long long)w->cols, sa2_dtype_name(w->dtype), (long long)most);
}

sa2_status sa2_matrix_rounded_write(sa2_stream *s, const sa2_rounding *rounding,
                                    const sa2_matrix *w, int64_t first, const sa2_tensor *src,
                                    sa2_error *err)
{
    int64_t rows = src->shape[0], end = first + rows;
    write_job job = {.cpu = sa2_cpu_of(s),
                     .rounding = rounding,
                     .w = w,
                     .src = {src},
                     .first = first,
                     .first_block = first / SA2_BLOCK};
    int64_t last = end == w->rows ? sa2_matrix_blocks(w->rows) - 1 : (end - 1) / SA2_BLOCK;
    sa2_status st = judge(rounding, w, err);
    if (st == SA2_OK && rows > 0)
        sa2_threads_run(job.cpu->threads, (int)(last - job.first_block + 1), write_block, &job);
    return st;
}

sa2_status sa2_matrix_rounded_write_swiglu(sa2_stream *s, const sa2_rounding *rounding,
                                           const sa2_matrix *w, const sa2_tensor *gate,
                                           const sa2_tensor *up, sa2_error *err)
{
    write_job job = {.cpu = sa2_cpu_of(s), .rounding = rounding, .w = w, .src = {gate, up}};
    sa2_status st = judge(rounding, w, err);
    if (st == SA2_OK)
        sa2_threads_run(job.cpu->threads, (int)sa2_matrix_blocks(w->rows), write_block, &job);
    return st;
}
