/* An engine whose steps run ahead of their tokens says what one says that waits for each of them, to the bit: whatever ends an
 * answer, and whoever comes and goes. On a simulated GPU that does everything as late as it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/cudasim/cudasim.h"
#include "tests/support/answers.h"
#include "tests/support/requests.h"
#include "tests/support/small_model.h"

enum { TOKENS = 13, PAGE = 16, PAGE_BYTES = 8192 };

static const sa2_logit_bias nearly[] = {{40, 34.5f}};
static const sa2_logit_bias surely[] = {{46, 100.0f}};
static const sa2_chat_item question = {.text = "hi there", .n_bytes = 8};
static const sa2_chat_message message = {
    .role = "user", .content = SA2_CONTENT_STRING, .items = &question, .n_items = 1};
static const sa2_chat chat = {.messages = &message, .n_messages = 1};

/* Beyond a page, most of them. */
static sa2_request plain(int i)
{
    return test_request(i, TOKENS - i);
}

static sa2_request of_chat(int i)
{
    sa2_request r = plain(i);
    r.ids = NULL;
    r.n_ids = 0;
    r.chat = &chat;
    return r;
}

/* What ends, what is punished, what is said beside it. */
enum { N_ALL = TEST_KINDS + 3 };

static sa2_request wish(int i)
{
    if (i < TEST_KINDS)
        return test_request_kind(i, TOKENS - i);
    sa2_request r = i == TEST_KINDS ? plain(i) : of_chat(i);
    switch (i - TEST_KINDS) {
    case 0: /* as the fourth kind, in a request of two answers */
        r.n = 2;
        r.sampling.logit_bias = surely;
        r.sampling.n_logit_bias = 1;
        r.stop_ids = test_stop.ids;
        r.n_stop_ids = test_stop.n;
        r.sampling.min_tokens = 4;
        break;
    case 1: /* two passes, the first of which ends with max_thinking_tokens */
        r.think = true;
        r.max_thinking_tokens = 6;
        r.ignore_eos = false;
        break;
    default:
        r.speak = true;
        break;
    }
    return r;
}

typedef struct setting {
    bool run_ahead;
    int max_num_seqs, n_pages;
    bool prefix_caching;
} setting;

static sa2_engine *open_engine(const test_model *model, const setting *s)
{
    sa2_engine *engine;
    sa2_error err = {0};
    const sa2_engine_options options = {.kv_cache_bytes = (size_t)s->n_pages * PAGE_BYTES,
                                        .max_model_len = 128,
                                        .block_size = PAGE,
                                        .max_num_seqs = s->max_num_seqs,
                                        .no_prefix_caching = !s->prefix_caching,
                                        .sampling = SA2_SAMPLING_ON_DEVICE,
                                        .run_ahead = s->run_ahead};
    if (sa2_engine_create_from_model(&engine, &model->model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return engine;
}

/* The first n at once. */
static void ask(sa2_engine *engine, test_answer *answers, int n)
{
    sa2_request requests[N_ALL];
    memset(answers, 0, (size_t)n * sizeof *answers);
    for (int i = 0; i < n; i++)
        requests[i] = wish(i);
    test_answers_ask(engine, requests, answers, n);
}

static void assert_same(const char *what, const test_answer *found, const test_answer *want)
{
    assert_int_equal(want->status, SA2_OK);
    assert_same_answer(what, found, want);
    assert_int_equal(found->n_done, 1);
    assert_int_equal(found->n_events_after_done, 0);
    assert_int_equal(found->finish, want->finish);
    assert_int_equal(found->usage.prompt_tokens, want->usage.prompt_tokens);
    assert_int_equal(found->usage.completion_tokens, want->usage.completion_tokens);
    assert_int_equal(found->usage.speech_tokens, want->usage.speech_tokens);
    assert_int_equal(found->usage.reasoning_tokens, want->usage.reasoning_tokens);
    for (int i = 0; i < TEST_MAX_CHOICES; i++)
        assert_int_equal(found->choices[i].stop_id, want->choices[i].stop_id);
}

static void assert_ran_ahead(sa2_engine *engine, int at_least)
{
    sa2_engine_stats stats = test_stats(engine);
    if (stats.n_steps_ahead < at_least)
        fail_msg("%d of %d steps ran ahead", (int)stats.n_steps_ahead, (int)stats.n_steps);
}

/* In few slots, which change hands. */
static void answers_are_those_of_steps_that_wait(void **state)
{
    const test_model *model = *state;
    setting s = {.max_num_seqs = 4, .n_pages = 64};
    test_answer want[N_ALL], found[N_ALL];
    sa2_engine *engine = open_engine(model, &s);
    ask(engine, want, N_ALL);
    assert_int_equal(test_stats(engine).n_steps_ahead, 0);
    sa2_engine_destroy(engine);
    s.run_ahead = true;
    engine = open_engine(model, &s);
    ask(engine, found, N_ALL);
    for (int i = 0; i < N_ALL; i++) {
        assert_same("ahead", &found[i], &want[i]);
        assert_int_equal(found[i].timings.n_steps, want[i].timings.n_steps);
    }
    assert_ran_ahead(engine, 20);
    assert_in_range(test_stats(engine).n_rows_dropped, 1, 3);
    assert_nothing_is_left(engine);
    sa2_engine_destroy(engine);
    test_answers_free(found, N_ALL);
    test_answers_free(want, N_ALL);
}

/* Nine pages for seven sequences, which all need a second one at the same token. */
static void who_is_preempted_says_the_same(void **state)
{
    enum { N = 3, PROMPT = 12, PAGES = 9 };
    const test_model *model = *state;
    int32_t prompts_of[N][PROMPT];
    test_answer answers[2][N];
    memset(answers, 0, sizeof answers);
    for (int k = 0; k < 2; k++) {
        setting s = {.run_ahead = k == 1, .max_num_seqs = 16, .n_pages = PAGES};
        sa2_engine *engine = open_engine(model, &s);
        sa2_request r[N];
        for (int i = 0; i < N; i++) {
            r[i] = plain(i);
            for (int p = 0; p < PROMPT; p++)
                prompts_of[i][p] = 20 * i + p;
            r[i].ids = prompts_of[i];
            r[i].n_ids = PROMPT;
            r[i].sampling.repetition_penalty = 3.0f;
            r[i].sampling.frequency_penalty = 2.0f;
            r[i].n = i < 2 ? 3 : 1;
            r[i].max_tokens = 8 + i;
        }
        test_answers_ask(engine, r, answers[k], N);
        assert_int_equal(test_stats(engine).n_pages, PAGES);
        assert_true(test_stats(engine).n_preemptions > 0);
        if (k == 1)
            assert_ran_ahead(engine, 5);
        assert_nothing_is_left(engine);
        sa2_engine_destroy(engine);
    }
    for (int i = 0; i < N; i++)
        assert_same("preempted", &answers[1][i], &answers[0][i]);
    test_answers_free(answers[0], N);
    test_answers_free(answers[1], N);
}

static void answers_are_the_same_with_graphs(void **state)
{
    enum { N = 4 };
    const test_model *model = *state;
    setting s = {.max_num_seqs = 16, .n_pages = 128};
    test_answer want[N], found[N];
    test_model with_graphs;
    test_model_open_with(&with_graphs,
                         &(sa2_backend_options){.device = "cuda-sim", .graphs = true});
    sa2_engine *engine = open_engine(model, &s);
    ask(engine, want, N);
    sa2_engine_destroy(engine);
    s.run_ahead = true;
    engine = open_engine(&with_graphs, &s);
    cudasim_count("cudaGraphLaunch");
    ask(engine, found, N);
    assert_true(cudasim_count("") > 10);
    assert_ran_ahead(engine, 10);
    sa2_engine_destroy(engine);
    for (int i = 0; i < N; i++)
        assert_same("with graphs", &found[i], &want[i]);
    test_answers_free(want, N);
    test_answers_free(found, N);
    test_model_close(&with_graphs);
}

/* The last character of a text that is there for the first time. */
static size_t last_new_character(const sa2_bytes *text)
{
    size_t last = 0;
    for (size_t i = 0; i < text->n; i++)
        if (((unsigned char)text->data[i] & 0xc0) != 0x80 &&
            memchr(text->data, text->data[i], i) == NULL)
            last = i;
    return last;
}

static void a_stop_string_ends_an_answer_where_it_did(void **state)
{
    const test_model *model = *state;
    setting s = {.max_num_seqs = 4, .n_pages = 64};
    sa2_engine *engine = open_engine(model, &s);
    sa2_request r = plain(5);
    r.max_tokens = 10;
    test_answer whole = {0}, want = {0}, found = {0};
    test_answer_ask(engine, &r, &whole);
    const sa2_bytes *text = &whole.choices[0].text;
    size_t middle = last_new_character(text);
    char string[5] = {text->data[middle]};
    for (size_t i = 1; i < 4 && ((unsigned char)text->data[middle + i] & 0xc0) == 0x80; i++)
        string[i] = text->data[middle + i];
    const char *const strings[] = {string};
    r.stop = strings;
    r.n_stop = 1;
    test_answer_ask(engine, &r, &want);
    sa2_engine_destroy(engine);
    s.run_ahead = true;
    engine = open_engine(model, &s);
    test_answer_ask(engine, &r, &found);
    assert_same("a stop string", &found, &want);
    assert_string_equal(found.choices[0].stop_string, string);
    assert_true(found.choices[0].ids.n < whole.choices[0].ids.n);
    for (int i = 0; i < 10000 && test_stats(engine).n_rows_dropped == 0; i++) /* it is on its way */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(test_stats(engine).n_rows_dropped, 1);
    test_answer_free(&whole);
    test_answer_free(&want);
    test_answer_free(&found);
    sa2_engine_destroy(engine);
}

/* Until the last of n_ids requests has said n tokens. */
static void take_tokens(sa2_engine *engine, const sa2_request_id *ids, test_answer *answers,
                        int n_ids, int n)
{
    while (answers[n_ids - 1].choices[0].n_tokens < n) {
        sa2_event *e = sa2_engine_poll(engine, TEST_PATIENCE_MS);
        assert_non_null(e);
        int i = 0;
        while (ids[i] != e->request)
            i++;
        test_answer_take(&answers[i], e);
        sa2_event_release(engine, e);
    }
}

/* Cut short, or longer: as far as both go they say the same. */
static void assert_begins_alike(const test_answer *a, const test_answer *b)
{
    const test_choice *x = &a->choices[0], *y = &b->choices[0];
    size_t n = x->ids.n < y->ids.n ? x->ids.n : y->ids.n;
    assert_memory_equal(x->ids.data, y->ids.data, n * sizeof(int32_t));
}

static void assert_ended_early(const test_answer *found, const test_answer *want, sa2_finish finish)
{
    const test_choice *c = &found->choices[0];
    assert_int_equal(found->n_done, 1);
    assert_int_equal(found->finish, finish);
    assert_int_equal(c->n_finished, 1);
    assert_int_equal(found->usage.completion_tokens, c->ids.n);
    assert_begins_alike(found, want);
}

/* One answers; others come while it does, go in the middle, and run out of time. */
static void who_comes_and_goes_in_the_middle_changes_nothing(void **state)
{
    enum { SHORT = 12, LONG = 100 };
    const test_model *model = *state;
    setting s = {.max_num_seqs = 3, .n_pages = 64};
    test_answer want[3] = {0}, found[3] = {0}, late = {0};
    sa2_request r[3] = {plain(0), plain(1), plain(2)};
    sa2_engine *engine = open_engine(model, &s);
    for (int i = 0; i < 3; i++) {
        r[i].sampling.repetition_penalty = 1.2f;
        r[i].max_tokens = SHORT;
        test_answer_ask(engine, &r[i], &want[i]);
    }
    sa2_engine_destroy(engine);
    s.run_ahead = true;
    engine = open_engine(model, &s);
    r[0].max_tokens = r[2].max_tokens = LONG;
    sa2_request_id ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = test_submit(engine, &r[i]);
        take_tokens(engine, ids, found, i + 1, 4);
    }
    sa2_engine_cancel(engine, ids[0]);
    sa2_engine_cancel(engine, ids[2]);
    test_answers_collect(engine, ids, found, 3);
    assert_ended_early(&found[0], &want[0], SA2_FINISH_CANCELLED);
    assert_ended_early(&found[2], &want[2], SA2_FINISH_CANCELLED);
    assert_int_equal(found[1].finish, SA2_FINISH_LENGTH);
    assert_int_equal(found[1].choices[0].ids.n, SHORT);
    assert_begins_alike(&found[1], &want[1]);
    r[2].deadline_ms = 300;
    r[2].max_tokens = LONG;
    test_answer_ask(engine, &r[2], &late);
    assert_ended_early(&late, &want[2],
                       late.choices[0].ids.n < LONG ? SA2_FINISH_DEADLINE : SA2_FINISH_LENGTH);
    assert_ran_ahead(engine, SHORT);
    assert_nothing_is_left(engine);
    test_answer_free(&late);
    r[0].max_tokens = SHORT;
    test_answer_ask(engine, &r[0], &late);
    assert_same("after all of them", &late, &want[0]);
    sa2_engine_destroy(engine);
    test_answers_free(want, 3);
    test_answers_free(found, 3);
    test_answer_free(&late);
}

/* What was said before is found as often, and goes on as if it had been computed. */
static void pages_of_answers_are_found_again(void **state)
{
    enum { SAID = PAGE };
    const test_model *model = *state;
    test_answer first[2] = {0}, second[2] = {0}, fresh = {0};
    int32_t ids[4 + SAID];
    sa2_engine *engine;
    sa2_request again = plain(3);
    for (int k = 0; k < 2; k++) {
        engine = open_engine(model, &(setting){.run_ahead = k == 1,
                                               .max_num_seqs = 4,
                                               .n_pages = 32,
                                               .prefix_caching = true});
        sa2_request r = plain(0);
        r.max_tokens = SAID;
        test_answer_ask(engine, &r, &first[k]);
        memcpy(ids, test_prompts[0], sizeof test_prompts[0]);
        memcpy(ids + 4, first[k].choices[0].ids.data, SAID * sizeof *ids);
        again.ids = ids;
        again.n_ids = 4 + SAID;
        again.max_tokens = 3;
        test_answer_ask(engine, &again, &second[k]);
        sa2_engine_destroy(engine);
    }
    assert_same("the first", &first[1], &first[0]);
    assert_same("the second", &second[1], &second[0]);
    assert_int_equal(second[0].usage.cached_tokens, PAGE);
    assert_int_equal(second[1].usage.cached_tokens, PAGE);
    engine = open_engine(model, &(setting){.max_num_seqs = 4, .n_pages = 32});
    test_answer_ask(engine, &again, &fresh);
    assert_same("found and computed", &second[1], &fresh);
    sa2_engine_destroy(engine);
    test_answers_free(first, 2);
    test_answers_free(second, 2);
    test_answer_free(&fresh);
}

/* Beams, tokens beside the chosen one, a list of what is allowed, and words whose end depends on what was said before. */
static void what_has_to_be_known_first_is_waited_for(void **state)
{
    enum { N_HOST = 4 };
    const test_model *model = *state;
    test_answer want[N_HOST] = {0}, found = {0};
    for (int k = 0; k < 2; k++) {
        sa2_engine *engine =
            open_engine(model, &(setting){.run_ahead = k == 1, .max_num_seqs = 4, .n_pages = 64});
        for (int i = 0; i < N_HOST; i++) {
            sa2_request r = plain(i);
            r.max_tokens = 5;
            r.sampling.logit_bias = test_bias + 2;
            r.sampling.n_logit_bias = 1;
            if (i == 0) {
                r.beam.n_beams = 3;
                r.sampling.n_logprobs = -1;
            } else if (i == 1) {
                r.sampling.n_logprobs = 2;
            } else if (i == 2) {
                r.sampling.allowed = test_allowed;
            } else {
                r.sampling.bad_words = test_bad_words;
                r.sampling.n_bad_words = 2;
            }
            test_answer_ask(engine, &r, k == 0 ? &want[i] : &found);
            if (k == 1) {
                assert_same("waited for", &found, &want[i]);
                test_answer_free(&found);
            }
        }
        assert_int_equal(test_stats(engine).n_steps_ahead, 0);
        sa2_engine_destroy(engine);
    }
    test_answers_free(want, N_HOST);
}

/* A row that is no number fails its request alone, though the step behind it goes on from it. */
static void a_row_without_a_token_fails_its_request_alone(void **state)
{
    const test_model *model = *state;
    static test_answer answers[2][2];
    for (int k = 0; k < 2; k++) {
        sa2_engine *engine =
            open_engine(model, &(setting){.run_ahead = k == 1, .max_num_seqs = 4, .n_pages = 64});
        sa2_request r[2] = {plain(0), plain(1)};
        r[0].sampling.repetition_penalty = 1e-37f; /* too little for a logit of 34 and more ... */
        r[0].sampling.logit_bias = nearly;         /* ... which this one has at some time */
        r[0].sampling.n_logit_bias = 1;
        test_answers_ask(engine, r, answers[k], 2);
        assert_int_equal(test_stats(engine).n_steps_ahead > 0, k == 1);
        sa2_engine_destroy(engine);
        assert_int_equal(answers[k][0].status, SA2_ERR_FORMAT);
    }
    assert_in_range(answers[0][0].choices[0].n_tokens, 3, TOKENS - 2);
    assert_string_equal(answers[1][0].message, answers[0][0].message);
    assert_same_answer("failed", &answers[1][0], &answers[0][0]);
    assert_same("beside a failure", &answers[1][1], &answers[0][1]);
    for (int k = 0; k < 2; k++)
        test_answers_free(answers[k], 2);
}

/* The step that is queued behind the one under way ends too. */
static void a_pause_in_the_middle_changes_nothing(void **state)
{
    const test_model *model = *state;
    test_answer want = {0}, found = {0};
    sa2_request r = plain(0);
    r.max_tokens = 100;
    sa2_engine *engine =
        open_engine(model, &(setting){.run_ahead = true, .max_num_seqs = 4, .n_pages = 64});
    test_answer_ask(engine, &r, &want);
    sa2_engine_stats once = test_stats(engine), twice;
    sa2_request_id id = test_submit(engine, &r);
    take_tokens(engine, &id, &found, 1, 4);
    sa2_engine_pause(engine);
    pthread_mutex_lock(&engine->desk.lock);
    assert_null(engine->ahead);
    pthread_mutex_unlock(&engine->desk.lock);
    assert_int_equal(test_stats(engine).n_running, 1);
    sa2_engine_resume(engine);
    test_answers_collect(engine, &id, &found, 1);
    assert_same("paused", &found, &want);
    twice = test_stats(engine);
    assert_int_equal(twice.n_steps, 2 * once.n_steps);
    assert_in_range(2 * once.n_steps_ahead - twice.n_steps_ahead, 0, 1);
    sa2_engine_destroy(engine);
    test_answer_free(&want);
    test_answer_free(&found);
}

static void an_engine_may_go_while_a_step_is_under_way(void **state)
{
    const test_model *model = *state;
    sa2_engine *engine =
        open_engine(model, &(setting){.run_ahead = true, .max_num_seqs = 4, .n_pages = 64});
    test_answer answer = {0};
    sa2_request r = plain(0);
    r.max_tokens = 100;
    sa2_request_id id = test_submit(engine, &r);
    take_tokens(engine, &id, &answer, 1, 4);
    sa2_engine_destroy(engine);
    test_answer_free(&answer);
}

static void where_it_cannot_be_it_is_refused(void **state)
{
    const test_model *model = *state;
    const sa2_engine_options options = {.run_ahead = true};
    sa2_engine *engine;
    sa2_error err = {0};
    assert_int_equal(sa2_engine_create_from_model(&engine, &model->model, NULL, &options, &err),
                     SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "run_ahead: sampling on the device expected"));
}

static int open_model(void **state)
{
    static test_model model;
    cudasim_put_off(1);
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
        cmocka_unit_test(answers_are_those_of_steps_that_wait),
        cmocka_unit_test(who_is_preempted_says_the_same),
        cmocka_unit_test(answers_are_the_same_with_graphs),
        cmocka_unit_test(a_stop_string_ends_an_answer_where_it_did),
        cmocka_unit_test(who_comes_and_goes_in_the_middle_changes_nothing),
        cmocka_unit_test(pages_of_answers_are_found_again),
        cmocka_unit_test(what_has_to_be_known_first_is_waited_for),
        cmocka_unit_test(a_row_without_a_token_fails_its_request_alone),
        cmocka_unit_test(a_pause_in_the_middle_changes_nothing),
        cmocka_unit_test(an_engine_may_go_while_a_step_is_under_way),
        cmocka_unit_test(where_it_cannot_be_it_is_refused),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
