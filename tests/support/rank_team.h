/* rank_team.h - several ranks in one test: threads of this process, connected by sockets.
 */
#ifndef SA2_TESTS_SUPPORT_RANK_TEAM_H
#define SA2_TESTS_SUPPORT_RANK_TEAM_H

#include <pthread.h>

#include "runtime/serving/comm.h"

typedef struct test_rank {
    sa2_comm *comm;         /* closed behind the body, unless that took it: NULL */
    int fds[SA2_MAX_RANKS]; /* to each of the others */
} test_rank;

/* What one rank does. */
typedef void (*test_rank_body)(test_rank *rank, void *context);

/* Runs the body on `size` ranks at once and waits for all. */
void test_ranks_run(int size, int64_t timeout_ms, test_rank_body body, void *context);

/* The same in two parts, with rank 0 as the test itself. */
typedef struct test_team {
    int size;
    test_rank ranks[SA2_MAX_RANKS]; /* ranks[0] is the test's */
    pthread_t threads[SA2_MAX_RANKS];
    struct test_member {
        test_rank *rank;
        test_rank_body body;
        void *context;
    } members[SA2_MAX_RANKS];
} test_team;

void test_team_start(test_team *team, int size, int64_t timeout_ms, test_rank_body body,
                     void *context);
void test_team_join(test_team *team); /* closes rank 0's comm too, unless it is NULL */

/* As a process that is killed leaves its connections. */
void test_rank_die(test_rank *rank, int size);

#endif
