#include "runtime/serving/residency.h"

#include <time.h>

enum {
    PIECE = 2 << 20, /* bytes: other threads wait meanwhile if they map memory */
    REST = 3         /* times as long as the piece before took: steps have most of the processor */
};

static void rest_after(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long ns = (now.tv_sec - start->tv_sec) * 1000000000L + now.tv_nsec - start->tv_nsec;
    long pause = REST * ns;
    nanosleep(&(struct timespec){pause / 1000000000L, pause % 1000000000L}, NULL);
}

static void *commit_all(void *context)
{
    sa2_residency *r = context;
    for (int i = 0; i < SA2_RESIDENCY_ARENAS && r->arenas[i] != NULL; i++)
        for (size_t at = 0; at < r->arenas[i]->owned_bytes && !atomic_load(&r->stop); at += PIECE) {
            struct timespec start;
            clock_gettime(CLOCK_MONOTONIC, &start);
            sa2_arena_commit(r->arenas[i], at, PIECE);
            rest_after(&start);
        }
    return NULL;
}

void sa2_residency_start(sa2_residency *r)
{
    r->runs = pthread_create(&r->thread, NULL, commit_all, r) == 0;
}

void sa2_residency_stop(sa2_residency *r)
{
    if (!r->runs)
        return;
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    r->runs = false;
}
