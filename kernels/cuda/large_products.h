/* large_products.h - who computes products of many rows on a GPU: sa2_backend_options.large_products as it was read, and the
 * library that it asks for.
 */
#ifndef SA2_KERNELS_CUDA_LARGE_PRODUCTS_H
#define SA2_KERNELS_CUDA_LARGE_PRODUCTS_H

#include "kernels/cuda/cublaslt.h"

enum {
    /* From so many rows on the library is expected to be the faster one, unpacking of weights and all: computed from
     * times of both (ARCHITECTURE.md, section 15), itself unmeasured. */
    SA2_LARGE_ROWS = 1024,
    SA2_LARGE_PIECE = 16, /* pieces of the weights are multiples of so many rows */
};

typedef struct sa2_large_products {
    sa2_cublaslt *library; /* NULL: all products are ours */
    int from_rows;         /* products with fewer are ours */
    int piece_rows; /* of weights that are multiplied at a time, at most; 0: by processors and cache */
} sa2_large_products;

/* From "own" (or NULL), or "cublaslt" with any of ",file=PATH", ",rows=N", ",piece=N" behind it. Errors: SA2_ERR_ARG another
 * text; those of sa2_cublaslt_open(). */
sa2_status sa2_large_products_open(sa2_large_products *l, const char *text, sa2_error *err);
void sa2_large_products_close(sa2_large_products *l);

#endif
