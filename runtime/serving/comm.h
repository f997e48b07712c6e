/* comm.h - what the ranks of one engine do together: sums of partial results, and news of rank 0.
 *
 * A sum adds the parts of rank 0, 1, 2, ... in that order, element by element, whatever way they came: the same numbers
 * give the same bits on every run and every kind of link. All ranks take part in all calls in the same order.
 *
 * A comm of NULL is one rank: nothing is sent, sums are of one part. Three kinds go between several: MPI and sockets
 * through host memory, for any backend (comm_link.h), and NCCL between the memories of CUDA devices (comm_nccl.h), found
 * through one of the other two.
 *
 * Failures: a rank that is gone, or silent for longer than the deadline, ends the call on all others with its number
 * and the name of the call, and the comm with it: every later call fails at once with the same words. A rank that fails
 * by itself tells the others in its next call.
 * Threads: one at a time.
 */
#ifndef SA2_RUNTIME_SERVING_COMM_H
#define SA2_RUNTIME_SERVING_COMM_H

#include "kernels/backend.h"
#include "loader/shard.h"
#include "runtime/serving/comm_link.h"
#include "runtime/serving/launch.h"

typedef struct sa2_comm sa2_comm;

enum { SA2_RANK_TIMEOUT_MS = 60000 }; /* unless said otherwise */

/* Connects with the other ranks of a launch of several. Errors: those of the links. */
sa2_status sa2_comm_open(sa2_comm **comm, const sa2_launch *launch, int64_t timeout_ms,
                         sa2_error *err);

/* Over a link, which it takes over. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_comm_create(sa2_comm **comm, const sa2_link *link, int64_t timeout_ms,
                           sa2_error *err);
void sa2_comm_close(sa2_comm *comm); /* NULL is fine */

int sa2_comm_rank(const sa2_comm *comm); /* 0 of NULL */
int sa2_comm_size(const sa2_comm *comm); /* 1 of NULL */
const char *sa2_comm_name(const sa2_comm *comm);
bool sa2_comm_one_machine(const sa2_comm *comm); /* all ranks are on this one */
int64_t sa2_comm_timeout_ms(const sa2_comm *comm);

/* Host memory for sums and copies of up to `summed` elements and joins of up to `joined`; and how much that is.
 * Errors: SA2_ERR_NOMEM. */
sa2_status sa2_comm_reserve(sa2_comm *comm, int64_t summed, int64_t joined, sa2_error *err);
size_t sa2_comm_bytes(int size, int64_t summed, int64_t joined);

/* Where the stream's device has a queue of its own and all ranks have NCCL, tensors go from device to device from now on,
 * after sa2_comm_reserve(); else they stay on their way through host memory. Errors: SA2_ERR_DEVICE NCCL's. */
sa2_status sa2_comm_use_device(sa2_comm *comm, sa2_backend *backend, sa2_stream *s, sa2_error *err);

/* The same by that library, whatever the device. *used: all ranks have it; if not, *err says why it is not used when that is
 * this rank's fault. */
sa2_status sa2_comm_use_nccl(sa2_comm *comm, sa2_backend *backend, const char *library, bool *used,
                             sa2_error *err);

/* Before the backend is closed. */
void sa2_comm_leave_device(sa2_comm *comm);

/* This rank cannot go on: the others hear so in the next call that expects something of it, and every later call here fails
 * with the same words. NULL is fine. */
void sa2_comm_give_up(sa2_comm *comm, const sa2_error *why);

/* ---- host memory ---- */

/* From rank 0 to all: n bytes there, at most room elsewhere, *n says how many came. `idle`: the others wait ten times as
 * long as elsewhere, for rank 0 has more to do between steps than they. */
sa2_status sa2_comm_share(sa2_comm *comm, const char *what, void *data, size_t room, size_t *n,
                          bool idle, sa2_error *err);

/* n bytes of each to all, all [size, n] by rank, within timeout_ms (0: the comm's own). */
sa2_status sa2_comm_tell_all(sa2_comm *comm, const char *what, const void *mine, void *all,
                             size_t n, int64_t timeout_ms, sa2_error *err);

/* ---- tensors of a stream: a failure is the stream's, as with ops; f32, dense ---- */

/* What a call is named in messages: "the sum behind layer 3's attention". */
typedef struct sa2_comm_place {
    const char *what;
    int layer; /* -1: of none */
} sa2_comm_place;

/* x += part of rank 0 + part of rank 1 + ..., in that order. x and part [rows, cols]; x is the same on all ranks, before
 * and after. */
void sa2_comm_sum(sa2_comm *comm, sa2_stream *s, sa2_tensor x, sa2_tensor part,
                  sa2_comm_place place);

/* Waits until what was asked for has run on the device, at most as long as the ranks wait for each other. */
void sa2_comm_wait(sa2_comm *comm, sa2_stream *s, sa2_comm_place place);

/* x of rank 0 to all. */
void sa2_comm_copy(sa2_comm *comm, sa2_stream *s, sa2_tensor x, sa2_comm_place place);

/* Columns of all ranks side by side, to rank 0: out [rows, sum of widths] in its host memory, elsewhere not looked at;
 * part [rows, widths[rank]]. Waits for the stream. */
void sa2_comm_join(sa2_comm *comm, sa2_stream *s, float *out, sa2_tensor part,
                   const int64_t *widths, sa2_comm_place place);

#endif
