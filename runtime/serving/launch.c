#include "runtime/serving/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/shard.h"

enum { SLURM_FIRST_PORT = 20000, SLURM_PORTS = 20000, MAX_PORT = 65535 };

/* What a launcher calls things. */
typedef struct launcher {
    const char *by;
    bool mpi;
    const char *rank, *size, *local_rank, *local_size;
} launcher;

static const launcher launchers[] = {
    {"mpirun", true, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"mpirun", true, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {"srun", false, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
     "SLURM_NTASKS_PER_NODE"},
    {"torchrun", false, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
};

typedef struct reader {
    char *(*variable)(const char *name);
    sa2_status status;
    sa2_error *err;
} reader;

/* A number from least to most; `otherwise` when the variable is not there. */
static int number(reader *r, const char *name, int least, int most, int otherwise)
{
    const char *text = r->variable(name);
    if (text == NULL)
        return otherwise;
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < least || value > most) {
        r->status =
            sa2_fail(r->err, SA2_ERR_ARG, "%s: a number from %d to %d expected, \"%.64s\" found",
                     name, least, most, text);
        return least;
    }
    return (int)value;
}

/* "node[03-05,9],other" to "node03". */
static void first_host(char *host, size_t bytes, const char *list)
{
    size_t stem = strcspn(list, "[,");
    size_t digits = list[stem] == '[' ? strcspn(list + stem + 1, "-,]") : 0;
    snprintf(host, bytes, "%.*s%.*s", (int)stem, list, (int)digits,
             list + stem + 1 - (digits == 0));
}

/* Where ranks of srun and torchrun meet. */
static void find_place(sa2_launch *launch, reader *r, const launcher *l)
{
    const char *host = r->variable("MASTER_ADDR");
    const char *nodes = r->variable("SLURM_STEP_NODELIST");
    bool slurm = strcmp(l->by, "srun") == 0;
    if (host != NULL)
        snprintf(launch->host, sizeof launch->host, "%s", host);
    else if (slurm && nodes != NULL && number(r, "SLURM_STEP_NUM_NODES", 1, 1 << 20, 1) > 1)
        first_host(launch->host, sizeof launch->host, nodes);
    else
        snprintf(launch->host, sizeof launch->host, "127.0.0.1");
    int port = number(r, "MASTER_PORT", 1, MAX_PORT - 1, 0);
    int job = number(r, "SLURM_JOB_ID", 0, INT32_MAX, 0);
    if (port != 0)
        launch->port = port + 1; /* the port itself is that of torchrun's own store */
    else if (slurm)
        launch->port = SLURM_FIRST_PORT + job % SLURM_PORTS;
    else if (r->status == SA2_OK)
        r->status = sa2_fail(r->err, SA2_ERR_ARG,
                             "MASTER_PORT: a port where ranks meet expected, it is not set");
}

sa2_status sa2_launch_find(sa2_launch *launch, char *(*variable)(const char *name), sa2_error *err)
{
    reader r = {.variable = variable, .err = err};
    *launch = (sa2_launch){.size = 1};
    const launcher *l = launchers, *end = l + sizeof launchers / sizeof launchers[0];
    while (l < end && (variable(l->rank) == NULL || variable(l->size) == NULL))
        l++;
    if (l == end)
        return SA2_OK;
    sa2_launch found = {.by = l->by, .mpi = l->mpi};
    found.size = number(&r, l->size, 1, INT32_MAX, 1);
    if (r.status == SA2_OK && found.size > SA2_MAX_RANKS)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: at most %d ranks expected, %d found", l->size,
                        SA2_MAX_RANKS, found.size);
    if (r.status == SA2_OK)
        found.rank = number(&r, l->rank, 0, found.size - 1, 0);
    if (r.status == SA2_OK)
        found.local_rank = number(&r, l->local_rank, 0, found.size - 1, found.rank);
    if (r.status == SA2_OK)
        found.local_size = number(&r, l->local_size, 1, INT32_MAX, found.size);
    /* srun starts what the job's MPI is told by PMIx or PMI-2; without either, ranks meet at a port. */
    if (strcmp(l->by, "srun") == 0)
        found.mpi = variable("PMIX_RANK") != NULL || variable("PMI_FD") != NULL;
    if (r.status == SA2_OK && !found.mpi && found.size > 1)
        find_place(&found, &r, l);
    if (r.status == SA2_OK && found.size > 1)
        *launch = found;
    return r.status;
}
