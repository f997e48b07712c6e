/* cuBLASLt beside our products, with a fake of its calls: the product of the definition, and a bench that goes on whatever
 * the library does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/kernel_bench.h"
#include "tests/cudasim/cudasim.h"
#include "tests/fakes/cublaslt.h"

/* ---- a bench on the simulated device ---- */

static const char *const only_fake[] = {FAKE_CUBLASLT, NULL};

enum { ROOM = 40 << 20, OPENING = 9 /* calls */ };

/* Its device memory is the host's too, which is where the fake computes. */
static void open_bench(sa2_kernel_bench *b, const char *const *names)
{
    const sa2_backend_options options = {.device = "cuda-sim", .n_threads = 1};
    *b = (sa2_kernel_bench){.bench = {.json = true}, .shrink = 64, .cublaslt_names = names};
    assert_int_equal(sa2_backend_open(&b->bench.backend, &options, NULL), SA2_OK);
    assert_int_equal(sa2_stream_create(&b->stream, b->bench.backend, 1 << 20, NULL), SA2_OK);
    assert_int_equal(sa2_backend_arena_create_shared(b->bench.backend, &b->device, ROOM, NULL),
                     SA2_OK);
    assert_int_equal(sa2_arena_reserve(&b->host, ROOM, NULL), SA2_OK);
}

static void close_bench(sa2_kernel_bench *b)
{
    sa2_stream_destroy(b->stream);
    sa2_backend_arena_destroy(b->bench.backend, &b->device);
    sa2_arena_destroy(&b->host);
    sa2_backend_close(b->bench.backend);
}

/* What a bench printed. */
typedef struct said {
    char rows[16384], complaints[4096];
} said;

static void read_back(FILE *file, char *text, size_t bytes)
{
    rewind(file);
    text[fread(text, 1, bytes - 1, file)] = '\0';
    fclose(file);
}

/* Products whose name holds the filter, which must work. */
static said run_bench_beside(const char *filter, const char *const *names, const char *large)
{
    FILE *files[2];
    int saved[2];
    sa2_kernel_bench b;
    said s;
    open_bench(&b, names);
    b.bench.filter = filter;
    b.n_rows = 2;
    b.rows[0] = 1;
    b.rows[1] = 5;
    b.large_products = large;
    b.large_rows = 5;
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        files[i] = tmpfile();
        saved[i] = dup(STDOUT_FILENO + i);
        assert_true(files[i] != NULL && dup2(fileno(files[i]), STDOUT_FILENO + i) >= 0);
    }
    sa2_kernel_products(&b);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], STDOUT_FILENO + i);
        close(saved[i]);
    }
    read_back(files[0], s.rows, sizeof s.rows);
    read_back(files[1], s.complaints, sizeof s.complaints);
    if (b.status != SA2_OK)
        fail_msg("%s", b.err.message);
    close_bench(&b);
    return s;
}

static said run_bench(const char *filter, const char *const *names)
{
    return run_bench_beside(filter, names, NULL);
}

static void expect(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", part, text);
}

/* Is there the row, and with a time? */
static bool has_row(const said *s, const char *name)
{
    char field[96];
    snprintf(field, sizeof field, "\"case\":\"%s\"", name);
    return strstr(s->rows, field) != NULL;
}

static int lines(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* ---- the product ---- */

static void check_product(sa2_kernel_bench *b, sa2_product_cublaslt *lt, int64_t m, int64_t n,
                          int64_t k)
{
    sa2_kernel_pair x = sa2_kernel_values(b, SA2_BF16, m, k);
    sa2_kernel_pair w = sa2_kernel_values(b, SA2_BF16, n, k);
    sa2_kernel_pair y = sa2_kernel_result(b, SA2_BF16, m, n);
    memset(y.device.data, 0xff, sa2_tensor_bytes(&y.device));
    assert_int_equal(sa2_product_cublaslt_run(lt, y.device, x.device, w.device, &b->err), SA2_OK);
    sa2_kernel_fetch(b, &y);
    assert_int_equal(b->status, SA2_OK);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double want = 0.0;
            for (int64_t l = 0; l < k; l++)
                want += sa2_kernel_element(&x.host, i, l) * sa2_kernel_element(&w.host, j, l);
            double found = sa2_kernel_element(&y.host, i, j);
            /* One rounding to bf16, and sums in f32 of terms up to 1. */
            if (!(fabs(found - want) <= 0x1p-8 * fabs(want) + 1e-6 * (double)k))
                fail_msg("[%d, %d]: %g found, %g expected", (int)i, (int)j, found, want);
        }
}

static void the_product_is_that_of_the_definition_and_each_shape_is_asked_about_once(void **state)
{
    static const int64_t shapes[][3] = {{1, 32, 64}, {5, 24, 40}, {24, 5, 40}, {5, 24, 41}};
    enum { N = sizeof shapes / sizeof shapes[0] };
    sa2_kernel_bench b;
    sa2_product_cublaslt *lt;
    (void)state;
    fake_cublaslt_begin(-1, FAKE_CUBLASLT_FAILS);
    open_bench(&b, NULL);
    assert_int_equal(sa2_product_cublaslt_open(&lt, only_fake, b.stream, NULL), SA2_OK);
    for (int i = 0; i < 2 * N; i++)
        check_product(&b, lt, shapes[i % N][0], shapes[i % N][1], shapes[i % N][2]);
    assert_int_equal(fake_cublaslt_asked(), N);
    sa2_product_cublaslt_close(lt);
    close_bench(&b);
}

/* ---- the bench ---- */

static void every_product_in_bf16_has_a_row_of_the_library(void **state)
{
    (void)state;
    fake_cublaslt_begin(-1, FAKE_CUBLASLT_FAILS);
    said s = run_bench("linear/", only_fake);
    static const char *const cases[] = {"gate_up", "down",        "qkv",        "out",
                                        "head",    "encoder_qkv", "encoder_up", "encoder_down"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int rows = 1; rows <= 5; rows += 4) {
            char name[64];
            snprintf(name, sizeof name, "linear/%s/%d/cublaslt", cases[i], rows);
            assert_true(has_row(&s, name));
        }
    assert_true(has_row(&s, "linear/flow_up_f32/1"));
    assert_false(has_row(&s, "linear/flow_up_f32/1/cublaslt"));
    assert_string_equal(s.complaints, "");
}

/* Ours stay, and where the library still works its rows too; one line says which call it was. */
static void each_call_fails_in_turn(void **state)
{
    (void)state;
    for (int call = 0;; call++) {
        fake_cublaslt_begin(call, FAKE_CUBLASLT_FAILS);
        said s = run_bench("linear/out/", only_fake);
        const char *failed = fake_cublaslt_failed();
        assert_true(has_row(&s, "linear/out/1") && has_row(&s, "linear/out/5"));
        bool first = has_row(&s, "linear/out/1/cublaslt");
        bool second = has_row(&s, "linear/out/5/cublaslt");
        if (*failed == '\0') {
            assert_true(first && second);
            assert_string_equal(s.complaints, "");
            /* Nine to open, and of each shape four for a plan, and five products. */
            assert_int_equal(call, OPENING + 2 * (4 + 5));
            break;
        }
        if (first + second != (call >= OPENING))
            fail_msg("call %d, %s: %s%s", call, failed, s.rows, s.complaints);
        assert_int_equal(lines(s.complaints), 1);
        expect(s.complaints, failed);
        expect(s.complaints, ": an internal cuBLAS operation failed (status 14)\n");
        if (call >= OPENING)
            expect(s.complaints, first ? "linear/out/5/cublaslt: " : "linear/out/1/cublaslt: ");
    }
}

static void a_wrong_result_has_no_time(void **state)
{
    static const char *const filters[] = {"linear/out/1", "linear/gate_up/1"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        char name[64];
        fake_cublaslt_begin(OPENING + 4, FAKE_CUBLASLT_ERRS); /* behind the plan */
        said s = run_bench(filters[i], only_fake);
        assert_string_equal(fake_cublaslt_failed(), "cublasLtMatmul");
        snprintf(name, sizeof name, "%s/cublaslt", filters[i]);
        assert_true(has_row(&s, filters[i]));
        assert_false(has_row(&s, name));
        expect(s.complaints, name);
        expect(s.complaints, "no time for a wrong result\n");
    }
}

static void a_shape_without_an_algorithm_has_no_row(void **state)
{
    (void)state;
    fake_cublaslt_begin(OPENING + 3, FAKE_CUBLASLT_EMPTY);
    said s = run_bench("linear/out/", only_fake);
    assert_string_equal(fake_cublaslt_failed(), "cublasLtMatmulAlgoGetHeuristic");
    assert_false(has_row(&s, "linear/out/1/cublaslt"));
    expect(s.complaints, "linear/out/1/cublaslt: cublasLtMatmulAlgoGetHeuristic: no algorithm\n");
}

/* ---- in an engine ---- */

static void many_rows_have_a_row_of_the_engines_path(void **state)
{
    static const char by_library[] = "cublaslt,rows=5,file=" FAKE_CUBLASLT;
    (void)state;
    fake_cublaslt_begin(-1, FAKE_CUBLASLT_FAILS);
    fake_cublaslt_watch(cudasim_library_starts, cudasim_library_access);
    said s = run_bench_beside("linear/", only_fake, by_library);
    assert_true(has_row(&s, "linear/gate_up/5/engine_cublaslt"));
    assert_true(has_row(&s, "linear/encoder_down/5/engine_cublaslt"));
    assert_false(has_row(&s, "linear/gate_up/1/engine_cublaslt"));
    assert_false(has_row(&s, "linear/flow_up_f32/5/engine_cublaslt"));
    assert_string_equal(s.complaints, "");

    /* The first of its products is wrong: behind both openings, and of each row a plan and five products. */
    fake_cublaslt_begin(2 * OPENING + 2 * (4 + 5) + 4, FAKE_CUBLASLT_ERRS);
    s = run_bench_beside("linear/out/", only_fake, by_library);
    assert_string_equal(fake_cublaslt_failed(), "cublasLtMatmul");
    assert_true(has_row(&s, "linear/out/5") && has_row(&s, "linear/out/5/cublaslt"));
    assert_false(has_row(&s, "linear/out/5/engine_cublaslt"));
    expect(s.complaints, "linear/out/5/engine_cublaslt: ");
    expect(s.complaints, "no time for a wrong result\n");

    s = run_bench_beside("linear/out/", only_fake, "cublaslt,file=libnothing.so");
    assert_true(has_row(&s, "linear/out/5/cublaslt"));
    assert_false(has_row(&s, "linear/out/5/engine_cublaslt"));
    assert_int_equal(lines(s.complaints), 1);
    expect(s.complaints, "libnothing.so");
    fake_cublaslt_watch(NULL, NULL);
}

/* ---- libraries ---- */

static void without_the_library_one_line_says_so(void **state)
{
    static const char *const none[] = {"libnothing.so.13", "libnothing.so.12", NULL};
    static const char *const other[] = {"libm.so.6", NULL};
    static const char *const older[] = {"libnothing.so.13", FAKE_CUBLASLT, NULL};
    (void)state;
    said s = run_bench("linear/out/", none);
    assert_true(has_row(&s, "linear/out/1") && has_row(&s, "linear/out/5"));
    assert_null(strstr(s.rows, "/cublaslt"));
    assert_int_equal(lines(s.complaints), 1);
    expect(s.complaints, "libnothing.so.12");

    s = run_bench("linear/out/", other);
    assert_true(has_row(&s, "linear/out/5"));
    expect(s.complaints, "libm.so.6 has no cublasLtCreate\n");

    fake_cublaslt_begin(-1, FAKE_CUBLASLT_FAILS);
    s = run_bench("linear/out/", older);
    assert_true(has_row(&s, "linear/out/5/cublaslt"));

    s = run_bench("linear/out/", NULL); /* not asked for */
    assert_string_equal(s.complaints, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_product_is_that_of_the_definition_and_each_shape_is_asked_about_once),
        cmocka_unit_test(every_product_in_bf16_has_a_row_of_the_library),
        cmocka_unit_test(each_call_fails_in_turn),
        cmocka_unit_test(a_wrong_result_has_no_time),
        cmocka_unit_test(a_shape_without_an_algorithm_has_no_row),
        cmocka_unit_test(many_rows_have_a_row_of_the_engines_path),
        cmocka_unit_test(without_the_library_one_line_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
