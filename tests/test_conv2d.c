/* Convolutions over time and frequency: the definition, with stride on frequency and a residual. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

typedef struct shape {
    int frames, bins, in, out, kernel, stride;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1},  {1, 1, 1, 1, 3, 1},    {9, 80, 1, 32, 3, 1},   {17, 40, 32, 32, 3, 2},
    {6, 11, 5, 7, 3, 2}, {13, 20, 8, 33, 1, 2}, {40, 10, 32, 32, 3, 1}, {5, 12, 4, 16, 3, 3},
};

static double *convolve(test_env *env, const shape *c, const double *x, const double *w,
                        const double *before, const double *bias)
{
    int bins = (c->bins - 1) / c->stride + 1, pad = c->kernel / 2;
    double *y = test_doubles(env, (int64_t)c->frames * bins * c->out), *at = y;
    for (int t = 0; t < c->frames; t++)
        for (int f = 0; f < bins; f++)
            for (int o = 0; o < c->out; o++, at++) {
                const double *weight = w + (int64_t)o * c->kernel * c->kernel * c->in;
                *at = bias[o] + (before != NULL ? before[at - y] : 0.0);
                for (int i = t - pad; i <= t + pad; i++)
                    for (int j = f * c->stride - pad; j <= f * c->stride + pad; j++)
                        for (int k = 0; k < c->in; k++, weight++)
                            if (i >= 0 && i < c->frames && j >= 0 && j < c->bins)
                                *at += *weight * x[((int64_t)i * c->bins + j) * c->in + k];
                *at = *at > 0.0 ? *at : 0.0;
            }
    return y;
}

static void every_shape_gives_the_definition(void **state)
{
    test_env *env = *state;
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof shapes[0]; i++) {
        const shape *c = &shapes[i / 2];
        bool residual = i % 2 == 1;
        int bins = (c->bins - 1) / c->stride + 1, k = c->kernel * c->kernel * c->in;
        sa2_tensor x = test_random(env, SA2_F32, c->frames, c->bins * c->in);
        sa2_tensor w = test_random(env, SA2_F32, c->out, k);
        sa2_tensor bias = test_random(env, SA2_F32, c->out, 0);
        sa2_tensor before = test_random(env, SA2_F32, c->frames, bins * c->out);
        double *want =
            convolve(env, c, test_values(env, &x), test_values(env, &w),
                     residual ? test_values(env, &before) : NULL, test_values(env, &bias));
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_matrix m = test_matrix(env, s, SA2_F32, c->out, k);
            sa2_matrix_write(s, &m, 0, w);
            sa2_tensor y = residual ? test_copy(env, &before)
                                    : test_poisoned(env, SA2_F32, c->frames, bins * c->out);
            sa2_conv2d(
                s, (sa2_conv2d_args){.y = sa2_tensor_3d(y.data, SA2_F32, c->frames, bins, c->out),
                                     .x = sa2_tensor_3d(x.data, SA2_F32, c->frames, c->bins, c->in),
                                     .w = &m,
                                     .bias = bias,
                                     .kernel = c->kernel,
                                     .stride = c->stride,
                                     .accumulate = residual,
                                     .activation = SA2_ACT_RELU});
            /* as in test_linear.c */
            assert_close(env, s, "conv2d", &y, want, (k + 16) * 0x1p-48);
        }
        test_reset(env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_gives_the_definition),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
