#define _GNU_SOURCE
#include "kernels/cpu/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
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

struct sa2_threads {
    int n_threads;
    int n_started;
    worker workers[MAX_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_uint generation; /* of the loop; changes under the lock */
    atomic_bool quit;
    atomic_int n_busy; /* workers that have not finished this loop */
    atomic_int next;   /* index to run */
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

static void run_indices(sa2_threads *team, int thread)
{
    for (;;) {
        int i = atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed);
        if (i >= team->n)
            return;
        team->task(team->context, i, thread);
    }
}

static void *work(void *argument)
{
    worker *self = argument;
    sa2_threads *team = self->team;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&team->generation) == seen; i++)
            pause_briefly();
        if (atomic_load(&team->generation) == seen) {
            pthread_mutex_lock(&team->lock);
            while (atomic_load(&team->generation) == seen)
                pthread_cond_wait(&team->wake, &team->lock);
            pthread_mutex_unlock(&team->lock);
        }
        seen = atomic_load(&team->generation);
        if (atomic_load(&team->quit))
            return NULL;
        run_indices(team, self->index);
        atomic_fetch_sub(&team->n_busy, 1);
    }
}

static void start_loop(sa2_threads *team)
{
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->generation, 1);
    pthread_cond_broadcast(&team->wake);
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
    start_loop(threads);
    for (int i = 1; i <= threads->n_started; i++)
        pthread_join(threads->workers[i].id, NULL);
    pthread_cond_destroy(&threads->wake);
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
    atomic_store(&threads->next, 0);
    atomic_store(&threads->n_busy, threads->n_threads - 1);
    start_loop(threads);
    run_indices(threads, 0);
    while (atomic_load(&threads->n_busy) > 0)
        pause_briefly();
}
