/* cublaslt.h - cuBLASLt's matrix product: the library, opened when it is wanted, and what it answered about shapes.
 *
 * A build needs nothing of it. Its calls are those that NVIDIA's cuBLAS documentation has under "Using the cuBLASLt API",
 * the same in versions 12 and 13. Two use it: large products of the CUDA backend, and the bench beside ours.
 */
#ifndef SA2_KERNELS_CUDA_CUBLASLT_H
#define SA2_KERNELS_CUDA_CUBLASLT_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/status.h"

typedef struct sa2_cublaslt sa2_cublaslt;

enum {
    SA2_CUBLASLT_WORKSPACE = 32 << 20, /* bytes: what NVIDIA advises for Hopper */
    SA2_CUBLASLT_ALIGN = 16,           /* bytes: what the widest loads, and copies of tiles, need */
};

/* Under which names the library is looked for, newest first; ends with NULL. */
extern const char *const sa2_cublaslt_names[];

/* Opens the first of `names` that is there, for the device that is the thread's. Errors: SA2_ERR_UNSUPPORTED no such library,
 * or calls missing in it; SA2_ERR_NOMEM; SA2_ERR_DEVICE, also of products, with the call and the library's words. */
sa2_status sa2_cublaslt_open(sa2_cublaslt **lt, const char *const *names, sa2_error *err);
void sa2_cublaslt_close(sa2_cublaslt *lt); /* NULL is fine */

/* y = x w^T, or y += x w^T. Data and rows lie at multiples of SA2_CUBLASLT_ALIGN bytes in memory of the device. */
typedef struct sa2_cublaslt_product {
    int64_t m, n, k;
    void *y;                        /* [m, n] */
    const void *x, *w;              /* [m, k], [n, k] bf16 */
    int64_t y_step, x_step, w_step; /* elements from row to row */
    bool y_is_f32;                  /* else bf16 */
    bool accumulate;
    void *queue;     /* the cudaStream_t in whose order it runs */
    void *workspace; /* [SA2_CUBLASLT_WORKSPACE] of the device, of this queue alone */
} sa2_cublaslt_product;

/* With sums in f32, by the algorithm that the library prefers. It is asked about the shape as it is, and its answers about
 * the last 64 shapes are kept: an answer about a rounded number of rows would have to be checked by one more call, and
 * asking takes the host less than the product takes the device. Returns before the device is done. Threads: any. */
sa2_status sa2_cublaslt_multiply(sa2_cublaslt *lt, const sa2_cublaslt_product *p, sa2_error *err);

#endif
