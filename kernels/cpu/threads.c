#define _GNU_SOURCE
#include "kernels/cpu/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum {
    MAX_THREADS = 256,
    SPINS = 4000 /* some 10 us of pauses: longer than the gap between two ops */
};

typedef struct worker {
    struct sa2_threads *team;
    pthread_t id;
    int index;
} worker;

/* A loop is open while some of its indices are not finished, and only then do threads look at its task. Nobody waits
 * for a thread that has no index: one that the system has put aside costs what it was doing, not the loop. */
struct sa2_threads {
    int n_threads;
    int n_started;
    worker workers[MAX_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_uint_fast64_t loop; /* its number << 32 | indices that nobody has taken */
    atomic_int n_unfinished;   /* indices */
    atomic_int n_asleep;       /* workers */
    atomic_bool caller_sleeps;
    atomic_bool quit;
    int n;
    sa2_task task;
    void *context;
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static uint32_t loop_number(sa2_threads *team)
{
    return (uint32_t)(atomic_load(&team->loop) >> 32);
}

/* The number in the same word keeps a thread that was held up from taking an index of a later loop as one of its own. */
static bool take_index(sa2_threads *team, int *index)
{
    uint_fast64_t loop = atomic_load(&team->loop);
    do
        if ((uint32_t)loop == 0)
            return false;
    while (!atomic_compare_exchange_weak(&team->loop, &loop, loop - 1));
    *index = team->n - (int)(uint32_t)loop;
    return true;
}

static void run_indices(sa2_threads *team, int thread)
{
    for (int i; take_index(team, &i);) {
        team->task(team->context, i, thread);
        if (atomic_fetch_sub(&team->n_unfinished, 1) == 1 && atomic_load(&team->caller_sleeps)) {
            pthread_mutex_lock(&team->lock);
            pthread_cond_signal(&team->done);
            pthread_mutex_unlock(&team->lock);
        }
    }
}

static void await_loop(sa2_threads *team, uint32_t seen)
{
    for (int i = 0; i < SPINS && loop_number(team) == seen; i++)
        pause_briefly();
    if (loop_number(team) != seen)
        return;
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->n_asleep, 1);
    while (loop_number(team) == seen)
        pthread_cond_wait(&team->wake, &team->lock);
    atomic_fetch_sub(&team->n_asleep, 1);
    pthread_mutex_unlock(&team->lock);
}

static void *work(void *argument)
{
    worker *self = argument;
    sa2_threads *team = self->team;
    for (uint32_t seen = 0;;) {
        await_loop(team, seen);
        seen = loop_number(team);
        if (atomic_load(&team->quit))
            return NULL;
        run_indices(team, self->index);
    }
}

static void open_loop(sa2_threads *team, int n)
{
    atomic_store(&team->n_unfinished, n);
    atomic_store(&team->loop, (uint_fast64_t)(loop_number(team) + 1) << 32 | (uint32_t)n);
    if (atomic_load(&team->n_asleep) == 0)
        return;
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
}

/* Sleeping leaves the processor to a thread whose own somebody else took. */
static void await_end(sa2_threads *team)
{
    for (int i = 0; i < SPINS && atomic_load(&team->n_unfinished) > 0; i++)
        pause_briefly();
    if (atomic_load(&team->n_unfinished) == 0)
        return;
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->caller_sleeps, true);
    while (atomic_load(&team->n_unfinished) > 0)
        pthread_cond_wait(&team->done, &team->lock);
    atomic_store(&team->caller_sleeps, false);
    pthread_mutex_unlock(&team->lock);
}

sa2_status sa2_threads_create(sa2_threads **threads, int n_threads, sa2_error *err)
{
    *threads = NULL;
    if (n_threads < 0 || n_threads > MAX_THREADS)
        return sa2_fail(err, SA2_ERR_ARG, "threads: %d asked for, 1 to %d are possible", n_threads,
                        MAX_THREADS);
    if (n_threads == 0) {
        cpu_set_t set;
        n_threads = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
        if (n_threads > MAX_THREADS)
            n_threads = MAX_THREADS;
    }
    sa2_threads *team = calloc(1, sizeof *team);
    if (team == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "threads: no memory");
    team->n_threads = n_threads;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    pthread_cond_init(&team->done, NULL);
    for (int i = 1; i < n_threads; i++) {
        team->workers[i] = (worker){.team = team, .index = i};
        if (pthread_create(&team->workers[i].id, NULL, work, &team->workers[i]) != 0) {
            sa2_threads_destroy(team);
            return sa2_fail(err, SA2_ERR_NOMEM, "threads: the system gave %d of %d", i, n_threads);
        }
        team->n_started = i;
    }
    *threads = team;
    return SA2_OK;
}

void sa2_threads_destroy(sa2_threads *threads)
{
    if (threads == NULL)
        return;
    atomic_store(&threads->quit, true);
    open_loop(threads, 0);
    for (int i = 1; i <= threads->n_started; i++)
        pthread_join(threads->workers[i].id, NULL);
    pthread_cond_destroy(&threads->wake);
    pthread_cond_destroy(&threads->done);
    pthread_mutex_destroy(&threads->lock);
    free(threads);
}

int sa2_threads_count(const sa2_threads *threads)
{
    return threads->n_threads;
}

void sa2_threads_run(sa2_threads *threads, int n, sa2_task task, void *context)
{
    if (threads->n_threads == 1 || n <= 1) {
        for (int i = 0; i < n; i++)
            task(context, i, 0);
        return;
    }
    threads->n = n;
    threads->task = task;
    threads->context = context;
    open_loop(threads, n);
    run_indices(threads, 0);
    await_end(threads);
}
