/* nccl.h - what a test tells the fake of NCCL beside its calls.
 */
#ifndef SA2_TESTS_FAKES_NCCL_H
#define SA2_TESTS_FAKES_NCCL_H

#include <stdbool.h>
#include <stddef.h>

/* A new set of ranks. The fail_call-th call of fail_rank fails, counted from 0; -1: none does. late: if it is a question
 * for errors, it works and tells one. */
void fake_nccl_begin(int fail_rank, int fail_call, bool late);

/* The calling thread is that rank. */
void fake_nccl_set_rank(int rank);

/* How many calls a rank has made since the beginning. */
int fake_nccl_calls(int rank);

/* The calls themselves, as NVIDIA's user guide has them. */
typedef struct fake_nccl_id {
    char bytes[128];
} fake_nccl_id;
int ncclGetUniqueId(fake_nccl_id *made);
int ncclCommInitRank(void **comm, int size, fake_nccl_id same, int rank);
int ncclAllGather(const void *send, void *receive, size_t count, int type, void *comm, void *queue);
int ncclBroadcast(const void *send, void *receive, size_t count, int type, int root, void *comm,
                  void *queue);
int ncclSend(const void *from, size_t count, int type, int peer, void *comm, void *queue);
int ncclRecv(void *to, size_t count, int type, int peer, void *comm, void *queue);
int ncclGroupStart(void);
int ncclGroupEnd(void);
int ncclCommGetAsyncError(void *comm, int *error);
int ncclCommAbort(void *comm);
int ncclCommDestroy(void *comm);
const char *ncclGetErrorString(int error);

#endif
