/* check_case.h - computes a golden case with this build and judges every output.
 *
 * What is computed follows from the case's `part`. A file check_<area>.c has the parts of an area: a
 * function each and one table, which check_case.c lists. A new part is a function and a line.
 */
#ifndef SA2_TOOLS_CHECK_CASE_H
#define SA2_TOOLS_CHECK_CASE_H

#include "kernels/backend.h"
#include "tools/golden_case.h"

typedef struct sa2_check_context {
    sa2_backend *backend;
    sa2_dtype dtype; /* of activations where a part has the choice and the case a `tolerance_bf16`:
                        F32 or BF16; else F32 */
    const char *
        model; /* folder of a checkpoint to take the weights from; NULL: made from preset and seed */
    const char
        *sounds; /* folder of the recordings that cases name; NULL: ../../audio/ beside the case */
} sa2_check_context;

/* Called once for every output that was judged, in order. */
typedef void (*sa2_check_report)(void *user, const sa2_golden_result *result);

/* SA2_OK: the case was computed, and the report says whether it is right; *n_failed counts the outputs
 * that are not. Errors: SA2_ERR_UNSUPPORTED an unknown part; SA2_ERR_FORMAT the case lacks what its part needs;
 * SA2_ERR_IO a recording or model that is not there; whatever the computation says. */
sa2_status sa2_check_case(const sa2_golden_case *golden, const sa2_check_context *context,
                          sa2_check_report report, void *user, int *n_failed, sa2_error *err);

/* ---- for check_<area>.c ---- */

typedef struct sa2_check_run {
    const sa2_golden_case *golden;
    const sa2_check_context *context;
    sa2_check_report report;
    void *user;
    int n_failed;
} sa2_check_run;

typedef struct sa2_check_part {
    const char *name; /* metadata `part` */
    sa2_status (*run)(sa2_check_run *run, sa2_error *err);
} sa2_check_part;

/* Ends with a NULL name. */
extern const sa2_check_part sa2_check_audio_parts[];

/* Compares `found` with the case's output `name` and reports: values in host memory, or a dense tensor of
 * the stream, which is waited for. A part that cannot choose its dtype (features) passes F32. */
void sa2_check_judge(sa2_check_run *run, const char *name, sa2_dtype dtype, sa2_tensor found);
sa2_status sa2_check_judge_device(sa2_check_run *run, const char *name, sa2_dtype dtype,
                                  sa2_stream *s, sa2_tensor found, sa2_error *err);

/* A stream and an arena of the backend for one part. Zero-initialise it; close it in any case. */
typedef struct sa2_check_device {
    sa2_backend *backend; /* not owned */
    sa2_stream *stream;
    sa2_arena arena;
} sa2_check_device;

sa2_status sa2_check_device_open(sa2_check_device *device, const sa2_check_run *run,
                                 size_t scratch_bytes, sa2_error *err);

/* The arena, once; what is needed may only be known with the stream at hand. */
sa2_status sa2_check_device_reserve(sa2_check_device *device, size_t bytes, sa2_error *err);
void sa2_check_device_close(sa2_check_device *device);

#endif
