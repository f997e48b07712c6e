/* comm_mpi.c - messages between ranks by MPI.
 *
 * Sends and receives that return at once, asked again and again until all are done: only so is there a deadline. Who
 * waits gives its processor away, at first for a moment, then for longer.
 */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "loader/shard.h"
#include "runtime/serving/clock.h"
#include "runtime/serving/comm_link.h"

typedef struct mpi_link {
    MPI_Comm world;
    int rank, size;
} mpi_link;

static sa2_status failed(int code, const char *call, sa2_error *err)
{
    char text[MPI_MAX_ERROR_STRING];
    int n = 0;
    MPI_Error_string(code, text, &n);
    return sa2_fail(err, SA2_ERR_DEVICE, "%s: %.*s", call, n, text);
}

/* 1000 looks in a row, then 2 ms of giving way, then naps. */
static void wait_a_little(int *looks, double since_ms)
{
    if (++*looks < 1000)
        return;
    if (sa2_now_ms() - since_ms < 2.0)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* What is still open when time is up is taken back; a receive that cannot be is left to the end of the process. */
static sa2_status give_up(const mpi_link *m, MPI_Request *receives, const MPI_Request *sends,
                          int64_t timeout_ms, sa2_error *err)
{
    bool silent[SA2_MAX_RANKS];
    for (int i = 0; i < m->size; i++) {
        silent[i] = receives[i] != MPI_REQUEST_NULL || sends[i] != MPI_REQUEST_NULL;
        if (receives[i] != MPI_REQUEST_NULL)
            MPI_Cancel(&receives[i]);
    }
    return sa2_link_fail_silent(silent, m->size, timeout_ms, err);
}

static sa2_status start(const mpi_link *m, const sa2_message *with, MPI_Request *receives,
                        MPI_Request *sends, sa2_error *err)
{
    int code = MPI_SUCCESS;
    for (int i = 0; i < m->size && code == MPI_SUCCESS; i++) {
        if (i == m->rank)
            continue;
        if (with[i].room > INT_MAX || with[i].n_send > INT_MAX)
            return sa2_fail(err, SA2_ERR_LIMIT, "a message of %zu bytes, %d are the most",
                            with[i].room > with[i].n_send ? with[i].room : with[i].n_send, INT_MAX);
        if (with[i].receive != NULL)
            code = MPI_Irecv(with[i].receive, (int)with[i].room, MPI_BYTE, i, 0, m->world,
                             &receives[i]);
    }
    for (int i = 0; i < m->size && code == MPI_SUCCESS; i++)
        if (i != m->rank && with[i].send != NULL)
            code =
                MPI_Isend(with[i].send, (int)with[i].n_send, MPI_BYTE, i, 0, m->world, &sends[i]);
    return code == MPI_SUCCESS ? SA2_OK : failed(code, "MPI_Isend, MPI_Irecv", err);
}

/* Looks at all that is open; *open: how many are. */
static sa2_status look(const mpi_link *m, sa2_message *with, MPI_Request *receives,
                       MPI_Request *sends, int *open, sa2_error *err)
{
    *open = 0;
    for (int i = 0; i < m->size; i++) {
        MPI_Status status;
        int done = 1, bytes = 0;
        bool receiving = receives[i] != MPI_REQUEST_NULL;
        int code = receiving ? MPI_Test(&receives[i], &done, &status) : MPI_SUCCESS;
        if (receiving && done && code == MPI_SUCCESS) {
            code = MPI_Get_count(&status, MPI_BYTE, &bytes);
            with[i].n_received = (size_t)bytes;
        }
        *open += receiving && !done;
        if (code == MPI_SUCCESS && sends[i] != MPI_REQUEST_NULL) {
            code = MPI_Test(&sends[i], &done, MPI_STATUS_IGNORE);
            *open += !done;
        }
        if (code != MPI_SUCCESS) {
            sa2_status st = failed(code, "MPI_Test", err);
            return sa2_wrap(err, st, "rank %d", i);
        }
    }
    return SA2_OK;
}

static sa2_status exchange(void *state, sa2_message *with, int64_t timeout_ms, sa2_error *err)
{
    const mpi_link *m = state;
    MPI_Request receives[SA2_MAX_RANKS], sends[SA2_MAX_RANKS];
    for (int i = 0; i < m->size; i++)
        receives[i] = sends[i] = MPI_REQUEST_NULL;
    double began_ms = sa2_now_ms();
    int open = 1, looks = 0;
    sa2_status st = start(m, with, receives, sends, err);
    while (st == SA2_OK) {
        st = look(m, with, receives, sends, &open, err);
        if (st != SA2_OK || open == 0)
            break;
        if (sa2_now_ms() - began_ms > (double)timeout_ms)
            return give_up(m, receives, sends, timeout_ms, err);
        wait_a_little(&looks, began_ms);
    }
    return st;
}

/* Without the others, MPI_Finalize() would wait for them; a process that just ends makes mpirun end them. */
static void close_link(void *state, bool orderly)
{
    free(state);
    if (orderly)
        MPI_Finalize();
}

sa2_status sa2_link_open_mpi(sa2_link *link, const sa2_launch *launch, sa2_error *err)
{
    int given, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given);
    if (code != MPI_SUCCESS)
        return failed(code, "MPI_Init_thread", err);
    mpi_link *m = calloc(1, sizeof *m);
    if (m == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "MPI: no memory");
    m->world = MPI_COMM_WORLD;
    MPI_Comm_set_errhandler(m->world, MPI_ERRORS_RETURN);
    MPI_Comm_rank(m->world, &m->rank);
    MPI_Comm_size(m->world, &m->size);
    sa2_status st = SA2_OK;
    if (given < MPI_THREAD_SERIALIZED)
        st = sa2_fail(err, SA2_ERR_UNSUPPORTED, "MPI: this one cannot be called from a thread");
    else if (m->size != launch->size || m->rank != launch->rank)
        st = sa2_fail(err, SA2_ERR_UNSUPPORTED,
                      "MPI: rank %d of %d expected by %s's variables, MPI found rank %d of %d: the "
                      "launcher is of another MPI (under Slurm: srun --mpi=pmix)",
                      launch->rank, launch->size, launch->by, m->rank, m->size);
    if (st != SA2_OK) {
        free(m);
        return st;
    }
    *link = (sa2_link){.name = "MPI",
                       .rank = m->rank,
                       .size = m->size,
                       .exchange = exchange,
                       .close = close_link,
                       .state = m};
    return SA2_OK;
}
