/* The life of requests: every one ends exactly once, whoever cancels, polls, waits too long or goes away. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/small_model.h"

static const int32_t prompt[] = {10, 20, 30, 40, 50};

/* Says max_tokens tokens, whatever comes. */
static sa2_request talkative(int max_tokens)
{
    sa2_request request = sa2_request_default();
    request.ids = prompt;
    request.n_ids = sizeof prompt / sizeof prompt[0];
    request.sampling.seed = 1;
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    request.return_ids = true;
    return request;
}

static sa2_engine *open_engine(void **state, const sa2_engine_options *options)
{
    test_model *model = *state;
    sa2_engine *engine;
    sa2_error err = {0};
    if (sa2_engine_create_from_model(&engine, &model->model, NULL, options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return engine;
}

static void release_all(sa2_engine *engine, sa2_event **events, int n)
{
    for (int i = 0; i < n; i++)
        sa2_event_release(engine, events[i]);
}

static void a_request_has_its_tokens_figures_and_times(void **state)
{
    sa2_engine *engine = open_engine(state, NULL);
    test_answer answer = {0};
    sa2_request request = talkative(12);
    request.n = 2;
    test_answer_ask(engine, &request, &answer);
    assert_int_equal(answer.n_done, 1);
    assert_int_equal(answer.finish, SA2_FINISH_LENGTH);
    for (int i = 0; i < 2; i++) {
        const test_choice *c = &answer.choices[i];
        assert_int_equal(c->n_finished, 1);
        assert_int_equal(c->ids.n, 12);
        assert_int_equal(c->n_tokens, 12);
        for (int k = 0; k < 12; k++)
            assert_int_equal(c->tokens[k].id, c->ids.data[k]);
    }
    assert_int_equal(answer.usage.prompt_tokens, 5);
    assert_int_equal(answer.usage.completion_tokens, 24);
    const sa2_timings *t = &answer.timings;
    assert_true(0.0 <= t->started_ms && t->started_ms <= t->first_token_ms &&
                t->first_token_ms <= t->done_ms);
    assert_true(t->encoded_ms < 0.0); /* no sound */
    assert_int_equal(t->n_steps, 12);
    assert_nothing_is_left(engine);
    test_answer_free(&answer);
    sa2_engine_destroy(engine);
}

static void a_cancelled_request_ends_once_with_what_it_has_said(void **state)
{
    sa2_engine *engine = open_engine(state, NULL);
    sa2_request request = talkative(900);
    test_answer answer = {0};
    sa2_request_id id = test_submit(engine, &request);
    sa2_event *first = sa2_engine_poll(engine, TEST_PATIENCE_MS);
    assert_non_null(first);
    test_answer_take(&answer, first);
    sa2_event_release(engine, first);
    sa2_engine_cancel(engine, id);
    sa2_engine_cancel(engine, id);
    sa2_engine_cancel(engine, id + 1);
    test_answers_collect(engine, &id, &answer, 1);
    sa2_engine_cancel(engine, id);
    assert_null(sa2_engine_poll(engine, 20));
    assert_int_equal(answer.n_done, 1);
    assert_int_equal(answer.finish, SA2_FINISH_CANCELLED);
    assert_int_equal(answer.choices[0].finish, SA2_FINISH_CANCELLED);
    assert_int_equal(answer.choices[0].n_tokens, answer.choices[0].ids.n);
    assert_true(answer.choices[0].n_tokens < 900);
    assert_nothing_is_left(engine);
    test_answer_free(&answer);
    sa2_engine_destroy(engine);
}

static void a_deadline_ends_a_request_that_runs_and_one_that_waits(void **state)
{
    sa2_engine *engine = open_engine(state, &(sa2_engine_options){.max_num_seqs = 1});
    sa2_request request = talkative(1000);
    request.deadline_ms = 10;
    test_answer answers[2] = {0};
    sa2_request_id ids[2] = {test_submit(engine, &request), test_submit(engine, &request)};
    test_answers_collect(engine, ids, answers, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(answers[i].n_done, 1);
        assert_int_equal(answers[i].finish, SA2_FINISH_DEADLINE);
        assert_true(answers[i].timings.done_ms >= 10.0);
        test_answer_free(&answers[i]);
    }
    assert_true(answers[1].timings.started_ms <= 0.0);
    assert_nothing_is_left(engine);
    sa2_engine_destroy(engine);
}

static void an_engine_goes_with_requests_that_run_wait_and_are_not_read(void **state)
{
    for (int n = 0; n < 8; n++) {
        sa2_engine *engine = open_engine(state, &(sa2_engine_options){.max_num_seqs = 2});
        sa2_request request = talkative(200);
        for (int i = 0; i < n; i++)
            test_submit(engine, &request);
        sa2_event *event = sa2_engine_poll(engine, n); /* may be held to the end */
        if (n % 2 == 0)
            sa2_event_release(engine, event);
        sa2_engine_destroy(engine);
    }
}

/* ---- paused ---- */

static void requests_that_wait_for_a_paused_engine_begin_in_the_same_step(void **state)
{
    enum { N = 3 };
    sa2_engine *engine = open_engine(state, NULL);
    sa2_request request = talkative(20);
    sa2_request_id ids[N];
    test_answer answers[N] = {0}, alone = {0};
    test_answer_ask(engine, &request, &alone);
    int64_t n_steps = test_stats(engine).n_steps;
    sa2_engine_pause(engine);
    sa2_engine_pause(engine);
    for (int i = 0; i < N; i++)
        ids[i] = test_submit(engine, &request);
    assert_null(sa2_engine_poll(engine, 50));
    assert_int_equal(test_stats(engine).n_steps, n_steps);
    assert_int_equal(test_stats(engine).n_waiting, N);
    sa2_engine_resume(engine);
    test_answers_collect(engine, ids, answers, N);
    assert_int_equal(test_stats(engine).n_steps, 2 * n_steps);
    for (int i = 0; i < N; i++) {
        assert_same_answer("begun together", &answers[i], &alone);
        test_answer_free(&answers[i]);
    }
    test_answer_free(&alone);
    sa2_engine_destroy(engine);
}

static void a_pause_in_the_middle_of_an_answer_changes_nothing(void **state)
{
    sa2_engine *engine = open_engine(state, NULL);
    sa2_request request = talkative(200);
    test_answer whole = {0}, found = {0};
    test_answer_ask(engine, &request, &whole);
    sa2_request_id id = test_submit(engine, &request);
    for (int i = 0; i < 5; i++) {
        sa2_event *e = sa2_engine_poll(engine, TEST_PATIENCE_MS);
        assert_non_null(e);
        test_answer_take(&found, e);
        sa2_event_release(engine, e);
        sa2_engine_pause(engine);
        int64_t n_steps = test_stats(engine).n_steps;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        assert_int_equal(test_stats(engine).n_steps, n_steps);
        sa2_engine_resume(engine);
    }
    test_answers_collect(engine, &id, &found, 1);
    assert_same_answer("paused", &found, &whole);
    test_answer_free(&whole);
    test_answer_free(&found);
    sa2_engine_destroy(engine);
}

static void requests_of_a_paused_engine_end_in_time_and_when_they_are_cancelled(void **state)
{
    sa2_engine *engine = open_engine(state, NULL);
    sa2_request late = talkative(5), dropped = talkative(5);
    late.deadline_ms = 30;
    test_answer answers[2] = {0};
    sa2_engine_pause(engine);
    sa2_request_id ids[2] = {test_submit(engine, &late), test_submit(engine, &dropped)};
    sa2_engine_cancel(engine, ids[1]);
    test_answers_collect(engine, ids, answers, 2);
    assert_int_equal(answers[0].finish, SA2_FINISH_DEADLINE);
    assert_true(answers[0].timings.done_ms >= 30.0 && answers[0].timings.done_ms < 30000.0);
    assert_int_equal(answers[1].finish, SA2_FINISH_CANCELLED);
    assert_int_equal(test_stats(engine).n_steps, 0);
    test_answer_free(&answers[0]);
    test_answer_free(&answers[1]);
    test_submit(engine, &dropped);
    sa2_engine_destroy(engine); /* as it is */
}

/* ---- limits ---- */

static void more_requests_than_may_wait_are_refused(void **state)
{
    sa2_engine *engine =
        open_engine(state, &(sa2_engine_options){.max_num_seqs = 1, .max_queued = 2});
    sa2_request request = talkative(300);
    sa2_request_id ids[3];
    test_answer answers[3] = {0};
    sa2_engine_pause(engine);
    for (int i = 0; i < 3; i++)
        ids[i] = test_submit(engine, &request);
    assert_request_refused(engine, &request, SA2_ERR_LIMIT, "3 are there already");
    sa2_engine_resume(engine);
    for (int i = 0; i < 3; i++)
        sa2_engine_cancel(engine, ids[i]);
    test_answers_collect(engine, ids, answers, 3);
    for (int i = 0; i < 3; i++)
        test_answer_free(&answers[i]);
    assert_nothing_is_left(engine);
    test_submit(engine, &request); /* there is room again */
    sa2_engine_destroy(engine);
}

static void requests_that_outgrow_the_memory_planned_for_them_are_refused(void **state)
{
    sa2_engine *engine = open_engine(state, &(sa2_engine_options){.request_bytes = 40000});
    sa2_request small = talkative(10), large = talkative(900);
    large.sampling.n_logprobs = 20;
    assert_request_refused(engine, &large, SA2_ERR_LIMIT, "of the 40000 that are planned");
    test_answer answer = {0};
    test_answer_ask(engine, &small, &answer);
    assert_int_equal(answer.finish, SA2_FINISH_LENGTH);
    test_answer_free(&answer);
    assert_nothing_is_left(engine);
    sa2_engine_destroy(engine);
}

static void events_that_are_held_hold_up_the_next_ones(void **state)
{
    sa2_engine *engine = open_engine(state, NULL);
    sa2_request request = talkative(300);
    request.sampling.temperature = 0.0f;
    sa2_request_id id = test_submit(engine, &request);
    sa2_event *held[SA2_MAX_EVENTS_HELD];
    test_answer answer = {0};
    for (int i = 0; i < SA2_MAX_EVENTS_HELD; i++) {
        held[i] = sa2_engine_poll(engine, TEST_PATIENCE_MS);
        assert_non_null(held[i]);
        test_answer_take(&answer, held[i]);
    }
    assert_null(sa2_engine_poll(engine, 20));
    for (int i = 0; i < SA2_MAX_EVENTS_HELD; i++) /* what they point to is still there */
        if (held[i]->kind == SA2_EVENT_TEXT)
            assert_int_equal(strlen(held[i]->text), held[i]->n_bytes);
    release_all(engine, held, SA2_MAX_EVENTS_HELD);
    test_answers_collect(engine, &id, &answer, 1);
    assert_int_equal(answer.choices[0].n_tokens, 300);
    test_answer_free(&answer);
    assert_nothing_is_left(engine);
    sa2_engine_destroy(engine);
}

/* ---- threads ---- */

enum { N_SUBMITTERS = 2, N_POLLERS = 2, N_EACH = 12 };

typedef struct crowd {
    sa2_engine *engine;
    atomic_int n_done[N_SUBMITTERS * N_EACH + 1]; /* by id */
    atomic_int n_left;
} crowd;

static void *submit_some(void *context)
{
    crowd *c = context;
    for (int i = 0; i < N_EACH; i++) {
        sa2_request request = talkative(1 + i);
        sa2_request_id id;
        if (sa2_engine_submit(c->engine, &request, &id, NULL) != SA2_OK)
            abort();
        if (i % 3 == 0)
            sa2_engine_cancel(c->engine, id);
        sa2_engine_stats stats;
        sa2_engine_get_stats(c->engine, &stats);
    }
    return NULL;
}

static void *poll_until_done(void *context)
{
    crowd *c = context;
    while (atomic_load(&c->n_left) > 0) {
        sa2_event *e = sa2_engine_poll(c->engine, 10);
        if (e != NULL && e->kind == SA2_EVENT_DONE) {
            atomic_fetch_add(&c->n_done[e->request], 1);
            atomic_fetch_sub(&c->n_left, 1);
        }
        sa2_event_release(c->engine, e);
    }
    return NULL;
}

static void any_thread_may_submit_cancel_and_poll(void **state)
{
    crowd *c = calloc(1, sizeof *c);
    c->engine = open_engine(state, &(sa2_engine_options){.max_num_seqs = 4});
    atomic_store(&c->n_left, N_SUBMITTERS * N_EACH);
    pthread_t submitters[N_SUBMITTERS], pollers[N_POLLERS];
    for (int i = 0; i < N_POLLERS; i++)
        assert_int_equal(pthread_create(&pollers[i], NULL, poll_until_done, c), 0);
    for (int i = 0; i < N_SUBMITTERS; i++)
        assert_int_equal(pthread_create(&submitters[i], NULL, submit_some, c), 0);
    for (int i = 0; i < N_SUBMITTERS; i++)
        pthread_join(submitters[i], NULL);
    for (int i = 0; i < N_POLLERS; i++)
        pthread_join(pollers[i], NULL);
    for (int i = 1; i <= N_SUBMITTERS * N_EACH; i++)
        assert_int_equal(atomic_load(&c->n_done[i]), 1);
    assert_null(sa2_engine_poll(c->engine, 0));
    assert_nothing_is_left(c->engine);
    sa2_engine_destroy(c->engine);
    free(c);
}

static int open_model(void **state)
{
    test_model *model = calloc(1, sizeof *model);
    test_model_open(model, 2);
    *state = model;
    return 0;
}

static int close_model(void **state)
{
    test_model_close(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_its_tokens_figures_and_times),
        cmocka_unit_test(a_cancelled_request_ends_once_with_what_it_has_said),
        cmocka_unit_test(a_deadline_ends_a_request_that_runs_and_one_that_waits),
        cmocka_unit_test(an_engine_goes_with_requests_that_run_wait_and_are_not_read),
        cmocka_unit_test(requests_that_wait_for_a_paused_engine_begin_in_the_same_step),
        cmocka_unit_test(a_pause_in_the_middle_of_an_answer_changes_nothing),
        cmocka_unit_test(requests_of_a_paused_engine_end_in_time_and_when_they_are_cancelled),
        cmocka_unit_test(more_requests_than_may_wait_are_refused),
        cmocka_unit_test(requests_that_outgrow_the_memory_planned_for_them_are_refused),
        cmocka_unit_test(events_that_are_held_hold_up_the_next_ones),
        cmocka_unit_test(any_thread_may_submit_cancel_and_poll),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
