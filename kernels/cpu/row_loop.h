/* row_loop.h - a loop over rows, shared among the threads when there is enough to do.
 */
#ifndef SA2_KERNELS_CPU_ROW_LOOP_H
#define SA2_KERNELS_CPU_ROW_LOOP_H

#include "kernels/cpu/cpu_backend.h"

/* Rows [first, end). */
typedef void (*sa2_row_task)(const void *context, int64_t first, int64_t end);

/* Runs task over [0, rows) in pieces; `cost` is nanoseconds of one row, roughly. Less than some
 * microseconds in all run on the calling thread. A row's result may not depend on the piece. */
void sa2_row_loop(sa2_cpu *cpu, int64_t rows, double cost, sa2_row_task task, const void *context);

#endif
