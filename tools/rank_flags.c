#define _GNU_SOURCE /* sched_getaffinity() */

#include "tools/rank_flags.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "tools/terminal.h"

enum { MAX_TIMEOUT_S = 24 * 3600 };

int sa2_rank_flags_rank(void)
{
    sa2_launch launch;
    return sa2_launch_find(&launch, getenv, NULL) == SA2_OK ? launch.rank : 0;
}

/* Processors that this process may use, or its share where the launcher gave all to everybody. */
static int share_of_processors(const sa2_launch *launch)
{
    cpu_set_t set;
    int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int share = (int)sysconf(_SC_NPROCESSORS_ONLN) / launch->local_size;
    share = share < 1 ? 1 : share;
    return allowed < share ? allowed : share;
}

bool sa2_rank_flags_open(sa2_rank_flags *f, int *n_threads, const sa2_usage_text *usage,
                         int *exit_code)
{
    sa2_launch launch;
    sa2_error err = {0};
    if (f->timeout_s < 0 || f->timeout_s > MAX_TIMEOUT_S) {
        *exit_code = sa2_options_refuse(usage, "--rank-timeout: 1 to %d expected, %d found",
                                        MAX_TIMEOUT_S, f->timeout_s);
        return false;
    }
    sa2_status st = sa2_launch_find(&launch, getenv, &err);
    if (st == SA2_OK && launch.size > 1) {
        if (*n_threads == 0)
            *n_threads = share_of_processors(&launch);
        f->local_rank = launch.local_rank;
        st = sa2_comm_open(&f->comm, &launch, (int64_t)f->timeout_s * 1000, &err);
    }
    if (st != SA2_OK)
        *exit_code = sa2_report_failure(usage->name, st, &err);
    return st == SA2_OK;
}

const char *sa2_rank_flags_device(sa2_rank_flags *f, const char *device)
{
    if (f->comm == NULL || device == NULL || strcmp(device, "cuda") != 0)
        return device;
    snprintf(f->device, sizeof f->device, "cuda:%d", f->local_rank);
    return f->device;
}

void sa2_rank_flags_close(sa2_rank_flags *f)
{
    sa2_comm_close(f->comm);
    f->comm = NULL;
}
