/* test_env.h - what tests of ops share: a stream for every instruction set of this processor and every kind of
 * GPU, real or simulated, that is here; tensors with guarded edges, in memory that all of them reach; and
 * comparison with a definition in double.
 *
 * A test fills tensors, runs the op once for each stream, compares, and ends its case with
 * test_reset(), which fails when an op wrote past the edge of any tensor.
 */
#ifndef SA2_TESTS_SUPPORT_TEST_ENV_H
#define SA2_TESTS_SUPPORT_TEST_ENV_H

#include "kernels/backend.h"

enum { TEST_MAX_STREAMS = 8, TEST_MAX_BLOCKS = 512 };

typedef struct test_env {
    int n_streams;
    sa2_stream *streams[TEST_MAX_STREAMS];
    sa2_backend *backends[TEST_MAX_STREAMS];
    const char *isas[TEST_MAX_STREAMS]; /* "c", "avx2", ... */
    sa2_backend *shared;                /* gives memory for tensors; NULL: the host does */
    void *blocks[TEST_MAX_BLOCKS];      /* of this case */
    size_t block_bytes[TEST_MAX_BLOCKS];
    int n_blocks;
    uint64_t
        random; /* begins anew with every case: it does not matter which instruction sets there are */
} test_env;

/* Streams with 16 MB of scratch each; n_threads as in sa2_backend_options. The first is for the processor alone. With
 * SA2_TEST_ISA in the environment there are plain C and that instruction set, and no device. */
void test_env_open(test_env *env, int n_threads);
void test_env_open_all(test_env *env, int n_threads);
void test_env_close(test_env *env);

/* The two ends of a group of cmocka's: *state is an environment of 3 threads, on every device. */
int test_env_set_up(void **state);
int test_env_tear_down(void **state);

/* Is env->streams[i] a simulated GPU's? It needs a thousand times as long as a real one. */
bool test_is_simulated(const test_env *env, int i);

/* Checks the guards of all tensors and frees them: the end of a case. */
void test_reset(test_env *env);

/* Dense tensors. Uniform in [-1, 1); NaN everywhere, so that what stays unwritten shows. Columns 0: 1-d. */
sa2_tensor test_random(test_env *env, sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_tensor test_poisoned(test_env *env, sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_tensor test_copy(test_env *env, const sa2_tensor *x); /* dense, the same values */
sa2_tensor test_ids(test_env *env, int64_t n, int32_t below);
sa2_matrix test_matrix(test_env *env, sa2_stream *s, sa2_dtype dtype, int64_t rows, int64_t cols);

double test_uniform(test_env *env); /* in [-1, 1) */

/* Zeroed, freed by test_reset(). */
double *test_doubles(test_env *env, int64_t n);
int32_t *test_offsets(test_env *env, int n, const int32_t *lengths); /* [n + 1] */

/* The values of x, any stride, as dense doubles. */
double *test_values(test_env *env, const sa2_tensor *x);

/* The op of the last call worked and sum (y - want)^2 <= nmse * sum want^2; otherwise prints `what` and the worst
 * element. A NaN fails. */
void assert_close(test_env *env, sa2_stream *s, const char *what, const sa2_tensor *y,
                  const double *want, double nmse);

/* Every bit of y as in `want`, same shape and dtype, any strides. */
void assert_same_bits(const char *what, const sa2_tensor *y, const sa2_tensor *want);

/* The ops of s failed with a message that contains `part`. */
void assert_refused(sa2_stream *s, const char *part);

#endif
