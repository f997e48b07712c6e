/* Products with matrices in 8 and 4 bits: near the definition on every device, and where sums are whole numbers the same
 * bits from every instruction set of the processor. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/e4m3.h"
#include "kernels/layout.h"
#include "tests/support/test_env.h"

/* rows, k, n: less than a tile, blocks and a bit, a panel and a bit, pieces of K, chunks of rows; few rows in several pieces of K. */
static const int64_t shapes[][3] = {
    {1, 1, 1},     {1, 64, 32},   {2, 65, 17},      {8, 63, 33},   {9, 130, 40},  {16, 200, 7},
    {17, 640, 80}, {65, 700, 50}, {100, 1300, 300}, {600, 70, 40}, {5, 4200, 34}, {20, 4200, 40},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static const sa2_dtype dtypes[] = {SA2_I8, SA2_I4, SA2_E4M3};
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

static sa2_matrix matrix_of(test_env *env, sa2_stream *s, sa2_dtype dtype, const sa2_tensor *w)
{
    sa2_matrix m = test_matrix(env, s, dtype, w->shape[0], w->shape[1]);
    memset(m.data, 0x5a, sa2_matrix_bytes(s, dtype, w->shape[0], w->shape[1]));
    sa2_matrix_write(s, &m, 0, *w);
    assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
    return m;
}

static bool is_processor(const test_env *env, int b)
{
    return strcmp(sa2_backend_device(env->backends[b]), "cpu") == 0;
}

/* As a processor multiplies rows by a matrix in 4 bits: 256 columns are 127 steps to either side of 0. */
static void round_row(double *row, int64_t k)
{
    for (int64_t from = 0; from < k; from += 256) {
        int64_t to = from + 256 < k ? from + 256 : k;
        float most = 0.0f;
        for (int64_t l = from; l < to; l++)
            most = fmaxf(most, fabsf((float)row[l]));
        for (int64_t l = from; l < to; l++)
            row[l] = (double)(nearbyintf((float)row[l] * (127.0f / most)) * (most / 127.0f));
    }
}

/* x times what the matrix holds, in double. */
static double *half_product(test_env *env, int b, const sa2_tensor *x, const sa2_matrix *w,
                            sa2_matrix_half half)
{
    const sa2_layout *layout = sa2_stream_layout(env->streams[b], w->dtype);
    int64_t rows = x->shape[0], n = half == SA2_MATRIX_ALL ? w->rows : w->rows / 2, k = w->cols;
    double *a = test_values(env, x), *y = test_doubles(env, rows * n);
    for (int64_t i = 0; w->dtype == SA2_I4 && is_processor(env, b) && i < rows; i++)
        round_row(a + i * k, k);
    float *weights = malloc((size_t)k * sizeof *weights);
    assert_non_null(weights);
    for (int64_t j = 0; j < n; j++) {
        layout->read_row(weights, w, half, j);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t l = 0; l < k; l++)
                y[i * n + j] += a[i * k + l] * (double)weights[l];
    }
    free(weights);
    return y;
}

static double *product(test_env *env, int b, const sa2_tensor *x, const sa2_matrix *w)
{
    return half_product(env, b, x, w, SA2_MATRIX_ALL);
}

/* In 8 bits a value of x errs by half of 1/32512 of the largest of its row, at most 1; its mean square here is 1/3. So the sum
 * errs by 3 / 12 / 32512^2 in square, 2.4e-10 of it; f32 adds a few 2^-24, bf16 2^-8 at most. With 4 bits x is rounded in what is
 * expected. A device's sums of up to 1300 terms err by 1300 / 2 * 2^-48 in square, less than that. */
static double allowed(sa2_dtype y)
{
    return 1e-9 + (y == SA2_BF16 ? 0x1p-16 : 0.0);
}

static void every_device_is_near_the_definition_and_instruction_sets_are_alike(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int t = 0; t < 4 * N_DTYPES; t++) {
            sa2_dtype x_dtype = t & 1 ? SA2_BF16 : SA2_F32, y_dtype = t & 2 ? SA2_BF16 : SA2_F32;
            sa2_dtype dtype = dtypes[t / 4];
            int64_t rows = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
            sa2_tensor x = test_random(env, x_dtype, rows, k);
            sa2_tensor w = test_random(env, SA2_BF16, n, k);
            sa2_tensor first = {0};
            for (int b = 0; b < env->n_streams; b++) {
                sa2_stream *s = env->streams[b];
                sa2_matrix m = matrix_of(env, s, dtype, &w);
                double *want = product(env, b, &x, &m);
                sa2_tensor y = test_poisoned(env, y_dtype, rows, n);
                sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m});
                assert_close(env, s, env->isas[b], &y, want, allowed(y_dtype));
                if (b == 0)
                    first = y;
                if (is_processor(env, b) && dtype != SA2_E4M3)
                    assert_same_bits(env->isas[b], &y, &first);
            }
            test_reset(env);
        }
}

static void a_row_alone_is_the_row_in_a_batch_to_the_bit(void **state)
{
    test_env *env = *state;
    int64_t rows = 131, k = 1100, n = 70;
    sa2_tensor x = test_random(env, SA2_BF16, rows, k), w = test_random(env, SA2_BF16, n, k);
    for (int b = 0; b < env->n_streams * N_DTYPES; b++) {
        sa2_stream *s = env->streams[b / N_DTYPES];
        sa2_matrix m = matrix_of(env, s, dtypes[b % N_DTYPES], &w);
        sa2_linear_args args = {.w = &m, .x = x, .y = test_poisoned(env, SA2_F32, rows, n)};
        sa2_linear(s, args);
        sa2_tensor whole = args.y;
        for (int64_t from = 0, some = 1; from < rows; from += some++) {
            some = some < rows - from ? some : rows - from;
            args.x = sa2_tensor_rows(x, from, some);
            args.y = test_poisoned(env, SA2_F32, some, n);
            sa2_linear(s, args);
            sa2_tensor part = sa2_tensor_rows(whole, from, some);
            assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
            assert_same_bits(env->isas[b / N_DTYPES], &args.y, &part);
        }
    }
    test_reset(env);
}

/* Columns 32 i to 32 i + 31 are the largest number and 31 others, so that each of them is kept as it is, whatever its
 * power of two; and a row of x that is 0 but for a 1 takes one of them out. */
static void every_number_of_e4m3_is_multiplied_as_it_is(void **state)
{
    test_env *env = *state;
    enum { EACH = 31, GROUPS = (254 + EACH - 1) / EACH, K = GROUPS * (EACH + 1), N = 28 };
    sa2_tensor w = test_random(env, SA2_F32, N, K);
    for (int row = 0; row < N; row++)
        for (int col = 0, code = 0; col < K; col++) {
            bool most = col % (EACH + 1) == 0 || code == 254;
            int size = most ? 0x7e : code % 127, sign = most ? 0 : code / 127 * 128;
            code += !most;
            ((float *)w.data)[row * K + col] =
                ldexpf(sa2_e4m3_to_f32((uint8_t)(size | sign)), row - 20);
        }
    for (int t = 0; t < 2 * env->n_streams; t++) {
        sa2_stream *s = env->streams[t / 2];
        const sa2_layout *layout = sa2_stream_layout(s, SA2_E4M3);
        sa2_tensor x = test_random(env, t % 2 == 0 ? SA2_F32 : SA2_BF16, K, K);
        memset(x.data, 0, sa2_tensor_bytes(&x));
        for (int i = 0; i < K; i++)
            if (x.dtype == SA2_F32)
                ((float *)x.data)[i * K + i] = 1.0f;
            else
                ((uint16_t *)x.data)[i * K + i] = sa2_f32_to_bf16(1.0f);
        sa2_matrix m = matrix_of(env, s, SA2_E4M3, &w);
        sa2_tensor y = test_poisoned(env, SA2_F32, K, N);
        sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m});
        assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
        for (int row = 0; row < N; row++) {
            float held[K];
            layout->read_row(held, &m, SA2_MATRIX_ALL, row);
            for (int col = 0; col < K; col++) {
                float want = ((float *)w.data)[row * K + col];
                assert_true(held[col] == want && ((float *)y.data)[col * N + row] == want);
            }
        }
    }
    test_reset(env);
}

/* So many tiles that a device need not cut sums among them; then few, where it may. */
static void a_row_among_many_is_the_row_among_few_to_the_bit(void **state)
{
    test_env *env = *state;
    int64_t rows = 700, k = 130, n = 1500;
    static const int64_t parts[][2] = {{0, 3}, {10, 30}, {640, 60}};
    sa2_tensor x = test_random(env, SA2_BF16, rows, k), w = test_random(env, SA2_BF16, n, k);
    for (int b = 0; b < env->n_streams * N_DTYPES; b++) {
        sa2_stream *s = env->streams[b / N_DTYPES];
        sa2_matrix m = matrix_of(env, s, dtypes[b % N_DTYPES], &w);
        sa2_tensor whole = test_poisoned(env, SA2_F32, rows, n);
        sa2_linear(s, (sa2_linear_args){.y = whole, .x = x, .w = &m});
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            sa2_tensor y = test_poisoned(env, SA2_F32, parts[i][1], n);
            sa2_tensor part = sa2_tensor_rows(whole, parts[i][0], parts[i][1]);
            sa2_linear(s, (sa2_linear_args){
                              .y = y, .x = sa2_tensor_rows(x, parts[i][0], parts[i][1]), .w = &m});
            assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
            assert_same_bits(env->isas[b / N_DTYPES], &y, &part);
        }
    }
    test_reset(env);
}

/* Rows that are few, some, many, and so many that sums are not cut. */
static void swiglu_takes_gate_and_up_from_one_matrix(void **state)
{
    test_env *env = *state;
    static const int64_t sizes[][2] = {{5, 1}, {5, 17}, {20, 40}, {50, 136}, {150, 3000}};
    for (size_t i = 0; i < N_DTYPES * sizeof sizes / sizeof sizes[0]; i++) {
        int64_t rows = sizes[i / N_DTYPES][0], k = 100, n = sizes[i / N_DTYPES][1];
        sa2_dtype dtype = dtypes[i % N_DTYPES];
        sa2_tensor x = test_random(env, SA2_BF16, rows, k);
        sa2_tensor gate = test_random(env, SA2_BF16, n, k), up = test_random(env, SA2_BF16, n, k);
        sa2_tensor bias = test_random(env, SA2_F32, 2 * n, 0);
        const float *offset = bias.data;
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_matrix m = test_matrix(env, s, dtype, 2 * n, k);
            sa2_matrix_write_swiglu(s, &m, gate, up);
            assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
            double *want = half_product(env, b, &x, &m, SA2_MATRIX_GATE);
            double *upper = half_product(env, b, &x, &m, SA2_MATRIX_UP);
            for (int64_t j = 0; j < rows * n; j++) {
                double sum = want[j] + (double)offset[j % n];
                want[j] = sum / (1.0 + exp(-sum)) * (upper[j] + (double)offset[n + j % n]);
            }
            sa2_tensor y = test_poisoned(env, SA2_F32, rows, n);
            sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m, .bias = bias, .swiglu = true});
            /* two sums err in each value: twice as much, squared */
            assert_close(env, s, "swiglu", &y, want, 4.0 * allowed(SA2_F32));
        }
        test_reset(env);
    }
}

static void a_gate_scales_what_is_added_to_y(void **state)
{
    test_env *env = *state;
    static const int64_t numbers_of_rows[] = {3, 21, 70};
    for (int i = 0; i < 3 * N_DTYPES; i++) {
        int64_t rows = numbers_of_rows[i / N_DTYPES], k = 200, n = 53;
        sa2_tensor x = test_random(env, SA2_F32, rows, k), w = test_random(env, SA2_F32, n, k);
        sa2_tensor before = test_random(env, SA2_F32, rows, n);
        sa2_tensor gate = test_random(env, SA2_F32, n, 0);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_matrix m = matrix_of(env, s, dtypes[i % N_DTYPES], &w);
            double *want = product(env, b, &x, &m);
            for (int64_t j = 0; j < rows * n; j++)
                want[j] = ((float *)before.data)[j] + ((float *)gate.data)[j % n] * want[j];
            sa2_tensor y = test_copy(env, &before);
            sa2_linear(
                s, (sa2_linear_args){.y = y, .x = x, .w = &m, .gate = gate, .accumulate = true});
            assert_close(env, s, "gate", &y, want, allowed(SA2_F32));
        }
        test_reset(env);
    }
}

static void a_row_keeps_its_small_values_beside_a_large_one(void **state)
{
    test_env *env = *state;
    int64_t k = 500, n = 40;
    sa2_tensor x = test_random(env, SA2_F32, 1, k), w = test_random(env, SA2_F32, n, k);
    ((float *)x.data)[17] = 100.0f;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_stream *s = env->streams[b];
        if (!is_processor(env, b))
            continue; /* x is not rounded there */
        sa2_matrix m = matrix_of(env, s, SA2_I8, &w);
        for (int64_t i = 0; i < n; i++) /* the large one is multiplied by 0 */
            ((int8_t *)m.data)[i / 16 * 16 * 512 + 17 / 4 * 64 + i % 16 * 4 + 17 % 4] = 0;
        double *want = product(env, b, &x, &m);
        sa2_tensor y = test_poisoned(env, SA2_F32, 1, n);
        sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &m});
        /* steps a hundred times as wide */
        assert_close(env, s, env->isas[b], &y, want, 1e4 * allowed(SA2_F32));
    }
    test_reset(env);
}

static void what_has_no_such_matrices_refuses_them(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    sa2_tensor w = test_random(env, SA2_F32, 4, 9), x = test_random(env, SA2_F32, 6, 1);
    sa2_matrix m = matrix_of(env, s, SA2_I8, &w);
    static const int32_t offsets[] = {0, 6};
    sa2_conv2d(s, (sa2_conv2d_args){
                      .y = sa2_tensor_3d(test_poisoned(env, SA2_F32, 6, 4).data, SA2_F32, 2, 3, 4),
                      .x = sa2_tensor_3d(x.data, SA2_F32, 2, 3, 1),
                      .w = &m,
                      .kernel = 3,
                      .stride = 1});
    assert_refused(s, "conv2d: matrices of few bits are for layers");
    sa2_conv_transpose1d(s, (sa2_conv_transpose1d_args){.y = test_poisoned(env, SA2_F32, 14, 4),
                                                        .x = x,
                                                        .sequences = {1, offsets},
                                                        .w = &m,
                                                        .kernel = 9,
                                                        .stride = 1});
    assert_refused(s, "conv_transpose1d: matrices of few bits are for layers");
    test_reset(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_device_is_near_the_definition_and_instruction_sets_are_alike),
        cmocka_unit_test(a_row_alone_is_the_row_in_a_batch_to_the_bit),
        cmocka_unit_test(every_number_of_e4m3_is_multiplied_as_it_is),
        cmocka_unit_test(a_row_among_many_is_the_row_among_few_to_the_bit),
        cmocka_unit_test(swiglu_takes_gate_and_up_from_one_matrix),
        cmocka_unit_test(a_gate_scales_what_is_added_to_y),
        cmocka_unit_test(a_row_keeps_its_small_values_beside_a_large_one),
        cmocka_unit_test(what_has_no_such_matrices_refuses_them),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
