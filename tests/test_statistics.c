/* Means of segments, deviations, scale and shift of channels: each against its definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

enum { SEQUENCES = 5, ROWS = 250 };
static const int32_t lengths[SEQUENCES] = {7, 0, 1, 100, 142};

/* ---- sa2_segment_context() ---- */

static int64_t define_context(double *want, const double *x, const int32_t *offsets, int channels,
                              int segment, sa2_partial_rule partial)
{
    int64_t row = 0;
    for (int i = 0; i < SEQUENCES; i++)
        for (int first = offsets[i]; first < offsets[i + 1]; first += segment, row++)
            for (int c = 0; c < channels; c++) {
                int end = first + segment < offsets[i + 1] ? first + segment : offsets[i + 1];
                double sum = 0.0, all = 0.0;
                for (int t = first; t < end; t++)
                    sum += x[t * channels + c];
                for (int t = offsets[i]; t < offsets[i + 1]; t++)
                    all += x[t * channels + c];
                want[row * channels + c] =
                    sum / (partial == SA2_PARTIAL_TRUE ? end - first : segment) +
                    all / (offsets[i + 1] - offsets[i]);
            }
    return row;
}

static void a_segment_has_its_mean_and_the_mean_of_all_by_both_rules(void **state)
{
    test_env *env = *state;
    static const int segments[] = {100, 1, 3, 1000};
    for (int i = 0; i < 16; i++) {
        int segment = segments[i / 4], channels = i % 4 < 2 ? 1 : 131;
        sa2_partial_rule partial = i % 2 == 0 ? SA2_PARTIAL_KERNEL : SA2_PARTIAL_TRUE;
        int32_t *offsets = test_offsets(env, SEQUENCES, lengths);
        sa2_tensor wide = test_random(env, SA2_F32, ROWS, channels + 5);
        sa2_tensor x = sa2_tensor_cols(wide, 3, channels);
        double *want = test_doubles(env, (int64_t)ROWS * channels);
        int64_t rows =
            define_context(want, test_values(env, &x), offsets, channels, segment, partial);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = test_poisoned(env, SA2_F32, rows, channels);
            sa2_segment_context(env->streams[b], y, x, (sa2_rows){SEQUENCES, offsets}, segment,
                                partial);
            /* sums of up to 142 terms of size 1, whose mean may be 20 times smaller than a term */
            assert_close(env, env->streams[b], "segment_context", &y, want, 1e-11);
        }
        test_reset(env);
    }
}

/* ---- sa2_mean_deviation() ---- */

static void deviations_are_unbiased_and_follow_the_means(void **state)
{
    test_env *env = *state;
    enum { N = 3, TOTAL = 2 + 3 + 451 };
    static const int32_t rows[N] = {2, 3, 451};
    for (int channels = 1; channels <= 150; channels += 149) {
        int32_t *offsets = test_offsets(env, N, rows);
        sa2_tensor wide = test_random(env, SA2_F32, TOTAL, channels + 7);
        sa2_tensor x = sa2_tensor_cols(wide, 2, channels);
        double *values = test_values(env, &x);
        double *want = test_doubles(env, (int64_t)N * 2 * channels);
        for (int i = 0; i < N; i++)
            for (int c = 0; c < channels; c++) {
                double mean = 0.0, squares = 0.0;
                for (int t = offsets[i]; t < offsets[i + 1]; t++)
                    mean += values[t * channels + c] / rows[i];
                for (int t = offsets[i]; t < offsets[i + 1]; t++)
                    squares += pow(values[t * channels + c] - mean, 2.0);
                want[2 * i * channels + c] = mean;
                want[(2 * i + 1) * channels + c] = sqrt(squares / (rows[i] - 1));
            }
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = test_poisoned(env, SA2_F32, N, 2 * channels);
            sa2_mean_deviation(env->streams[b], y, x, (sa2_rows){N, offsets});
            /* 451 terms: sqrt(451) 2^-24, squared 1.6e-12 */
            assert_close(env, env->streams[b], "mean_deviation", &y, want, 1e-11);
        }
        test_reset(env);
    }
}

static void one_row_has_no_deviation_and_is_refused(void **state)
{
    test_env *env = *state;
    static const int32_t rows[] = {2, 1};
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor x = test_random(env, SA2_F32, 3, 4), y = test_poisoned(env, SA2_F32, 2, 8);
        sa2_mean_deviation(env->streams[b], y, x, (sa2_rows){2, test_offsets(env, 2, rows)});
        assert_refused(env->streams[b], "in sequences of two rows or more expected: y f32 [2, 8]");
        test_reset(env);
    }
}

/* ---- sa2_affine() ---- */

static void channels_are_scaled_shifted_and_activated(void **state)
{
    test_env *env = *state;
    static const sa2_activation kinds[] = {SA2_ACT_NONE, SA2_ACT_RELU, SA2_ACT_SIGMOID};
    static const int sizes[][2] = {{1, 1}, {33, 1}, {5, 1030}, {3, 2048}};
    for (int i = 0; i < 4 * 3 * 4; i++) {
        int rows = sizes[i % 4][0], channels = sizes[i % 4][1], types = i / 12;
        sa2_activation kind = kinds[i / 4 % 3];
        sa2_tensor wide = test_random(env, types & 1 ? SA2_BF16 : SA2_F32, rows, channels + 9);
        sa2_tensor x = sa2_tensor_cols(wide, 4, channels);
        sa2_tensor scale = test_random(env, SA2_F32, channels, 0);
        sa2_tensor shift = test_random(env, SA2_F32, channels, 0);
        double *a = test_values(env, &scale), *b = test_values(env, &shift);
        double *want = test_values(env, &x);
        for (int k = 0; k < rows * channels; k++) {
            double v = want[k] * a[k % channels] + b[k % channels];
            want[k] = kind == SA2_ACT_NONE   ? v
                      : kind == SA2_ACT_RELU ? fmax(v, 0.0)
                                             : 1.0 / (1.0 + exp(-v));
        }
        for (int s = 0; s < env->n_streams; s++) {
            sa2_tensor y = test_poisoned(env, types & 2 ? SA2_BF16 : SA2_F32, rows, channels);
            sa2_affine(env->streams[s], y, x, scale, shift, kind);
            assert_close(env, env->streams[s], "affine", &y, want,
                         y.dtype == SA2_BF16 ? 1.6e-5 : 1e-12);
        }
        test_reset(env);
    }
}

static void an_affine_of_another_width_is_refused(void **state)
{
    test_env *env = *state;
    sa2_tensor x = test_random(env, SA2_F32, 3, 4), y = test_poisoned(env, SA2_F32, 3, 4);
    sa2_tensor scale = test_random(env, SA2_F32, 5, 0), shift = test_random(env, SA2_F32, 4, 0);
    sa2_affine(env->streams[0], y, x, scale, shift, SA2_ACT_NONE);
    assert_refused(env->streams[0], "affine: y, x [rows, c], scale and shift f32 [c] expected");
    test_reset(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_has_its_mean_and_the_mean_of_all_by_both_rules),
        cmocka_unit_test(deviations_are_unbiased_and_follow_the_means),
        cmocka_unit_test(one_row_has_no_deviation_and_is_refused),
        cmocka_unit_test(channels_are_scaled_shifted_and_activated),
        cmocka_unit_test(an_affine_of_another_width_is_refused),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
