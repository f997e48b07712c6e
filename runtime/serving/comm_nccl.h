/* comm_nccl.h - what ranks do together between the memories of CUDA devices. Inside comm.c only.
 *
 * The library is opened when it is wanted, so that a build needs nothing of it. Its calls are those of NVIDIA's NCCL user
 * guide, version 2.7 and later. Parts are gathered and then added by our own ops in the order of ranks: the sums of
 * comm.h, to the bit.
 */
#ifndef SA2_RUNTIME_SERVING_COMM_NCCL_H
#define SA2_RUNTIME_SERVING_COMM_NCCL_H

#include "kernels/backend.h"
#include "loader/shard.h"

typedef struct sa2_nccl sa2_nccl;

enum { SA2_NCCL_ID_BYTES = 128 }; /* of what ranks find each other by */

/* Errors: SA2_ERR_UNSUPPORTED no such library, or calls missing in it. */
sa2_status sa2_nccl_open(sa2_nccl **nccl, const char *library, sa2_error *err);

/* On rank 0, for all. Errors of this and the calls below: SA2_ERR_DEVICE, with the call and the library's words. */
sa2_status sa2_nccl_id(const sa2_nccl *nccl, char id[SA2_NCCL_ID_BYTES], sa2_error *err);

/* All ranks at once; `floats` of room on the device for parts of all ranks. */
sa2_status sa2_nccl_join_ranks(sa2_nccl *nccl, const char id[SA2_NCCL_ID_BYTES], int rank, int size,
                               sa2_backend *backend, int64_t floats, sa2_error *err);

/* As in comm.h; they return before the device is done. */
sa2_status sa2_nccl_sum(sa2_nccl *nccl, sa2_stream *s, sa2_tensor x, sa2_tensor part,
                        sa2_error *err);
sa2_status sa2_nccl_copy(sa2_nccl *nccl, sa2_stream *s, sa2_tensor x, sa2_error *err);

/* counts[r] floats of each rank r to rank 0, one behind the other in *all, memory of the device. */
sa2_status sa2_nccl_collect(sa2_nccl *nccl, sa2_stream *s, sa2_tensor part, const int64_t *counts,
                            sa2_tensor *all, sa2_error *err);

/* Until the device has done all that was asked for; *late: it had not in timeout_ms. */
sa2_status sa2_nccl_wait(sa2_nccl *nccl, sa2_stream *s, int64_t timeout_ms, bool *late,
                         sa2_error *err);

/* orderly: all ranks do the same, else what is under way is broken off. NULL is fine. */
void sa2_nccl_close(sa2_nccl *nccl, bool orderly);

#endif
