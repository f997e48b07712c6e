/* Groups of ops as graphs, on the simulated device: what they compute is to the bit what single launches do, whatever
 * changes from one time to the next; failures are told; nothing that comes between is out of order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/cudasim/cudasim.h"
#include "tests/support/answers.h"
#include "tests/support/flow_bench.h"
#include "tests/support/requests.h"
#include "tests/support/small_model.h"

enum { OUT_OF_MEMORY = 2, LAUNCH_FAILURE = 719 };

static const sa2_backend_options with_graphs = {.device = "cuda-sim", .graphs = true};

/* ---- ops ---- */

enum { ROWS = 12, COLS = 8, PADDED = ROWS + 3 * 2 };

typedef struct world {
    sa2_backend *backend;
    sa2_stream *s;
    sa2_arena arena;
    sa2_tensor x, y, z; /* f32 [ROWS, COLS], the same, [PADDED, COLS] */
} world;

static void open_world(world *w)
{
    sa2_error err = {0};
    float *floats;
    size_t n = (size_t)(2 * ROWS + PADDED) * COLS;
    if (sa2_backend_open(&w->backend, &with_graphs, &err) != SA2_OK ||
        sa2_stream_create(&w->s, w->backend, 1 << 20, &err) != SA2_OK ||
        sa2_backend_arena_create(w->backend, &w->arena, n * sizeof(float), &err) != SA2_OK)
        fail_msg("%s", err.message);
    floats = (float *)(void *)w->arena.base;
    w->x = sa2_tensor_2d(floats, SA2_F32, ROWS, COLS);
    w->y = sa2_tensor_2d(floats + ROWS * COLS, SA2_F32, ROWS, COLS);
    w->z = sa2_tensor_2d(floats + 2 * ROWS * COLS, SA2_F32, PADDED, COLS);
}

static void close_world(world *w)
{
    sa2_stream_destroy(w->s);
    sa2_backend_arena_destroy(w->backend, &w->arena);
    sa2_backend_close(w->backend);
}

static void send(const world *w, float first)
{
    float values[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++)
        values[i] = first + (float)i;
    sa2_upload(w->s, w->x, values);
}

/* y = factor x, and z = three sequences of y, each with a mirrored row in front and behind. */
static void compute(const world *w, float factor, const int32_t offsets[4])
{
    sa2_mix(w->s, w->y, factor, w->x, 0.0f, w->x);
    sa2_reflect_pad(w->s, w->z, w->y, (sa2_rows){3, offsets}, 1, 1);
}

static void run_group(const world *w, float factor, const int32_t offsets[4])
{
    sa2_stream_group_begin(w->s, "a test");
    compute(w, factor, offsets);
    sa2_stream_group_end(w->s);
}

static void assert_z(const world *w, float first, float factor, const int32_t offsets[4])
{
    float z[PADDED][COLS];
    sa2_error err = {0};
    sa2_download(w->s, z, w->z);
    if (sa2_stream_finish(w->s, &err) != SA2_OK)
        fail_msg("%s", err.message);
    int row = 0;
    for (int i = 0; i < 3; i++)
        for (int r = offsets[i] - 1; r <= offsets[i + 1]; r++, row++) {
            int from = r < offsets[i]        ? offsets[i] + 1
                       : r == offsets[i + 1] ? offsets[i + 1] - 2
                                             : r;
            for (int c = 0; c < COLS; c++)
                assert_true(z[row][c] == factor * (first + (float)(from * COLS + c)));
        }
}

static const int32_t splits[][4] = {{0, 4, 8, 12}, {0, 2, 5, 12}, {0, 6, 10, 12}};

static int made(void)
{
    return cudasim_count("cudaGraphInstantiate");
}

static void a_group_that_comes_again_is_replayed_on_new_contents_and_lists(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    made();
    for (int i = 0; i < 6; i++) {
        send(&w, (float)(100 * i));
        run_group(&w, 2.0f, splits[i % 3]);
        assert_z(&w, (float)(100 * i), 2.0f, splits[i % 3]);
    }
    assert_int_equal(made(), 1);
    close_world(&w);
}

static void other_numbers_are_another_group_and_the_last_16_are_kept(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    send(&w, 1.0f);
    made();
    for (int i = 0; i < 17; i++) {
        run_group(&w, (float)i, splits[0]);
        assert_z(&w, 1.0f, (float)i, splits[0]);
    }
    assert_int_equal(made(), 17);
    for (int i = 1; i < 17; i++) { /* all but the first */
        run_group(&w, (float)i, splits[1]);
        assert_z(&w, 1.0f, (float)i, splits[1]);
    }
    assert_int_equal(made(), 0);
    run_group(&w, 0.0f, splits[2]); /* in the place of 1, which was not used for the longest time */
    run_group(&w, 2.0f, splits[2]);
    run_group(&w, 16.0f, splits[2]);
    assert_int_equal(made(), 1);
    run_group(&w, 1.0f, splits[2]);
    assert_z(&w, 1.0f, 1.0f, splits[2]);
    assert_int_equal(made(), 1);
    close_world(&w);
}

static void every_call_that_fails_is_told_with_the_part_and_the_stream_goes_on(void **state)
{
    (void)state;
    static const struct {
        const char *call, *message;
        int after;
    } failures[] = {
        {"cudaFuncGetAttributes", "graph of a test, 2 launches: mix: out of memory", 0},
        {"cudaStreamBeginCapture", "a test, 2 launches: cudaStreamBeginCapture: out of memory", 0},
        {"cudaLaunchKernelEx", "graph of a test, 2 launches: mix: out of memory", 0},
        {"cudaLaunchKernelEx", "graph of a test, 2 launches: reflect_pad: out of memory", 1},
        {"cudaStreamEndCapture", "a test, 2 launches: cudaStreamEndCapture: out of memory", 0},
        {"cudaGraphInstantiate", "a test, 2 launches: cudaGraphInstantiate: out of memory", 0},
        {"cudaMemcpyAsync", "upload: out of memory", 0},
        {"cudaGraphLaunch", "a test, 2 launches: cudaGraphLaunch: out of memory", 0},
    };
    world w;
    open_world(&w);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        float factor = (float)(i + 1);
        sa2_error err = {0};
        send(&w, 5.0f);
        cudasim_fail(failures[i].call, failures[i].after, OUT_OF_MEMORY);
        run_group(&w, factor, splits[0]);
        assert_int_equal(sa2_stream_finish(w.s, &err), SA2_ERR_NOMEM);
        if (strstr(err.message, failures[i].message) == NULL)
            fail_msg("%s: \"%s\"", failures[i].call, err.message);
        compute(&w, factor, splits[1]); /* one by one */
        assert_z(&w, 5.0f, factor, splits[1]);
        run_group(&w, factor, splits[2]);
        assert_z(&w, 5.0f, factor, splits[2]);
    }
    cudasim_fail("cudaMalloc", 3, OUT_OF_MEMORY); /* behind scratch, lists and partial sums */
    sa2_error err = {0};
    sa2_stream *none;
    assert_int_equal(sa2_stream_create(&none, w.backend, 1000, &err), SA2_ERR_NOMEM);
    assert_non_null(strstr(err.message, "graphs: out of memory"));
    close_world(&w);
}

static void what_comes_between_starts_what_was_held_before_it(void **state)
{
    (void)state;
    world w;
    float before[ROWS * COLS];
    open_world(&w);
    for (int i = 0; i < 2; i++) {
        send(&w, 1.0f);
        sa2_stream_group_begin(w.s, "a test");
        compute(&w, 2.0f, splits[0]);
        sa2_download(w.s, before, w.y);
        send(&w, 50.0f);
        compute(&w, 3.0f, splits[1]);
        sa2_stream_group_end(w.s);
        assert_z(&w, 50.0f, 3.0f, splits[1]);
        for (int k = 0; k < ROWS * COLS; k++)
            assert_true(before[k] == 2.0f * (1.0f + (float)k));
    }
    double seconds;
    sa2_stream_mark(w.s, 0);
    sa2_stream_group_begin(w.s, "a test");
    compute(&w, 4.0f, splits[0]);
    sa2_stream_mark(w.s, 1);
    sa2_stream_group_end(w.s);
    assert_int_equal(sa2_stream_between_marks(w.s, &seconds, NULL), SA2_OK);
    assert_z(&w, 50.0f, 4.0f, splits[0]);
    sa2_stream_group_begin(w.s, "a test"); /* and is never ended */
    compute(&w, 5.0f, splits[0]);
    assert_z(&w, 50.0f, 5.0f, splits[0]);
    run_group(&w, 6.0f, splits[0]);
    assert_z(&w, 50.0f, 6.0f, splits[0]);
    close_world(&w);
}

static void an_op_that_is_refused_leaves_the_ops_before_it_and_the_stream(void **state)
{
    (void)state;
    world w;
    sa2_error err = {0};
    open_world(&w);
    send(&w, 1.0f);
    for (int i = 0; i < 2; i++) {
        sa2_stream_group_begin(w.s, "a test");
        compute(&w, 7.0f, splits[0]);
        sa2_add(w.s, w.y, w.x, w.z);
        sa2_mix(w.s, w.z, 0.0f, w.z, 0.0f, w.z);
        sa2_stream_group_end(w.s);
        assert_int_equal(sa2_stream_finish(w.s, &err), SA2_ERR_ARG);
        assert_non_null(strstr(err.message, "add: "));
        assert_z(&w, 1.0f, 7.0f, splits[0]);
        run_group(&w, 8.0f, splits[0]);
        assert_z(&w, 1.0f, 8.0f, splits[0]);
    }
    sa2_stream_group_begin(w.s, "an outer");
    sa2_stream_group_begin(w.s, "an inner");
    sa2_stream_group_end(w.s);
    assert_int_equal(sa2_stream_finish(w.s, &err), SA2_ERR_ARG);
    assert_string_equal(err.message, "group an inner inside of an outer");
    close_world(&w);
}

static void more_launches_or_longer_lists_than_are_held_run_one_by_one(void **state)
{
    (void)state;
    world w;
    open_world(&w);
    send(&w, 1.0f);
    made();
    sa2_stream_group_begin(w.s, "a test");
    for (int i = 0; i < 600; i++) /* 1200 launches */
        compute(&w, (float)i, splits[i % 3]);
    sa2_stream_group_end(w.s);
    assert_z(&w, 1.0f, 599.0f, splits[599 % 3]);
    enum { SEQUENCES = 150000 }; /* 600 KB; all but the last are empty */
    int32_t *offsets = calloc(SEQUENCES + 1, sizeof *offsets);
    assert_non_null(offsets);
    offsets[SEQUENCES] = ROWS;
    sa2_stream_group_begin(w.s, "a test");
    compute(&w, 9.0f, splits[0]);
    sa2_mean_pool(w.s, w.y, w.x, (sa2_rows){SEQUENCES, offsets}, 1);
    sa2_reflect_pad(w.s, w.z, w.y, (sa2_rows){3, splits[1]}, 1, 1);
    sa2_stream_group_end(w.s);
    assert_z(&w, 1.0f, 1.0f, splits[1]);
    free(offsets);
    assert_int_equal(made(), 0);
    close_world(&w);
}

/* ---- the decoder and the flow ---- */

enum { N = 3, TOKENS = 6 };

static void answer_all(const sa2_backend_options *device, test_answer answers[N])
{
    test_model model;
    sa2_engine *engine;
    sa2_request requests[N];
    sa2_error err = {0};
    test_model_open_with(&model, device);
    const sa2_engine_options options = {.kv_cache_bytes = 1 << 20, .max_model_len = 256};
    if (sa2_engine_create_from_model(&engine, &model.model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    memset(answers, 0, N * sizeof *answers);
    for (int i = 0; i < N; i++)
        requests[i] = test_request(i, TOKENS + 2 * i);
    test_answers_ask(engine, requests, answers, N);
    sa2_engine_destroy(engine);
    test_model_close(&model);
}

static void answers_are_the_same_with_graphs(void **state)
{
    (void)state;
    test_answer want[N], found[N];
    answer_all(&(sa2_backend_options){.device = "cuda-sim"}, want);
    cudasim_count("cudaGraphLaunch");
    answer_all(&with_graphs, found);
    assert_true(cudasim_count("") >= TOKENS); /* steps of decoding alone */
    for (int i = 0; i < N; i++) {
        assert_int_equal(want[i].status, SA2_OK);
        assert_same_answer("with graphs", &found[i], &want[i]);
        test_answer_free(&want[i]);
        test_answer_free(&found[i]);
    }
}

enum { CHUNKS = 3, CHUNK = 4, PROMPT = 6, LAST = 3, MEMORY = 16 << 20 };

/* The mel of a stream of three chunks after a voice. */
static void speak(const sa2_backend_options *device, float *mel[CHUNKS], size_t *bytes)
{
    flow_bench b;
    flow_bench_open_on(&b, device, &flow_bench_odd_sizes, SA2_F32, 40, 20, 1, MEMORY);
    sa2_flow_prompt prompt = flow_bench_prompt(&b, PROMPT);
    int32_t *tokens = flow_bench_tokens(&b, CHUNKS * CHUNK + LAST);
    sa2_flow_voice voice = flow_bench_voice(&b, &prompt);
    sa2_flow_cache cache;
    sa2_flow_stream stream;
    sa2_error err = {0};
    flow_bench_ok(sa2_flow_cache_init(b.stream, &b.flow, &cache, 1, PROMPT, &b.memory, &err), &err);
    flow_bench_ok(sa2_flow_stream_start(b.stream, &b.flow, &cache, &stream, 0, &voice, &err), &err);
    *bytes = sizeof(float) * (size_t)(CHUNK * b.config.up_stride * b.config.mel);
    for (int i = 0; i < CHUNKS; i++) {
        sa2_flow_chunk chunk = {.stream = &stream, .tokens = tokens + i * CHUNK, .n = CHUNK};
        mel[i] = flow_bench_mel(&b, &cache, &chunk, 1);
    }
    free(tokens);
    flow_bench_free_prompt(&prompt);
    flow_bench_close(&b);
}

static void mel_is_the_same_with_graphs_and_steps_of_a_chunk_share_one(void **state)
{
    (void)state;
    float *want[CHUNKS], *found[CHUNKS];
    size_t bytes;
    speak(&(sa2_backend_options){.device = "cuda-sim"}, want, &bytes);
    made();
    speak(&with_graphs, found, &bytes);
    int n = cudasim_count("cudaGraphLaunch");
    assert_in_range(n, 1, CHUNKS + 1); /* made: at most one for the voice and each chunk */
    for (int i = 0; i < CHUNKS; i++) {
        assert_memory_equal(found[i], want[i], bytes);
        free(found[i]);
        free(want[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_that_comes_again_is_replayed_on_new_contents_and_lists),
        cmocka_unit_test(other_numbers_are_another_group_and_the_last_16_are_kept),
        cmocka_unit_test(every_call_that_fails_is_told_with_the_part_and_the_stream_goes_on),
        cmocka_unit_test(what_comes_between_starts_what_was_held_before_it),
        cmocka_unit_test(an_op_that_is_refused_leaves_the_ops_before_it_and_the_stream),
        cmocka_unit_test(more_launches_or_longer_lists_than_are_held_run_one_by_one),
        cmocka_unit_test(answers_are_the_same_with_graphs),
        cmocka_unit_test(mel_is_the_same_with_graphs_and_steps_of_a_chunk_share_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
