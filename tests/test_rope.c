/* Rotary positions against their definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

/* Frequencies and angles rounded to f32 as the contract says, all else in double. */
static void definition(double *x, const int32_t *positions, int64_t rows, int64_t heads, int64_t d,
                       float theta)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < d / 2; i++) {
            float frequency = 1.0f / (float)pow((double)theta, 2.0 * (double)i / (double)d);
            float angle = (float)positions[r] * frequency;
            double c = cos((double)angle), s = sin((double)angle);
            for (int64_t h = 0; h < heads; h++) {
                double *a = x + (r * heads + h) * d + i, *b = a + d / 2;
                double turned = *a * c - *b * s;
                *b = *b * c + *a * s;
                *a = turned;
            }
        }
}

static void rope_turns_pairs_by_position_times_frequency(void **state)
{
    test_env *env = *state;
    static const int64_t shapes[][3] = {
        {1, 28, 128}, {1, 4, 128}, {5, 3, 64}, {200, 4, 128}, {3, 1, 2}, {4, 2, 10}, {2, 1, 1024},
    };
    static const int32_t lasts[] = {0, 40, 2047, 16383, 65535, 300000};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (size_t p = 0; p < sizeof lasts / sizeof lasts[0]; p++)
            for (int b = 0; b < env->n_streams; b++) {
                int64_t rows = shapes[i][0], heads = shapes[i][1], d = shapes[i][2];
                float theta = p % 2 == 0 ? 1e6f : 1e4f;
                sa2_dtype dtype = b % 2 == 0 ? SA2_F32 : SA2_BF16;
                sa2_tensor positions = test_ids(env, rows, lasts[p] + 1);
                ((int32_t *)positions.data)[0] = lasts[p];
                sa2_tensor wide = test_random(env, dtype, rows, 2 * heads * d);
                sa2_tensor x = sa2_tensor_heads(sa2_tensor_cols(wide, heads * d, heads * d), heads);
                double *want = test_values(env, &x);
                definition(want, positions.data, rows, heads, d, theta);
                sa2_rope(env->streams[b], x, positions, theta);
                /* f32: sine and cosine to 2^-23, two products and a sum: 3e-7, squared 1e-13. */
                assert_close(env, env->streams[b], "rope", &x, want,
                             dtype == SA2_BF16 ? 1.6e-5 : 1e-13);
                test_reset(env);
            }
}

static void rope_at_position_0_changes_nothing(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor x = sa2_tensor_heads(test_random(env, SA2_BF16, 3, 40), 2);
        sa2_tensor before = test_copy(env, &x);
        sa2_tensor positions = test_ids(env, 3, 1);
        sa2_rope(env->streams[b], x, positions, 1e6f);
        assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
        assert_same_bits("rope", &x, &before);
        test_reset(env);
    }
}

static void heads_beyond_the_limit_are_refused(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor x = sa2_tensor_heads(test_random(env, SA2_F32, 1, 2048), 1);
        sa2_rope(env->streams[b], x, test_ids(env, 1, 1), 1e6f);
        assert_refused(env->streams[b], "rope: heads of 2048, up to 1024 are possible");
        test_reset(env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope_turns_pairs_by_position_times_frequency),
        cmocka_unit_test(rope_at_position_0_changes_nothing),
        cmocka_unit_test(heads_beyond_the_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
