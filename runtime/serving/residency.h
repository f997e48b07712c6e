/* residency.h - the memory of a plan becomes resident beside the first steps, which need little of it.
 *
 * Threads: sa2_residency_start() and _stop() by the owner; a thread of its own in between.
 */
#ifndef SA2_RUNTIME_SERVING_RESIDENCY_H
#define SA2_RUNTIME_SERVING_RESIDENCY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "kernels/base/arena.h"

enum { SA2_RESIDENCY_ARENAS = 4 };

typedef struct sa2_residency {
    const sa2_arena
        *arenas[SA2_RESIDENCY_ARENAS]; /* borrowed, in this order; NULL behind the last */
    pthread_t thread;
    bool runs;
    atomic_bool stop;
} sa2_residency;

/* `residency` has its arenas and is zero otherwise; it and they stay where they are until _stop(). Without a thread
 * to be had, memory comes when it is touched. */
void sa2_residency_start(sa2_residency *residency);

/* Ends it, within some ms if it is not done; zeroed is fine. The arenas can be destroyed then. */
void sa2_residency_stop(sa2_residency *residency);

#endif
