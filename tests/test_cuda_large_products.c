/* Large products by cuBLASLt in the CUDA backend, on the simulated device with a fake of the library: results are those of our
 * own products, whatever the weights and the epilogue; what is not the library's stays ours; failures are told. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/stream.h"
#include "tests/cudasim/cudasim.h"
#include "tests/fakes/cublaslt.h"
#include "tests/support/product_pair.h"

#define BY_LIBRARY "cublaslt,file=" FAKE_CUBLASLT

enum { OPENING = 9 /* calls */ };

static void begin(int fail_call)
{
    fake_cublaslt_begin(fail_call, FAKE_CUBLASLT_FAILS);
    fake_cublaslt_watch(cudasim_library_starts, cudasim_library_access);
}

/* In f32 both sum k products of up to 1 in f32. In bf16 each result is rounded once, the library's sums too; those of gate and
 * up are factors of each other. What lies between rows stays. */
static void assert_alike(const product_kind *c, sa2_dtype weights, const product_results *y,
                         int64_t k)
{
    double square = 0.0, error = 0.0;
    double allowed = (double)(k + 16) * 0x1p-46 + (c->y == SA2_BF16 ? 8.0 * 0x1p-18 : 0.0);
    for (int64_t i = 0; i < y->own.shape[0]; i++)
        for (int64_t j = 0; j < y->own.stride; j++) {
            double own = product_element(&y->own, i, j), large = product_element(&y->large, i, j);
            if (j >= y->own.shape[1] && own != large)
                fail_msg("%s: written behind row %d", c->name, (int)i);
            square += own * own;
            error += (own - large) * (own - large);
        }
    if (!(error <= allowed * square))
        fail_msg("%s, weights in %s: error %g, %g allowed", c->name, sa2_dtype_name(weights),
                 error / square, allowed);
}

static const sa2_dtype dtypes[] = {SA2_BF16, SA2_I8, SA2_I4, SA2_E4M3};
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

static void results_are_those_of_our_own_products(void **state)
{
    enum { ROWS = 9, K = 72, PIECES = 4, CASES = N_DTYPES * PRODUCT_KINDS };
    /* Results and half of them, of SwiGLU less 16: in no packs of eight, the results alone, both. */
    static const int64_t n[] = {150, 152, 160};
    product_pair w;
    (void)state;
    begin(-1);
    product_pair_open(&w, BY_LIBRARY ",rows=9,piece=48", false);
    for (int i = 0; i < 3 * CASES; i++) {
        const product_kind *c = &product_kinds[i % PRODUCT_KINDS];
        sa2_dtype dtype = dtypes[i / PRODUCT_KINDS % N_DTYPES];
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = product_matrix(&w, dtype, n[i / CASES] - (c->swiglu ? 16 : 0), K, c->swiglu);
        sa2_tensor x = product_rows(&w, SA2_BF16, ROWS, K, K + 8);
        int before = fake_cublaslt_products();
        product_results y = product_run_both(&w, c, &m, x);
        assert_alike(c, dtype, &y, K);
        assert_int_equal(fake_cublaslt_products() - before, c->swiglu ? 3 : PIECES);
        sa2_arena_rewind(&w.memory, mark);
    }
    product_pair_close(&w);
}

/* Rows of a unit matrix times w^T are the columns of w, exactly: each number, its place, and zeros between. */
static void weights_are_unpacked_exactly(void **state)
{
    static const int64_t shapes[][2] = {/* n, k */ {16, 32}, {33, 72}, {130, 200}};
    product_pair w;
    (void)state;
    begin(-1);
    product_pair_open(&w, BY_LIBRARY ",rows=1,piece=64", false);
    for (int t = 0; t < N_DTYPES; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            int64_t n = shapes[i][0], k = shapes[i][1];
            size_t mark = sa2_arena_mark(&w.memory);
            sa2_matrix m = product_matrix(&w, dtypes[t], n, k, false);
            sa2_tensor x = product_rows(&w, SA2_BF16, k, k, k);
            sa2_tensor y = product_rows(&w, SA2_F32, k, n, n);
            for (int64_t j = 0; j < k * k; j++)
                product_set_element(&x, j / k, j % k, j / k == j % k ? 1.0f : 0.0f);
            sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m});
            product_finish(w.large);
            const sa2_layout *layout = sa2_stream_layout(w.own, dtypes[t]);
            sa2_tensor row = sa2_tensor_2d(sa2_arena_take(&w.memory, (size_t)k * sizeof(float)),
                                           layout->row_dtype, 1, k);
            for (int64_t r = 0; r < n; r++) {
                layout->read_row(row.data, &m, SA2_MATRIX_ALL, r);
                for (int64_t j = 0; j < k; j++)
                    assert_true(product_element(&y, j, r) == product_element(&row, 0, j));
            }
            sa2_arena_rewind(&w.memory, mark);
        }
    product_pair_close(&w);
}

/* Each with the products that the library makes of it. */
static void what_is_not_the_librarys_is_ours_to_the_bit(void **state)
{
    static const struct {
        int64_t rows, k, stride;
        sa2_dtype x;
        int products;
    } cases[] = {
        {8, 64, 64, SA2_BF16, 1}, {7, 64, 64, SA2_BF16, 0}, {8, 64, 64, SA2_F32, 0},
        {8, 60, 64, SA2_BF16, 0}, {8, 64, 68, SA2_BF16, 0}, {8, 64, 32, SA2_BF16, 0},
    };
    product_pair w;
    (void)state;
    begin(-1);
    product_pair_open(&w, BY_LIBRARY ",rows=8", false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = product_matrix(&w, SA2_BF16, 40, cases[i].k, false);
        sa2_tensor x = product_rows(&w, cases[i].x, cases[i].rows + 1, 1, cases[i].stride);
        x.shape[0] = cases[i].rows;
        x.shape[1] = cases[i].k;
        int before = fake_cublaslt_products();
        product_results y = product_run_both(&w, &product_kinds[0], &m, x);
        assert_int_equal(fake_cublaslt_products() - before, cases[i].products);
        if (cases[i].products == 0)
            assert_memory_equal(y.own.data, y.large.data, sa2_tensor_bytes(&y.own));
        sa2_arena_rewind(&w.memory, mark);
    }
    product_pair_close(&w);
}

/* Without a size of pieces, 8200 rows of w are two, 4352 and 3848; 513 rows of x, whose sums are in f32, are two as well. */
static void pieces_are_about_alike_and_sums_have_room(void **state)
{
    enum { K = 8 };
    static const struct {
        int64_t rows, n;
        int products;
    } cases[] = {{5, 8200, 2}, {513, 8192, 2}, {1, 40, 1}};
    product_pair w;
    (void)state;
    begin(-1);
    product_pair_open(&w, BY_LIBRARY ",rows=1", false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t rows = cases[i].rows, n = cases[i].n;
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = product_matrix(&w, SA2_BF16, n, K, false);
        sa2_tensor x = product_rows(&w, SA2_BF16, rows, K, K), bias = product_vector(&w, n);
        sa2_tensor y = product_rows(&w, SA2_F32, rows, n, n);
        int before = fake_cublaslt_products();
        sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m, .bias = bias});
        product_finish(w.large);
        assert_int_equal(fake_cublaslt_products() - before, cases[i].products);
        for (int64_t r = 0; r<rows; r += rows> 4 ? rows / 4 : 1)
            for (int64_t c = 0; c < n; c += 7) {
                uint16_t values[K];
                double want = product_element(&bias, 0, c);
                for (int64_t k = 0; k < K; k++) {
                    int64_t tile = c / 16, g = c % 8, low = c / 8 % 2;
                    int64_t at = (tile * 2 + k % 8 / 4) * 256 + g * 32 + (k % 4 / 2 * 2 + low) * 2;
                    values[k] = ((const uint16_t *)m.data)[at + k % 2];
                    want += (double)product_element(&x, r, k) *
                            product_element(&(sa2_tensor){.data = values, .dtype = SA2_BF16}, 0, k);
                }
                assert_true(fabs(product_element(&y, r, c) - want) < 1e-5);
            }
        sa2_arena_rewind(&w.memory, mark);
    }
    product_pair_close(&w);
}

/* ---- shapes that the library knows ---- */

static void each_shape_is_asked_about_once_and_the_last_64_are_kept(void **state)
{
    enum { N = 16, K = 32 };
    product_pair w;
    (void)state;
    begin(-1);
    product_pair_open(&w, BY_LIBRARY ",rows=1", false);
    sa2_matrix m = product_matrix(&w, SA2_BF16, N, K, false);
    for (int turn = 0; turn < 2; turn++)
        for (int rows = 1; rows <= 64; rows++) {
            size_t mark = sa2_arena_mark(&w.memory);
            product_run_both(&w, &product_kinds[0], &m, product_rows(&w, SA2_BF16, rows, K, K));
            sa2_arena_rewind(&w.memory, mark);
        }
    assert_int_equal(fake_cublaslt_asked(), 64);
    product_run_both(&w, &product_kinds[0], &m,
                     product_rows(&w, SA2_BF16, 65, K, K)); /* in the place of 1 */
    product_run_both(&w, &product_kinds[0], &m, product_rows(&w, SA2_BF16, 2, K, K));
    assert_int_equal(fake_cublaslt_asked(), 65);
    product_run_both(&w, &product_kinds[0], &m, product_rows(&w, SA2_BF16, 1, K, K));
    assert_int_equal(fake_cublaslt_asked(), 66);
    product_pair_close(&w);
}

/* ---- failures ---- */

static void assert_not_opened(const char *device, const char *large, sa2_status status,
                              const char *part)
{
    sa2_backend *backend;
    sa2_error err = {0};
    const sa2_backend_options options = {.device = device, .large_products = large};
    assert_int_equal(sa2_backend_open(&backend, &options, &err), status);
    assert_null(backend);
    if (strstr(err.message, part) == NULL)
        fail_msg("%s: \"%s\", \"%s\" expected in it", large, err.message, part);
}

static void what_is_not_there_is_refused_with_its_name(void **state)
{
    static const char *const wrong[] = {"",
                                        "cublas",
                                        "cublaslt,",
                                        "cublaslt,file",
                                        "cublaslt,file=",
                                        "cublaslt,rows=0",
                                        "cublaslt,rows=1x",
                                        "cublaslt,rows=99999999999999999999",
                                        "cublaslt,piece=20",
                                        "cublaslt,pieces=32",
                                        "own,rows=3",
                                        "own,tile=16",
                                        "own,cluster=3",
                                        "own,tile=auto",
                                        "own,split=0",
                                        "own,split=",
                                        "owned",
                                        "cublaslt,tile=64"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_not_opened("cuda-sim", wrong[i], SA2_ERR_ARG, ": own expected, with any of");
    assert_not_opened("cuda-sim", "cublaslt,file=libnothing.so.13", SA2_ERR_UNSUPPORTED,
                      "large products by cuBLASLt: libnothing.so.13: cannot open");
    assert_not_opened("cuda-sim", "cublaslt,file=libm.so.6", SA2_ERR_UNSUPPORTED,
                      "large products by cuBLASLt: libm.so.6 has no cublasLtCreate");
    assert_not_opened("cpu", "cublaslt", SA2_ERR_UNSUPPORTED,
                      "large products \"cublaslt\": a GPU expected, found cpu");
}

/* First those that open it, then those of a product in two pieces; the next product works. */
static void each_call_that_fails_is_told_with_the_op_and_its_shape(void **state)
{
    const sa2_backend_options options = {.device = "cuda-sim",
                                         .large_products = BY_LIBRARY ",rows=4,piece=32"};
    (void)state;
    for (int call = 0; call < OPENING; call++) {
        begin(call);
        char part[96];
        sa2_backend *none;
        sa2_error err = {0};
        assert_int_equal(sa2_backend_open(&none, &options, &err), SA2_ERR_DEVICE);
        snprintf(part, sizeof part, "large products by cuBLASLt: %s: an internal",
                 fake_cublaslt_failed());
        assert_non_null(strstr(err.message, part));
    }
    for (int call = OPENING; call < OPENING + 10; call++) {
        product_pair w;
        sa2_error err = {0};
        begin(call);
        product_pair_open(&w, options.large_products, false);
        sa2_matrix m = product_matrix(&w, SA2_BF16, 48, 32, false);
        sa2_tensor x = product_rows(&w, SA2_BF16, 4, 32, 32);
        sa2_tensor y = product_rows(&w, SA2_BF16, 4, 48, 48);
        sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m});
        assert_int_equal(sa2_stream_finish(w.large, &err), SA2_ERR_DEVICE);
        char part[128];
        snprintf(part, sizeof part, "linear, 4 rows, weights [48, 32]: %s: an internal",
                 fake_cublaslt_failed());
        if (strstr(err.message, part) == NULL)
            fail_msg("\"%s\", \"%s\" expected in it", err.message, part);
        product_results both = product_run_both(&w, &product_kinds[0], &m, x);
        assert_alike(&product_kinds[0], SA2_BF16, &both, 32);
        product_pair_close(&w);
    }
}

static void a_shape_without_an_algorithm_is_told(void **state)
{
    product_pair w;
    sa2_error err = {0};
    (void)state;
    begin(-1);
    product_pair_open(&w, BY_LIBRARY ",rows=4", false);
    sa2_matrix m = product_matrix(&w, SA2_BF16, 48, 32, false);
    sa2_tensor x = product_rows(&w, SA2_BF16, 4, 32, 32), y = product_rows(&w, SA2_F32, 4, 48, 48);
    fake_cublaslt_begin(3, FAKE_CUBLASLT_EMPTY);
    sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m});
    assert_int_equal(sa2_stream_finish(w.large, &err), SA2_ERR_DEVICE);
    assert_non_null(strstr(err.message, "cublasLtMatmulAlgoGetHeuristic: no algorithm"));
    product_pair_close(&w);
}

static void memory_that_is_not_there_is_told(void **state)
{
    sa2_backend *backend;
    sa2_stream *none;
    sa2_error err = {0};
    (void)state;
    begin(-1);
    const sa2_backend_options options = {.device = "cuda-sim", .large_products = BY_LIBRARY};
    assert_int_equal(sa2_backend_open(&backend, &options, NULL), SA2_OK);
    cudasim_fail("cudaMalloc", 3, 2); /* behind scratch, lists and partial sums; out of memory */
    assert_int_equal(sa2_stream_create(&none, backend, 1000, &err), SA2_ERR_NOMEM);
    sa2_backend_close(backend);
}

/* ---- groups ---- */

/* A product between two others in a group: what was held before it is there, and nothing of it is held. */
static void a_group_lets_go_of_what_it_holds(void **state)
{
    enum { ROWS = 9, K = 64, N = 64 };
    product_pair w;
    (void)state;
    begin(-1);
    product_pair_open(&w, BY_LIBRARY ",rows=9,piece=32", true);
    sa2_matrix m = product_matrix(&w, SA2_BF16, N, K, false);
    sa2_tensor x = product_rows(&w, SA2_BF16, ROWS, K, K), few = sa2_tensor_rows(x, 0, ROWS - 1);
    sa2_tensor doubled = product_rows(&w, SA2_BF16, ROWS, K, K);
    sa2_tensor y = product_rows(&w, SA2_BF16, ROWS, N, N),
               z = product_rows(&w, SA2_BF16, ROWS, N, N);
    for (int turn = 0; turn < 2; turn++) {
        memset(doubled.data, 0xff, sa2_tensor_bytes(&doubled));
        sa2_stream_group_begin(w.large, "a test");
        sa2_mix(w.large, doubled, 2.0f, x, 0.0f, x);
        sa2_linear(w.large, (sa2_linear_args){.y = y, .x = doubled, .w = &m});
        sa2_mix(w.large, z, 3.0f, y, 0.0f, y);
        sa2_stream_group_end(w.large);
        product_finish(w.large);
        product_results want = product_run_both(&w, &product_kinds[0], &m, doubled);
        assert_memory_equal(y.data, want.large.data, sa2_tensor_bytes(&y));
        for (int64_t i = 0; i < ROWS * N; i++)
            assert_true(product_bf16(3.0f * product_element(&y, 0, i)) ==
                        ((const uint16_t *)z.data)[i]);
    }
    cudasim_count("cudaGraphLaunch");
    for (int turn = 0; turn < 2; turn++) { /* of few rows, a graph as before */
        sa2_stream_group_begin(w.large, "a test");
        sa2_linear(w.large,
                   (sa2_linear_args){.y = sa2_tensor_rows(y, 0, ROWS - 1), .x = few, .w = &m});
        sa2_stream_group_end(w.large);
        product_finish(w.large);
    }
    assert_int_equal(cudasim_count(""), 2);
    product_pair_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_of_our_own_products),
        cmocka_unit_test(weights_are_unpacked_exactly),
        cmocka_unit_test(what_is_not_the_librarys_is_ours_to_the_bit),
        cmocka_unit_test(pieces_are_about_alike_and_sums_have_room),
        cmocka_unit_test(each_shape_is_asked_about_once_and_the_last_64_are_kept),
        cmocka_unit_test(what_is_not_there_is_refused_with_its_name),
        cmocka_unit_test(each_call_that_fails_is_told_with_the_op_and_its_shape),
        cmocka_unit_test(a_shape_without_an_algorithm_is_told),
        cmocka_unit_test(memory_that_is_not_there_is_told),
        cmocka_unit_test(a_group_lets_go_of_what_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
