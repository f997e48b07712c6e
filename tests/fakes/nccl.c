/* nccl.c - the calls of NCCL between threads of one process and memory of the host, each of which can be made to fail:
 * a library of its own, as the real one is.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "tests/fakes/nccl.h"

enum { MOST = 8, SUCCESS = 0, SYSTEM_ERROR = 2, REMOTE_ERROR = 6 };

/* What one rank wants of a collective. */
typedef struct wish {
    const void *send;
    void *receive;
    size_t count;
} wish;

typedef struct clique {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int size, joined, arrived, left;
    unsigned round;
    bool broken;
    wish wishes[MOST];
    wish to_0[MOST]; /* of ncclSend: what rank 0 receives */
    int fail_rank, fail_call, fail_late;
    int calls[MOST];
} clique;

static clique all = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static _Thread_local int self; /* the rank of this thread */

void fake_nccl_begin(int fail_rank, int fail_call, bool late)
{
    pthread_mutex_lock(&all.lock);
    all.size = all.joined = all.arrived = all.left = 0;
    all.broken = false;
    all.fail_rank = fail_rank;
    all.fail_call = fail_call;
    all.fail_late = late ? SYSTEM_ERROR : SUCCESS;
    memset(all.calls, 0, sizeof all.calls);
    pthread_mutex_unlock(&all.lock);
}

void fake_nccl_set_rank(int rank)
{
    self = rank;
}

int fake_nccl_calls(int rank)
{
    return all.calls[rank];
}

/* This call's turn to fail; under the lock. */
static bool fails(void)
{
    bool now = all.calls[self]++ == all.fail_call && self == all.fail_rank;
    if (now) {
        all.broken = true;
        pthread_cond_broadcast(&all.changed);
    }
    return now;
}

/* Waits until all are here, at most ten seconds. Under the lock; false: it is broken. */
static bool meet(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    unsigned round = all.round;
    if (++all.arrived == all.size) {
        all.arrived = 0;
        all.round++;
        pthread_cond_broadcast(&all.changed);
    }
    while (round == all.round && !all.broken)
        if (pthread_cond_timedwait(&all.changed, &all.lock, &until) != 0)
            all.broken = true;
    return !all.broken;
}

int ncclGetUniqueId(fake_nccl_id *made)
{
    pthread_mutex_lock(&all.lock);
    bool failed = fails();
    memset(made->bytes, 7, sizeof made->bytes);
    pthread_mutex_unlock(&all.lock);
    return failed ? SYSTEM_ERROR : SUCCESS;
}

int ncclCommInitRank(void **comm, int size, fake_nccl_id same, int rank)
{
    static const char seven[128] = {7};
    pthread_mutex_lock(&all.lock);
    bool right = !fails() && same.bytes[0] == seven[0] && rank == self;
    all.size = size;
    right = right && meet();
    if (right)
        *comm = &all.wishes[rank];
    pthread_mutex_unlock(&all.lock);
    return right ? SUCCESS : SYSTEM_ERROR;
}

/* One wish of each rank; `move` copies for this one when all are known. */
static int collective(wish w, void (*move)(wish mine))
{
    pthread_mutex_lock(&all.lock);
    bool failed = fails(), right = !failed;
    all.wishes[self] = w;
    right = right && meet();
    if (right && move != NULL)
        move(w);
    right = right && meet(); /* nobody goes on to change what others still read */
    pthread_mutex_unlock(&all.lock);
    return right ? SUCCESS : failed ? SYSTEM_ERROR : REMOTE_ERROR;
}

static void gather(wish mine)
{
    for (int r = 0; r < all.size; r++)
        memcpy((float *)mine.receive + (size_t)r * mine.count, all.wishes[r].send,
               mine.count * sizeof(float));
}

static void from_0(wish mine)
{
    if (mine.receive != all.wishes[0].send)
        memcpy(mine.receive, all.wishes[0].send, mine.count * sizeof(float));
}

int ncclAllGather(const void *send, void *receive, size_t count, int type, void *comm, void *queue)
{
    (void)type;
    (void)comm;
    (void)queue;
    return collective((wish){send, receive, count}, gather);
}

int ncclBroadcast(const void *send, void *receive, size_t count, int type, int root, void *comm,
                  void *queue)
{
    (void)type;
    (void)root;
    (void)comm;
    (void)queue;
    return collective((wish){send, receive, count}, from_0);
}

/* Sends and receives happen at the end of their group. */
int ncclSend(const void *from, size_t count, int type, int peer, void *comm, void *queue)
{
    (void)type;
    (void)peer;
    (void)comm;
    (void)queue;
    pthread_mutex_lock(&all.lock);
    bool failed = fails();
    all.to_0[self] = (wish){from, all.to_0[self].receive, count};
    pthread_mutex_unlock(&all.lock);
    return failed ? SYSTEM_ERROR : SUCCESS;
}

int ncclRecv(void *to, size_t count, int type, int peer, void *comm, void *queue)
{
    (void)type;
    (void)count;
    (void)comm;
    (void)queue;
    pthread_mutex_lock(&all.lock);
    bool failed = fails();
    all.to_0[peer].receive = to;
    pthread_mutex_unlock(&all.lock);
    return failed ? SYSTEM_ERROR : SUCCESS;
}

int ncclGroupStart(void)
{
    pthread_mutex_lock(&all.lock);
    bool failed = fails();
    pthread_mutex_unlock(&all.lock);
    return failed ? SYSTEM_ERROR : SUCCESS;
}

static void deliver(wish mine)
{
    (void)mine;
    for (int r = 1; r < all.size && self == 0; r++)
        memcpy(all.to_0[r].receive, all.to_0[r].send, all.to_0[r].count * sizeof(float));
}

int ncclGroupEnd(void)
{
    return collective((wish){0}, deliver);
}

int ncclCommGetAsyncError(void *comm, int *error)
{
    (void)comm;
    pthread_mutex_lock(&all.lock);
    bool failed = fails();
    *error = failed ? all.fail_late : SUCCESS;
    pthread_mutex_unlock(&all.lock);
    return failed && all.fail_late == SUCCESS ? SYSTEM_ERROR : SUCCESS;
}

int ncclCommAbort(void *comm)
{
    (void)comm;
    return SUCCESS;
}

int ncclCommDestroy(void *comm)
{
    (void)comm;
    return SUCCESS;
}

const char *ncclGetErrorString(int error)
{
    return error == REMOTE_ERROR ? "a remote process has gone" : "unhandled system error";
}
