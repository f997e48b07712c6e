/* launch.h - how this process was started: alone, or as one of several ranks by mpirun, srun or torchrun.
 *
 * Read from the variables that launchers set; nothing is opened here, so a process that runs alone pays nothing.
 */
#ifndef SA2_RUNTIME_SERVING_LAUNCH_H
#define SA2_RUNTIME_SERVING_LAUNCH_H

#include <stdbool.h>

#include "kernels/base/status.h"

typedef struct sa2_launch {
    const char *by;             /* "mpirun", "srun", "torchrun"; NULL: nobody */
    bool mpi;                   /* ranks find each other through MPI, else at host and port */
    int rank, size;             /* 0 and 1: alone */
    int local_rank, local_size; /* among those of this machine */
    char host[256];             /* of rank 0 */
    int port;
} sa2_launch;

/* `variable` is getenv(), or a test's. Looks for Open MPI's and MPICH's variables, then those of a Slurm step, then
 * torchrun's. Errors: SA2_ERR_ARG a variable that makes no sense, with its name and value; SA2_ERR_LIMIT more than
 * SA2_MAX_RANKS. */
sa2_status sa2_launch_find(sa2_launch *launch, char *(*variable)(const char *name), sa2_error *err);

#endif
