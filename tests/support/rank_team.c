#include "tests/support/rank_team.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

static void connect_all(test_team *team)
{
    for (int i = 0; i < team->size; i++)
        for (int k = i + 1; k < team->size; k++) {
            int pair[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
            team->ranks[i].fds[k] = pair[0];
            team->ranks[k].fds[i] = pair[1];
        }
}

static void *run_member(void *context)
{
    struct test_member *m = context;
    m->body(m->rank, m->context);
    sa2_comm_close(m->rank->comm);
    return NULL;
}

void test_team_start(test_team *team, int size, int64_t timeout_ms, test_rank_body body,
                     void *context)
{
    *team = (test_team){.size = size};
    connect_all(team);
    for (int i = 0; i < size; i++) {
        sa2_link link;
        test_rank *rank = &team->ranks[i];
        team->members[i] = (struct test_member){rank, body, context};
        assert_int_equal(sa2_link_from_sockets(&link, i, size, rank->fds, NULL), SA2_OK);
        assert_int_equal(sa2_comm_create(&rank->comm, &link, timeout_ms, NULL), SA2_OK);
    }
    for (int i = 1; i < size; i++)
        assert_int_equal(pthread_create(&team->threads[i], NULL, run_member, &team->members[i]), 0);
}

void test_team_join(test_team *team)
{
    sa2_comm_close(team->ranks[0].comm);
    for (int i = 1; i < team->size; i++)
        pthread_join(team->threads[i], NULL);
}

void test_ranks_run(int size, int64_t timeout_ms, test_rank_body body, void *context)
{
    test_team team;
    test_team_start(&team, size, timeout_ms, body, context);
    body(&team.ranks[0], context);
    test_team_join(&team);
}

void test_rank_die(test_rank *rank, int size)
{
    for (int i = 0; i < size; i++)
        if (i != sa2_comm_rank(rank->comm))
            shutdown(rank->fds[i], SHUT_RDWR);
}
