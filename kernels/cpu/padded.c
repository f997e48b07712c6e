#include "kernels/cpu/padded.h"

#include <string.h>

#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 1024 }; /* elements of a row in f32 at a time */

size_t sa2_padded_bytes(sa2_dtype dtype, int64_t rows, int64_t in, int n_sequences, int64_t padding)
{
    return (size_t)((rows + n_sequences * padding) * in) * sa2_dtype_bytes(dtype);
}

typedef struct pad_job {
    const sa2_padding *p;
    const sa2_floats *floats;
    unsigned char *copy;
    size_t row_bytes;
} pad_job;

/* One row of f32 or bf16 values, activated, to dtype of x. */
static void copy_row(const pad_job *job, void *to, const void *from, sa2_dtype from_dtype,
                     sa2_activation activation)
{
    const sa2_padding *p = job->p;
    int64_t in = p->x.shape[1];
    size_t to_size = sa2_dtype_bytes(p->x.dtype), from_size = sa2_dtype_bytes(from_dtype);
    if (activation == SA2_ACT_NONE && from_dtype == p->x.dtype) {
        memcpy(to, from, job->row_bytes);
        return;
    }
    for (int64_t at = 0; at < in; at += PIECE) {
        float room[PIECE];
        int64_t n = in - at < PIECE ? in - at : PIECE;
        void *y = (char *)to + (size_t)at * to_size;
        const float *x = sa2_floats_read(
            job->floats, room, (const char *)from + (size_t)at * from_size, from_dtype, n);
        if (activation != SA2_ACT_NONE) {
            float *result = sa2_floats_target(room, y, p->x.dtype);
            job->floats->activate(result, x, activation, p->slope,
                                  p->alpha != NULL ? p->alpha + at : NULL, n);
            x = result;
        }
        sa2_floats_write(job->floats, y, p->x.dtype, x, n);
    }
}

/* Row r of sequence i with its padding, counted from the padding before. */
static void fill_row(const pad_job *job, int i, int64_t r, void *to)
{
    const sa2_padding *p = job->p;
    int64_t from = p->sequences.offsets[i], length = p->sequences.offsets[i + 1] - from;
    if (r < p->before && p->history.data != NULL)
        copy_row(job, to, sa2_element(&p->history, i, r * p->x.shape[1]), SA2_F32, SA2_ACT_NONE);
    else if (r < p->before || r >= p->before + length)
        memset(to, 0, job->row_bytes);
    else
        copy_row(job, to, sa2_element(&p->x, from + r - p->before, 0), p->x.dtype, p->activation);
}

static void fill_rows(const void *context, int64_t first, int64_t end)
{
    const pad_job *job = context;
    for (int i = 0; i < job->p->sequences.n; i++) {
        int64_t start = sa2_padded_start(job->p, i), stop = sa2_padded_start(job->p, i + 1);
        for (int64_t row = start > first ? start : first; row < stop && row < end; row++)
            fill_row(job, i, row - start, job->copy + (size_t)row * job->row_bytes);
    }
}

void sa2_pad_rows(sa2_cpu *cpu, const sa2_padding *p, void *copy)
{
    pad_job job = {.p = p, .floats = cpu->floats, .copy = copy};
    job.row_bytes = (size_t)p->x.shape[1] * sa2_dtype_bytes(p->x.dtype);
    double ns = p->activation == SA2_ACT_NONE ? 0.1 : 0.7; /* of an element */
    sa2_row_loop(cpu, sa2_padded_start(p, p->sequences.n), ns * (double)p->x.shape[1], fill_rows,
                 &job);
}
