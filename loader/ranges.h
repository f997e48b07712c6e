/* ranges.h - one loop over many elements, cut into ranges for several threads.
 *
 * Threads live for the call: the loops are those over the values of a whole tensor, which take
 * milliseconds where a thread takes microseconds.
 */
#ifndef SA2_LOADER_RANGES_H
#define SA2_LOADER_RANGES_H

#include <stdint.h>

#include "kernels/base/status.h"

typedef sa2_status (*sa2_range_task)(void *context, int64_t first, int64_t count, sa2_error *err);

/* Runs the task for ranges of at most `grain` elements that cover [0, n), in up to n_threads threads,
 * the caller being one. Returns the status and message of the lowest range that failed; ranges
 * after a failed one may be left out. */
sa2_status sa2_ranges_run(int n_threads, int64_t n, int64_t grain, sa2_range_task task,
                          void *context, sa2_error *err);

#endif
