/* The simulated device finds the mistakes that are planted in a kernel, and none in the kernel without. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cudasim/planted.h"

/* Runs the kernel in a process of its own, which a found mistake ends. Returns its exit status, and what it said. */
static int run_apart(int mistake, const char *seed, char *said, size_t bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        setenv("SA2_CUDASIM_SEED", seed, 1);
        _exit(planted_run(mistake));
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t n;
    while (used + 1 < bytes && (n = read(ends[0], said + used, bytes - 1 - used)) > 0)
        used += (size_t)n;
    said[used] = '\0';
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *const seeds[] = {"0", "1", "2", "3", "4"};
enum { N_SEEDS = sizeof seeds / sizeof seeds[0] };

static void a_kernel_without_a_mistake_runs_in_every_order(void **state)
{
    (void)state;
    char said[1024];
    for (int i = 0; i < N_SEEDS; i++) {
        int status = run_apart(PLANTED_NONE, seeds[i], said, sizeof said);
        if (status != 0)
            fail_msg("seed %s: status %d, \"%s\"", seeds[i], status, said);
    }
}

static void every_planted_mistake_is_found_in_every_order(void **state)
{
    (void)state;
    static const char *const kinds[PLANTED_COUNT] = {
        [PLANTED_NO_BARRIER] = "cudasim: race",
        [PLANTED_NO_WARP_BARRIER] = "cudasim: unwritten",
        [PLANTED_PAST_THE_END] = "cudasim: bounds",
        [PLANTED_SHARED_TOO_SMALL] = "cudasim: bounds",
        [PLANTED_UNWRITTEN_SHARED] = "cudasim: unwritten",
        [PLANTED_UNWRITTEN_GLOBAL] = "cudasim: unwritten",
        [PLANTED_TWO_BLOCKS] = "cudasim: race",
        [PLANTED_TWO_BARRIERS] = "cudasim: barrier",
        [PLANTED_HALF_A_SHUFFLE] = "cudasim: warp",
        [PLANTED_COPY_NOT_WAITED] = "cudasim: flight",
        [PLANTED_COPY_OF_OTHERS] = "cudasim: unwritten",
        [PLANTED_HOST_POINTER] = "cudasim: pointer",
        [PLANTED_MISALIGNED] = "cudasim: alignment",
        [PLANTED_FREED] = "cudasim: bounds",
        [PLANTED_READ_TOO_EARLY] = "cudasim: early",
        [PLANTED_WRITE_TOO_EARLY] = "cudasim: early",
        [PLANTED_NOT_WAITED] = "cudasim: early",
        [PLANTED_NOT_MET] = "cudasim: cluster",
        [PLANTED_LEFT] = "cudasim: cluster",
        [PLANTED_UNTOLD] = "cudasim: ",
    };
    char said[1024];
    for (int mistake = 1; mistake < PLANTED_COUNT; mistake++)
        for (int i = 0; i < N_SEEDS; i++) {
            int status = run_apart(mistake, seeds[i], said, sizeof said);
            /* In another order another of its consequences may be the first. */
            const char *kind = i == 0 ? kinds[mistake] : "cudasim: ";
            if (status != 66 || strncmp(said, kind, strlen(kind)) != 0)
                fail_msg("mistake %d, seed %s: status %d, \"%s\", \"%s\" expected", mistake,
                         seeds[i], status, said, kind);
        }
}

static void a_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    char said[1024];
    run_apart(PLANTED_NO_BARRIER, "0", said, sizeof said);
    assert_non_null(strstr(said, "block (0, 0, 0), thread (0, 0, 0): read of 4 bytes in shared"));
    assert_non_null(strstr(said, "not ordered after the write by thread 32 of block 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_without_a_mistake_runs_in_every_order),
        cmocka_unit_test(every_planted_mistake_is_found_in_every_order),
        cmocka_unit_test(a_mistake_is_told_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
