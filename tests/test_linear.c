/* Products: every instruction set gives the definition, for any sizes, strides and epilogue. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

static const struct types {
    sa2_dtype y, x, w;
} types[] = {
    {SA2_F32, SA2_F32, SA2_F32},  {SA2_F32, SA2_F32, SA2_BF16},  {SA2_F32, SA2_BF16, SA2_BF16},
    {SA2_BF16, SA2_F32, SA2_F32}, {SA2_BF16, SA2_F32, SA2_BF16}, {SA2_BF16, SA2_BF16, SA2_BF16},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* A sum of k terms in f32 makes k roundings of at most 2^-24 of what it holds, which add up like a
 * random walk; a few more come from the epilogue. A rounding to bf16 adds 2^-8 at most. */
static double allowed(sa2_dtype y, int64_t k)
{
    return (double)(k + 16) * 0x1p-48 + (y == SA2_BF16 ? 0x1p-16 : 0.0);
}

static double activate(sa2_activation activation, double x, double slope)
{
    switch (activation) {
    case SA2_ACT_RELU:
        return x > 0.0 ? x : 0.0;
    case SA2_ACT_GELU:
        return x / 2.0 * (1.0 + erf(x / sqrt(2.0)));
    case SA2_ACT_GELU_TANH:
        return x / 2.0 * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case SA2_ACT_SILU:
        return x / (1.0 + exp(-x));
    case SA2_ACT_ELU:
        return x > 0.0 ? x : expm1(x);
    case SA2_ACT_MISH:
        return x * tanh(log1p(exp(x)));
    case SA2_ACT_LEAKY:
        return x > 0.0 ? x : slope * x;
    case SA2_ACT_ABS:
        return fabs(x);
    case SA2_ACT_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    default:
        return x;
    }
}

/* x w^T in double; w is the host copy that the matrix was written from. */
static double *product(test_env *env, const sa2_tensor *x, const sa2_tensor *w)
{
    int64_t rows = x->shape[0], n = w->shape[0], k = w->shape[1];
    double *a = test_values(env, x), *b = test_values(env, w), *y = test_doubles(env, rows * n);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t l = 0; l < k; l++)
                y[i * n + j] += a[i * k + l] * b[j * k + l];
    return y;
}

static sa2_matrix matrix_of(test_env *env, sa2_stream *s, sa2_dtype dtype, const sa2_tensor *w)
{
    sa2_matrix m = test_matrix(env, s, dtype, w->shape[0], w->shape[1]);
    sa2_matrix_write(s, &m, 0, *w);
    return m;
}

static void every_instruction_set_gives_the_definition(void **state)
{
    test_env *env = *state;
    static const int64_t shapes[][3] = {
        /* rows, k, n */
        {1, 1, 1},     {1, 32, 16},   {2, 31, 17},   {3, 33, 15},    {5, 64, 32},
        {7, 100, 48},  {12, 65, 79},  {15, 40, 33},  {16, 96, 200},  {17, 96, 64},
        {31, 130, 40}, {32, 544, 32}, {33, 72, 80},  {40, 96, 97},   {97, 48, 300},
        {130, 80, 64}, {600, 33, 40}, {1, 2100, 64}, {20, 4200, 48}, {40, 8300, 33},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int t = 0; t < N_TYPES; t++) {
            int64_t rows = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
            sa2_tensor x = test_random(env, types[t].x, rows, k);
            sa2_tensor w = test_random(env, types[t].w, n, k);
            double *want = product(env, &x, &w);
            for (int b = 0; b < env->n_streams; b++) {
                sa2_stream *s = env->streams[b];
                sa2_matrix m = matrix_of(env, s, types[t].w, &w);
                sa2_tensor y = test_poisoned(env, types[t].y, rows, n);
                sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m});
                assert_close(env, s, "linear", &y, want, allowed(types[t].y, k));
            }
            test_reset(env);
        }
}

static void bias_and_activation_follow_the_sum(void **state)
{
    test_env *env = *state;
    int64_t rows = 19, k = 40, n = 70;
    for (sa2_activation act = SA2_ACT_NONE; act <= SA2_ACT_SIGMOID; act++)
        for (int t = 0; t < N_TYPES; t++) {
            if (act == SA2_ACT_SNAKE)
                continue;
            sa2_tensor x = test_random(env, types[t].x, rows, k);
            sa2_tensor w = test_random(env, types[t].w, n, k);
            sa2_tensor bias = test_random(env, SA2_F32, n, 0);
            double *want = product(env, &x, &w);
            for (int64_t i = 0; i < rows * n; i++)
                want[i] = activate(act, want[i] + ((float *)bias.data)[i % n], 0.1f);
            for (int b = 0; b < env->n_streams; b++) {
                sa2_stream *s = env->streams[b];
                sa2_matrix m = matrix_of(env, s, types[t].w, &w);
                sa2_tensor y = test_poisoned(env, types[t].y, rows, n);
                sa2_linear(
                    s,
                    (sa2_linear_args){
                        .y = y, .x = x, .w = &m, .bias = bias, .activation = act, .slope = 0.1f});
                assert_close(env, s, "activation", &y, want, allowed(types[t].y, k));
            }
            test_reset(env);
        }
}

static void swiglu_takes_gate_and_up_from_one_matrix(void **state)
{
    test_env *env = *state;
    static const int64_t shapes[][2] = {
        /* rows, n */
        {5, 1}, {5, 8}, {5, 16}, {20, 17}, {20, 40}, {20, 136}, {150, 136},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int t = 0; t < N_TYPES; t++) {
            int64_t rows = shapes[i][0], k = 50, n = shapes[i][1];
            sa2_tensor x = test_random(env, types[t].x, rows, k);
            sa2_tensor gate = test_random(env, types[t].w, n, k);
            sa2_tensor up = test_random(env, types[t].w, n, k);
            sa2_tensor bias = test_random(env, SA2_F32, 2 * n, 0);
            const float *offset = bias.data;
            double *want = product(env, &x, &gate), *upper = product(env, &x, &up);
            for (int64_t j = 0; j < rows * n; j++)
                want[j] = activate(SA2_ACT_SILU, want[j] + offset[j % n], 0.0) *
                          (upper[j] + offset[n + j % n]);
            for (int b = 0; b < env->n_streams; b++) {
                sa2_stream *s = env->streams[b];
                sa2_matrix m = test_matrix(env, s, types[t].w, 2 * n, k);
                sa2_matrix_write_swiglu(s, &m, gate, up);
                sa2_tensor y = test_poisoned(env, types[t].y, rows, n);
                sa2_linear(
                    s, (sa2_linear_args){.y = y, .x = x, .w = &m, .bias = bias, .swiglu = true});
                /* two sums err in each value: twice as much, squared */
                assert_close(env, s, "swiglu", &y, want, 4.0 * allowed(types[t].y, k));
            }
            test_reset(env);
        }
}

static void a_gate_scales_what_is_added_to_y(void **state)
{
    test_env *env = *state;
    int64_t rows = 21, k = 37, n = 53, gates = 3;
    for (int form = 0; form < 3; form++) /* no gate, one, one of three for each row */
        for (int t = 0; t < 3; t++) {
            sa2_tensor x = test_random(env, types[t].x, rows, k);
            sa2_tensor w = test_random(env, types[t].w, n, k);
            sa2_tensor before = test_random(env, SA2_F32, rows, n);
            sa2_tensor table = test_random(env, SA2_F32, gates, n + 5); /* a part of a wider one */
            sa2_tensor which = test_ids(env, rows, (int32_t)gates);
            table = sa2_tensor_cols(table, 5, n);
            double *want = product(env, &x, &w);
            for (int64_t i = 0; i < rows * n; i++) {
                int64_t row = form == 2 ? ((int32_t *)which.data)[i / n] : 0;
                double gate = ((float *)table.data)[row * table.stride + i % n];
                want[i] = ((float *)before.data)[i] + (form > 0 ? gate : 1.0) * want[i];
            }
            sa2_linear_args args = {.x = x, .accumulate = true};
            if (form > 0)
                args.gate = form == 2 ? table : sa2_tensor_1d(table.data, SA2_F32, n);
            if (form == 2)
                args.gate_rows = which;
            for (int b = 0; b < env->n_streams; b++) {
                sa2_stream *s = env->streams[b];
                sa2_matrix m = matrix_of(env, s, types[t].w, &w);
                sa2_tensor y = test_copy(env, &before);
                args.w = &m;
                args.y = y;
                sa2_linear(s, args);
                assert_close(env, s, "gate", &y, want, allowed(SA2_F32, k));
            }
            test_reset(env);
        }
}

static void a_gate_row_outside_the_table_is_refused(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    sa2_tensor w = test_random(env, SA2_F32, 4, 4);
    sa2_matrix m = matrix_of(env, s, SA2_F32, &w);
    sa2_tensor which = test_ids(env, 2, 1);
    ((int32_t *)which.data)[1] = 3;
    sa2_linear(s, (sa2_linear_args){.y = test_poisoned(env, SA2_F32, 2, 4),
                                    .x = test_random(env, SA2_F32, 2, 4),
                                    .w = &m,
                                    .gate = test_random(env, SA2_F32, 3, 4),
                                    .gate_rows = which});
    assert_refused(s, "linear: row 1 takes gate 3 of 3");
    test_reset(env);
}

static void rows_of_x_may_overlap_and_rows_of_y_lie_apart(void **state)
{
    test_env *env = *state;
    int64_t rows = 23, k = 45, n = 34;
    for (int t = 0; t < N_TYPES; t++) {
        sa2_tensor signal = test_random(env, types[t].x, 1, (rows - 1) * 7 + k);
        sa2_tensor x = sa2_tensor_2d(signal.data, types[t].x, rows, k);
        x.stride = 7;
        sa2_tensor w = test_random(env, types[t].w, n, k);
        double *want = product(env, &x, &w);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_matrix m = matrix_of(env, s, types[t].w, &w);
            sa2_tensor wide = test_poisoned(env, types[t].y, rows, n + 9);
            sa2_tensor y = sa2_tensor_cols(wide, 3, n);
            sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m});
            assert_close(env, s, "strides", &y, want, allowed(types[t].y, k));
            double *all = test_values(env, &wide);
            for (int64_t i = 0; i < rows * (n + 9); i++)
                assert_true(isnan(all[i]) == (i % (n + 9) < 3 || i % (n + 9) >= 3 + n));
        }
        test_reset(env);
    }
}

static void a_row_alone_is_the_row_in_a_batch_to_the_bit(void **state)
{
    test_env *env = *state;
    int64_t rows = 131, k = 1100, n = 70;
    for (int t = 0; t < N_TYPES; t++) {
        sa2_tensor x = test_random(env, types[t].x, rows, k);
        sa2_tensor w = test_random(env, types[t].w, n, k);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_matrix m = matrix_of(env, s, types[t].w, &w);
            sa2_linear_args args = {.w = &m, .activation = SA2_ACT_GELU};
            args.y = test_poisoned(env, types[t].y, rows, n);
            args.x = x;
            sa2_linear(s, args);
            sa2_tensor whole = args.y;
            for (int64_t from = 0, some = 1; from < rows; from += some++) {
                some = some < rows - from ? some : rows - from;
                args.x = sa2_tensor_rows(x, from, some);
                args.y = test_poisoned(env, types[t].y, some, n);
                sa2_linear(s, args);
                sa2_tensor part = sa2_tensor_rows(whole, from, some);
                assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
                assert_same_bits(env->isas[b], &args.y, &part);
            }
        }
        test_reset(env);
    }
}

/* So many tiles that a device need not cut sums among them; then few, where it may. */
static void a_row_among_many_is_the_row_among_few_to_the_bit(void **state)
{
    test_env *env = *state;
    int64_t rows = 700, k = 70, n = 1500;
    static const int64_t parts[][2] = {{0, 3}, {650, 50}};
    for (int t = 0; t < N_TYPES; t++) {
        if (types[t].w == SA2_F32 || types[t].y == SA2_F32)
            continue;
        sa2_tensor x = test_random(env, types[t].x, rows, k);
        sa2_tensor w = test_random(env, types[t].w, n, k);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_matrix m = matrix_of(env, s, types[t].w, &w);
            sa2_tensor whole = test_poisoned(env, types[t].y, rows, n);
            sa2_linear(s, (sa2_linear_args){.y = whole, .x = x, .w = &m});
            for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
                sa2_tensor y = test_poisoned(env, types[t].y, parts[i][1], n);
                sa2_tensor part = sa2_tensor_rows(whole, parts[i][0], parts[i][1]);
                sa2_linear(s, (sa2_linear_args){.y = y,
                                                .x = sa2_tensor_rows(x, parts[i][0], parts[i][1]),
                                                .w = &m});
                assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
                assert_same_bits(env->isas[b], &y, &part);
            }
        }
        test_reset(env);
    }
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    test_env *env = *state;
    test_env one;
    test_env_open_all(&one, 1);
    static const int64_t shapes[][3] = {{3, 700, 900}, {700, 90, 40}, {100, 300, 200}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int t = 0; t < N_TYPES; t++) {
            int64_t rows = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
            sa2_tensor x = test_random(env, types[t].x, rows, k);
            sa2_tensor w = test_random(env, types[t].w, n, k);
            for (int b = 0; b < env->n_streams; b++) {
                sa2_matrix m = matrix_of(env, env->streams[b], types[t].w, &w);
                sa2_linear_args args = {.x = x, .w = &m};
                sa2_tensor y = args.y = test_poisoned(env, types[t].y, rows, n);
                sa2_linear(env->streams[b], args);
                assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK); /* m too */
                args.y = test_poisoned(env, types[t].y, rows, n);
                sa2_linear(one.streams[b], args);
                assert_int_equal(sa2_stream_finish(one.streams[b], NULL), SA2_OK);
                assert_same_bits(env->isas[b], &args.y, &y);
            }
            test_reset(env);
        }
    test_env_close(&one);
}

static void a_matrix_written_in_pieces_is_the_whole(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    for (int t = 0; t < 4; t++) {
        sa2_dtype from = t & 1 ? SA2_BF16 : SA2_F32, to = t & 2 ? SA2_BF16 : SA2_F32;
        int64_t rows = 83, k = 75;
        sa2_tensor w = test_random(env, from, rows, k + 6);
        w = sa2_tensor_cols(w, 2, k);
        sa2_matrix whole = matrix_of(env, s, to, &w), parts = test_matrix(env, s, to, rows, k);
        memset(parts.data, 0xff, sa2_matrix_bytes(s, to, rows, k));
        for (int64_t first = 0, n = 1; first < rows; first += n++) {
            n = n < rows - first ? n : rows - first;
            sa2_matrix_write(s, &parts, first, sa2_tensor_rows(w, first, n));
        }
        sa2_tensor x = test_random(env, SA2_F32, 2, k);
        sa2_tensor y = test_poisoned(env, SA2_F32, 2, rows);
        double *want = product(env, &x, &w);
        sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &parts});
        double rounded = from == SA2_F32 && to == SA2_BF16 ? 0x1p-16 : 0.0;
        assert_close(env, s, "pieces", &y, want, allowed(SA2_F32, k) + rounded);
        assert_memory_equal(whole.data, parts.data, sa2_matrix_bytes(s, to, rows, k));
        test_reset(env);
    }
}

static void what_lies_beyond_the_columns_of_x_is_not_read(void **state)
{
    test_env *env = *state;
    int64_t rows = 18, k = 35, n = 20;
    for (int t = 0; t < N_TYPES; t++) {
        sa2_tensor wide = test_poisoned(env, types[t].x, rows, k + 40);
        sa2_tensor inner = test_random(env, types[t].x, rows, k);
        sa2_tensor x = sa2_tensor_cols(wide, 0, k);
        sa2_copy(env->streams[0], x, inner);
        sa2_tensor w = test_random(env, types[t].w, n, k);
        double *want = product(env, &inner, &w);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_matrix m = matrix_of(env, env->streams[b], types[t].w, &w);
            sa2_tensor y = test_poisoned(env, types[t].y, rows, n);
            sa2_linear(env->streams[b], (sa2_linear_args){.y = y, .x = x, .w = &m});
            assert_close(env, env->streams[b], "NaN around", &y, want, allowed(types[t].y, k));
        }
        test_reset(env);
    }
}

/* What a device does with tiles of many rows, and a ring of columns that goes round twice. */
static void many_rows_and_columns_give_the_definition(void **state)
{
    test_env *env = *state;
    static const int64_t shapes[][3] = {{65, 320, 200}, {200, 608, 48}, {450, 40, 130}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int t = 0; t < N_TYPES; t++) {
            int64_t rows = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
            sa2_tensor x = test_random(env, types[t].x, rows, k);
            sa2_tensor w = test_random(env, types[t].w, n, k);
            double *want = product(env, &x, &w);
            for (int b = 0; b < env->n_streams; b++) {
                sa2_stream *s = env->streams[b];
                sa2_matrix m = matrix_of(env, s, types[t].w, &w);
                sa2_tensor y = test_poisoned(env, types[t].y, rows, n);
                sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m});
                assert_close(env, s, "linear", &y, want, allowed(types[t].y, k));
            }
            test_reset(env);
        }
}

/* Such long rows that a device does not have room for all at once. */
static void rows_that_are_taken_in_parts_are_all_there(void **state)
{
    test_env *env = *state;
    int64_t rows = 200, k = 80000, n = 3;
    sa2_tensor x = test_random(env, SA2_BF16, rows, k), w = test_random(env, SA2_BF16, n, k);
    double *want = product(env, &x, &w);
    for (int b = 0; b < env->n_streams; b++) {
        sa2_stream *s = env->streams[b];
        sa2_matrix m = matrix_of(env, s, SA2_BF16, &w);
        sa2_tensor y = test_poisoned(env, SA2_F32, rows, n);
        sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m});
        assert_close(env, s, "parts", &y, want, allowed(SA2_F32, k));
    }
    test_reset(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_gives_the_definition),
        cmocka_unit_test(bias_and_activation_follow_the_sum),
        cmocka_unit_test(swiglu_takes_gate_and_up_from_one_matrix),
        cmocka_unit_test(a_gate_scales_what_is_added_to_y),
        cmocka_unit_test(a_gate_row_outside_the_table_is_refused),
        cmocka_unit_test(rows_of_x_may_overlap_and_rows_of_y_lie_apart),
        cmocka_unit_test(a_row_alone_is_the_row_in_a_batch_to_the_bit),
        cmocka_unit_test(a_row_among_many_is_the_row_among_few_to_the_bit),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_matrix_written_in_pieces_is_the_whole),
        cmocka_unit_test(what_lies_beyond_the_columns_of_x_is_not_read),
        cmocka_unit_test(many_rows_and_columns_give_the_definition),
        cmocka_unit_test(rows_that_are_taken_in_parts_are_all_there),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
