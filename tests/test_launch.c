/* Who started this process: the variables of mpirun, srun and torchrun, and those that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/launch.h"

static const char *const all[] = {"OMPI_COMM_WORLD_RANK",
                                  "OMPI_COMM_WORLD_SIZE",
                                  "OMPI_COMM_WORLD_LOCAL_RANK",
                                  "OMPI_COMM_WORLD_LOCAL_SIZE",
                                  "PMI_RANK",
                                  "PMI_SIZE",
                                  "MPI_LOCALRANKID",
                                  "MPI_LOCALNRANKS",
                                  "SLURM_PROCID",
                                  "SLURM_STEP_NUM_TASKS",
                                  "SLURM_LOCALID",
                                  "SLURM_NTASKS_PER_NODE",
                                  "SLURM_STEP_NODELIST",
                                  "SLURM_STEP_NUM_NODES",
                                  "SLURM_JOB_ID",
                                  "SLURM_NTASKS",
                                  "PMIX_RANK",
                                  "PMI_FD",
                                  "RANK",
                                  "WORLD_SIZE",
                                  "LOCAL_RANK",
                                  "LOCAL_WORLD_SIZE",
                                  "MASTER_ADDR",
                                  "MASTER_PORT"};

static int forget_everything(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        unsetenv(all[i]);
    return 0;
}

/* Pairs of a name and a value, up to NULL. */
static void set(const char *const *pairs)
{
    for (; *pairs != NULL; pairs += 2)
        setenv(pairs[0], pairs[1], 1);
}

#define SET(...) set((const char *const[]){__VA_ARGS__, NULL})

static sa2_launch find(void)
{
    sa2_launch launch;
    sa2_error err = {0};
    if (sa2_launch_find(&launch, getenv, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return launch;
}

static void assert_refused(sa2_status status, const char *part)
{
    sa2_launch launch;
    sa2_error err = {0};
    assert_int_equal(sa2_launch_find(&launch, getenv, &err), status);
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", part, err.message);
    assert_int_equal(launch.size, 1);
}

static void without_variables_there_is_one_rank(void **state)
{
    (void)state;
    sa2_launch launch = find();
    assert_int_equal(launch.size, 1);
    assert_int_equal(launch.rank, 0);
    assert_null(launch.by);
    SET("WORLD_SIZE", "1", "RANK", "0"); /* and so there is of a launcher of one */
    assert_int_equal(find().size, 1);
}

static void mpirun_of_open_mpi_and_of_mpich_are_known(void **state)
{
    (void)state;
    SET("PMI_RANK", "1", "PMI_SIZE", "2");
    sa2_launch launch = find();
    assert_true(launch.mpi);
    assert_int_equal(launch.rank, 1);
    assert_int_equal(launch.local_rank, 1);
    assert_int_equal(launch.local_size, 2);
    SET("OMPI_COMM_WORLD_RANK", "5", "OMPI_COMM_WORLD_SIZE", "8", "OMPI_COMM_WORLD_LOCAL_RANK", "1",
        "OMPI_COMM_WORLD_LOCAL_SIZE", "4", "RANK", "0", "WORLD_SIZE", "2");
    launch = find();
    assert_string_equal(launch.by, "mpirun");
    assert_int_equal(launch.rank, 5);
    assert_int_equal(launch.size, 8);
    assert_int_equal(launch.local_rank, 1);
    assert_int_equal(launch.local_size, 4);
}

static void ranks_of_torchrun_meet_beside_its_store(void **state)
{
    (void)state;
    SET("RANK", "3", "WORLD_SIZE", "4", "LOCAL_RANK", "1", "LOCAL_WORLD_SIZE", "2", "MASTER_ADDR",
        "node7", "MASTER_PORT", "29500");
    sa2_launch launch = find();
    assert_string_equal(launch.by, "torchrun");
    assert_false(launch.mpi);
    assert_int_equal(launch.rank, 3);
    assert_string_equal(launch.host, "node7");
    assert_int_equal(launch.port, 29501);
    unsetenv("MASTER_PORT");
    assert_refused(SA2_ERR_ARG, "MASTER_PORT: a port where ranks meet expected");
}

static void a_step_of_slurm_uses_mpi_where_slurm_serves_it_and_a_port_elsewhere(void **state)
{
    (void)state;
    SET("SLURM_PROCID", "2", "SLURM_STEP_NUM_TASKS", "4", "SLURM_LOCALID", "0", "SLURM_JOB_ID",
        "61234", "SLURM_STEP_NODELIST", "gpu[07-09,12],cpu1", "SLURM_STEP_NUM_NODES", "4");
    sa2_launch launch = find();
    assert_string_equal(launch.by, "srun");
    assert_false(launch.mpi);
    assert_string_equal(launch.host, "gpu07");
    assert_int_equal(launch.port, 20000 + 61234 % 20000);
    setenv("SLURM_STEP_NODELIST", "big-node,cpu1", 1);
    assert_string_equal(find().host, "big-node");
    setenv("SLURM_STEP_NUM_NODES", "1", 1);
    assert_string_equal(find().host, "127.0.0.1");
    SET("MASTER_ADDR", "10.0.0.9", "MASTER_PORT", "4000");
    assert_string_equal(find().host, "10.0.0.9");
    assert_int_equal(find().port, 4001);
    setenv("PMIX_RANK", "2", 1);
    assert_true(find().mpi);
}

static void a_batch_script_that_is_no_step_is_one_rank(void **state)
{
    (void)state;
    SET("SLURM_PROCID", "0", "SLURM_NTASKS", "4", "SLURM_JOB_ID", "1");
    assert_int_equal(find().size, 1);
}

static void variables_that_make_no_sense_are_refused_by_name(void **state)
{
    (void)state;
    SET("RANK", "2", "WORLD_SIZE", "2", "MASTER_PORT", "29500");
    assert_refused(SA2_ERR_ARG, "RANK: a number from 0 to 1 expected, \"2\" found");
    setenv("RANK", "", 1);
    assert_refused(SA2_ERR_ARG, "RANK: a number from 0 to 1 expected, \"\" found");
    setenv("RANK", "1x", 1);
    assert_refused(SA2_ERR_ARG, "\"1x\" found");
    SET("RANK", "1", "WORLD_SIZE", "-4");
    assert_refused(SA2_ERR_ARG, "WORLD_SIZE: a number from 1");
    setenv("WORLD_SIZE", "99999999999999999999", 1);
    assert_refused(SA2_ERR_ARG, "WORLD_SIZE");
    setenv("WORLD_SIZE", "65", 1);
    assert_refused(SA2_ERR_LIMIT, "WORLD_SIZE: at most 64 ranks expected, 65 found");
    SET("WORLD_SIZE", "2", "MASTER_PORT", "65535");
    assert_refused(SA2_ERR_ARG, "MASTER_PORT: a number from 1 to 65534");
    SET("MASTER_PORT", "80", "LOCAL_RANK", "7");
    assert_refused(SA2_ERR_ARG, "LOCAL_RANK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_variables_there_is_one_rank, forget_everything),
        cmocka_unit_test_setup(mpirun_of_open_mpi_and_of_mpich_are_known, forget_everything),
        cmocka_unit_test_setup(ranks_of_torchrun_meet_beside_its_store, forget_everything),
        cmocka_unit_test_setup(a_step_of_slurm_uses_mpi_where_slurm_serves_it_and_a_port_elsewhere,
                               forget_everything),
        cmocka_unit_test_setup(a_batch_script_that_is_no_step_is_one_rank, forget_everything),
        cmocka_unit_test_setup(variables_that_make_no_sense_are_refused_by_name, forget_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
