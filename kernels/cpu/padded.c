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
    const sa2_cpu *cpu;
    unsigned char *copy;
} pad_job;

static size_t row_bytes(const sa2_padding *p)
{
    return (size_t)p->x.shape[1] * sa2_dtype_bytes(p->x.dtype);
}

/* One row of f32 or bf16 values, activated, to dtype of x. */
static void copy_row(const sa2_floats *floats, const sa2_padding *p, void *to, const void *from,
                     sa2_dtype from_dtype, sa2_activation activation)
{
    int64_t in = p->x.shape[1];
    size_t to_size = sa2_dtype_bytes(p->x.dtype), from_size = sa2_dtype_bytes(from_dtype);
    if (activation == SA2_ACT_NONE && from_dtype == p->x.dtype) {
        memcpy(to, from, row_bytes(p));
        return;
    }
    for (int64_t at = 0; at < in; at += PIECE) {
        float room[PIECE];
        int64_t n = in - at < PIECE ? in - at : PIECE;
        void *y = (char *)to + (size_t)at * to_size;
        const float *x = sa2_floats_read(floats, room, (const char *)from + (size_t)at * from_size,
                                         from_dtype, n);
        if (activation != SA2_ACT_NONE) {
            float *result = sa2_floats_target(room, y, p->x.dtype);
            floats->activate(result, x, activation, p->slope,
                             p->alpha != NULL ? p->alpha + at : NULL, n);
            x = result;
        }
        sa2_floats_write(floats, y, p->x.dtype, x, n);
    }
}

/* n rows of x, one after the other. */
static void copy_rows(const sa2_floats *floats, const sa2_padding *p, unsigned char *to,
                      int64_t first, int64_t n)
{
    if (p->activation == SA2_ACT_SNAKE && p->x.dtype == SA2_F32) {
        floats->snake_rows((float *)to, p->x.shape[1], sa2_element(&p->x, first, 0), p->x.stride,
                           p->alpha, n, p->x.shape[1]);
        return;
    }
    for (int64_t r = 0; r < n; r++)
        copy_row(floats, p, to + (size_t)r * row_bytes(p), sa2_element(&p->x, first + r, 0),
                 p->x.dtype, p->activation);
}

void sa2_pad_piece(const sa2_cpu *cpu, const sa2_padding *p, int sequence, int64_t first, int64_t n,
                   void *copy)
{
    int64_t begin = p->sequences.offsets[sequence], end = first + n;
    int64_t stop = p->before + p->sequences.offsets[sequence + 1] - begin; /* padding after */
    unsigned char *to = copy;
    for (int64_t r = first, rows = 1; r < end; r += rows, to += (size_t)rows * row_bytes(p)) {
        rows = 1;
        if (r >= p->before && r < stop) {
            rows = (end < stop ? end : stop) - r;
            copy_rows(cpu->floats, p, to, begin + r - p->before, rows);
        } else if (r < p->before && p->history.data != NULL) {
            copy_row(cpu->floats, p, to, sa2_element(&p->history, sequence, r * p->x.shape[1]),
                     SA2_F32, SA2_ACT_NONE);
        } else {
            memset(to, 0, row_bytes(p));
        }
    }
}

static void fill_rows(const void *context, int64_t first, int64_t end)
{
    const pad_job *job = context;
    for (int i = 0; i < job->p->sequences.n; i++) {
        int64_t start = sa2_padded_start(job->p, i), stop = sa2_padded_start(job->p, i + 1);
        int64_t from = start > first ? start : first, to = stop < end ? stop : end;
        if (from < to)
            sa2_pad_piece(job->cpu, job->p, i, from - start, to - from,
                          job->copy + (size_t)from * row_bytes(job->p));
    }
}

void sa2_pad_rows(sa2_cpu *cpu, const sa2_padding *p, void *copy)
{
    pad_job job = {.p = p, .cpu = cpu, .copy = copy};
    double ns = p->activation == SA2_ACT_NONE ? 0.1 : 0.7; /* of an element */
    sa2_row_loop(cpu, sa2_padded_start(p, p->sequences.n), ns * (double)p->x.shape[1], fill_rows,
                 &job);
}
