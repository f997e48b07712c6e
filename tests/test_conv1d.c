/* Convolutions in one dimension: the definition for any kernel, stride, dilation, padding and set of
 * sequences, on every instruction set. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

typedef struct shape {
    int in, out, kernel, stride, dilation, pad_left, pad_right;
    bool history;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 0, 0, false},     {24, 40, 3, 1, 1, 1, 1, false},
    {32, 32, 3, 1, 3, 3, 3, false},   {16, 48, 7, 1, 5, 15, 15, false},
    {64, 64, 11, 1, 1, 5, 5, false},  {18, 20, 30, 15, 1, 7, 7, false},
    {5, 7, 3, 2, 1, 1, 1, false},     {7, 33, 4, 3, 2, 2, 0, false},
    {40, 16, 3, 1, 1, 2, 0, true},    {96, 24, 1, 1, 1, 0, 0, false},
    {9, 10, 5, 1, 2, 8, 0, true},     {700, 32, 3, 1, 1, 2, 0, true},
    {1100, 16, 2, 1, 3, 0, 0, false}, {33, 16, 1, 2, 1, 0, 0, false},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static const struct types {
    sa2_dtype y, x, w;
} types[] = {
    {SA2_F32, SA2_F32, SA2_F32},
    {SA2_F32, SA2_F32, SA2_BF16},
    {SA2_F32, SA2_BF16, SA2_BF16},
    {SA2_BF16, SA2_BF16, SA2_BF16},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* As in test_linear.c; a bf16 input activated or a history rounded to bf16 errs by 2^-8 too. */
static double allowed(const struct types *t, int64_t k, bool rounds_x)
{
    return (double)(k + 16) * 0x1p-48 + (t->y == SA2_BF16 ? 0x1p-16 : 0.0) +
           (t->x == SA2_BF16 && rounds_x ? 0x1p-16 : 0.0);
}

static int32_t rows_out(const shape *c, int32_t length)
{
    int room = length + c->pad_left + c->pad_right - c->dilation * (c->kernel - 1) - 1;
    return room < 0 ? 0 : room / c->stride + 1;
}

/* The value of sequence i at row t of its own, which may lie before it. `x` holds activated values. */
static double value_at(const shape *c, const double *x, const double *history,
                       const int32_t *offsets, int i, int t, int channel)
{
    if (t >= 0 && t < offsets[i + 1] - offsets[i])
        return x[(int64_t)(offsets[i] + t) * c->in + channel];
    if (t < 0 && history != NULL)
        return history[((int64_t)i * c->pad_left + c->pad_left + t) * c->in + channel];
    return 0.0;
}

static double *convolve(test_env *env, const shape *c, const double *x, const double *history,
                        sa2_rows sequences, const double *w, int64_t rows)
{
    double *y = test_doubles(env, rows * c->out);
    int64_t row = 0;
    for (int i = 0; i < sequences.n; i++) {
        int32_t n = rows_out(c, sequences.offsets[i + 1] - sequences.offsets[i]);
        for (int32_t t = 0; t < n; t++, row++)
            for (int o = 0; o < c->out; o++)
                for (int k = 0; k < c->kernel; k++)
                    for (int j = 0; j < c->in; j++)
                        y[row * c->out + o] +=
                            w[(int64_t)o * c->kernel * c->in + k * c->in + j] *
                            value_at(c, x, history, sequences.offsets, i,
                                     t * c->stride + k * c->dilation - c->pad_left, j);
    }
    return y;
}

static double activated(sa2_activation input, double x, double slope, double alpha)
{
    if (input == SA2_ACT_LEAKY)
        return x > 0.0 ? x : slope * x;
    if (input == SA2_ACT_SNAKE)
        return x + sin(alpha * x) * sin(alpha * x) / (alpha + 1e-9);
    return x;
}

/* One case on every instruction set. */
static void check(test_env *env, const shape *c, const struct types *t, sa2_rows sequences,
                  sa2_activation input)
{
    int64_t rows_in = sequences.offsets[sequences.n], rows = 0, k = c->kernel * c->in;
    for (int i = 0; i < sequences.n; i++)
        rows += rows_out(c, sequences.offsets[i + 1] - sequences.offsets[i]);
    sa2_tensor x = sa2_tensor_cols(test_random(env, t->x, rows_in, c->in + 3), 1, c->in);
    sa2_tensor w = test_random(env, t->w, c->out, k), bias = test_random(env, SA2_F32, c->out, 0);
    sa2_tensor alpha = test_random(env, SA2_F32, c->in, 0);
    sa2_tensor history = test_random(env, SA2_F32, sequences.n, c->pad_left * c->in);
    history = sa2_tensor_3d(history.data, SA2_F32, sequences.n, c->pad_left, c->in);
    double *values = test_values(env, &x);
    double *past = c->history ? test_values(env, &history) : NULL;
    for (int64_t i = 0; i < rows_in * c->in; i++)
        values[i] = activated(input, values[i], 0.1f, ((float *)alpha.data)[i % c->in]);
    double *want = convolve(env, c, values, past, sequences, test_values(env, &w), rows);
    for (int64_t i = 0; i < rows * c->out; i++) {
        double sum = want[i] + ((float *)bias.data)[i % c->out];
        want[i] = sum > 0.0 ? sum : 0.0;
    }
    for (int b = 0; b < env->n_streams; b++) {
        sa2_stream *s = env->streams[b];
        sa2_matrix m = test_matrix(env, s, t->w, c->out, k);
        sa2_matrix_write(s, &m, 0, w);
        sa2_conv1d_args args = {.y = test_poisoned(env, t->y, rows, c->out),
                                .x = x,
                                .sequences = sequences,
                                .w = &m,
                                .bias = bias,
                                .kernel = c->kernel,
                                .stride = c->stride,
                                .dilation = c->dilation,
                                .pad_left = c->pad_left,
                                .pad_right = c->pad_right,
                                .input = input,
                                .input_slope = 0.1f,
                                .activation = SA2_ACT_RELU};
        if (c->history)
            args.history = history;
        if (input == SA2_ACT_SNAKE)
            args.input_alpha = alpha;
        sa2_conv1d(s, args);
        bool rounds_x = input != SA2_ACT_NONE || c->history;
        assert_close(env, s, "conv1d", &args.y, want, allowed(t, k, rounds_x));
    }
    test_reset(env);
}

static void every_shape_gives_the_definition(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int t = 0; t < N_TYPES; t++) {
            static const int32_t lengths[] = {37, 3, 0, 120};
            sa2_rows one = {.n = 1, .offsets = test_offsets(env, 1, lengths)};
            check(env, &shapes[i], &types[t], one, SA2_ACT_NONE);
            sa2_rows four = {.n = 4, .offsets = test_offsets(env, 4, lengths)};
            check(env, &shapes[i], &types[t], four, SA2_ACT_NONE);
        }
}

static void the_input_is_activated_but_not_its_padding(void **state)
{
    test_env *env = *state;
    static const sa2_activation inputs[] = {SA2_ACT_LEAKY, SA2_ACT_SNAKE};
    for (int i = 0; i < N_SHAPES; i++)
        for (int t = 0; t < N_TYPES; t++)
            for (int a = 0; a < 2; a++) {
                static const int32_t lengths[] = {31, 40};
                sa2_rows two = {.n = 2, .offsets = test_offsets(env, 2, lengths)};
                check(env, &shapes[i], &types[t], two, inputs[a]);
            }
}

/* x of more than a cache is convolved tile by tile. */
static void long_signals_give_the_definition(void **state)
{
    test_env *env = *state;
    static const shape long_shapes[] = {
        {64, 20, 7, 1, 5, 15, 15, false},  {64, 20, 5, 1, 2, 8, 0, true},
        {18, 20, 30, 15, 1, 7, 7, false},  {33, 9, 4, 3, 2, 2, 0, false},
        {600, 8, 60, 1, 3, 90, 90, false}, /* a row reaches over more than a tile has */
    };
    static const int32_t lengths[][3] = {
        {2600, 4, 700}, {2600, 4, 700}, {9000, 5, 1500}, {5000, 5, 1500}, {200, 3, 100}};
    for (int i = 0; i < 5; i++) {
        sa2_rows three = {.n = 3, .offsets = test_offsets(env, 3, lengths[i])};
        check(env, &long_shapes[i], &types[0], three, SA2_ACT_SNAKE);
    }
    sa2_rows three = {.n = 3, .offsets = test_offsets(env, 3, lengths[0])};
    check(env, &long_shapes[0], &types[1], three, SA2_ACT_NONE);
}

static void check_gated(test_env *env, const int32_t lengths[2])
{
    const shape c = {20, 36, 3, 1, 1, 2, 0, false};
    sa2_rows two = {.n = 2, .offsets = test_offsets(env, 2, lengths)};
    int64_t rows = lengths[0] + lengths[1], k = 60;
    sa2_tensor x = test_random(env, SA2_F32, rows, c.in), w = test_random(env, SA2_F32, c.out, k);
    sa2_tensor before = test_random(env, SA2_F32, rows, c.out);
    sa2_tensor gate = test_random(env, SA2_F32, 2, c.out), which = test_ids(env, rows, 2);
    double *want = convolve(env, &c, test_values(env, &x), NULL, two, test_values(env, &w), rows);
    for (int64_t i = 0; i < rows * c.out; i++)
        want[i] =
            ((float *)before.data)[i] +
            want[i] * ((float *)gate.data)[((int32_t *)which.data)[i / c.out] * c.out + i % c.out];
    for (int b = 0; b < env->n_streams; b++) {
        sa2_stream *s = env->streams[b];
        sa2_matrix m = test_matrix(env, s, SA2_F32, c.out, k);
        sa2_matrix_write(s, &m, 0, w);
        sa2_tensor y = test_copy(env, &before);
        sa2_conv1d(s, (sa2_conv1d_args){.y = y,
                                        .x = x,
                                        .sequences = two,
                                        .w = &m,
                                        .kernel = 3,
                                        .stride = 1,
                                        .dilation = 1,
                                        .pad_left = 2,
                                        .accumulate = true,
                                        .gate = gate,
                                        .gate_rows = which});
        assert_close(env, s, "gated", &y, want, allowed(&types[0], k, false));
    }
    test_reset(env);
}

static void the_result_is_gated_and_added(void **state)
{
    static const int32_t lengths[][2] = {{11, 30}, {1500, 5400}};
    for (int i = 0; i < 2; i++)
        check_gated(*state, lengths[i]);
}

static void scratch_that_is_too_small_is_refused(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    int64_t rows = (17 << 20) / 64;
    static const int32_t length = (17 << 20) / 64;
    sa2_tensor w = test_random(env, SA2_F32, 1, 16);
    sa2_matrix m = test_matrix(env, s, SA2_F32, 1, 16);
    sa2_matrix_write(s, &m, 0, w);
    sa2_conv1d(s, (sa2_conv1d_args){.y = test_poisoned(env, SA2_F32, rows, 1),
                                    .x = test_random(env, SA2_F32, rows, 16),
                                    .sequences = {.n = 1, .offsets = test_offsets(env, 1, &length)},
                                    .w = &m,
                                    .kernel = 1,
                                    .stride = 1,
                                    .dilation = 1,
                                    .input = SA2_ACT_RELU});
    assert_refused(s, "conv1d: 17825");
    test_reset(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_gives_the_definition),
        cmocka_unit_test(the_input_is_activated_but_not_its_padding),
        cmocka_unit_test(long_signals_give_the_definition),
        cmocka_unit_test(the_result_is_gated_and_added),
        cmocka_unit_test(scratch_that_is_too_small_is_refused),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
