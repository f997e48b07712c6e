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

/* Rows of a tile and blocks of a cluster that there are; 0 behind the last. */
extern const int sa2_product_tiles[], sa2_product_clusters[];

typedef enum sa2_split { SA2_SPLIT_AUTO = 0, SA2_SPLIT_NO, SA2_SPLIT_YES } sa2_split;

typedef struct sa2_large_products {
    sa2_cublaslt *library; /* NULL: all products are ours */
    int from_rows;         /* products with fewer are ours */
    int piece_rows; /* of weights that are multiplied at a time, at most; 0: by processors and cache */

    /* How our own are cut (product_wgmma.cu), where they can be cut so; 0: as they should take least time. Clusters, which no
     * device has run yet, are to be asked for. */
    int tile_rows, cluster; /* rows of a tile; blocks of a cluster, 1 unless asked for */
    sa2_split split;        /* a block for each slice of columns? */
} sa2_large_products;

/* From "own" (or NULL) with any of ",tile=N", ",cluster=N" or "auto", ",split=no" or "yes" behind it, or "cublaslt" with any of
 * ",file=PATH", ",rows=N", ",piece=N". Errors: SA2_ERR_ARG another text; those of sa2_cublaslt_open(). */
sa2_status sa2_large_products_open(sa2_large_products *l, const char *text, sa2_error *err);
void sa2_large_products_close(sa2_large_products *l);

#endif
