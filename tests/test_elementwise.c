/* Copies, sums, activations and chosen rows against their definitions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

static double tolerance(sa2_dtype dtype)
{
    return dtype == SA2_BF16 ? 1.6e-5 : 1e-13; /* one rounding each: 2^-8 and 2^-24, squared */
}

static sa2_dtype dtype_of(int bit)
{
    return bit ? SA2_BF16 : SA2_F32;
}

static const int64_t shapes[][2] = {{1, 3584}, {70, 80}, {3, 1}, {5, 2049}, {2, 4103}, {300, 257}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static void copy_converts_and_keeps_strides_apart(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int types = 0; types < 4; types++)
            for (int b = 0; b < env->n_streams; b++) {
                int64_t rows = shapes[i][0], n = shapes[i][1];
                sa2_tensor from = test_random(env, dtype_of(types & 1), rows, n + 5);
                sa2_tensor to = test_random(env, dtype_of(types & 2), rows, n + 3);
                sa2_tensor x = sa2_tensor_cols(from, 2, n), y = sa2_tensor_cols(to, 3, n);
                sa2_tensor beside = sa2_tensor_cols(to, 0, 3);
                sa2_tensor before = test_copy(env, &beside);
                sa2_copy(env->streams[b], y, x);
                assert_close(env, env->streams[b], "copy", &y, test_values(env, &x),
                             x.dtype == y.dtype || y.dtype == SA2_F32 ? 0.0 : 1.6e-5);
                assert_same_bits("columns beside a copy", &beside, &before);
                test_reset(env);
            }
}

static void copy_of_vectors_takes_strides_and_nan(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor x = test_random(env, SA2_F32, 12, 0), y = test_poisoned(env, SA2_BF16, 6, 0);
        x.shape[0] = 6;
        x.stride = 2;
        sa2_copy(env->streams[b], y, x);
        assert_close(env, env->streams[b], "copy", &y, test_values(env, &x), 1.6e-5);
        ((float *)x.data)[4] = NAN;
        sa2_copy(env->streams[b], y, x);
        assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
        assert_true(isnan(sa2_bf16_to_f32(((uint16_t *)y.data)[2])));
        test_reset(env);
    }
}

static void add_takes_every_mix_of_dtypes_and_a_row(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int types = 0; types < 16; types++) {
            int64_t rows = shapes[i][0], n = shapes[i][1];
            bool row = types & 8;
            sa2_tensor a = test_random(env, dtype_of(types & 1), rows, n);
            sa2_tensor c = test_random(env, dtype_of(types & 2), row ? n : rows, row ? 0 : n);
            double *want = test_values(env, &a), *other = test_values(env, &c);
            for (int64_t j = 0; j < rows * n; j++)
                want[j] += other[row ? j % n : j];
            for (int b = 0; b < env->n_streams; b++) {
                sa2_tensor y = test_poisoned(env, dtype_of(types & 4), rows, n);
                sa2_add(env->streams[b], y, a, c);
                assert_close(env, env->streams[b], "add", &y, want, tolerance(y.dtype));
                if (y.dtype != a.dtype)
                    continue;
                sa2_tensor in_place = test_copy(env, &a);
                sa2_add(env->streams[b], in_place, in_place, c);
                assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
                assert_same_bits("add in place", &in_place, &y);
            }
            test_reset(env);
        }
}

static void mix_weighs_both_sides(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int types = 0; types < 8; types++) {
            int64_t rows = shapes[i][0], n = shapes[i][1];
            sa2_tensor x =
                sa2_tensor_cols(test_random(env, dtype_of(types & 1), rows, n + 2), 1, n);
            sa2_tensor z = test_random(env, dtype_of(types & 2), rows, n);
            double *want = test_values(env, &x), *other = test_values(env, &z);
            for (int64_t j = 0; j < rows * n; j++)
                want[j] = 0.75 * want[j] - 1.5 * other[j];
            for (int b = 0; b < env->n_streams; b++) {
                sa2_tensor y = test_poisoned(env, dtype_of(types & 4), rows, n);
                sa2_mix(env->streams[b], y, 0.75f, x, -1.5f, z);
                assert_close(env, env->streams[b], "mix", &y, want, tolerance(y.dtype));
                if (y.dtype != z.dtype)
                    continue;
                sa2_tensor in_place = test_copy(env, &z);
                sa2_mix(env->streams[b], in_place, 0.75f, x, -1.5f, in_place);
                assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
                assert_same_bits("mix in place", &in_place, &y);
            }
            test_reset(env);
        }
    sa2_tensor x = test_random(env, SA2_F32, 2, 3), z = test_random(env, SA2_F32, 3, 2);
    sa2_mix(env->streams[0], x, 1.0f, x, 1.0f, z);
    assert_refused(env->streams[0], "mix: y, x and z of one shape expected: y f32 [2, 3]");
    test_reset(env);
}

static double activation(sa2_activation kind, double x, double slope, double alpha)
{
    switch (kind) {
    case SA2_ACT_NONE:
        return x;
    case SA2_ACT_RELU:
        return x > 0 ? x : 0;
    case SA2_ACT_GELU:
        return x / 2 * erfc(-x / sqrt(2));
    case SA2_ACT_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case SA2_ACT_SILU:
        return x / (1 + exp(-x));
    case SA2_ACT_ELU:
        return x > 0 ? x : expm1(x);
    case SA2_ACT_MISH:
        return x * tanh(log1p(exp(x)));
    case SA2_ACT_LEAKY:
        return x > 0 ? x : slope * x;
    case SA2_ACT_SNAKE:
        return x + sin(alpha * x) * sin(alpha * x) / (alpha + 1e-9);
    case SA2_ACT_ABS:
        return fabs(x);
    case SA2_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    }
    return NAN;
}

static void activations_follow_their_formulas(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (sa2_activation kind = SA2_ACT_NONE; kind <= SA2_ACT_SIGMOID; kind++)
            for (int types = 0; types < 4; types++) {
                int64_t rows = shapes[i][0], n = shapes[i][1];
                sa2_tensor x = test_random(env, dtype_of(types & 1), rows, n);
                for (int64_t j = 0; j < rows * n && x.dtype == SA2_F32; j++)
                    ((float *)x.data)[j] *= 6.0f;
                if (x.dtype ==
                    SA2_F32) /* rounding is relative to x, not to what a GELU leaves of it */
                    ((float *)x.data)[0] = 5.0f;
                sa2_tensor alpha = {0};
                if (kind == SA2_ACT_SNAKE) {
                    alpha = test_random(env, SA2_F32, n, 0);
                    for (int64_t j = 0; j < n; j++)
                        ((float *)alpha.data)[j] += 1.5f;
                }
                double *want = test_values(env, &x);
                for (int64_t j = 0; j < rows * n; j++)
                    want[j] = activation(kind, want[j], 0.1f,
                                         alpha.data != NULL ? ((float *)alpha.data)[j % n] : 0);
                for (int b = 0; b < env->n_streams; b++) {
                    sa2_tensor y = test_poisoned(env, dtype_of(types & 2), rows, n);
                    sa2_activate(env->streams[b], y, x, kind, 0.1f, alpha);
                    assert_close(env, env->streams[b], "activate", &y, want, tolerance(y.dtype));
                }
                test_reset(env);
            }
}

static void activations_keep_nan_and_stand_extremes(void **state)
{
    test_env *env = *state;
    static const float extremes[] = {NAN,   -INFINITY, INFINITY, -3e38f,
                                     3e38f, -100.0f,   100.0f,   0.0f};
    enum { N = sizeof extremes / sizeof extremes[0] };
    for (sa2_activation kind = SA2_ACT_NONE; kind <= SA2_ACT_SIGMOID; kind++)
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor x = test_random(env, SA2_F32, 1, N), y = test_poisoned(env, SA2_F32, 1, N);
            sa2_tensor alpha = {0};
            if (kind == SA2_ACT_SNAKE)
                alpha = test_random(env, SA2_F32, N, 0);
            for (int i = 0; i < N; i++)
                ((float *)x.data)[i] = extremes[i];
            sa2_activate(env->streams[b], y, x, kind, 0.1f, alpha);
            assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
            const float *found = y.data;
            assert_true(isnan(found[0]));
            for (int i = 3; i < N; i++)
                assert_false(isnan(found[i]));
            if (kind != SA2_ACT_SIGMOID && kind != SA2_ACT_SNAKE)
                assert_true(found[6] == 100.0f);
            test_reset(env);
        }
}

static void embedding_takes_the_row_of_each_id(void **state)
{
    test_env *env = *state;
    for (int types = 0; types < 4; types++)
        for (int b = 0; b < env->n_streams; b++) {
            enum { ROWS = 37, COUNT = 11, N = 5001 };
            sa2_tensor table = test_random(env, dtype_of(types & 1), COUNT, N);
            sa2_tensor ids = test_ids(env, ROWS, COUNT);
            sa2_tensor y = test_poisoned(env, dtype_of(types & 2), ROWS, N);
            double *values = test_values(env, &table), *want = test_doubles(env, ROWS * N);
            for (int i = 0; i < ROWS * N; i++)
                want[i] = values[((int32_t *)ids.data)[i / N] * N + i % N];
            sa2_embedding(env->streams[b], y, table, ids);
            assert_close(env, env->streams[b], "embedding", &y, want,
                         table.dtype == y.dtype || y.dtype == SA2_F32 ? 0.0 : 1.6e-5);
            ((int32_t *)ids.data)[30] = COUNT;
            sa2_embedding(env->streams[b], y, table, ids);
            assert_refused(env->streams[b], "embedding: id 11 at row 30, 0 to 10 expected");
            ((int32_t *)ids.data)[2] = -1;
            sa2_embedding(env->streams[b], y, table, ids);
            assert_refused(env->streams[b], "embedding: id -1 at row 2, 0 to 10 expected");
            test_reset(env);
        }
}

static void scatter_rows_writes_the_named_rows_alone(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        enum { ROWS = 6, N = 19 };
        sa2_tensor y = test_random(env, SA2_BF16, ROWS, N), x = test_random(env, SA2_F32, 3, N);
        sa2_tensor rows = test_ids(env, 3, 1);
        ((int32_t *)rows.data)[0] = 4;
        ((int32_t *)rows.data)[1] = 0;
        ((int32_t *)rows.data)[2] = 5;
        double *want = test_values(env, &y), *values = test_values(env, &x);
        for (int i = 0; i < 3 * N; i++)
            want[((int32_t *)rows.data)[i / N] * N + i % N] = values[i];
        sa2_scatter_rows(env->streams[b], y, x, rows);
        assert_close(env, env->streams[b], "scatter_rows", &y, want, 1.6e-5);
        ((int32_t *)rows.data)[1] = ROWS;
        sa2_scatter_rows(env->streams[b], y, x, rows);
        assert_refused(env->streams[b], "scatter_rows: id 6 at row 1, 0 to 5 expected");
        test_reset(env);
    }
}

static void copy_rows_copies_the_named_rows_alone(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        enum { ROWS = 6, N = 19 };
        sa2_stream *s = env->streams[b];
        sa2_tensor y = test_random(env, SA2_BF16, ROWS, N), x = test_random(env, SA2_F32, 8, N);
        x.shape[0] = 7; /* rows of two, one after the other: they overlap */
        x.shape[1] = 2 * N;
        sa2_tensor wide = test_random(env, SA2_BF16, ROWS, 2 * N);
        sa2_tensor to = test_ids(env, 2, 1), from = test_ids(env, 2, 1);
        ((int32_t *)to.data)[0] = 4, ((int32_t *)from.data)[0] = 6;
        ((int32_t *)to.data)[1] = 0, ((int32_t *)from.data)[1] = 3;
        double *want = test_values(env, &wide);
        for (int i = 0; i < 2 * N; i++) {
            want[4 * 2 * N + i] = ((float *)x.data)[6 * N + i];
            want[i] = ((float *)x.data)[3 * N + i];
        }
        sa2_copy_rows(s, wide, to, x, from);
        assert_close(env, s, "copy_rows", &wide, want, 1.6e-5);
        ((int32_t *)from.data)[1] = 7;
        sa2_copy_rows(s, wide, to, x, from);
        assert_refused(s, "copy_rows: from: id 7 at row 1, 0 to 6 expected");
        ((int32_t *)to.data)[0] = -1;
        sa2_copy_rows(s, wide, to, x, from);
        assert_refused(s, "copy_rows: to: id -1 at row 0, 0 to 5 expected");
        sa2_copy_rows(s, y, to, x, from);
        assert_refused(s, "copy_rows: y [., c]");
        test_reset(env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_converts_and_keeps_strides_apart),
        cmocka_unit_test(copy_of_vectors_takes_strides_and_nan),
        cmocka_unit_test(add_takes_every_mix_of_dtypes_and_a_row),
        cmocka_unit_test(mix_weighs_both_sides),
        cmocka_unit_test(activations_follow_their_formulas),
        cmocka_unit_test(activations_keep_nan_and_stand_extremes),
        cmocka_unit_test(embedding_takes_the_row_of_each_id),
        cmocka_unit_test(scatter_rows_writes_the_named_rows_alone),
        cmocka_unit_test(copy_rows_copies_the_named_rows_alone),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
