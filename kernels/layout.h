/* layout.h - the orders in which backends keep weight matrices, by name: for files that hold them so.
 *
 * A file is read as it lies when its order is that of the backend (sa2_stream_layout); on the host every
 * order of this build can be read row by row, whichever backend is open.
 */
#ifndef SA2_KERNELS_LAYOUT_H
#define SA2_KERNELS_LAYOUT_H

#include "kernels/ops.h"

/* Of a matrix that sa2_matrix_write_swiglu() wrote, the rows that came from gate or from up. */
typedef enum sa2_matrix_half { SA2_MATRIX_ALL = 0, SA2_MATRIX_GATE, SA2_MATRIX_UP } sa2_matrix_half;

/* Rows [row, row + n) of a matrix, or of its half, from column `col` on, to rows from to_row on of another. */
typedef struct sa2_cut {
    sa2_matrix_half half;
    int64_t row, n, col, to_row;
} sa2_cut;

typedef struct sa2_layout {
    const char *name; /* another one as soon as a byte lies elsewhere */
    sa2_dtype dtype;
    sa2_dtype row_dtype; /* of what read_row() gives: dtype, or f32 where it is rounded to steps */
    size_t (*bytes)(int64_t rows, int64_t cols); /* of data; rows * cols below 2^50 */
    /* Row `row` of the matrix, or of its half, to out [cols]. Threads: reentrant. */
    void (*read_row)(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row);
    /* A cut of `from`, as wide as `to`, bit for bit, both in host memory; what is beyond `to` is left as it is. False:
     * there is no such cut. NULL: there is none in this order. */
    bool (*cut)(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *cut);
    /* From a multiple of it on, as many rows are a matrix of their own, bytes(first row) behind the beginning;
     * 0: nowhere. */
    int64_t rows_together;
} sa2_layout;

/* In which the ops of s want matrices of a dtype; NULL when they take none of it. */
const sa2_layout *sa2_stream_layout(const sa2_stream *s, sa2_dtype dtype);

/* Of any backend of this build; NULL when there is none of that name. */
const sa2_layout *sa2_layout_find(const char *name);

#endif
