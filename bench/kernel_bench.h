/* kernel_bench.h - what the cases of sa2 bench kernel share. Inside bench/ only.
 *
 * A case makes its tensors twice, on the host and on the device, runs once, compares what it finds with sums on the host,
 * and only then is timed.
 */
#ifndef SA2_BENCH_KERNEL_BENCH_H
#define SA2_BENCH_KERNEL_BENCH_H

#include "bench/measure.h"
#include "bench/product_cublaslt.h"
#include "kernels/base/arena.h"

enum { SA2_KERNEL_MAX_ROWS = 16 };

typedef struct sa2_kernel_bench {
    sa2_bench bench;
    sa2_stream *stream;
    sa2_arena device, host;
    void *evicted; /* device memory that is read between two runs; NULL: there is no need */
    size_t evicted_bytes;
    int rows[SA2_KERNEL_MAX_ROWS], n_rows; /* asked for; none: those of each case */
    int shrink;                            /* all sizes are divided by it: 1, or for a simulator */
    const char *const *cublaslt_names;     /* beside our products in bf16, or NULL: nothing */
    const char *
        large_products; /* beside them too: of a backend whose large products are the library's; NULL: nothing */
    int large_rows; /* from which on it is beside them */
    sa2_product_cublaslt
        *cublaslt;              /* opened with the first of them; sa2_kernel_products() closes it */
    sa2_backend *large_backend; /* opened with large_products, and closed, likewise */
    sa2_stream *large_stream;
    sa2_status status; /* of the first failure */
    sa2_error err;
} sa2_kernel_bench;

/* The same values in memory of the host and of the device. */
typedef struct sa2_kernel_pair {
    sa2_tensor host, device;
} sa2_kernel_pair;

/* Dense [rows, cols] of small values, none the same as its neighbours; data is NULL, and the status says so, when
 * there is no room. */
sa2_kernel_pair sa2_kernel_values(sa2_kernel_bench *b, sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_kernel_pair sa2_kernel_result(sa2_kernel_bench *b, sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_kernel_pair sa2_kernel_cols(sa2_kernel_pair x, int64_t first, int64_t n);

/* From the device to the host, and waits. */
void sa2_kernel_fetch(sa2_kernel_bench *b, const sa2_kernel_pair *x);
double sa2_kernel_element(const sa2_tensor *x, int64_t row, int64_t col);

/* A size of the model as it is to be run, a multiple of `unit`. */
int64_t sa2_kernel_size(const sa2_kernel_bench *b, int64_t size, int64_t unit);

/* Fails when |found - expected| is more than `allowed`, NaN included. */
void sa2_kernel_expect(sa2_kernel_bench *b, const char *name, double found, double expected,
                       double allowed);

/* Times run() and prints a row, unless something has failed. bf16: which of the ceilings of arithmetic applies. */
void sa2_kernel_report(sa2_kernel_bench *b, const char *name, sa2_bench_run run, void *context,
                       double bytes, double flops, bool bf16);

/* The cases, in order of importance. */
void sa2_kernel_products(sa2_kernel_bench *b);
void sa2_kernel_attention(sa2_kernel_bench *b);
void sa2_kernel_vectors(sa2_kernel_bench *b);
void sa2_kernel_sample(sa2_kernel_bench *b);

#endif
