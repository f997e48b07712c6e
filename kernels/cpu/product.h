/* product.h - the one product behind sa2_linear and the convolutions: rows found in x, times a
 * weight matrix, through an epilogue into y.
 *
 * A row of the product is `taps` pieces of x, each `tap_cols` long and `tap_step` apart: one piece for a
 * linear layer, and for a convolution without dilation too, whose patches are contiguous in a
 * padded signal. So rows may overlap and no patch is ever copied out of x just to be contiguous.
 *
 * Every instruction set sums a row along K in one order, column by column, whatever the other rows.
 */
#ifndef SA2_KERNELS_CPU_PRODUCT_H
#define SA2_KERNELS_CPU_PRODUCT_H

#include "kernels/cpu/cpu_backend.h"

/* Rows at equal steps in x and y: all rows of a layer, or those of one sequence. */
typedef struct sa2_row_span {
    int64_t first; /* its first row in the product */
    int64_t x, y;  /* where that row begins, in elements of x and y; y may lie before y_first */
    int64_t y_first, y_last; /* elements of y in [y_first, y_last) are written, others dropped */
} sa2_row_span;

/* What happens to a sum on its way to y, in this order. */
typedef struct sa2_epilogue {
    const float *bias; /* [n] or NULL; of swiglu: [n / 2] of the gate, then of the up part */
    bool residual;     /* add y before the activation */
    bool swiglu;       /* silu(gate) * up */
    sa2_activation activation;
    float slope;
    const float *gate;        /* NULL: 1 */
    const int32_t *gate_rows; /* [rows of the product], or NULL: row 0 */
    int64_t gate_step;        /* floats from a row of gate to the next */
    bool accumulate;          /* y += */
} sa2_epilogue;

typedef struct sa2_product {
    const void *x;
    void *y;
    sa2_dtype x_dtype, y_dtype;
    const sa2_matrix *w;
    int64_t rows;
    int64_t x_step, y_step; /* elements from a row to the next of its span */
    const sa2_row_span *spans;
    int n_spans; /* at least 1; `first` rises from 0 */
    int64_t taps, tap_cols, tap_step;
    sa2_epilogue epilogue;
} sa2_product;

/* Where row `row` of the product lies; *span is a place to start looking, moved along. */
static inline const sa2_row_span *sa2_span_of(const sa2_product *p, int64_t row, int *span)
{
    while (*span + 1 < p->n_spans && p->spans[*span + 1].first <= row)
        (*span)++;
    return &p->spans[*span];
}

/* The last span that begins at or before `row`. */
int sa2_span_find(const sa2_product *p, int64_t row);

/* A part that one thread computes: rows and blocks of 16 columns. */
typedef struct sa2_product_part {
    int64_t row, n_rows;
    int64_t block, n_blocks; /* both even */
    int64_t next_block;      /* likely to be this thread's next; 0: none is known */
} sa2_product_part;

enum { SA2_SUMS_SPACE = 64 << 10 };

/* The code for one pair of dtypes in one instruction set. */
typedef struct sa2_product_kernel {
    /* Bytes of 16 rows in the form that `run` reads; NULL: it reads x itself. */
    size_t (*panel_bytes)(int64_t cols);
    /* Puts rows [row, row + n) there, n up to 16. */
    void (*pack)(const sa2_product *p, int64_t row, int n, void *panel);
    /* `panels` hold rows [first_row, ...); `space` is SA2_THREAD_SPACE bytes of this thread's own, of
     * which a kernel without `pack` uses the first SA2_SUMS_SPACE, but for w in e4m3. */
    void (*run)(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space);
} sa2_product_kernel;

/* x in f32 with w in f32, bf16 or e4m3; x in bf16 with w in bf16 or e4m3. */
extern const sa2_product_kernel sa2_product_f32_c, sa2_product_bf16_c;
extern const sa2_product_kernel sa2_product_f32_avx2, sa2_product_bf16_avx2;
extern const sa2_product_kernel sa2_product_f32_avx512, sa2_product_bf16_avx512;
extern const sa2_product_kernel sa2_product_bf16_avx512bf16;
extern const sa2_product_kernel sa2_product_bf16_amx;

/* x in either dtype with w in i8 or i4. */
extern const sa2_product_kernel sa2_product_i8_c, sa2_product_i8_avx2;
extern const sa2_product_kernel sa2_product_i8_avx512bf16, sa2_product_i8_amx;
extern const sa2_product_kernel sa2_product_i4_c, sa2_product_i4_avx2;
extern const sa2_product_kernel sa2_product_i4_avx512bf16, sa2_product_i4_amx;

/* For x and w in those dtypes. */
const sa2_product_kernel *sa2_product_kernel_for(const sa2_cpu *cpu, sa2_dtype x, sa2_dtype w);

/* Errors: SA2_ERR_LIMIT when 16 rows of x do not fit the workspace of the backend. */
sa2_status sa2_product_run(sa2_stream *s, const sa2_product *p, sa2_error *err);

/* The gate of an op into its epilogue. Errors: SA2_ERR_ARG for a row that the table has not. */
sa2_status sa2_cpu_gate(sa2_epilogue *e, const char *op, const sa2_tensor *gate,
                        const sa2_tensor *gate_rows, sa2_error *err);

#endif
