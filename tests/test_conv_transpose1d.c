/* Transposed convolutions: the definition for any kernel, stride and padding, sequence by sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

typedef struct shape {
    int in, out, kernel, stride, pad;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 0},   {16, 8, 16, 8, 4}, {24, 12, 11, 5, 3}, {10, 20, 7, 3, 2},
    {33, 17, 4, 2, 1}, {8, 3, 5, 5, 0},   {7, 16, 9, 2, 6},   {520, 10, 4, 1, 2},
};

/* y[j] = bias + sum over t, k with t stride + k - pad = j of w[:, :, k]^T x[t] */
static void transpose(double *y, const shape *c, const double *x, int length, int n_out,
                      const double *w, const double *bias)
{
    for (int j = 0; j < n_out; j++)
        for (int o = 0; o < c->out; o++) {
            double sum = bias[o];
            for (int t = 0; t < length; t++) {
                int k = j + c->pad - t * c->stride;
                for (int i = 0; i < c->in && k >= 0 && k < c->kernel; i++)
                    sum += w[((int64_t)i * c->out + o) * c->kernel + k] * x[t * c->in + i];
            }
            y[j * c->out + o] = sum;
        }
}

static int n_out(const shape *c, int length)
{
    int n = (length - 1) * c->stride - 2 * c->pad + c->kernel;
    return length > 0 && n > 0 ? n : 0;
}

static void check(test_env *env, const shape *c, sa2_dtype dtype, sa2_rows sequences)
{
    int64_t rows_in = sequences.offsets[sequences.n], rows = 0;
    int64_t reach = (c->kernel + c->stride - 1) / c->stride;
    sa2_tensor x = test_random(env, SA2_F32, rows_in, c->in);
    sa2_tensor w = test_random(env, dtype, c->in, c->out * c->kernel); /* exact in bf16 too */
    sa2_tensor wide = test_poisoned(env, SA2_F32, c->in, c->out * c->kernel);
    sa2_copy(env->streams[0], wide, w);
    wide = sa2_tensor_3d(wide.data, SA2_F32, c->in, c->out, c->kernel);
    sa2_tensor bias = test_random(env, SA2_F32, c->out, 0);
    double *values = test_values(env, &x);
    for (int64_t i = 0; i < rows_in * c->in; i++)
        values[i] = values[i] > 0.0 ? values[i] : (double)0.2f * values[i];
    for (int i = 0; i < sequences.n; i++)
        rows += n_out(c, sequences.offsets[i + 1] - sequences.offsets[i]);
    double *want = test_doubles(env, rows * c->out), *at = want;
    for (int i = 0; i < sequences.n; i++) {
        int length = sequences.offsets[i + 1] - sequences.offsets[i], n = n_out(c, length);
        transpose(at, c, values + (int64_t)sequences.offsets[i] * c->in, length, n,
                  test_values(env, &wide), test_values(env, &bias));
        at += n * c->out;
    }
    for (int b = 0; b < env->n_streams; b++) {
        sa2_stream *s = env->streams[b];
        sa2_matrix m = test_matrix(env, s, dtype, c->stride * c->out, reach * c->in);
        sa2_matrix_write_transpose(s, &m, wide, c->stride);
        sa2_tensor y = test_poisoned(env, SA2_F32, rows, c->out);
        sa2_conv_transpose1d(s, (sa2_conv_transpose1d_args){.y = y,
                                                            .x = x,
                                                            .sequences = sequences,
                                                            .w = &m,
                                                            .bias = bias,
                                                            .kernel = c->kernel,
                                                            .stride = c->stride,
                                                            .pad = c->pad,
                                                            .input = SA2_ACT_LEAKY,
                                                            .input_slope = 0.2f});
        /* as in test_linear.c */
        assert_close(env, s, "conv_transpose1d", &y, want, (double)(reach * c->in + 16) * 0x1p-48);
    }
    test_reset(env);
}

static void every_shape_gives_the_definition(void **state)
{
    test_env *env = *state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int b = 0; b < 2; b++) {
            static const int32_t lengths[] = {29, 1, 0, 100};
            sa2_dtype dtype = b == 0 ? SA2_F32 : SA2_BF16;
            sa2_rows one = {.n = 1, .offsets = test_offsets(env, 1, lengths)};
            check(env, &shapes[i], dtype, one);
            sa2_rows four = {.n = 4, .offsets = test_offsets(env, 4, lengths)};
            check(env, &shapes[i], dtype, four);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_gives_the_definition),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
