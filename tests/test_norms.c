/* Norms against their definition, row by row, in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

/* bf16: one rounding, at most 2^-8 of a value, squared 1.6e-5. f32: a handful of roundings of an
 * element and the sum's own, together below 1e-6 of a value. */
static double tolerance(sa2_dtype dtype)
{
    return dtype == SA2_BF16 ? 1.6e-5 : 1e-12;
}

static const int64_t shapes[][2] = {
    {1, 3584}, /* decode */
    {7, 3584}, {300, 1280}, {3, 1}, {5, 17}, {2, 64}, {2, 4096}, {2, 5003}, {0, 8},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static void rms_definition(double *y, const double *x, const double *weight, int64_t rows,
                           int64_t n, double eps)
{
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0.0;
        for (int64_t i = 0; i < n; i++)
            squares += x[r * n + i] * x[r * n + i];
        for (int64_t i = 0; i < n; i++)
            y[r * n + i] = x[r * n + i] / sqrt(squares / (double)n + eps) * weight[i];
    }
}

static void rms_norm_divides_by_the_root_of_the_mean_square(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int types = 0; types < 4; types++) {
            int64_t rows = shapes[i][0], n = shapes[i][1];
            sa2_dtype x_dtype = types & 1 ? SA2_BF16 : SA2_F32;
            sa2_dtype y_dtype = types & 2 ? SA2_BF16 : SA2_F32;
            sa2_tensor x = test_random(env, x_dtype, rows, n);
            sa2_tensor weight = test_random(env, SA2_F32, n, 0);
            double *want = test_doubles(env, rows * n);
            rms_definition(want, test_values(env, &x), test_values(env, &weight), rows, n, 1e-6);
            for (int b = 0; b < env->n_streams; b++) {
                sa2_tensor y = test_poisoned(env, y_dtype, rows, n);
                sa2_rms_norm(env->streams[b], y, x, weight, 1e-6f);
                assert_close(env, env->streams[b], "rms_norm", &y, want, tolerance(y_dtype));
                sa2_tensor in_place = test_copy(env, &x);
                if (x_dtype != y_dtype)
                    continue;
                sa2_rms_norm(env->streams[b], in_place, in_place, weight, 1e-6f);
                assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
                assert_same_bits("rms_norm in place", &in_place, &y);
            }
            test_reset(env);
        }
}

static void rms_norm_keeps_eps_under_the_root(void **state)
{
    test_env *env = *state;
    sa2_tensor x = test_random(env, SA2_F32, 3, 24);
    for (int i = 0; i < 3 * 24; i++)
        ((float *)x.data)[i] *= i < 24 ? 0.0f : 1e-3f;
    sa2_tensor weight = test_random(env, SA2_F32, 24, 0);
    double *want = test_doubles(env, 3 * 24);
    rms_definition(want, test_values(env, &x), test_values(env, &weight), 3, 24, 1e-5);
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor y = test_poisoned(env, SA2_F32, 3, 24);
        sa2_rms_norm(env->streams[b], y, x, weight, 1e-5f);
        assert_close(env, env->streams[b], "rms_norm", &y, want, 1e-12);
    }
    test_reset(env);
}

static void layer_definition(double *y, const double *x, const double *weight, const double *bias,
                             int64_t vectors, int64_t n, double eps)
{
    for (int64_t r = 0; r < vectors; r++) {
        double mean = 0.0, squares = 0.0;
        for (int64_t i = 0; i < n; i++)
            mean += x[r * n + i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            squares += (x[r * n + i] - mean) * (x[r * n + i] - mean);
        for (int64_t i = 0; i < n; i++) {
            double v = (x[r * n + i] - mean) / sqrt(squares / (double)n + eps);
            y[r * n + i] = weight != NULL ? v * weight[i] + bias[i] : v;
        }
    }
}

static void layer_norm_takes_away_the_mean_and_divides_by_the_deviation(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int types = 0; types < 8; types++) {
            int64_t rows = shapes[i][0], n = shapes[i][1];
            sa2_dtype x_dtype = types & 1 ? SA2_BF16 : SA2_F32;
            sa2_dtype y_dtype = types & 2 ? SA2_BF16 : SA2_F32;
            sa2_layer_norm_args a = {.x = test_random(env, x_dtype, rows, n), .eps = 1e-5f};
            if (types & 4) {
                a.weight = test_random(env, SA2_F32, n, 0);
                a.bias = test_random(env, SA2_F32, n, 0);
            }
            double *want = test_doubles(env, rows * n);
            layer_definition(want, test_values(env, &a.x),
                             types & 4 ? test_values(env, &a.weight) : NULL,
                             types & 4 ? test_values(env, &a.bias) : NULL, rows, n, 1e-5);
            for (int b = 0; b < env->n_streams; b++) {
                a.y = test_poisoned(env, y_dtype, rows, n);
                sa2_layer_norm(env->streams[b], a);
                /* n = 1: the deviation is 0, and so is everything but the bias. */
                assert_close(env, env->streams[b], "layer_norm", &a.y, want, tolerance(y_dtype));
            }
            test_reset(env);
        }
}

static void layer_norm_is_exact_far_from_zero(void **state)
{
    test_env *env = *state;
    sa2_layer_norm_args a = {.x = test_random(env, SA2_F32, 4, 1000), .eps = 1e-12f};
    for (int i = 0; i < 4 * 1000; i++)
        ((float *)a.x.data)[i] += 1000.0f;
    double *want = test_doubles(env, 4 * 1000);
    layer_definition(want, test_values(env, &a.x), NULL, NULL, 4, 1000, 1e-12);
    for (int b = 0; b < env->n_streams; b++) {
        a.y = test_poisoned(env, SA2_F32, 4, 1000);
        sa2_layer_norm(env->streams[b], a);
        /* The mean's own rounding, 2^-24 of 1000, is 1e-4 of the deviation 0.58: squared 1.1e-8. */
        assert_close(env, env->streams[b], "layer_norm", &a.y, want, 2e-8);
    }
    test_reset(env);
}

static void layer_norm_of_heads_modulates_by_table_rows_and_activates(void **state)
{
    test_env *env = *state;
    enum { ROWS = 9, HEADS = 3, N = 20, TABLE = 4 };
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor wide = test_random(env, SA2_F32, ROWS, 3 * HEADS * N);
        sa2_layer_norm_args a = {
            .x = sa2_tensor_heads(sa2_tensor_cols(wide, HEADS * N, HEADS * N), HEADS),
            .y = sa2_tensor_heads(test_poisoned(env, SA2_F32, ROWS, HEADS * N), HEADS),
            .scale = test_random(env, SA2_F32, TABLE, N),
            .shift = test_random(env, SA2_F32, TABLE, N),
            .table_rows = test_ids(env, ROWS, TABLE),
            .eps = 1e-6f,
            .activation = SA2_ACT_MISH};
        double *want = test_doubles(env, ROWS * HEADS * N);
        layer_definition(want, test_values(env, &a.x), NULL, NULL, ROWS * HEADS, N, 1e-6);
        for (int i = 0; i < ROWS * HEADS * N; i++) {
            int row = ((int32_t *)a.table_rows.data)[i / (HEADS * N)];
            double v = want[i] * (1.0 + ((float *)a.scale.data)[row * N + i % N]) +
                       ((float *)a.shift.data)[row * N + i % N];
            want[i] = v * tanh(log1p(exp(v)));
        }
        sa2_layer_norm(env->streams[b], a);
        assert_close(env, env->streams[b], "layer_norm", &a.y, want, 1e-12);
        ((int32_t *)a.table_rows.data)[5] = TABLE;
        sa2_layer_norm(env->streams[b], a);
        assert_refused(env->streams[b], "row 5 asks for row 4 of a table of 4");
        test_reset(env);
    }
}

static void a_norm_of_a_row_does_not_depend_on_the_other_rows(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor x = test_random(env, SA2_BF16, 400, 333);
        sa2_tensor weight = test_random(env, SA2_F32, 333, 0);
        sa2_tensor together = test_poisoned(env, SA2_BF16, 400, 333);
        sa2_tensor alone = test_poisoned(env, SA2_BF16, 400, 333);
        sa2_rms_norm(env->streams[b], together, x, weight, 1e-6f);
        for (int64_t r = 0; r < 400; r++)
            sa2_rms_norm(env->streams[b], sa2_tensor_rows(alone, r, 1), sa2_tensor_rows(x, r, 1),
                         weight, 1e-6f);
        assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
        assert_same_bits("rms_norm", &together, &alone);
        test_reset(env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norm_divides_by_the_root_of_the_mean_square),
        cmocka_unit_test(rms_norm_keeps_eps_under_the_root),
        cmocka_unit_test(layer_norm_takes_away_the_mean_and_divides_by_the_deviation),
        cmocka_unit_test(layer_norm_is_exact_far_from_zero),
        cmocka_unit_test(layer_norm_of_heads_modulates_by_table_rows_and_activates),
        cmocka_unit_test(a_norm_of_a_row_does_not_depend_on_the_other_rows),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
