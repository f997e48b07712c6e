#include "tests/support/rank_team.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

typedef struct member {
    test_rank rank;
    test_rank_body body;
    void *context;
    pthread_t thread;
} member;

static void connect_all(member *members, int size)
{
    for (int i = 0; i < size; i++)
        for (int k = i + 1; k < size; k++) {
            int pair[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
            members[i].rank.fds[k] = pair[0];
            members[k].rank.fds[i] = pair[1];
        }
}

static void *run_member(void *context)
{
    member *m = context;
    m->body(&m->rank, m->context);
    sa2_comm_close(m->rank.comm);
    return NULL;
}

void test_ranks_run(int size, int64_t timeout_ms, test_rank_body body, void *context)
{
    member members[SA2_MAX_RANKS];
    connect_all(members, size);
    for (int i = 0; i < size; i++) {
        sa2_link link;
        member *m = &members[i];
        m->body = body;
        m->context = context;
        assert_int_equal(sa2_link_from_sockets(&link, i, size, m->rank.fds, NULL), SA2_OK);
        assert_int_equal(sa2_comm_create(&m->rank.comm, &link, timeout_ms, NULL), SA2_OK);
    }
    for (int i = 0; i < size; i++)
        assert_int_equal(pthread_create(&members[i].thread, NULL, run_member, &members[i]), 0);
    for (int i = 0; i < size; i++)
        pthread_join(members[i].thread, NULL);
}
