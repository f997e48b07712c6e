/* comm_link.h - how bytes go between ranks: what comm.c stands on.
 *
 * One operation: an exchange, in which a rank sends to and receives from any of the others at the same time, and which
 * says who has not answered. MPI and sockets each have it.
 */
#ifndef SA2_RUNTIME_SERVING_COMM_LINK_H
#define SA2_RUNTIME_SERVING_COMM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "runtime/serving/launch.h"

/* Both directions with one rank. */
typedef struct sa2_message {
    const void *send; /* NULL: nothing is sent; n_send may be 0 all the same */
    size_t n_send;
    void *receive; /* NULL: nothing comes */
    size_t room;
    size_t n_received; /* at most room */
} sa2_message;

typedef struct sa2_link {
    const char *name; /* "MPI", "sockets" */
    int rank, size;
    /* with [size], that of the rank itself is left alone. Messages between two ranks arrive in the order in which they
     * were sent. Errors: SA2_ERR_DEVICE, naming the ranks that did not answer, or that are gone. */
    sa2_status (*exchange)(void *state, sa2_message *with, int64_t timeout_ms, sa2_error *err);
    void (*close)(void *state, bool orderly); /* orderly: all ranks are about to do the same */
    void *state;
} sa2_link;

/* Errors: SA2_ERR_UNSUPPORTED a build without MPI, a process that MPI knows nothing of; SA2_ERR_DEVICE. */
sa2_status sa2_link_open_mpi(sa2_link *link, const sa2_launch *launch, sa2_error *err);

/* Meets the others at launch->host and launch->port. Errors: SA2_ERR_IO, with the address; SA2_ERR_DEVICE. */
sa2_status sa2_link_open_sockets(sa2_link *link, const sa2_launch *launch, int64_t timeout_ms,
                                 sa2_error *err);

/* Over streams that are connected already: fds [size], that of the rank itself unused; they are closed with the link, or
 * after a failure. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_link_from_sockets(sa2_link *link, int rank, int size, const int *fds,
                                 sa2_error *err);

/* Adds "nothing came from rank 1, rank 3 in 60.0 s" for the ranks marked in `silent` [size]. */
sa2_status sa2_link_fail_silent(const bool *silent, int size, int64_t timeout_ms, sa2_error *err);

#endif
