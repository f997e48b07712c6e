/* padded.h - a copy of packed sequences with rows of padding before and after each one, so that every
 * patch of a convolution lies in one stretch of memory.
 */
#ifndef SA2_KERNELS_CPU_PADDED_H
#define SA2_KERNELS_CPU_PADDED_H

#include "kernels/cpu/cpu_backend.h"

typedef struct sa2_padding {
    sa2_tensor x; /* [rows, in] f32 or bf16 */
    sa2_rows sequences;
    int before, after;         /* rows added to each sequence, zero but for: */
    sa2_tensor history;        /* f32 [n, before, in] or absent */
    sa2_activation activation; /* of x, as it is copied */
    float slope;
    const float *alpha; /* [in] */
} sa2_padding;

/* Where sequence i begins among the rows of the copy. */
static inline int64_t sa2_padded_start(const sa2_padding *p, int i)
{
    return p->sequences.offsets[i] + (int64_t)i * (p->before + p->after);
}

size_t sa2_padded_bytes(sa2_dtype dtype, int64_t rows, int64_t in, int n_sequences,
                        int64_t padding);

/* Fills `copy`, sa2_padded_bytes() in the dtype of x, dense. */
void sa2_pad_rows(sa2_cpu *cpu, const sa2_padding *p, void *copy);

/* Rows [first, first + n) of one sequence with its padding, dense: one thread's part of the same. */
void sa2_pad_piece(const sa2_cpu *cpu, const sa2_padding *p, int sequence, int64_t first, int64_t n,
                   void *copy);

#endif
