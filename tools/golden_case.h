/* golden_case.h - one golden case: inputs, expected outputs, tolerances, and the comparison.
 *
 * A case is a safetensors file with tensors in.* and out.*, f32 or i32, and metadata strings:
 * `case`, `part` (what is computed), `preset` and `seed` (of the weights), `tolerance` and perhaps
 * `tolerance_bf16`: {"out.x": {"abs": a, "rel": r, "l2": q}}, meaning
 *   |found - expected| <= a + r |expected| for every element, and ||found - expected|| <= q ||expected||.
 * Tests and `sa2 check` compare with this one piece of code. Outputs and inputs are named without
 * their prefix: "mel" is out.mel.
 */
#ifndef SA2_TOOLS_GOLDEN_CASE_H
#define SA2_TOOLS_GOLDEN_CASE_H

#include <stdbool.h>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"

typedef struct sa2_golden_case sa2_golden_case;

/* Errors: SA2_ERR_IO; SA2_ERR_FORMAT not safetensors, no part, no out.* tensor, a tensor that
 * is neither f32 nor i32, a tolerance that is no such JSON; SA2_ERR_NOMEM. */
sa2_status sa2_golden_case_open(sa2_golden_case **golden, const char *path, sa2_error *err);

/* The same from bytes in memory that outlive the case; `origin` stands for the path. */
sa2_status sa2_golden_case_parse(sa2_golden_case **golden, const void *bytes, size_t n,
                                 const char *origin, sa2_error *err);
void sa2_golden_case_close(sa2_golden_case *golden); /* NULL is fine */

const char *sa2_golden_origin(const sa2_golden_case *golden); /* the path */
const char *sa2_golden_name(const sa2_golden_case *golden);   /* `case`, or the file's name */
const char *sa2_golden_part(const sa2_golden_case *golden);

/* A metadata string, NULL when there is none. */
const char *sa2_golden_text(const sa2_golden_case *golden, const char *key);

/* A metadata string that must be there and be a whole number in [least, most]. */
sa2_status sa2_golden_number(const sa2_golden_case *golden, const char *key, int64_t least,
                             int64_t most, int64_t *number, sa2_error *err);

/* Input or output with its values, in host memory, dense; data NULL when there is none of the name.
 * Not to be written to. */
sa2_tensor sa2_golden_input(const sa2_golden_case *golden, const char *name);
sa2_tensor sa2_golden_output(const sa2_golden_case *golden, const char *name);

/* An input that must be there: dtype, ndim, and the shape where it is not -1. */
sa2_status sa2_golden_expect(const sa2_golden_case *golden, const char *name, sa2_dtype dtype,
                             int ndim, const int64_t *shape, sa2_tensor *input, sa2_error *err);

int sa2_golden_outputs(const sa2_golden_case *golden);
const char *sa2_golden_output_name(const sa2_golden_case *golden, int i);

typedef struct sa2_tolerance {
    bool known; /* false: none in the file; only equal values pass */
    double abs, rel;
    double l2; /* negative: not bounded */
} sa2_tolerance;

/* For activations of `dtype`: F32 reads `tolerance`; BF16 reads `tolerance_bf16`, and `tolerance` for
 * an output that it does not name. */
sa2_tolerance sa2_golden_tolerance(const sa2_golden_case *golden, const char *output,
                                   sa2_dtype dtype);

enum { SA2_GOLDEN_WHY_BYTES = 384 };

typedef struct sa2_golden_result {
    const char *name; /* of the output, of the case */
    bool ok;
    int64_t n_wrong;    /* elements outside */
    double largest_abs; /* |found - expected| */
    double largest_rel; /* |found - expected| / |expected|, over expected that are not 0 */
    double l2;          /* ||found - expected|| / ||expected|| */
    sa2_tolerance tolerance;
    char why
        [SA2_GOLDEN_WHY_BYTES]; /* "" when ok; else the worst element, or the shapes that differ */
} sa2_golden_result;

/* Compares an output with `found`: host memory, dense, f32, bf16 or i32. Another shape, a value that
 * is not there (NaN) and a missing output are failures of the result. */
void sa2_golden_compare(const sa2_golden_case *golden, const char *output, sa2_dtype dtype,
                        sa2_tensor found, sa2_golden_result *result);

#endif
