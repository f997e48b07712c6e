/* The CUDA backend on the simulated device: names, memory, copies, failures of the device, missing ops. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/stream.h"
#include "tests/cudasim/cudasim.h"
#include "tests/support/test_env.h"

enum { OUT_OF_MEMORY = 2, DRIVER_TOO_OLD = 35, NO_DEVICE = 100, LAUNCH_FAILURE = 719 };

static sa2_backend *open_device(const char *name)
{
    sa2_backend *backend;
    sa2_error err = {0};
    if (sa2_backend_open(&backend, &(sa2_backend_options){.device = name}, &err) != SA2_OK)
        fail_msg("%s: %s", name, err.message);
    return backend;
}

static sa2_stream *open_stream(sa2_backend *backend)
{
    sa2_stream *s;
    sa2_error err = {0};
    if (sa2_stream_create(&s, backend, 1 << 20, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return s;
}

static void assert_not_opened(const char *name, sa2_status status, const char *part)
{
    sa2_backend *backend;
    sa2_error err = {0};
    assert_int_equal(sa2_backend_open(&backend, &(sa2_backend_options){.device = name}, &err),
                     status);
    assert_null(backend);
    if (strstr(err.message, part) == NULL)
        fail_msg("%s: \"%s\", \"%s\" expected in it", name, err.message, part);
}

static void a_device_is_opened_by_name_and_number(void **state)
{
    (void)state;
    sa2_backend *backend = open_device("cuda-sim:1");
    assert_string_equal(sa2_backend_device(backend), "cuda-sim:1");
    assert_string_equal(sa2_backend_isa(backend), "sm_90 simulated");
    sa2_backend_close(backend);
    assert_not_opened("cuda-sim:2", SA2_ERR_UNSUPPORTED,
                      "device cuda:2: this machine has 2, the last is cuda:1");
    assert_not_opened("cpu:1", SA2_ERR_UNSUPPORTED, "there is one, cpu");
    static const char *const wrong[] = {"gpu", "cuda-sim:",   "cuda-sim:x",          "cuda-sim:1x",
                                        ":0",  "cuda-sim:-1", "cuda-sim:99999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_not_opened(wrong[i], SA2_ERR_UNSUPPORTED, "this build has cpu, ");
}

typedef struct addition {
    sa2_stream *stream;
    sa2_tensor x; /* one value */
    float sum;
    sa2_status status;
    sa2_error err;
} addition;

static void *add_one_and_one(void *context)
{
    addition *a = context;
    const float one = 1.0f;
    sa2_upload(a->stream, a->x, &one);
    sa2_add(a->stream, a->x, a->x, a->x);
    sa2_download(a->stream, &a->sum, a->x);
    a->status = sa2_stream_finish(a->stream, &a->err);
    return NULL;
}

static void assert_adds(sa2_stream *s, bool in_another_thread)
{
    sa2_arena arena;
    assert_int_equal(sa2_backend_arena_create(sa2_stream_backend(s), &arena, 256, NULL), SA2_OK);
    addition a = {.stream = s, .x = sa2_tensor_1d(arena.base, SA2_F32, 1)};
    pthread_t thread;
    if (in_another_thread) {
        assert_int_equal(pthread_create(&thread, NULL, add_one_and_one, &a), 0);
        pthread_join(thread, NULL);
    } else {
        add_one_and_one(&a);
    }
    if (a.status != SA2_OK)
        fail_msg("%s", a.err.message);
    assert_true(a.sum == 2.0f);
    sa2_backend_arena_destroy(sa2_stream_backend(s), &arena);
}

/* A thread begins with the first device, and opening another one leaves this thread with that. */
static void any_thread_works_with_any_device(void **state)
{
    (void)state;
    sa2_backend *second = open_device("cuda-sim:1"), *first = open_device("cuda-sim:0");
    sa2_stream *on_second = open_stream(second), *on_first = open_stream(first);
    assert_adds(on_second, true);
    assert_adds(on_second, false);
    assert_adds(on_first, false);
    sa2_stream_destroy(on_first);
    sa2_stream_destroy(on_second);
    sa2_backend_close(first);
    sa2_backend_close(second);
}

static void what_keeps_a_device_from_opening_is_told(void **state)
{
    (void)state;
    cudasim_fail("cudaGetDeviceCount", 0, NO_DEVICE);
    assert_not_opened("cuda-sim", SA2_ERR_UNSUPPORTED, "this machine has no GPU");
    cudasim_fail("cudaGetDeviceCount", 0, DRIVER_TOO_OLD);
    assert_not_opened("cuda-sim", SA2_ERR_UNSUPPORTED, "no driver, or one too old");
    cudasim_fail("cudaSetDevice", 0, LAUNCH_FAILURE);
    assert_not_opened("cuda-sim", SA2_ERR_DEVICE, "unspecified launch failure");
}

static void memory_that_is_not_there_is_told_with_its_size(void **state)
{
    (void)state;
    sa2_backend *backend = open_device("cuda-sim");
    sa2_arena arena;
    sa2_error err = {0};
    cudasim_fail("cudaMalloc", 0, OUT_OF_MEMORY);
    assert_int_equal(sa2_backend_arena_create(backend, &arena, 12345, &err), SA2_ERR_NOMEM);
    assert_non_null(strstr(err.message, "12345 bytes on cuda:0: out of memory"));
    sa2_backend_close(backend);
}

/* Everything that a stream asks the device for, failing in turn: what was taken before is given back. */
static void a_stream_that_cannot_be_had_leaves_nothing_behind(void **state)
{
    (void)state;
    static const char *const calls[] = {"cudaMalloc", "cudaHostAlloc", "cudaStreamCreateWithFlags",
                                        "cudaEventCreateWithFlags"};
    sa2_backend *backend = open_device("cuda-sim");
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (int after = 0; after < 8; after++) {
            sa2_stream *s;
            sa2_error err = {0};
            cudasim_fail(calls[i], after, OUT_OF_MEMORY);
            sa2_status st = sa2_stream_create(&s, backend, 1000, &err);
            cudasim_fail("", 0, 0);
            assert_int_equal(st == SA2_OK, s != NULL);
            assert_true(st == SA2_OK || strstr(err.message, "out of memory") != NULL);
            sa2_stream_destroy(s);
        }
    sa2_backend_close(backend);
}

static void count(void *context, int i, int thread)
{
    atomic_int *counts = context;
    assert_true(thread >= 0 && thread < 3);
    atomic_fetch_add(&counts[i], 1);
}

static void each_index_is_run_once_on_any_device(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        const sa2_backend_options options = {.device = d ? "cuda-sim" : "cpu", .n_threads = 3};
        sa2_backend *backend;
        assert_int_equal(sa2_backend_open(&backend, &options, NULL), SA2_OK);
        atomic_int counts[100] = {0};
        sa2_backend_each(backend, 100, count, counts);
        sa2_backend_each(backend, 0, count, counts);
        for (int i = 0; i < 100; i++)
            assert_int_equal(counts[i], 1);
        sa2_backend_close(backend);
    }
}

/* More than a slot, more than the inbox, more downloads than it has places, or past the inbox to memory that is pinned;
 * between them an op. */
static void copies_of_any_size_keep_their_order_with_ops(void **state)
{
    (void)state;
    enum { N = 3 << 20, PARTS = 200 };
    sa2_backend *backend = open_device("cuda-sim");
    sa2_stream *s = open_stream(backend);
    sa2_arena arena;
    assert_int_equal(sa2_backend_arena_create(backend, &arena, N * sizeof(float), NULL), SA2_OK);
    float *sent = malloc(N * sizeof *sent), *got = malloc(N * sizeof *got);
    sa2_tensor x = sa2_tensor_2d(arena.base, SA2_F32, PARTS, 128);
    for (int pinned = 0; pinned < 2; pinned++) {
        if (pinned) {
            sa2_backend_pin(backend, got, N * sizeof *got);
            sa2_backend_pin(backend, sent, PARTS * 128 * sizeof *sent); /* a part of it */
        }
        for (int i = 0; i < N; i++)
            sent[i] = (float)i;
        sa2_upload(s, sa2_tensor_1d(arena.base, SA2_F32, N), sent);
        sa2_mix(s, x, 2.0f, x, 0.0f, x);
        sa2_download(s, got, sa2_tensor_1d(arena.base, SA2_F32, N));
        for (int i = 0; i < PARTS; i++)
            sa2_download(s, sent + (ptrdiff_t)i * 128, sa2_tensor_rows(x, i, 1));
        assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
        for (int i = 0; i < N; i++)
            assert_true(got[i] == (float)i * (i < PARTS * 128 ? 2.0f : 1.0f));
        for (int i = 0; i < PARTS * 128; i++)
            assert_true(sent[i] == 2.0f * (float)i);
        sa2_backend_unpin(backend, sent);
        sa2_backend_unpin(backend, got);
    }
    free(sent);
    free(got);
    sa2_stream_destroy(s);
    sa2_backend_arena_destroy(backend, &arena);
    sa2_backend_close(backend);
}

/* A product reads weights before earlier kernels have ended, but for the kernel that writes them. */
static void weights_can_be_used_right_after_they_were_written(void **state)
{
    (void)state;
    enum { N = 32 };
    sa2_backend *backend = open_device("cuda-sim");
    sa2_stream *s = open_stream(backend);
    sa2_arena arena;
    sa2_matrix w = {.dtype = SA2_F32, .rows = N, .cols = N};
    size_t bytes = sa2_matrix_bytes(s, w.dtype, w.rows, w.cols);
    assert_int_equal(sa2_backend_arena_create(backend, &arena, bytes + 2 * N * sizeof(float), NULL),
                     SA2_OK);
    w.data = arena.base;
    float rows[N][N], sent[N], got[N];
    for (int i = 0; i < N; i++) {
        sent[i] = (float)i;
        for (int j = 0; j < N; j++)
            rows[i][j] = i == j ? 2.0f : 0.0f;
    }
    sa2_tensor x = sa2_tensor_2d((char *)arena.base + bytes, SA2_F32, 1, N);
    sa2_tensor y = sa2_tensor_2d((float *)x.data + N, SA2_F32, 1, N);
    sa2_upload(s, x, sent);
    sa2_matrix_write(s, &w, 0, sa2_tensor_2d(rows, SA2_F32, N, N));
    sa2_linear(s, (sa2_linear_args){.y = y, .x = x, .w = &w});
    sa2_linear(s, (sa2_linear_args){.y = x, .x = y, .w = &w});
    sa2_download(s, got, x);
    assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
    for (int i = 0; i < N; i++)
        assert_true(got[i] == 4.0f * (float)i);
    sa2_stream_destroy(s);
    sa2_backend_arena_destroy(backend, &arena);
    sa2_backend_close(backend);
}

static void a_device_that_fails_is_told_and_the_ops_after_it_do_nothing(void **state)
{
    (void)state;
    static const char *const calls[] = {"cudaLaunchKernelEx", "cudaMemcpyAsync",
                                        "cudaStreamSynchronize"};
    sa2_backend *backend = open_device("cuda-sim");
    sa2_stream *s = open_stream(backend);
    sa2_arena arena;
    assert_int_equal(sa2_backend_arena_create(backend, &arena, 64, NULL), SA2_OK);
    sa2_tensor x = sa2_tensor_1d(arena.base, SA2_F32, 16);
    float values[16] = {0};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        sa2_error err = {0};
        cudasim_fail(calls[i], 0, LAUNCH_FAILURE);
        sa2_upload(s, x, values);
        sa2_activate(s, x, x, SA2_ACT_ABS, 0.0f, (sa2_tensor){0});
        assert_int_equal(sa2_stream_finish(s, &err), SA2_ERR_DEVICE);
        assert_non_null(strstr(err.message, "unspecified launch failure (cudaErrorLaunchFailure)"));
        assert_int_equal(sa2_stream_finish(s, &err), SA2_OK);
    }
    sa2_stream_destroy(s);
    sa2_backend_arena_destroy(backend, &arena);
    sa2_backend_close(backend);
}

static void every_op_is_there(void **state)
{
    (void)state;
    sa2_backend *backend = open_device("cuda-sim");
    sa2_stream *s = open_stream(backend);
    int all, n = sa2_backend_ops(backend, &all);
    void (*const *entries)(void) =
        (void (*const *)(void))((const char *)s->ops + offsetof(sa2_ops, matrix_bytes));
    for (int i = 0; i < all; i++)
        assert_true(entries[i] != NULL);
    sa2_backend *cpu = open_device("cpu");
    assert_int_equal(sa2_backend_ops(cpu, &all), all - 1); /* sa2_sample() */
    sa2_backend_close(cpu);
    assert_int_equal(n, all);
    sa2_stream_destroy(s);
    sa2_backend_close(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_opened_by_name_and_number),
        cmocka_unit_test(any_thread_works_with_any_device),
        cmocka_unit_test(what_keeps_a_device_from_opening_is_told),
        cmocka_unit_test(memory_that_is_not_there_is_told_with_its_size),
        cmocka_unit_test(a_stream_that_cannot_be_had_leaves_nothing_behind),
        cmocka_unit_test(each_index_is_run_once_on_any_device),
        cmocka_unit_test(copies_of_any_size_keep_their_order_with_ops),
        cmocka_unit_test(weights_can_be_used_right_after_they_were_written),
        cmocka_unit_test(a_device_that_fails_is_told_and_the_ops_after_it_do_nothing),
        cmocka_unit_test(every_op_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
