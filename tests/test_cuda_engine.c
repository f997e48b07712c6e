/* An engine whose device fails under it, on the simulated GPU: every request ends once, with the error, and
 * whatever still works goes on. Also where steps run ahead of their tokens, so that two are under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/cudasim/cudasim.h"
#include "tests/support/answers.h"
#include "tests/support/requests.h"
#include "tests/support/small_model.h"

enum { LAUNCH_FAILURE = 719, N = 3, TOKENS = 5 };

static sa2_engine *open_engine(const test_model *model, bool run_ahead)
{
    sa2_engine *engine;
    sa2_error err = {0};
    const sa2_engine_options options = {.kv_cache_bytes = 1 << 20,
                                        .max_model_len = 256,
                                        .sampling =
                                            run_ahead ? SA2_SAMPLING_ON_DEVICE : SA2_SAMPLING_AUTO,
                                        .run_ahead = run_ahead};
    if (sa2_engine_create_from_model(&engine, &model->model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return engine;
}

static void ask_all(sa2_engine *engine, test_answer answers[N])
{
    sa2_request requests[N];
    memset(answers, 0, N * sizeof *answers);
    for (int i = 0; i < N; i++)
        requests[i] = test_request(i, TOKENS);
    test_answers_ask(engine, requests, answers, N);
}

static void assert_failed(const test_answer *answer, const char *part)
{
    assert_int_equal(answer->n_done, 1);
    assert_int_equal(answer->finish, SA2_FINISH_ERROR);
    assert_int_equal(answer->status, SA2_ERR_DEVICE);
    if (strstr(answer->message, part) == NULL)
        fail_msg("\"%s\", \"%s\" expected in it", answer->message, part);
}

/* What was told before the failure is the beginning of what there was to tell. */
static void assert_begins_as(const test_answer *found, const test_answer *want)
{
    const test_choice *c = &found->choices[0], *w = &want->choices[0];
    assert_int_equal(found->n_done, 1);
    assert_int_equal(c->n_finished, 1);
    assert_int_equal(c->ids.n, c->n_tokens);
    assert_int_equal(found->usage.completion_tokens, c->n_tokens);
    assert_true(c->n_tokens <= w->n_tokens);
    assert_memory_equal(c->tokens, w->tokens, (size_t)c->n_tokens * sizeof c->tokens[0]);
}

/* Lost after few calls, in the middle of a step, and while some have answered. */
static void vanish(const test_model *model, bool run_ahead)
{
    static const int after[] = {0, 1, 20, 50, 110};
    for (size_t k = 0; k < sizeof after / sizeof after[0]; k++) {
        sa2_engine *engine = open_engine(model, run_ahead);
        test_answer answers[N];
        cudasim_lose(after[k], LAUNCH_FAILURE);
        ask_all(engine, answers);
        for (int i = 0; i < N; i++)
            assert_int_equal(answers[i].n_done, 1);
        assert_failed(&answers[N - 1], "cudaErrorLaunchFailure");
        test_answers_free(answers, N);
        ask_all(engine, answers); /* who comes later is told too */
        for (int i = 0; i < N; i++)
            assert_failed(&answers[i], "cudaErrorLaunchFailure");
        assert_nothing_is_left(engine);
        test_answers_free(answers, N);
        sa2_engine_destroy(engine);
        cudasim_lose(0, 0);
    }
}

static void a_device_that_vanishes_ends_every_request_with_its_error(void **state)
{
    vanish(*state, false);
    cudasim_put_off(1);
    vanish(*state, true);
    cudasim_put_off(0);
}

/* A call that fails, after so many that do not. */
typedef struct failure {
    const char *call;
    int after;
} failure;

static void fail_once(const test_model *model, bool run_ahead, const failure *failures, int n)
{
    sa2_engine *engine = open_engine(model, run_ahead);
    test_answer want[N], failed[N], got[N];
    ask_all(engine, want);
    for (int k = 0; k < n; k++) {
        int n_failed = 0;
        cudasim_fail(failures[k].call, failures[k].after, LAUNCH_FAILURE);
        ask_all(engine, failed);
        for (int i = 0; i < N; i++) {
            n_failed += failed[i].finish == SA2_FINISH_ERROR;
            if (failed[i].finish == SA2_FINISH_ERROR)
                assert_failed(&failed[i], "cudaErrorLaunchFailure");
            else
                assert_same_answer("beside a failure", &failed[i], &want[i]);
            assert_begins_as(&failed[i], &want[i]);
        }
        if (n_failed == 0)
            fail_msg("%s after %d: nobody failed", failures[k].call, failures[k].after);
        ask_all(engine, got);
        for (int i = 0; i < N; i++)
            assert_same_answer("after a failure", &got[i], &want[i]);
        assert_nothing_is_left(engine);
        test_answers_free(failed, N);
        test_answers_free(got, N);
    }
    test_answers_free(want, N);
    assert_int_equal(test_stats(engine).n_steps_ahead > 2 * n, run_ahead);
    sa2_engine_destroy(engine);
}

static void after_one_failure_answers_are_what_they_were(void **state)
{
    static const failure failures[] = {{"cudaLaunchKernelEx", 0},
                                       {"cudaLaunchKernelEx", 45},
                                       {"cudaMemcpyAsync", 0},
                                       {"cudaStreamSynchronize", 1}};
    fail_once(*state, false, failures, 4);
}

/* In the step that is waited for, in the one behind it, and between them. */
static void so_they_are_where_two_steps_were_under_way(void **state)
{
    static const failure failures[] = {{"cudaEventSynchronize", 1}, {"cudaEventRecord", 1},
                                       {"cudaLaunchKernelEx", 30},  {"cudaLaunchKernelEx", 77},
                                       {"cudaMemcpyAsync", 17},     {"cudaStreamSynchronize", 1}};
    cudasim_put_off(1);
    fail_once(*state, true, failures, 6);
    cudasim_put_off(0);
}

static int open_model(void **state)
{
    static test_model model;
    test_model_open_on(&model, "cuda-sim", 2);
    *state = &model;
    return 0;
}

static int close_model(void **state)
{
    test_model_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_vanishes_ends_every_request_with_its_error),
        cmocka_unit_test(after_one_failure_answers_are_what_they_were),
        cmocka_unit_test(so_they_are_where_two_steps_were_under_way),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
