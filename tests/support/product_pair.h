/* product_pair.h - two streams of the simulated GPU that compute the same products: one as always, and one with large products
 * as it is told.
 */
#ifndef SA2_TESTS_SUPPORT_PRODUCT_PAIR_H
#define SA2_TESTS_SUPPORT_PRODUCT_PAIR_H

#include "kernels/stream.h"

typedef struct product_pair {
    sa2_backend *backends[2];
    sa2_stream *own, *large;
    sa2_arena memory; /* the host's too, of 48 MB */
    uint32_t random;
} product_pair;

/* `large` is large_products of sa2_backend_options, `graphs` of that stream too. Failures end the test. */
void product_pair_open(product_pair *w, const char *large, bool graphs);
void product_pair_close(product_pair *w);
void product_finish(sa2_stream *s);

/* Random values; rows are `stride` elements apart. */
sa2_tensor product_rows(product_pair *w, sa2_dtype dtype, int64_t rows, int64_t cols,
                        int64_t stride);
sa2_tensor product_vector(product_pair *w, int64_t n); /* in f32 */

/* [n, k], or of gate and up [n / 2, k] each. */
sa2_matrix product_matrix(product_pair *w, sa2_dtype dtype, int64_t n, int64_t k, bool swiglu);

float product_element(const sa2_tensor *x, int64_t row, int64_t col);
void product_set_element(const sa2_tensor *x, int64_t row, int64_t col, float value);
uint16_t product_bf16(float value);

/* What may stand behind a product, and where y lies. */
typedef struct product_kind {
    const char *name;
    sa2_dtype y;
    bool bias, swiglu, accumulate, gate, gates;
    sa2_activation activation;
    int before, apart; /* elements in front of y, and between its rows */
} product_kind;

enum { PRODUCT_KINDS = 11 };
extern const product_kind product_kinds[PRODUCT_KINDS]; /* the first is plain */

/* Both of the same product, from the same y. */
typedef struct product_results {
    sa2_tensor own, large;
} product_results;

product_results product_run_both(product_pair *w, const product_kind *c, const sa2_matrix *m,
                                 sa2_tensor x);

#endif
