/* cublaslt.h - what a test tells the fake of cuBLASLt beside its calls.
 */
#ifndef SA2_TESTS_FAKES_CUBLASLT_H
#define SA2_TESTS_FAKES_CUBLASLT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fake_cublaslt_fault {
    FAKE_CUBLASLT_FAILS, /* an internal error */
    FAKE_CUBLASLT_EMPTY, /* of the heuristic: works, and has no algorithm */
    FAKE_CUBLASLT_ERRS,  /* of the product: works, and its last row of y is wrong */
} fake_cublaslt_fault;

/* The fail_call-th call that can fail does so, counted from 0; -1: none does. */
void fake_cublaslt_begin(int fail_call, fake_cublaslt_fault fault);

/* Since the beginning: calls that can fail, the name of the one that did ("" for none), and shapes asked about. */
int fake_cublaslt_calls(void);
const char *fake_cublaslt_failed(void);
int fake_cublaslt_asked(void);

int fake_cublaslt_products(void); /* the same, of products that were right */

/* For a simulated device: told of each product that starts, and of the memory that it reads and writes. NULL: nobody is. */
void fake_cublaslt_watch(void (*starts)(void),
                         void (*access)(const void *p, size_t bytes, bool writes));

/* The calls themselves, as NVIDIA's documentation has them. */
typedef struct fake_cublaslt_algorithm {
    uint64_t words[8];
} fake_cublaslt_algorithm;
typedef struct fake_cublaslt_answer {
    fake_cublaslt_algorithm algorithm;
    size_t workspace_bytes;
    int status;
    float waves;
    int reserved[4];
} fake_cublaslt_answer;
int cublasLtCreate(void **handle);
int cublasLtDestroy(void *handle);
const char *cublasLtGetStatusString(int status);
int cublasLtMatmulDescCreate(void **desc, int compute, int scale);
int cublasLtMatmulDescDestroy(void *desc);
int cublasLtMatmulDescSetAttribute(void *desc, int attribute, const void *value, size_t bytes);
int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t cols,
                               int64_t stride);
int cublasLtMatrixLayoutDestroy(void *layout);
int cublasLtMatmulPreferenceCreate(void **preference);
int cublasLtMatmulPreferenceDestroy(void *preference);
int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value,
                                         size_t bytes);
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c, void *d,
                                   void *preference, int n_wanted, fake_cublaslt_answer *answers,
                                   int *n_found);
int cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *a_data, void *a,
                   const void *b_data, void *b, const void *beta, const void *c_data, void *c,
                   void *d_data, void *d, const fake_cublaslt_algorithm *algorithm, void *workspace,
                   size_t workspace_bytes, void *queue);

#endif
