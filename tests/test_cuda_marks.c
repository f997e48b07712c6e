/* Waiting for a mark while what is behind it runs, on a simulated device that does everything as late as it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "tests/cudasim/cudasim.h"

enum { LAUNCH_FAILURE = 719, N = 3 << 18 /* floats, 3 MB: two and a bit in the inbox */ };

typedef struct world {
    sa2_backend *backend;
    sa2_stream *s;
    sa2_arena arena;
    sa2_tensor x; /* f32 [N] */
    float *sent, *got[2];
} world;

static int open_world(void **state)
{
    static world w;
    sa2_error err = {0};
    if (sa2_backend_open(&w.backend, &(sa2_backend_options){.device = "cuda-sim"}, &err) !=
            SA2_OK ||
        sa2_stream_create(&w.s, w.backend, 1 << 20, &err) != SA2_OK ||
        sa2_backend_arena_create(w.backend, &w.arena, N * sizeof(float), &err) != SA2_OK)
        fail_msg("%s", err.message);
    w.x = sa2_tensor_1d(w.arena.base, SA2_F32, N);
    w.sent = calloc(N, sizeof *w.sent);
    w.got[0] = calloc(N, sizeof(float));
    w.got[1] = calloc(N, sizeof(float));
    assert_true(w.sent != NULL && w.got[0] != NULL && w.got[1] != NULL);
    cudasim_put_off(1);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sa2_stream_destroy(w->s);
    cudasim_put_off(0);
    sa2_backend_arena_destroy(w->backend, &w->arena);
    sa2_backend_close(w->backend);
    free(w->sent);
    free(w->got[0]);
    free(w->got[1]);
    return 0;
}

/* x = value, doubled on the device, to got[which]; then a mark. */
static void send_and_get(world *w, float value, int which)
{
    for (int i = 0; i < N; i += 1000)
        w->sent[i] = value + (float)i;
    sa2_upload(w->s, w->x, w->sent);
    memset(w->sent, 0, N * sizeof *w->sent); /* which must not be seen */
    sa2_tensor first = sa2_tensor_1d(w->x.data, SA2_F32, 1000);
    sa2_mix(w->s, first, 2.0f, first, 0.0f, first);
    sa2_download(w->s, w->got[which], w->x);
    sa2_stream_mark(w->s, which);
}

static void assert_got(const world *w, float value, int which)
{
    for (int i = 0; i < N; i++) {
        float want = i % 1000 != 0 ? 0.0f : (value + (float)i) * (i < 1000 ? 2.0f : 1.0f);
        assert_true(w->got[which][i] == want);
    }
}

static void wait_for(world *w, int which)
{
    sa2_error err = {0};
    if (sa2_stream_wait(w->s, which, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

/* Into memory that is pinned, or by the inbox, which they go around many times. */
static void what_was_asked_for_before_a_mark_is_there_and_no_more(void **state)
{
    world *w = *state;
    for (int pinned = 0; pinned < 2; pinned++) {
        for (int k = 0; k < 2 && pinned; k++)
            sa2_backend_pin(w->backend, w->got[k], N * sizeof(float));
        send_and_get(w, 1.0f, 0);
        cudasim_count("cudaStreamSynchronize");
        for (int i = 1; i < 40; i++) {
            memset(w->got[i % 2], 0, N * sizeof(float));
            send_and_get(w, (float)(i + 1), i % 2);
            wait_for(w, 1 - i % 2);
            assert_got(w, (float)i, 1 - i % 2);
            assert_true(w->got[i % 2][0] == 0.0f);
        }
        assert_int_equal(cudasim_count(""), 0);
        assert_int_equal(sa2_stream_finish(w->s, NULL), SA2_OK);
        assert_got(w, 40.0f, 1);
        for (int k = 0; k < 2; k++)
            sa2_backend_unpin(w->backend, w->got[k]);
    }
}

/* More of them than the inbox keeps count of: the oldest are handed over early. */
static void more_downloads_than_are_kept_count_of_are_all_there(void **state)
{
    enum { MANY = 150 };
    world *w = *state;
    float got[MANY + 1];
    send_and_get(w, 3.0f, 0);
    for (int i = 0; i < MANY; i++)
        sa2_download(w->s, &got[i], sa2_tensor_1d(w->x.data, SA2_F32, 1));
    sa2_stream_mark(w->s, 1);
    sa2_download(w->s, &got[MANY], sa2_tensor_1d(w->x.data, SA2_F32, 1));
    wait_for(w, 0);
    assert_got(w, 3.0f, 0);
    wait_for(w, 1);
    for (int i = 0; i < MANY; i++)
        assert_true(got[i] == 6.0f);
    assert_int_equal(sa2_stream_finish(w->s, NULL), SA2_OK);
    assert_true(got[MANY] == 6.0f);
}

/* The third has no room before the second is out. */
static void what_would_not_fit_beside_what_is_still_there_waits_for_it(void **state)
{
    world *w = *state;
    float *third = calloc(N, sizeof *third);
    assert_non_null(third);
    send_and_get(w, 1.0f, 0);
    send_and_get(w, 2.0f, 1);
    wait_for(w, 0);
    assert_got(w, 1.0f, 0);
    sa2_download(w->s, w->got[0], w->x);
    sa2_download(w->s, third, w->x);
    assert_int_equal(sa2_stream_finish(w->s, NULL), SA2_OK);
    assert_got(w, 2.0f, 0);
    assert_got(w, 2.0f, 1);
    assert_memory_equal(third, w->got[0], N * sizeof *third);
    free(third);
}

static void assert_told(sa2_status st, const sa2_error *err, const char *part)
{
    assert_int_equal(st, SA2_ERR_DEVICE);
    if (strstr(err->message, part) == NULL)
        fail_msg("\"%s\", \"%s\" expected in it", err->message, part);
}

static void a_failure_is_told_by_the_wait_behind_it_and_not_before(void **state)
{
    static const char *const calls[] = {"cudaLaunchKernelEx", "cudaMemcpyAsync", "cudaEventRecord"};
    world *w = *state;
    for (int i = 0; i < 3; i++) {
        sa2_error err = {0};
        send_and_get(w, 5.0f, 0);
        cudasim_fail(calls[i], 0, LAUNCH_FAILURE);
        send_and_get(w, 6.0f, 1);
        wait_for(w, 0);
        assert_got(w, 5.0f, 0);
        for (int k = 0; k < 2; k++) /* it stays */
            assert_told(sa2_stream_wait(w->s, 1, &err), &err, "unspecified launch failure");
        assert_told(sa2_stream_finish(w->s, &err), &err, "unspecified launch failure");
    }
    sa2_error err = {0};
    send_and_get(w, 7.0f, 0);
    cudasim_fail("cudaEventSynchronize", 0, LAUNCH_FAILURE);
    assert_told(sa2_stream_wait(w->s, 0, &err), &err, "device: unspecified launch failure");
    assert_int_equal(sa2_stream_finish(w->s, &err), SA2_OK);
    assert_got(w, 7.0f, 0);
}

static void a_wrong_index_is_told_by_the_wait_and_by_finish(void **state)
{
    world *w = *state;
    sa2_error err = {0};
    const int32_t wrong = 3;
    sa2_tensor id = sa2_tensor_1d((float *)w->x.data + N - 1, SA2_I32, 1);
    sa2_tensor table = sa2_tensor_2d(w->x.data, SA2_F32, 3, 8);
    sa2_tensor y = sa2_tensor_2d((float *)w->x.data + 24, SA2_F32, 1, 8);
    send_and_get(w, 1.0f, 0);
    sa2_upload(w->s, id, &wrong);
    sa2_embedding(w->s, y, table, id);
    sa2_stream_mark(w->s, 1);
    wait_for(w, 0);
    assert_int_equal(sa2_stream_wait(w->s, 1, &err), SA2_ERR_ARG);
    assert_string_equal(err.message, "embedding: id 3 at row 0, 0 to 2 expected");
    assert_int_equal(sa2_stream_finish(w->s, &err), SA2_ERR_ARG);
    assert_int_equal(sa2_stream_finish(w->s, &err), SA2_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_for_before_a_mark_is_there_and_no_more),
        cmocka_unit_test(more_downloads_than_are_kept_count_of_are_all_there),
        cmocka_unit_test(what_would_not_fit_beside_what_is_still_there_waits_for_it),
        cmocka_unit_test(a_failure_is_told_by_the_wait_behind_it_and_not_before),
        cmocka_unit_test(a_wrong_index_is_told_by_the_wait_and_by_finish),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
