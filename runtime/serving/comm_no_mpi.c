/* comm_no_mpi.c - what stands for comm_mpi.c in a build without MPI. */
#include "runtime/serving/comm_link.h"

sa2_status sa2_link_open_mpi(sa2_link *link, const sa2_launch *launch, sa2_error *err)
{
    (void)link;
    return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                    "started by %s, but this build has no MPI: install libopenmpi-dev and build "
                    "again, or start one process",
                    launch->by);
}
