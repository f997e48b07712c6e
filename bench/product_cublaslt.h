/* product_cublaslt.h - cuBLASLt's matrix product, the yardstick for ours on a GPU.
 *
 * The library is opened when it is wanted, so that a build needs nothing of it. Its calls are those that NVIDIA's cuBLAS
 * documentation has under "Using the cuBLASLt API", the same in versions 12 and 13.
 */
#ifndef SA2_BENCH_PRODUCT_CUBLASLT_H
#define SA2_BENCH_PRODUCT_CUBLASLT_H

#include "kernels/backend.h"

typedef struct sa2_cublaslt sa2_cublaslt;

/* Opens the first of `names` that is there (the list ends with NULL) and takes 32 MB of s's device as its workspace; products
 * run in the order of s's ops. The caller closes it, before s.
 * Errors: SA2_ERR_UNSUPPORTED no such library, or calls missing in it; SA2_ERR_NOMEM; SA2_ERR_DEVICE, also of the product
 * below, with the call and the library's words. */
sa2_status sa2_cublaslt_open(sa2_cublaslt **lt, const char *const *names, sa2_stream *s,
                             sa2_error *err);

/* y = x w^T with sums in f32, by the algorithm that the library prefers: it is asked once for each shape.
 *   y [m, n], x [m, k], w [n, k]  bf16, dense, memory of the device
 * Returns before the device is done. */
sa2_status sa2_cublaslt_product(sa2_cublaslt *lt, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                                sa2_error *err);

void sa2_cublaslt_close(sa2_cublaslt *lt); /* NULL is fine */

#endif
