/* The team of threads: every index runs once, loops follow one another, any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "kernels/cpu/threads.h"

enum { INDICES = 100, LOOPS = 2000 };

typedef struct tally {
    atomic_int runs[INDICES];
    int sums[INDICES]; /* written by whoever runs the index, read after the loop */
    int n_threads;
    atomic_int strangers; /* thread numbers out of range */
} tally;

static void count(void *context, int i, int thread)
{
    tally *t = context;
    atomic_fetch_add(&t->runs[i], 1);
    t->sums[i] += i;
    if (thread < 0 || thread >= t->n_threads)
        atomic_fetch_add(&t->strangers, 1);
}

static void every_index_of_every_loop_runs_once(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        sa2_threads *threads;
        tally t = {.n_threads = n_threads};
        assert_int_equal(sa2_threads_create(&threads, n_threads, NULL), SA2_OK);
        assert_int_equal(sa2_threads_count(threads), n_threads);
        for (int loop = 0; loop < LOOPS; loop++)
            sa2_threads_run(threads, INDICES, count, &t);
        for (int i = 0; i < INDICES; i++) {
            assert_int_equal(atomic_load(&t.runs[i]), LOOPS);
            assert_int_equal(t.sums[i], LOOPS * i);
        }
        assert_int_equal(atomic_load(&t.strangers), 0);
        sa2_threads_destroy(threads);
    }
}

/* Long enough for whoever has nothing to do to fall asleep, the caller too. */
static void take_long(void *context, int i, int thread)
{
    nanosleep(&(struct timespec){.tv_nsec = i % 2 * 2000000L}, NULL);
    count(context, i, thread);
}

static void a_loop_ends_when_its_last_index_has_whoever_sleeps_meanwhile(void **state)
{
    (void)state;
    enum { FEW = 3, TURNS = 30 };
    sa2_threads *threads;
    tally t = {.n_threads = 3};
    assert_int_equal(sa2_threads_create(&threads, t.n_threads, NULL), SA2_OK);
    for (int turn = 0; turn < TURNS; turn++) {
        sa2_threads_run(threads, FEW, take_long, &t);
        for (int i = 0; i < FEW; i++)
            assert_int_equal(t.sums[i], (turn + 1) * i);
        nanosleep(&(struct timespec){.tv_nsec = turn % 3 * 1000000L}, NULL);
    }
    sa2_threads_destroy(threads);
}

static void a_number_of_threads_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    sa2_threads *threads;
    sa2_error err = {0};
    assert_int_equal(sa2_threads_create(&threads, -1, &err), SA2_ERR_ARG);
    assert_string_equal(err.message, "threads: -1 asked for, 1 to 256 are possible");
    assert_null(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_of_every_loop_runs_once),
        cmocka_unit_test(a_loop_ends_when_its_last_index_has_whoever_sleeps_meanwhile),
        cmocka_unit_test(a_number_of_threads_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
