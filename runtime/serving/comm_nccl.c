#include "runtime/serving/comm_nccl.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/base/library.h"
#include "kernels/ops.h"
#include "runtime/serving/clock.h"

/* ---- the library ---- */

enum { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7, NCCL_FLOAT32 = 7 };

typedef struct unique_id {
    char bytes[SA2_NCCL_ID_BYTES];
} unique_id;

typedef struct calls {
    int (*get_unique_id)(unique_id *id);
    int (*comm_init_rank)(void **comm, int size, unique_id id, int rank);
    int (*all_gather)(const void *send, void *receive, size_t count, int type, void *comm,
                      void *queue);
    int (*broadcast)(const void *send, void *receive, size_t count, int type, int root, void *comm,
                     void *queue);
    int (*send)(const void *from, size_t count, int type, int peer, void *comm, void *queue);
    int (*receive)(void *to, size_t count, int type, int peer, void *comm, void *queue);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*async_error)(void *comm, int *error);
    int (*abort)(void *comm);
    int (*destroy)(void *comm);
    const char *(*error_string)(int error);
} calls;

struct sa2_nccl {
    void *library;
    calls calls;
    void *comm; /* NULL: the ranks have not joined */
    int rank, size;
    sa2_backend *backend;
    sa2_arena memory;
    float *room; /* of the device */
};

static sa2_status find_calls(sa2_nccl *n, const char *library, sa2_error *err)
{
    calls *c = &n->calls;
    const sa2_library_call wanted[] = {
        {"ncclGetUniqueId", &c->get_unique_id},
        {"ncclCommInitRank", &c->comm_init_rank},
        {"ncclAllGather", &c->all_gather},
        {"ncclBroadcast", &c->broadcast},
        {"ncclSend", &c->send},
        {"ncclRecv", &c->receive},
        {"ncclGroupStart", &c->group_start},
        {"ncclGroupEnd", &c->group_end},
        {"ncclCommGetAsyncError", &c->async_error},
        {"ncclCommAbort", &c->abort},
        {"ncclCommDestroy", &c->destroy},
        {"ncclGetErrorString", &c->error_string},
    };
    const char *missing = sa2_library_find(n->library, wanted, sizeof wanted / sizeof wanted[0]);
    if (missing != NULL)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s has no %s: NCCL 2.7 or later expected",
                        library, missing);
    return SA2_OK;
}

sa2_status sa2_nccl_open(sa2_nccl **nccl, const char *library, sa2_error *err)
{
    sa2_nccl *n = calloc(1, sizeof *n);
    if (n == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "NCCL: no memory");
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    sa2_status st = n->library != NULL ? find_calls(n, library, err)
                                       : sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s", dlerror());
    if (st == SA2_OK)
        *nccl = n;
    else
        sa2_nccl_close(n, false);
    return st;
}

static sa2_status judge(const sa2_nccl *n, const char *call, int result, sa2_error *err)
{
    if (result == NCCL_SUCCESS || result == NCCL_IN_PROGRESS)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_DEVICE, "%s: %s", call, n->calls.error_string(result));
}

sa2_status sa2_nccl_id(const sa2_nccl *n, char id[SA2_NCCL_ID_BYTES], sa2_error *err)
{
    unique_id made;
    sa2_status st = judge(n, "ncclGetUniqueId", n->calls.get_unique_id(&made), err);
    if (st == SA2_OK)
        memcpy(id, made.bytes, sizeof made.bytes);
    return st;
}

sa2_status sa2_nccl_join_ranks(sa2_nccl *n, const char id[SA2_NCCL_ID_BYTES], int rank, int size,
                               sa2_backend *backend, int64_t floats, sa2_error *err)
{
    unique_id same;
    memcpy(same.bytes, id, sizeof same.bytes);
    n->rank = rank;
    n->size = size;
    n->backend = backend;
    sa2_status st =
        sa2_backend_arena_create(backend, &n->memory, (size_t)floats * sizeof(float), err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "messages between ranks");
    n->room = sa2_arena_take(&n->memory, (size_t)floats * sizeof(float));
    return judge(n, "ncclCommInitRank", n->calls.comm_init_rank(&n->comm, size, same, rank), err);
}

void sa2_nccl_close(sa2_nccl *n, bool orderly)
{
    if (n == NULL)
        return;
    if (n->comm != NULL)
        orderly ? n->calls.destroy(n->comm) : n->calls.abort(n->comm);
    if (n->backend != NULL)
        sa2_backend_arena_destroy(n->backend, &n->memory);
    if (n->library != NULL)
        dlclose(n->library);
    free(n);
}

/* ---- calls ---- */

/* The device's queue that the stream's ops are in. */
static void *queue_of(sa2_stream *s)
{
    void *queue = NULL;
    bool idle;
    sa2_stream_poll(s, &queue, &idle);
    return queue;
}

sa2_status sa2_nccl_sum(sa2_nccl *n, sa2_stream *s, sa2_tensor x, sa2_tensor part, sa2_error *err)
{
    size_t count = (size_t)sa2_tensor_count(&part);
    int result = n->calls.all_gather(part.data, n->room, count, NCCL_FLOAT32, n->comm, queue_of(s));
    for (int r = 0; r < n->size && result == NCCL_SUCCESS; r++)
        sa2_add(s, x, x,
                sa2_tensor_2d(n->room + (size_t)r * count, SA2_F32, x.shape[0], x.shape[1]));
    return judge(n, "ncclAllGather", result, err);
}

sa2_status sa2_nccl_copy(sa2_nccl *n, sa2_stream *s, sa2_tensor x, sa2_error *err)
{
    int result = n->calls.broadcast(x.data, x.data, (size_t)sa2_tensor_count(&x), NCCL_FLOAT32, 0,
                                    n->comm, queue_of(s));
    return judge(n, "ncclBroadcast", result, err);
}

sa2_status sa2_nccl_collect(sa2_nccl *n, sa2_stream *s, sa2_tensor part, const int64_t *counts,
                            sa2_tensor *all, sa2_error *err)
{
    int64_t sum = counts[0];
    void *queue = queue_of(s);
    const char *call = "ncclGroupStart";
    int result = n->calls.group_start();
    if (n->rank > 0 && result == NCCL_SUCCESS) {
        call = "ncclSend";
        result = n->calls.send(part.data, (size_t)counts[n->rank], NCCL_FLOAT32, 0, n->comm, queue);
    }
    for (int r = 1; r < n->size && n->rank == 0 && result == NCCL_SUCCESS; sum += counts[r++]) {
        call = "ncclRecv";
        result =
            n->calls.receive(n->room + sum, (size_t)counts[r], NCCL_FLOAT32, r, n->comm, queue);
    }
    if (result == NCCL_SUCCESS) {
        call = "ncclGroupEnd";
        result = n->calls.group_end();
    }
    sa2_status st = judge(n, call, result, err);
    if (st == SA2_OK && n->rank == 0)
        sa2_copy(s, sa2_tensor_2d(n->room, SA2_F32, part.shape[0], part.shape[1]), part);
    *all = sa2_tensor_1d(n->room, SA2_F32, sum);
    return st;
}

sa2_status sa2_nccl_wait(sa2_nccl *n, sa2_stream *s, int64_t timeout_ms, bool *late, sa2_error *err)
{
    double began_ms = sa2_now_ms();
    *late = false;
    for (;;) {
        int error = NCCL_SUCCESS;
        bool idle = false;
        void *queue;
        sa2_status st =
            judge(n, "ncclCommGetAsyncError", n->calls.async_error(n->comm, &error), err);
        if (st == SA2_OK)
            st = judge(n, "NCCL", error, err);
        if (st != SA2_OK)
            return st;
        sa2_stream_poll(s, &queue, &idle);
        if (idle)
            return SA2_OK;
        double waited_ms = sa2_now_ms() - began_ms;
        *late = waited_ms > (double)timeout_ms;
        if (*late)
            return SA2_OK;
        if (waited_ms > 2.0) /* a step of decoding is shorter: no nap in its way */
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}
