/* Ranks by way of NCCL, with a fake of its calls: the same sums, each call failing in turn, and libraries that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/driver.h"
#include "tests/fakes/nccl.h"
#include "tests/support/comm_cases.h"
#include "tests/support/rank_team.h"

static void all_calls(test_rank *rank, void *library)
{
    fake_nccl_set_rank(sa2_comm_rank(rank->comm));
    test_comm_calls(rank->comm, library);
}

static void sums_are_those_of_other_ways(void **state)
{
    (void)state;
    char library[] = FAKE_NCCL;
    for (int size = 1; size <= 4; size++) {
        fake_nccl_begin(-1, -1, false);
        test_ranks_run(size, 0, all_calls, library);
        assert_true(fake_nccl_calls(0) > 80);
    }
}

/* ---- failures ---- */

enum { RANKS = 3, FLOATS = 6 };

/* One sum, one copy, one join, on a stream of its own; what each rank was told. */
typedef struct trial {
    const char *libraries[RANKS];
    bool never_idle; /* of rank 0 */
    sa2_status opened[RANKS], status[RANKS];
    bool used[RANKS];
    char said[RANKS][512];
} trial;

static void never(sa2_stream *s, void **queue, bool *idle)
{
    (void)s;
    *queue = NULL;
    *idle = false;
}

static void run_all(sa2_comm *comm, sa2_stream *s, float *x, float *part, float *joined)
{
    const int64_t widths[RANKS] = {FLOATS, FLOATS, FLOATS};
    sa2_tensor a = sa2_tensor_2d(x, SA2_F32, 1, FLOATS);
    sa2_tensor b = sa2_tensor_2d(part, SA2_F32, 1, FLOATS);
    sa2_comm_copy(comm, s, a, (sa2_comm_place){"the copy", -1});
    sa2_comm_sum(comm, s, a, b, (sa2_comm_place){"the sum", 1});
    sa2_comm_join(comm, s, joined, b, widths, (sa2_comm_place){"the join", -1});
}

static void try_all(test_rank *r, void *context)
{
    trial *t = context;
    int rank = sa2_comm_rank(r->comm);
    sa2_backend *backend;
    sa2_stream *s;
    sa2_error err = {0};
    float x[FLOATS] = {0}, part[FLOATS] = {1.0f}, joined[RANKS * FLOATS];
    const sa2_backend_options options = {.n_threads = 1};
    fake_nccl_set_rank(rank);
    assert_int_equal(sa2_backend_open(&backend, &options, NULL), SA2_OK);
    assert_int_equal(sa2_stream_create(&s, backend, 0, NULL), SA2_OK);
    sa2_driver stuck = *s->driver;
    stuck.poll = never;
    if (t->never_idle && rank == 0)
        s->driver = &stuck;
    assert_int_equal(sa2_comm_reserve(r->comm, FLOATS, RANKS * FLOATS, NULL), SA2_OK);
    t->opened[rank] = sa2_comm_use_nccl(r->comm, backend, t->libraries[rank], &t->used[rank], &err);
    t->status[rank] = t->opened[rank];
    if (t->opened[rank] == SA2_OK && t->used[rank]) {
        run_all(r->comm, s, x, part, joined);
        t->status[rank] = sa2_stream_finish(s, &err);
    }
    snprintf(t->said[rank], sizeof t->said[rank], "%.*s", 511, err.message);
    sa2_comm_leave_device(r->comm);
    sa2_stream_destroy(s);
    sa2_backend_close(backend);
}

static trial with_fakes(void)
{
    return (trial){.libraries = {FAKE_NCCL, FAKE_NCCL, FAKE_NCCL}};
}

static void expect(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", part, text);
}

/* Whatever fails wherever: the rank says which call, the others hear of it, and nobody waits for ever. */
static void each_call_fails_in_turn(void **state)
{
    (void)state;
    static const char *const calls_of[RANKS][12] = {
        {"ncclGetUniqueId", "ncclCommInitRank", "ncclBroadcast", "ncclAllGather", "ncclGroupStart",
         "ncclRecv", "ncclRecv", "ncclGroupEnd", "ncclCommGetAsyncError"},
        {"ncclCommInitRank", "ncclBroadcast", "ncclAllGather", "ncclGroupStart", "ncclSend",
         "ncclGroupEnd", "ncclCommGetAsyncError"},
        {"ncclCommInitRank", "ncclBroadcast", "ncclAllGather", "ncclGroupStart", "ncclSend",
         "ncclGroupEnd", "ncclCommGetAsyncError"}};
    for (int rank = 0; rank < RANKS; rank++) {
        int call = 0;
        for (; calls_of[rank][call] != NULL; call++) {
            trial t = with_fakes();
            fake_nccl_begin(rank, call, false);
            test_ranks_run(RANKS, 5000, try_all, &t);
            assert_int_equal(t.status[rank], SA2_ERR_DEVICE);
            expect(t.said[rank], calls_of[rank][call]);
            expect(t.said[rank], ": unhandled system error");
            for (int other = 0; other < RANKS; other++)
                if (strcmp(calls_of[rank][call], "ncclCommGetAsyncError") != 0)
                    assert_int_equal(t.status[other], SA2_ERR_DEVICE);
        }
        trial t = with_fakes(); /* and these were all */
        fake_nccl_begin(rank, call, false);
        test_ranks_run(RANKS, 5000, try_all, &t);
        for (int other = 0; other < RANKS; other++)
            if (t.status[other] != SA2_OK)
                fail_msg("%s", t.said[other]);
        assert_int_equal(fake_nccl_calls(rank), call);
    }
}

static void an_error_that_comes_later_is_told(void **state)
{
    (void)state;
    trial t = with_fakes();
    fake_nccl_begin(1, 6, true);
    test_ranks_run(RANKS, 5000, try_all, &t);
    assert_int_equal(t.status[1], SA2_ERR_DEVICE);
    expect(t.said[1], "rank 1 of 3: the join: NCCL: unhandled system error");
}

static void a_device_that_never_ends_is_told_after_the_deadline(void **state)
{
    (void)state;
    trial t = with_fakes();
    t.never_idle = true;
    fake_nccl_begin(-1, -1, false);
    test_ranks_run(RANKS, 300, try_all, &t);
    assert_int_equal(t.status[0], SA2_ERR_DEVICE);
    expect(t.said[0], "rank 0 of 3: the join: ");
}

/* ---- libraries ---- */

static void without_the_library_tensors_go_through_host_memory(void **state)
{
    (void)state;
    for (int rank = 0; rank < RANKS; rank++) {
        trial t = with_fakes();
        t.libraries[rank] = "libnothing-of-this-name.so.2";
        fake_nccl_begin(-1, -1, false);
        test_ranks_run(RANKS, 5000, try_all, &t);
        for (int other = 0; other < RANKS; other++) {
            assert_int_equal(t.opened[other], SA2_OK);
            assert_false(t.used[other]);
        }
        expect(t.said[rank], "libnothing-of-this-name.so.2");
    }
}

static void a_library_without_its_calls_is_refused(void **state)
{
    (void)state;
    trial t = with_fakes();
    t.libraries[1] = "libm.so.6";
    fake_nccl_begin(-1, -1, false);
    test_ranks_run(RANKS, 5000, try_all, &t);
    assert_false(t.used[0]);
    expect(t.said[1], "libm.so.6 has no ncclGetUniqueId: NCCL 2.7 or later expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_other_ways),
        cmocka_unit_test(each_call_fails_in_turn),
        cmocka_unit_test(an_error_that_comes_later_is_told),
        cmocka_unit_test(a_device_that_never_ends_is_told_after_the_deadline),
        cmocka_unit_test(without_the_library_tensors_go_through_host_memory),
        cmocka_unit_test(a_library_without_its_calls_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
