/* What ranks do together, over sockets and, started by mpirun, over MPI: sums in one order, and how a rank that dies,
 * hangs or fails ends the others. */
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/stream.h"
#include "runtime/serving/clock.h"
#include "tests/support/comm_cases.h"
#include "tests/support/rank_team.h"

static void all_calls(test_rank *rank, void *device)
{
    test_comm_calls(rank->comm, device);
}

static void ranks_sum_in_their_order_whatever_their_number(void **state)
{
    (void)state;
    for (int size = 1; size <= 5; size++)
        test_ranks_run(size, 0, all_calls, NULL);
}

static void one_rank_is_no_comm_at_all(void **state)
{
    (void)state;
    assert_int_equal(sa2_comm_rank(NULL), 0);
    assert_int_equal(sa2_comm_size(NULL), 1);
    test_comm_calls(NULL, NULL);
}

/* ---- failures ---- */

typedef struct disaster {
    int rank;                      /* who does it */
    void (*does)(test_rank *rank); /* before the n-th sum */
    int n;
    char found[SA2_MAX_RANKS][512]; /* what each says in the end */
    double ms[SA2_MAX_RANKS];       /* how long the last call took */
} disaster;

static void keep(char *text, size_t bytes, const sa2_error *err)
{
    snprintf(text, bytes, "%.*s", (int)bytes - 1, err->message);
}

/* Sums until one fails, on a stream of its own. */
static void sum_until_it_fails(test_rank *r, void *context)
{
    disaster *d = context;
    int rank = sa2_comm_rank(r->comm);
    sa2_backend *backend;
    sa2_stream *s;
    sa2_error err = {0};
    float x[8] = {0}, part[8] = {0};
    const sa2_backend_options options = {.n_threads = 1};
    assert_int_equal(sa2_backend_open(&backend, &options, NULL), SA2_OK);
    assert_int_equal(sa2_stream_create(&s, backend, 0, NULL), SA2_OK);
    assert_int_equal(sa2_comm_reserve(r->comm, 8, 0, NULL), SA2_OK);
    for (int i = 0; err.message[0] == '\0' && r->comm != NULL; i++) {
        if (rank == d->rank && i == d->n && d->does == NULL)
            s->status = sa2_fail(&s->error, SA2_ERR_DEVICE, "a kernel of its own");
        else if (rank == d->rank && i == d->n)
            d->does(r);
        double began = sa2_now_ms();
        if (r->comm != NULL)
            sa2_comm_sum(r->comm, s, sa2_tensor_2d(x, SA2_F32, 2, 4),
                         sa2_tensor_2d(part, SA2_F32, 2, 4), (sa2_comm_place){"the sum", i});
        sa2_stream_finish(s, &err);
        d->ms[rank] = sa2_now_ms() - began;
    }
    keep(d->found[rank], sizeof d->found[rank], &err);
    if (r->comm != NULL) { /* separated: nothing is tried again, and it is said why */
        char mine = 0, all[SA2_MAX_RANKS];
        assert_int_equal(sa2_comm_tell_all(r->comm, "news", &mine, all, 1, 0, &err),
                         SA2_ERR_DEVICE);
        assert_non_null(strstr(err.message, d->found[rank]));
    }
    sa2_stream_destroy(s);
    sa2_backend_close(backend);
}

static void expect(const disaster *d, int rank, const char *part)
{
    if (strstr(d->found[rank], part) == NULL)
        fail_msg("rank %d: \"%s\" expected in \"%s\"", rank, part, d->found[rank]);
}

static void a_rank_that_fails_tells_the_others(void **state)
{
    (void)state;
    for (int rank = 0; rank < 3; rank++) {
        disaster d = {.rank = rank, .n = 2};
        test_ranks_run(3, 0, sum_until_it_fails, &d);
        char said[96];
        snprintf(said, sizeof said, "the sum of layer 2: rank %d has given up", rank);
        for (int i = 0; i < 3; i++)
            expect(&d, i, i == rank ? "a kernel of its own" : said);
    }
}

static void dies(test_rank *rank)
{
    test_rank_die(rank, sa2_comm_size(rank->comm));
}

static void a_rank_that_dies_is_named_at_once(void **state)
{
    (void)state;
    disaster d = {.rank = 2, .does = dies, .n = 3};
    test_ranks_run(3, 20000, sum_until_it_fails, &d);
    for (int i = 0; i < 2; i++) {
        char said[96];
        snprintf(said, sizeof said, "rank %d of 3: the sum of layer 3: gone: ", i);
        expect(&d, i, said);
        expect(&d, i, "rank 2");
        assert_true(d.ms[i] < 10000.0);
    }
}

/* Ends in good order, but alone. */
static void leaves(test_rank *rank)
{
    sa2_comm_close(rank->comm);
    rank->comm = NULL;
}

static void a_rank_that_leaves_early_is_named(void **state)
{
    (void)state;
    disaster d = {.rank = 0, .does = leaves, .n = 1};
    test_ranks_run(2, 20000, sum_until_it_fails, &d);
    expect(&d, 1, "the sum of layer 1: ");
    expect(&d, 1, "rank 0");
}

static void hangs(test_rank *rank)
{
    (void)rank;
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
}

static void a_rank_that_hangs_ends_the_others_when_time_is_up(void **state)
{
    (void)state;
    disaster d = {.rank = 1, .does = hangs, .n = 1};
    test_ranks_run(4, 300, sum_until_it_fails, &d);
    static const int others[] = {0, 2, 3};
    for (int i = 0; i < 3; i++) {
        expect(&d, others[i], "the sum of layer 1: nothing came from rank 1 in 0.3 s");
        assert_true(d.ms[others[i]] >= 300.0 && d.ms[others[i]] < 900.0);
    }
}

static void say_too_much(test_rank *rank, void *context)
{
    char *messages = context, text[16] = {0};
    size_t n = sizeof text;
    sa2_error err = {0};
    sa2_status st = sa2_comm_share(rank->comm, "news", text, 8, &n, false, &err);
    assert_int_equal(st, sa2_comm_rank(rank->comm) == 0 ? SA2_OK : SA2_ERR_DEVICE);
    if (st != SA2_OK)
        keep(messages, 512, &err);
}

static void say_too_little(test_rank *rank, void *context)
{
    char mine[8] = {0}, all[16];
    sa2_error err = {0};
    size_t n = 4;
    if (sa2_comm_rank(rank->comm) == 0) {
        assert_int_equal(sa2_comm_share(rank->comm, "news", mine, 0, &n, false, &err), SA2_OK);
        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL); /* before it is gone */
        return;
    }
    assert_int_equal(sa2_comm_tell_all(rank->comm, "sizes", mine, all, 8, 0, &err), SA2_ERR_DEVICE);
    keep(context, 512, &err);
}

static void more_bytes_or_less_than_expected_are_refused(void **state)
{
    (void)state;
    char message[512] = "";
    test_ranks_run(2, 1000, say_too_much, message);
    assert_non_null(strstr(message, "at most 8 bytes of rank 0 expected"));
    test_ranks_run(2, 1000, say_too_little, message);
    assert_non_null(strstr(message, "sizes: 8 bytes of rank 0 expected, 4 found"));
}

/* ---- meeting ---- */

typedef struct guest {
    sa2_launch launch;
    int64_t timeout_ms;
    sa2_status status;
    sa2_error err;
    pthread_t thread;
} guest;

static void *meet(void *context)
{
    guest *g = context;
    sa2_comm *comm = NULL;
    g->status = sa2_comm_open(&comm, &g->launch, g->timeout_ms, &g->err);
    if (g->status == SA2_OK) {
        char mine = (char)g->launch.rank, all[SA2_MAX_RANKS];
        g->status = sa2_comm_tell_all(comm, "who", &mine, all, 1, 0, &g->err);
        for (int i = 0; i < g->launch.size && g->status == SA2_OK; i++)
            if (all[i] != i)
                g->status = sa2_fail(&g->err, SA2_ERR_FORMAT, "rank %d is %d", i, all[i]);
    }
    sa2_comm_close(comm);
    return NULL;
}

/* A port that nobody uses now. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* Ranks [first, size) come. */
static void let_meet(guest *guests, int first, int size, int64_t timeout_ms)
{
    int port = free_port();
    for (int i = size - 1; i >= first; i--) {
        guests[i] = (guest){.launch = {.by = "torchrun",
                                       .rank = i,
                                       .size = size,
                                       .host = "127.0.0.1",
                                       .port = port},
                            .timeout_ms = timeout_ms};
        assert_int_equal(pthread_create(&guests[i].thread, NULL, meet, &guests[i]), 0);
    }
    for (int i = first; i < size; i++)
        pthread_join(guests[i].thread, NULL);
}

static void ranks_meet_at_a_port(void **state)
{
    (void)state;
    for (int size = 2; size <= 5; size++) {
        guest guests[5];
        let_meet(guests, 0, size, 30000);
        for (int i = 0; i < size; i++)
            if (guests[i].status != SA2_OK)
                fail_msg("rank %d of %d: %s", i, size, guests[i].err.message);
    }
}

static void a_rank_that_does_not_come_is_named(void **state)
{
    (void)state;
    guest guests[3];
    let_meet(guests, 1, 3, 200);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(guests[i].status, SA2_ERR_IO);
        assert_non_null(strstr(guests[i].err.message, "rank 0 at 127.0.0.1, port"));
    }
    guests[0] = (guest){.launch = {.rank = 0, .size = 3, .host = "127.0.0.1", .port = free_port()},
                        .timeout_ms = 100};
    meet(&guests[0]);
    assert_int_equal(guests[0].status, SA2_ERR_DEVICE);
    assert_non_null(strstr(guests[0].err.message, "nothing came from rank 1, rank 2"));
}

static void a_port_that_is_taken_is_named(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    guest g = {.launch = {.size = 2, .host = "127.0.0.1", .port = ntohs(at.sin_port)},
               .timeout_ms = 100};
    meet(&g);
    assert_int_equal(g.status, SA2_ERR_IO);
    assert_non_null(strstr(g.err.message, "rank 0 of 2: port"));
    close(fd);
}

/* ---- under mpirun ---- */

static int run_as_rank(const sa2_launch *launch)
{
    sa2_comm *comm;
    sa2_error err = {0};
    sa2_status st = sa2_comm_open(&comm, launch, 20000, &err);
    if (st != SA2_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    assert_int_equal(sa2_comm_rank(comm), launch->rank);
    assert_int_equal(sa2_comm_size(comm), launch->size);
    assert_string_equal(sa2_comm_name(comm), "MPI");
    test_comm_calls(comm, NULL);
    sa2_comm_close(comm);
    return 0;
}

int main(void)
{
    sa2_launch launch;
    if (sa2_launch_find(&launch, getenv, NULL) == SA2_OK && launch.size > 1)
        return run_as_rank(&launch);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_sum_in_their_order_whatever_their_number),
        cmocka_unit_test(one_rank_is_no_comm_at_all),
        cmocka_unit_test(a_rank_that_fails_tells_the_others),
        cmocka_unit_test(a_rank_that_dies_is_named_at_once),
        cmocka_unit_test(a_rank_that_leaves_early_is_named),
        cmocka_unit_test(a_rank_that_hangs_ends_the_others_when_time_is_up),
        cmocka_unit_test(more_bytes_or_less_than_expected_are_refused),
        cmocka_unit_test(ranks_meet_at_a_port),
        cmocka_unit_test(a_rank_that_does_not_come_is_named),
        cmocka_unit_test(a_port_that_is_taken_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
