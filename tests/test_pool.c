/* Pooling and the memory of FSMN against their definitions: borders of sequences are kept. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

enum { SEQUENCES = 5 };
static const int32_t lengths[SEQUENCES] = {7, 0, 1, 40, 2};
enum { ROWS = 50 };

static void mean_pool_drops_the_rest_of_each_sequence(void **state)
{
    test_env *env = *state;
    for (int kernel = 1; kernel <= 5; kernel++)
        for (int types = 0; types < 4; types++) {
            enum { N = 2051 };
            int32_t *offsets = test_offsets(env, SEQUENCES, lengths);
            sa2_tensor x = test_random(env, types & 1 ? SA2_BF16 : SA2_F32, ROWS, N);
            double *values = test_values(env, &x), *want = test_doubles(env, ROWS * N);
            int64_t rows = 0;
            for (int i = 0; i < SEQUENCES; i++)
                for (int r = 0; r < lengths[i] / kernel; r++, rows++)
                    for (int k = 0; k < kernel; k++)
                        for (int c = 0; c < N; c++)
                            want[rows * N + c] +=
                                values[(offsets[i] + r * kernel + k) * N + c] / kernel;
            for (int b = 0; b < env->n_streams; b++) {
                sa2_tensor y = test_poisoned(env, types & 2 ? SA2_BF16 : SA2_F32, rows, N);
                sa2_mean_pool(env->streams[b], y, x, (sa2_rows){.n = SEQUENCES, .offsets = offsets},
                              kernel);
                /* kernel roundings of a sum whose terms partly cancel */
                assert_close(env, env->streams[b], "mean_pool", &y, want,
                             y.dtype == SA2_BF16 ? 1.6e-5 : 1e-13);
            }
            test_reset(env);
        }
}

static void memory_sums_weighted_neighbours_within_each_sequence(void **state)
{
    test_env *env = *state;
    static const int kernels[][2] = {{31, 15}, {1, 0}, {4, 3}, {64, 0}}; /* kernel, pad_left */
    for (int i = 0; i < 4; i++)
        for (int n = 1; n <= 150; n += 149) {
            int kernel = kernels[i][0], pad = kernels[i][1];
            int32_t *offsets = test_offsets(env, SEQUENCES, lengths);
            sa2_tensor wide = test_random(env, SA2_F32, ROWS, n + 7);
            sa2_tensor x = sa2_tensor_cols(wide, 5, n);
            sa2_tensor w = test_random(env, SA2_F32, n, kernel);
            double *values = test_values(env, &x), *weight = test_values(env, &w);
            double *want = test_values(env, &x);
            for (int s = 0; s < SEQUENCES; s++)
                for (int t = offsets[s]; t < offsets[s + 1]; t++)
                    for (int k = 0; k < kernel; k++)
                        for (int c = 0; c < n; c++) {
                            int from = t + k - pad;
                            if (from >= offsets[s] && from < offsets[s + 1])
                                want[t * n + c] += weight[c * kernel + k] * values[from * n + c];
                        }
            for (int b = 0; b < env->n_streams; b++) {
                sa2_tensor y = test_poisoned(env, SA2_F32, ROWS, n);
                sa2_depthwise_memory(env->streams[b], y, x, w,
                                     (sa2_rows){.n = SEQUENCES, .offsets = offsets}, pad);
                /* up to 64 terms: sqrt(64) 2^-24, squared 2.3e-13 */
                assert_close(env, env->streams[b], "depthwise_memory", &y, want, 1e-12);
            }
            test_reset(env);
        }
}

static void a_kernel_beyond_the_limit_is_refused(void **state)
{
    test_env *env = *state;
    static const int32_t one[] = {3};
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor x = test_random(env, SA2_F32, 3, 2), y = test_poisoned(env, SA2_F32, 3, 2);
        sa2_tensor w = test_random(env, SA2_F32, 2, 65);
        sa2_depthwise_memory(env->streams[b], y, x, w,
                             (sa2_rows){.n = 1, .offsets = test_offsets(env, 1, one)}, 0);
        assert_refused(env->streams[b], "depthwise_memory: kernel 65, up to 64 are possible");
        test_reset(env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_pool_drops_the_rest_of_each_sequence),
        cmocka_unit_test(memory_sums_weighted_neighbours_within_each_sequence),
        cmocka_unit_test(a_kernel_beyond_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
