/* Spectra, logarithms and the range of a log-mel against their definitions. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

static const int64_t shapes[][2] = {{1, 1}, {3, 9}, {25, 201}, {2, 961}, {400, 128}, {0, 5}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static void spectrum_is_power_or_magnitude(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int magnitude = 0; magnitude < 2; magnitude++) {
            int64_t frames = shapes[i][0], bins = shapes[i][1];
            sa2_tensor z = test_random(env, SA2_F32, frames, 2 * bins);
            double *x = test_values(env, &z), *want = test_doubles(env, frames * bins);
            for (int64_t t = 0; t < frames; t++)
                for (int64_t k = 0; k < bins; k++) {
                    double re = x[t * 2 * bins + k], im = x[t * 2 * bins + bins + k];
                    double power = re * re + im * im;
                    want[t * bins + k] = magnitude ? sqrt(power + 1e-9) : power;
                }
            for (int b = 0; b < env->n_streams; b++) {
                sa2_tensor y = test_poisoned(env, SA2_F32, frames, bins);
                sa2_spectrum(env->streams[b], y, z, magnitude, 1e-9f);
                /* three or four roundings of 2^-24 */
                assert_close(env, env->streams[b], "spectrum", &y, want, 6e-14);
            }
            test_reset(env);
        }
}

static void log_floor_is_the_logarithm_of_the_larger(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (sa2_log_kind kind = SA2_LOG_E; kind <= SA2_LOG_10; kind++)
            for (int b = 0; b < env->n_streams; b++) {
                int64_t frames = shapes[i][0], bins = shapes[i][1];
                sa2_tensor y = test_random(env, SA2_F32, frames, bins);
                float *x = y.data;
                for (int64_t j = 0; j < frames * bins; j++)
                    x[j] = j % 7 == 0 ? 0.0f : expf(x[j] * 40.0f);
                double *want = test_values(env, &y);
                for (int64_t j = 0; j < frames * bins; j++) {
                    double v = want[j] < 1e-10f ? (double)1e-10f : want[j];
                    want[j] = kind == SA2_LOG_10 ? log10(v) : log(v);
                }
                sa2_log_floor(env->streams[b], y, kind, 1e-10f);
                assert_close(env, env->streams[b], "log_floor", &y, want, 3e-14);
                test_reset(env);
            }
}

static void logarithms_err_by_two_units_in_the_last_place(void **state)
{
    test_env *env = *state;
    enum { N = 4096 };
    for (sa2_log_kind kind = SA2_LOG_E; kind <= SA2_LOG_10; kind++)
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = test_random(env, SA2_F32, 1, N);
            float *x = y.data;
            for (int j = 0; j < N; j++) /* near 1, then everywhere; the ends of the range */
                x[j] = j < N / 2 ? 1.0f + x[j] * 0.3f : expf(x[j] * 87.0f);
            x[0] = FLT_MIN;
            x[1] = FLT_MAX;
            x[2] = 1.0f;
            double *values = test_values(env, &y);
            sa2_log_floor(env->streams[b], y, kind, FLT_MIN);
            assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
            for (int j = 0; j < N; j++) {
                double want = kind == SA2_LOG_10 ? log10(values[j]) : log(values[j]);
                double unit = fabs((double)nextafterf((float)want, INFINITY) - (double)(float)want);
                if (!(fabs((double)x[j] - want) <= 2.0 * unit))
                    fail_msg("%s: log(%.9g) = %.9g, %.9g expected", env->isas[b], values[j],
                             (double)x[j], want);
            }
            test_reset(env);
        }
}

static void log_floor_keeps_infinity_and_nan_and_refuses_a_floor_of_0(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor y = test_random(env, SA2_F32, 1, 3);
        float *x = y.data;
        x[0] = INFINITY;
        x[1] = NAN;
        x[2] = -INFINITY;
        sa2_log_floor(env->streams[b], y, SA2_LOG_E, 1.0f);
        assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
        assert_true(isinf(x[0]) && isnan(x[1]) && x[2] == 0.0f);
        sa2_log_floor(env->streams[b], y, SA2_LOG_E, 0.0f);
        assert_refused(env->streams[b], "a normal floor above 0");
        test_reset(env);
    }
}

static void each_sequence_has_its_own_range(void **state)
{
    test_env *env = *state;
    static const int32_t lengths[] = {4, 0, 1, 30};
    int32_t *offsets = test_offsets(env, 4, lengths);
    for (int b = 0; b < env->n_streams; b++) {
        enum { ROWS = 35, BINS = 21 };
        sa2_tensor y = test_random(env, SA2_F32, ROWS, BINS);
        for (int j = 0; j < ROWS * BINS; j++)
            ((float *)y.data)[j] *= 20.0f;
        double *want = test_values(env, &y);
        for (int i = 0; i < 4; i++) {
            double most = -INFINITY;
            for (int j = offsets[i] * BINS; j < offsets[i + 1] * BINS; j++)
                most = fmax(most, want[j]);
            for (int j = offsets[i] * BINS; j < offsets[i + 1] * BINS; j++)
                want[j] = (fmax(want[j], most - 8.0) + 4.0) * 0.25;
        }
        sa2_clamp_to_range(env->streams[b], y, (sa2_rows){.n = 4, .offsets = offsets}, 8.0f, 4.0f,
                           0.25f);
        assert_close(env, env->streams[b], "clamp_to_range", &y, want, 3e-14);
    }
    test_reset(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spectrum_is_power_or_magnitude),
        cmocka_unit_test(log_floor_is_the_logarithm_of_the_larger),
        cmocka_unit_test(logarithms_err_by_two_units_in_the_last_place),
        cmocka_unit_test(log_floor_keeps_infinity_and_nan_and_refuses_a_floor_of_0),
        cmocka_unit_test(each_sequence_has_its_own_range),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
