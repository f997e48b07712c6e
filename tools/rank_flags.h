/* rank_flags.h - this process among the ranks that mpirun, srun or torchrun started, for subcommands with an engine.
 */
#ifndef SA2_TOOLS_RANK_FLAGS_H
#define SA2_TOOLS_RANK_FLAGS_H

#include "runtime/serving/comm.h"
#include "tools/options.h"

typedef struct sa2_rank_flags {
    int timeout_s;   /* 0: the default */
    sa2_comm *comm;  /* NULL: one rank */
    char device[24]; /* of sa2_rank_flags_device() */
    int local_rank;
} sa2_rank_flags;

#define SA2_RANK_OPTION(flags)                                                                     \
    {                                                                                              \
        "rank-timeout", 0, SA2_OPTION_INT, &(flags)->timeout_s, "S",                               \
            "seconds that ranks wait for a silent one (60)"                                        \
    }

/* Finds this process among those of its launcher: rank 0 when there is none, or when its variables make no sense, which
 * sa2_rank_flags_open() tells. */
int sa2_rank_flags_rank(void);

/* Connects the ranks, if there are several. *n_threads 0 becomes this rank's share of the processors. False after a
 * complaint, with *exit_code. */
bool sa2_rank_flags_open(sa2_rank_flags *flags, int *n_threads, const sa2_usage_text *usage,
                         int *exit_code);

/* "cuda" is a device of its own for each rank of a machine. Valid as long as *flags. */
const char *sa2_rank_flags_device(sa2_rank_flags *flags, const char *device);

/* After the engine is destroyed. */
void sa2_rank_flags_close(sa2_rank_flags *flags);

#endif
