/* matrix_rounded.h - writing weight matrices whose values are rounded to steps: row by row into blocks.
 */
#ifndef SA2_KERNELS_CPU_MATRIX_ROUNDED_H
#define SA2_KERNELS_CPU_MATRIX_ROUNDED_H

#include "kernels/cpu/matrix.h"

/* One of matrix_i8.h, matrix_i4.h and matrix_e4m3.h. */
typedef struct sa2_rounding {
    int64_t max_cols;
    /* Row `lane` of a block; values [cols] and the largest magnitude among them, or NULL and 0: all are 0.
     * Threads: one for each block. */
    void (*put_row)(const sa2_matrix *w, int64_t block, int lane, const float *values, float most);
} sa2_rounding;

/* The largest magnitude of n values. */
float sa2_largest(const float *values, int64_t n);

/* The contracts of kernels/ops.h. A gate-and-up matrix has 16 rows of the gate, 16 of up, and so on.
 * Errors: SA2_ERR_LIMIT more than max_cols columns. */
sa2_status sa2_matrix_rounded_write(sa2_stream *s, const sa2_rounding *rounding,
                                    const sa2_matrix *w, int64_t first, const sa2_tensor *src,
                                    sa2_error *err);
sa2_status sa2_matrix_rounded_write_swiglu(sa2_stream *s, const sa2_rounding *rounding,
                                           const sa2_matrix *w, const sa2_tensor *gate,
                                           const sa2_tensor *up, sa2_error *err);

#endif
