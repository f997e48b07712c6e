/* ceilings.h - what this machine can do at most: the numbers that shares are shares of.
 */
#ifndef SA2_BENCH_CEILINGS_H
#define SA2_BENCH_CEILINGS_H

#include "bench/measure.h"

/* Measures them with all threads of the bench's backend, or on its device, prints a row each, and fills the bench's
 * fields. Takes about three seconds and 1 GiB. Errors: SA2_ERR_NOMEM, those of the device. */
sa2_status sa2_ceilings_measure(sa2_bench *bench, sa2_error *err);

/* The same of a device by its own probes, over `memory` [bytes] of it, which is left as it was found but for its second
 * half. */
sa2_status sa2_ceilings_measure_device(sa2_bench *bench, sa2_stream *s, void *memory, size_t bytes,
                                       sa2_error *err);

/* The read bandwidth alone, again: memory is shared with other machines and changes within minutes, so a figure
 * that is bound by it is quoted with a probe right beside it. Bytes a second; 0: there is no room to measure. */
double sa2_ceilings_read(const sa2_bench *bench);

#endif
