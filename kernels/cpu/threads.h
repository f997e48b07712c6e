/* threads.h - a fixed team of threads that runs one loop at a time.
 *
 * The caller takes part. Between loops the others spin for some microseconds, then sleep; so does the caller when it waits for the last
 * indices. A thread that the system keeps from running is waited for only if it has an index. Which
 * thread runs which index is not fixed, so a task may not depend on it.
 */
#ifndef SA2_KERNELS_CPU_THREADS_H
#define SA2_KERNELS_CPU_THREADS_H

#include "kernels/base/status.h"

typedef struct sa2_threads sa2_threads;

/* The work of index i of a loop; `thread` is below sa2_threads_count(). */
typedef void (*sa2_task)(void *context, int i, int thread);

/* n_threads 0: as many as processors this process may run on. */
sa2_status sa2_threads_create(sa2_threads **threads, int n_threads, sa2_error *err);
void sa2_threads_destroy(sa2_threads *threads); /* NULL is fine */
int sa2_threads_count(const sa2_threads *threads);

/* Runs task(context, i, .) for i in [0, n) and returns when all are done. Not reentrant: one caller at a time. */
void sa2_threads_run(sa2_threads *threads, int n, sa2_task task, void *context);

#endif
