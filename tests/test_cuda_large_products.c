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

#define BY_LIBRARY "cublaslt,file=" FAKE_CUBLASLT

enum { OPENING = 9 /* calls */, ROOM = 48 << 20 };

/* ---- two streams of one device: all products ours, and large ones the library's ---- */

typedef struct world {
    sa2_backend *backends[2];
    sa2_stream *own, *large;
    sa2_arena memory; /* the host's too */
    uint32_t random;
} world;

static void begin(int fail_call)
{
    fake_cublaslt_begin(fail_call, FAKE_CUBLASLT_FAILS);
    fake_cublaslt_watch(cudasim_library_starts, cudasim_library_access);
}

static void open_world(world *w, const char *large, bool graphs)
{
    const sa2_backend_options options[] = {
        {.device = "cuda-sim"}, {.device = "cuda-sim", .large_products = large, .graphs = graphs}};
    sa2_stream **streams[] = {&w->own, &w->large};
    sa2_error err = {0};
    w->random = 1;
    for (int i = 0; i < 2; i++)
        if (sa2_backend_open(&w->backends[i], &options[i], &err) != SA2_OK ||
            sa2_stream_create(streams[i], w->backends[i], 1 << 20, &err) != SA2_OK)
            fail_msg("%s", err.message);
    assert_int_equal(sa2_backend_arena_create_shared(w->backends[0], &w->memory, ROOM, NULL),
                     SA2_OK);
}

static void close_world(world *w)
{
    sa2_backend_arena_destroy(w->backends[0], &w->memory);
    sa2_stream_destroy(w->own);
    sa2_stream_destroy(w->large);
    for (int i = 0; i < 2; i++)
        sa2_backend_close(w->backends[i]);
}

static float uniform(world *w)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (float)(w->random >> 8) * 0x1p-23f - 1.0f;
}

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float element(const sa2_tensor *x, int64_t row, int64_t col)
{
    int64_t at = row * x->stride + col;
    uint32_t bits = x->dtype == SA2_BF16 ? (uint32_t)((const uint16_t *)x->data)[at] << 16 : 0;
    float value;
    memcpy(&value, &bits, sizeof value);
    return x->dtype == SA2_BF16 ? value : ((const float *)x->data)[at];
}

static void set_element(const sa2_tensor *x, int64_t row, int64_t col, float value)
{
    int64_t at = row * x->stride + col;
    if (x->dtype == SA2_BF16)
        ((uint16_t *)x->data)[at] = to_bf16(value);
    else
        ((float *)x->data)[at] = value;
}

/* Rows are `stride` elements apart. */
static sa2_tensor random_rows(world *w, sa2_dtype dtype, int64_t rows, int64_t cols, int64_t stride)
{
    sa2_tensor x =
        sa2_tensor_2d(sa2_arena_take(&w->memory, (size_t)(rows * stride) * sa2_dtype_bytes(dtype)),
                      dtype, rows, stride);
    assert_non_null(x.data);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < stride; j++)
            set_element(&x, i, j, uniform(w));
    x.shape[1] = cols;
    return x;
}

static sa2_tensor random_vector(world *w, int64_t n)
{
    sa2_tensor x = random_rows(w, SA2_F32, 1, n, n);
    return sa2_tensor_1d(x.data, SA2_F32, n);
}

static void finish(sa2_stream *s)
{
    sa2_error err = {0};
    if (sa2_stream_finish(s, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

/* [n, k], or of gate and up [n / 2, k] each. */
static sa2_matrix random_matrix(world *w, sa2_dtype dtype, int64_t n, int64_t k, bool swiglu)
{
    size_t bytes = sa2_matrix_bytes(w->own, dtype, n, k);
    sa2_matrix m = {sa2_arena_take(&w->memory, bytes), dtype, n, k};
    sa2_tensor values = random_rows(w, dtype == SA2_BF16 ? SA2_BF16 : SA2_F32, n, k, k);
    assert_non_null(m.data);
    if (swiglu)
        sa2_matrix_write_swiglu(w->own, &m, sa2_tensor_rows(values, 0, n / 2),
                                sa2_tensor_rows(values, n / 2, n / 2));
    else
        sa2_matrix_write(w->own, &m, 0, values);
    finish(w->own);
    return m;
}

/* ---- results ---- */

typedef struct kind {
    const char *name;
    sa2_dtype y;
    bool bias, swiglu, accumulate, gate, gates;
    sa2_activation activation;
    int before, apart; /* elements in front of y, and between its rows */
} kind;

static const kind kinds[] = {
    {.name = "plain", .y = SA2_BF16},
    {.name = "plain, f32, rows apart", .y = SA2_F32, .apart = 4},
    {.name = "at an odd place", .y = SA2_BF16, .before = 1},
    {.name = "rows at odd places", .y = SA2_BF16, .apart = 3},
    {.name = "added", .y = SA2_F32, .accumulate = true},
    {.name = "added, at odd places", .y = SA2_F32, .accumulate = true, .before = 2, .apart = 1},
    {.name = "bias, GELU", .y = SA2_BF16, .bias = true, .activation = SA2_ACT_GELU},
    {.name = "bias, gate, added", .y = SA2_F32, .bias = true, .gate = true, .accumulate = true},
    {.name = "gates, ReLU", .y = SA2_F32, .gate = true, .gates = true, .activation = SA2_ACT_RELU},
    {.name = "SwiGLU", .y = SA2_BF16, .swiglu = true},
    {.name = "SwiGLU, bias", .y = SA2_F32, .swiglu = true, .bias = true},
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0], N_GATES = 3 };

/* Both of the same product, from the same y. */
typedef struct pair {
    sa2_tensor own, large;
} pair;

static pair run_both(world *w, const kind *c, const sa2_matrix *m, sa2_tensor x)
{
    int64_t rows = x.shape[0], n = c->swiglu ? m->rows / 2 : m->rows;
    size_t size = sa2_dtype_bytes(c->y), bytes = (size_t)((rows + 1) * (n + c->apart)) * size;
    pair y = {.own = random_rows(w, c->y, rows + 1, n, n + c->apart)};
    y.large = random_rows(w, c->y, rows + 1, n, n + c->apart);
    memcpy(y.large.data, y.own.data, bytes);
    y.own.shape[0] = y.large.shape[0] = rows;
    y.own.data = (char *)y.own.data + (size_t)c->before * size;
    y.large.data = (char *)y.large.data + (size_t)c->before * size;
    sa2_linear_args a = {
        .y = y.own, .x = x, .w = m, .swiglu = c->swiglu, .accumulate = c->accumulate};
    a.activation = c->activation;
    if (c->bias)
        a.bias = random_vector(w, m->rows);
    if (c->gate)
        a.gate = c->gates ? random_rows(w, SA2_F32, N_GATES, n, n) : random_vector(w, n);
    if (c->gates) {
        int32_t *which = sa2_arena_take(&w->memory, (size_t)rows * sizeof *which);
        for (int64_t i = 0; i < rows; i++)
            which[i] = (int32_t)(i % N_GATES);
        a.gate_rows = sa2_tensor_1d(which, SA2_I32, rows);
    }
    sa2_linear(w->own, a);
    a.y = y.large;
    sa2_linear(w->large, a);
    finish(w->own);
    finish(w->large);
    return y;
}

/* In f32 both sum k products of up to 1 in f32. In bf16 each result is rounded once, the library's sums too; those of gate and
 * up are factors of each other. What lies between rows stays. */
static void assert_alike(const kind *c, sa2_dtype weights, const pair *y, int64_t k)
{
    double square = 0.0, error = 0.0;
    double allowed = (double)(k + 16) * 0x1p-46 + (c->y == SA2_BF16 ? 8.0 * 0x1p-18 : 0.0);
    for (int64_t i = 0; i < y->own.shape[0]; i++)
        for (int64_t j = 0; j < y->own.stride; j++) {
            double own = element(&y->own, i, j), large = element(&y->large, i, j);
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
    enum { ROWS = 9, K = 72, PIECES = 4, CASES = N_DTYPES * N_KINDS };
    /* Results and half of them, of SwiGLU less 16: in no packs of eight, the results alone, both. */
    static const int64_t n[] = {150, 152, 160};
    world w;
    (void)state;
    begin(-1);
    open_world(&w, BY_LIBRARY ",rows=9,piece=48", false);
    for (int i = 0; i < 3 * CASES; i++) {
        const kind *c = &kinds[i % N_KINDS];
        sa2_dtype dtype = dtypes[i / N_KINDS % N_DTYPES];
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = random_matrix(&w, dtype, n[i / CASES] - (c->swiglu ? 16 : 0), K, c->swiglu);
        sa2_tensor x = random_rows(&w, SA2_BF16, ROWS, K, K + 8);
        int before = fake_cublaslt_products();
        pair y = run_both(&w, c, &m, x);
        assert_alike(c, dtype, &y, K);
        assert_int_equal(fake_cublaslt_products() - before, c->swiglu ? 3 : PIECES);
        sa2_arena_rewind(&w.memory, mark);
    }
    close_world(&w);
}

/* Rows of a unit matrix times w^T are the columns of w, exactly: each number, its place, and zeros between. */
static void weights_are_unpacked_exactly(void **state)
{
    static const int64_t shapes[][2] = {/* n, k */ {16, 32}, {33, 72}, {130, 200}};
    world w;
    (void)state;
    begin(-1);
    open_world(&w, BY_LIBRARY ",rows=1,piece=64", false);
    for (int t = 0; t < N_DTYPES; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            int64_t n = shapes[i][0], k = shapes[i][1];
            size_t mark = sa2_arena_mark(&w.memory);
            sa2_matrix m = random_matrix(&w, dtypes[t], n, k, false);
            sa2_tensor x = random_rows(&w, SA2_BF16, k, k, k);
            sa2_tensor y = random_rows(&w, SA2_F32, k, n, n);
            for (int64_t j = 0; j < k * k; j++)
                set_element(&x, j / k, j % k, j / k == j % k ? 1.0f : 0.0f);
            sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m});
            finish(w.large);
            const sa2_layout *layout = sa2_stream_layout(w.own, dtypes[t]);
            sa2_tensor row = sa2_tensor_2d(sa2_arena_take(&w.memory, (size_t)k * sizeof(float)),
                                           layout->row_dtype, 1, k);
            for (int64_t r = 0; r < n; r++) {
                layout->read_row(row.data, &m, SA2_MATRIX_ALL, r);
                for (int64_t j = 0; j < k; j++)
                    assert_true(element(&y, j, r) == element(&row, 0, j));
            }
            sa2_arena_rewind(&w.memory, mark);
        }
    close_world(&w);
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
    world w;
    (void)state;
    begin(-1);
    open_world(&w, BY_LIBRARY ",rows=8", false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = random_matrix(&w, SA2_BF16, 40, cases[i].k, false);
        sa2_tensor x = random_rows(&w, cases[i].x, cases[i].rows + 1, 1, cases[i].stride);
        x.shape[0] = cases[i].rows;
        x.shape[1] = cases[i].k;
        int before = fake_cublaslt_products();
        pair y = run_both(&w, &kinds[0], &m, x);
        assert_int_equal(fake_cublaslt_products() - before, cases[i].products);
        if (cases[i].products == 0)
            assert_memory_equal(y.own.data, y.large.data, sa2_tensor_bytes(&y.own));
        sa2_arena_rewind(&w.memory, mark);
    }
    close_world(&w);
}

/* Without a size of pieces, 8200 rows of w are two, 4352 and 3848; 513 rows of x, whose sums are in f32, are two as well. */
static void pieces_are_about_alike_and_sums_have_room(void **state)
{
    enum { K = 8 };
    static const struct {
        int64_t rows, n;
        int products;
    } cases[] = {{5, 8200, 2}, {513, 8192, 2}, {1, 40, 1}};
    world w;
    (void)state;
    begin(-1);
    open_world(&w, BY_LIBRARY ",rows=1", false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t rows = cases[i].rows, n = cases[i].n;
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = random_matrix(&w, SA2_BF16, n, K, false);
        sa2_tensor x = random_rows(&w, SA2_BF16, rows, K, K), bias = random_vector(&w, n);
        sa2_tensor y = random_rows(&w, SA2_F32, rows, n, n);
        int before = fake_cublaslt_products();
        sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m, .bias = bias});
        finish(w.large);
        assert_int_equal(fake_cublaslt_products() - before, cases[i].products);
        for (int64_t r = 0; r<rows; r += rows> 4 ? rows / 4 : 1)
            for (int64_t c = 0; c < n; c += 7) {
                uint16_t values[K];
                double want = element(&bias, 0, c);
                for (int64_t k = 0; k < K; k++) {
                    int64_t tile = c / 16, g = c % 8, low = c / 8 % 2;
                    int64_t at = (tile * 2 + k % 8 / 4) * 256 + g * 32 + (k % 4 / 2 * 2 + low) * 2;
                    values[k] = ((const uint16_t *)m.data)[at + k % 2];
                    want += (double)element(&x, r, k) *
                            element(&(sa2_tensor){.data = values, .dtype = SA2_BF16}, 0, k);
                }
                assert_true(fabs(element(&y, r, c) - want) < 1e-5);
            }
        sa2_arena_rewind(&w.memory, mark);
    }
    close_world(&w);
}

/* ---- shapes that the library knows ---- */

static void each_shape_is_asked_about_once_and_the_last_64_are_kept(void **state)
{
    enum { N = 16, K = 32 };
    world w;
    (void)state;
    begin(-1);
    open_world(&w, BY_LIBRARY ",rows=1", false);
    sa2_matrix m = random_matrix(&w, SA2_BF16, N, K, false);
    for (int turn = 0; turn < 2; turn++)
        for (int rows = 1; rows <= 64; rows++) {
            size_t mark = sa2_arena_mark(&w.memory);
            run_both(&w, &kinds[0], &m, random_rows(&w, SA2_BF16, rows, K, K));
            sa2_arena_rewind(&w.memory, mark);
        }
    assert_int_equal(fake_cublaslt_asked(), 64);
    run_both(&w, &kinds[0], &m, random_rows(&w, SA2_BF16, 65, K, K)); /* in the place of 1 */
    run_both(&w, &kinds[0], &m, random_rows(&w, SA2_BF16, 2, K, K));
    assert_int_equal(fake_cublaslt_asked(), 65);
    run_both(&w, &kinds[0], &m, random_rows(&w, SA2_BF16, 1, K, K));
    assert_int_equal(fake_cublaslt_asked(), 66);
    close_world(&w);
}

/* ---- how our own are cut ---- */

/* Tiles of which the last are not whole, groups of blocks of which the last have no weights, rings that go round. */
static void however_our_own_are_cut_results_are_the_same_to_the_bit(void **state)
{
    enum { ROWS = 200, N = 304, K = 700 };
    static const int tiles[] = {32, 64, 128, 192}, clusters[] = {1, 2, 4};
    (void)state;
    for (int i = 0; i < 4 * 3 * 2; i++) {
        int tile = tiles[i / 6], cluster = clusters[i / 2 % 3], split = i % 2;
        const kind *c = &kinds[i % N_KINDS];
        char how[64], what[96];
        world w;
        snprintf(how, sizeof how, "own,tile=%d,cluster=%d,split=%s", tile, cluster,
                 split ? "yes" : "no");
        snprintf(what, sizeof what, "%s, %s", how, c->name);
        open_world(&w, how, i % 4 == 3);
        sa2_matrix m = random_matrix(&w, SA2_BF16, N, K, c->swiglu);
        sa2_tensor x = random_rows(&w, SA2_BF16, ROWS, K, K + (i % 5 == 0));
        cudasim_widest_cluster();
        pair y = run_both(&w, c, &m, x);
        assert_int_equal(cudasim_widest_cluster(), cluster);
        if (memcmp(y.own.data, y.large.data, sa2_tensor_bytes(&y.own)) != 0)
            fail_msg("%s: other bits", what);
        close_world(&w);
    }
}

/* As they should take least time, in graphs too. */
static void clusters_that_are_chosen_change_no_bit(void **state)
{
    static const int64_t shapes[][3] = {/* rows, n, k */ {17, 300, 960},
                                        {100, 200, 300},
                                        {450, 136, 500},
                                        {64, 1500, 70},
                                        {33, 512, 2000},
                                        {200, 640, 200}};
    world w;
    int widest = 1;
    (void)state;
    open_world(&w, "own,cluster=auto", true);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t rows = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = random_matrix(&w, SA2_BF16, n, k, false);
        sa2_tensor x = random_rows(&w, SA2_BF16, rows, k, k);
        sa2_tensor own = random_rows(&w, SA2_BF16, rows, n, n);
        sa2_tensor large = random_rows(&w, SA2_BF16, rows, n, n);
        cudasim_widest_cluster();
        sa2_linear(w.own, (sa2_linear_args){.y = own, .x = x, .w = &m});
        finish(w.own);
        assert_int_equal(cudasim_widest_cluster(), 1);
        for (int turn = 0; turn < 2; turn++) { /* made, and found again */
            memset(large.data, 0xff, sa2_tensor_bytes(&large));
            sa2_stream_group_begin(w.large, "a test");
            sa2_linear(w.large, (sa2_linear_args){.y = large, .x = x, .w = &m});
            sa2_stream_group_end(w.large);
            finish(w.large);
            assert_memory_equal(own.data, large.data, sa2_tensor_bytes(&own));
        }
        int found = cudasim_widest_cluster();
        widest = found > widest ? found : widest;
        sa2_arena_rewind(&w.memory, mark);
    }
    assert_int_equal(widest, 4);
    close_world(&w);
}

static void a_device_that_cannot_tell_of_clusters_is_used_without(void **state)
{
    enum { ROWS = 60, N = 300, K = 400 };
    world w;
    sa2_error err = {0};
    (void)state;
    open_world(&w, "own,cluster=4", false);
    sa2_matrix m = random_matrix(&w, SA2_BF16, N, K, false);
    sa2_tensor x = random_rows(&w, SA2_BF16, ROWS, K, K), y[2];
    for (int i = 0; i < 2; i++) {
        y[i] = random_rows(&w, SA2_F32, ROWS, N, N);
        cudasim_widest_cluster();
        sa2_linear(w.large, (sa2_linear_args){.y = y[i], .x = x, .w = &m});
        finish(w.large);
        assert_int_equal(cudasim_widest_cluster(), i == 0 ? 4 : 1);
        sa2_stream_destroy(w.large);
        cudasim_fail("cudaOccupancyMaxActiveClusters", 0, 1);
        assert_int_equal(sa2_stream_create(&w.large, w.backends[1], 1 << 20, &err), SA2_OK);
    }
    assert_memory_equal(y[0].data, y[1].data, sa2_tensor_bytes(&y[0]));
    close_world(&w);
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
        world w;
        sa2_error err = {0};
        begin(call);
        open_world(&w, options.large_products, false);
        sa2_matrix m = random_matrix(&w, SA2_BF16, 48, 32, false);
        sa2_tensor x = random_rows(&w, SA2_BF16, 4, 32, 32);
        sa2_tensor y = random_rows(&w, SA2_BF16, 4, 48, 48);
        sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m});
        assert_int_equal(sa2_stream_finish(w.large, &err), SA2_ERR_DEVICE);
        char part[128];
        snprintf(part, sizeof part, "linear, 4 rows, weights [48, 32]: %s: an internal",
                 fake_cublaslt_failed());
        if (strstr(err.message, part) == NULL)
            fail_msg("\"%s\", \"%s\" expected in it", err.message, part);
        pair both = run_both(&w, &kinds[0], &m, x);
        assert_alike(&kinds[0], SA2_BF16, &both, 32);
        close_world(&w);
    }
}

static void a_shape_without_an_algorithm_is_told(void **state)
{
    world w;
    sa2_error err = {0};
    (void)state;
    begin(-1);
    open_world(&w, BY_LIBRARY ",rows=4", false);
    sa2_matrix m = random_matrix(&w, SA2_BF16, 48, 32, false);
    sa2_tensor x = random_rows(&w, SA2_BF16, 4, 32, 32), y = random_rows(&w, SA2_F32, 4, 48, 48);
    fake_cublaslt_begin(3, FAKE_CUBLASLT_EMPTY);
    sa2_linear(w.large, (sa2_linear_args){.y = y, .x = x, .w = &m});
    assert_int_equal(sa2_stream_finish(w.large, &err), SA2_ERR_DEVICE);
    assert_non_null(strstr(err.message, "cublasLtMatmulAlgoGetHeuristic: no algorithm"));
    close_world(&w);
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
    world w;
    (void)state;
    begin(-1);
    open_world(&w, BY_LIBRARY ",rows=9,piece=32", true);
    sa2_matrix m = random_matrix(&w, SA2_BF16, N, K, false);
    sa2_tensor x = random_rows(&w, SA2_BF16, ROWS, K, K), few = sa2_tensor_rows(x, 0, ROWS - 1);
    sa2_tensor doubled = random_rows(&w, SA2_BF16, ROWS, K, K);
    sa2_tensor y = random_rows(&w, SA2_BF16, ROWS, N, N), z = random_rows(&w, SA2_BF16, ROWS, N, N);
    for (int turn = 0; turn < 2; turn++) {
        memset(doubled.data, 0xff, sa2_tensor_bytes(&doubled));
        sa2_stream_group_begin(w.large, "a test");
        sa2_mix(w.large, doubled, 2.0f, x, 0.0f, x);
        sa2_linear(w.large, (sa2_linear_args){.y = y, .x = doubled, .w = &m});
        sa2_mix(w.large, z, 3.0f, y, 0.0f, y);
        sa2_stream_group_end(w.large);
        finish(w.large);
        pair want = run_both(&w, &kinds[0], &m, doubled);
        assert_memory_equal(y.data, want.large.data, sa2_tensor_bytes(&y));
        for (int64_t i = 0; i < ROWS * N; i++)
            assert_true(to_bf16(3.0f * element(&y, 0, i)) == ((const uint16_t *)z.data)[i]);
    }
    cudasim_count("cudaGraphLaunch");
    for (int turn = 0; turn < 2; turn++) { /* of few rows, a graph as before */
        sa2_stream_group_begin(w.large, "a test");
        sa2_linear(w.large,
                   (sa2_linear_args){.y = sa2_tensor_rows(y, 0, ROWS - 1), .x = few, .w = &m});
        sa2_stream_group_end(w.large);
        finish(w.large);
    }
    assert_int_equal(cudasim_count(""), 2);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_of_our_own_products),
        cmocka_unit_test(weights_are_unpacked_exactly),
        cmocka_unit_test(what_is_not_the_librarys_is_ours_to_the_bit),
        cmocka_unit_test(pieces_are_about_alike_and_sums_have_room),
        cmocka_unit_test(each_shape_is_asked_about_once_and_the_last_64_are_kept),
        cmocka_unit_test(however_our_own_are_cut_results_are_the_same_to_the_bit),
        cmocka_unit_test(clusters_that_are_chosen_change_no_bit),
        cmocka_unit_test(a_device_that_cannot_tell_of_clusters_is_used_without),
        cmocka_unit_test(what_is_not_there_is_refused_with_its_name),
        cmocka_unit_test(each_call_that_fails_is_told_with_the_op_and_its_shape),
        cmocka_unit_test(a_shape_without_an_algorithm_is_told),
        cmocka_unit_test(memory_that_is_not_there_is_told),
        cmocka_unit_test(a_group_lets_go_of_what_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
