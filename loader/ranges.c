#include "loader/ranges.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MAX_THREADS = 64 };

typedef struct range_loop {
    int64_t n, grain;
    sa2_range_task task;
    void *context;
    atomic_int_fast64_t next; /* first element that no thread has taken */
    pthread_mutex_t lock;     /* of what follows */
    int64_t failed;           /* first element of the lowest failed range; n: none */
    sa2_status status;
    sa2_error *err;
} range_loop;

static void *work(void *argument)
{
    range_loop *loop = argument;
    for (;;) {
        int64_t first = atomic_fetch_add(&loop->next, loop->grain);
        if (first >= loop->n)
            return NULL;
        int64_t left = loop->n - first;
        sa2_error error = {0};
        sa2_status st =
            loop->task(loop->context, first, left < loop->grain ? left : loop->grain, &error);
        if (st == SA2_OK)
            continue;
        pthread_mutex_lock(&loop->lock);
        if (first < loop->failed) {
            loop->failed = first;
            loop->status = st;
            if (loop->err != NULL)
                *loop->err = error;
        }
        pthread_mutex_unlock(&loop->lock);
        atomic_store(&loop->next, loop->n); /* ranges are taken in order: the lower ones all run */
        return NULL;
    }
}

sa2_status sa2_ranges_run(int n_threads, int64_t n, int64_t grain, sa2_range_task task,
                          void *context, sa2_error *err)
{
    range_loop loop = {.n = n, .grain = grain, .task = task, .context = context, .failed = n};
    loop.err = err;
    atomic_init(&loop.next, 0);
    pthread_mutex_init(&loop.lock, NULL);

    int64_t ranges = (n + grain - 1) / grain;
    int64_t wanted = n_threads < ranges ? n_threads : ranges;
    pthread_t threads[MAX_THREADS];
    int started = 0;
    while (started + 1 < wanted && started < MAX_THREADS) {
        if (pthread_create(&threads[started], NULL, work, &loop) != 0)
            break; /* those that there are do the work */
        started++;
    }
    work(&loop);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&loop.lock);
    return loop.status;
}
