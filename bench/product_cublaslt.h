/* product_cublaslt.h - cuBLASLt's matrix product, the yardstick for ours on a GPU: kernels/cuda/cublaslt.h over tensors and a
 * stream.
 */
#ifndef SA2_BENCH_PRODUCT_CUBLASLT_H
#define SA2_BENCH_PRODUCT_CUBLASLT_H

#include "kernels/backend.h"

typedef struct sa2_product_cublaslt sa2_product_cublaslt;

/* Opens the first of `names` that is there (the list ends with NULL) and takes 32 MB of s's device as its workspace; products
 * run in the order of s's ops. The caller closes it, before s. Errors: as sa2_cublaslt_open(), and of the memory. */
sa2_status sa2_product_cublaslt_open(sa2_product_cublaslt **made, const char *const *names,
                                     sa2_stream *s, sa2_error *err);
void sa2_product_cublaslt_close(sa2_product_cublaslt *p); /* NULL is fine */

/* y = x w^T. y [m, n], x [m, k], w [n, k]: bf16, dense, memory of the device. Returns before the device is done. */
sa2_status sa2_product_cublaslt_run(sa2_product_cublaslt *p, sa2_tensor y, sa2_tensor x,
                                    sa2_tensor w, sa2_error *err);

#endif
