/* rank_team.h - several ranks in one test: threads of this process over sockets, or the processes that mpirun started.
 */
#ifndef SA2_TESTS_SUPPORT_RANK_TEAM_H
#define SA2_TESTS_SUPPORT_RANK_TEAM_H

#include "runtime/serving/comm.h"

typedef struct test_rank {
    sa2_comm *comm;         /* closed behind the body, unless that took it: NULL */
    int fds[SA2_MAX_RANKS]; /* to each of the others */
} test_rank;

/* What one rank does. */
typedef void (*test_rank_body)(test_rank *rank, void *context);

/* Runs the body on `size` ranks at once and waits for all. */
void test_ranks_run(int size, int64_t timeout_ms, test_rank_body body, void *context);

#endif
