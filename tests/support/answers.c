#include "tests/support/answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"

static void take_token(test_choice *c, const sa2_event *e)
{
    assert_true(c->n_tokens < TEST_MAX_TOKENS && e->n_top <= TEST_MAX_TOP);
    c->tokens[c->n_tokens] = (sa2_logprob){e->id, e->logprob};
    for (size_t i = 0; i < e->n_top; i++)
        c->top[c->n_tokens][i] = e->top[i];
    c->n_tokens++;
}

static void take_finished(test_choice *c, const sa2_event *e)
{
    c->n_finished++;
    c->finish = e->finish;
    snprintf(c->stop_string, sizeof c->stop_string, "%s",
             e->stop_string != NULL ? e->stop_string : "");
    c->stop_id = e->stop_id;
    c->score = e->score;
    sa2_ids_append_all(&c->ids, e->ids, e->n_ids);
}

void test_answer_take(test_answer *a, const sa2_event *e)
{
    assert_in_range(e->choice, 0, TEST_MAX_CHOICES - 1);
    test_choice *c = &a->choices[e->choice];
    a->n_events_after_done += a->n_done > 0;
    switch (e->kind) {
    case SA2_EVENT_NONE:
        fail_msg("an event of no kind");
        break;
    case SA2_EVENT_TEXT:
        sa2_bytes_append(&c->text, e->text, e->n_bytes);
        break;
    case SA2_EVENT_REASONING:
        sa2_bytes_append(&c->reasoning, e->text, e->n_bytes);
        break;
    case SA2_EVENT_SPOKEN:
        sa2_bytes_append(&c->spoken, e->text, e->n_bytes);
        break;
    case SA2_EVENT_AUDIO:
        sa2_bytes_append(&c->sound, (const char *)e->samples, e->n_samples * sizeof *e->samples);
        break;
    case SA2_EVENT_CODES:
        sa2_ids_append_all(&c->codes, e->codes, e->n_codes);
        break;
    case SA2_EVENT_TOOL_CALL:
        assert_int_equal(e->tool_index, c->n_tools);
        c->n_tools++;
        snprintf(c->tool_name, sizeof c->tool_name, "%s", e->tool_name);
        snprintf(c->tool_arguments, sizeof c->tool_arguments, "%s", e->tool_arguments);
        break;
    case SA2_EVENT_TOKEN:
        take_token(c, e);
        break;
    case SA2_EVENT_FINISHED:
        take_finished(c, e);
        break;
    case SA2_EVENT_DONE:
        a->n_done++;
        a->finish = e->finish;
        a->usage = e->usage;
        a->timings = e->timings;
        a->status = e->status;
        snprintf(a->message, sizeof a->message, "%s", e->message != NULL ? e->message : "");
        break;
    }
}

void test_answer_free(test_answer *a)
{
    for (int i = 0; i < TEST_MAX_CHOICES; i++) {
        test_choice *c = &a->choices[i];
        sa2_bytes_free(&c->text);
        sa2_bytes_free(&c->reasoning);
        sa2_bytes_free(&c->spoken);
        sa2_ids_free(&c->codes);
        sa2_bytes_free(&c->sound);
        sa2_ids_free(&c->ids);
    }
    *a = (test_answer){0};
}

void test_answers_free(test_answer *answers, int n)
{
    for (int i = 0; i < n; i++)
        test_answer_free(&answers[i]);
}

static void compare_bytes(const char *what, int choice, const char *field, const void *a,
                          size_t n_a, const void *b, size_t n_b)
{
    if (n_a != n_b || (n_a > 0 && memcmp(a, b, n_a) != 0))
        fail_msg("%s, choice %d: %s differs (%zu and %zu bytes)", what, choice, field, n_a, n_b);
}

static void compare_tokens(const char *what, int choice, const test_choice *a, const test_choice *b)
{
    for (int i = 0; i < a->n_tokens && i < b->n_tokens; i++)
        if (memcmp(&a->tokens[i], &b->tokens[i], sizeof a->tokens[i]) != 0 ||
            memcmp(a->top[i], b->top[i], sizeof a->top[i]) != 0)
            fail_msg("%s, choice %d, token %d: %d (%.9g) and %d (%.9g)", what, choice, i,
                     a->tokens[i].id, (double)a->tokens[i].logprob, b->tokens[i].id,
                     (double)b->tokens[i].logprob);
    if (a->n_tokens != b->n_tokens)
        fail_msg("%s, choice %d: %d and %d tokens", what, choice, a->n_tokens, b->n_tokens);
}

void assert_same_answer(const char *what, const test_answer *a, const test_answer *b)
{
    for (int i = 0; i < TEST_MAX_CHOICES; i++) {
        const test_choice *x = &a->choices[i], *y = &b->choices[i];
        compare_tokens(what, i, x, y);
        compare_bytes(what, i, "ids", x->ids.data, x->ids.n * sizeof(int32_t), y->ids.data,
                      y->ids.n * sizeof(int32_t));
        compare_bytes(what, i, "text", x->text.data, x->text.n, y->text.data, y->text.n);
        compare_bytes(what, i, "reasoning", x->reasoning.data, x->reasoning.n, y->reasoning.data,
                      y->reasoning.n);
        compare_bytes(what, i, "spoken", x->spoken.data, x->spoken.n, y->spoken.data, y->spoken.n);
        compare_bytes(what, i, "sound", x->sound.data, x->sound.n, y->sound.data, y->sound.n);
        compare_bytes(what, i, "codes", x->codes.data, x->codes.n * sizeof(int32_t), y->codes.data,
                      y->codes.n * sizeof(int32_t));
        compare_bytes(what, i, "stop string", x->stop_string, strlen(x->stop_string),
                      y->stop_string, strlen(y->stop_string));
        compare_bytes(what, i, "score", &x->score, sizeof x->score, &y->score, sizeof y->score);
        if (x->finish != y->finish || x->n_finished != y->n_finished || x->n_tools != y->n_tools)
            fail_msg("%s, choice %d: finished %dx %s and %dx %s, %d and %d tool calls", what, i,
                     x->n_finished, sa2_finish_name(x->finish), y->n_finished,
                     sa2_finish_name(y->finish), x->n_tools, y->n_tools);
    }
    if (a->status != b->status)
        fail_msg("%s: %s and %s", what, a->message, b->message);
}

void test_answers_collect(sa2_engine *engine, const sa2_request_id *ids, test_answer *answers,
                          int n)
{
    int n_open = 0;
    for (int i = 0; i < n; i++)
        n_open += answers[i].n_done == 0;
    while (n_open > 0) {
        sa2_event *e = sa2_engine_poll(engine, TEST_PATIENCE_MS);
        if (e == NULL)
            fail_msg("%d requests have not ended", n_open);
        int i = 0;
        while (i < n && ids[i] != e->request)
            i++;
        if (i < n) {
            test_answer_take(&answers[i], e);
            n_open -= e->kind == SA2_EVENT_DONE;
        }
        sa2_event_release(engine, e);
    }
}

sa2_request_id test_submit(sa2_engine *engine, const sa2_request *request)
{
    sa2_request_id id;
    sa2_error err = {0};
    if (sa2_engine_submit(engine, request, &id, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return id;
}

void test_answers_ask(sa2_engine *engine, const sa2_request *requests, test_answer *answers, int n)
{
    enum { MOST = 64 };
    sa2_request_id ids[MOST];
    assert_in_range(n, 1, MOST);
    sa2_engine_pause(engine);
    for (int i = 0; i < n; i++)
        ids[i] = test_submit(engine, &requests[i]);
    sa2_engine_resume(engine);
    test_answers_collect(engine, ids, answers, n);
}

void test_answer_ask(sa2_engine *engine, const sa2_request *request, test_answer *answer)
{
    test_answers_ask(engine, request, answer, 1);
}

sa2_engine_stats test_stats(sa2_engine *engine)
{
    sa2_engine_stats stats;
    sa2_engine_get_stats(engine, &stats);
    return stats;
}

void assert_nothing_is_left(sa2_engine *engine)
{
    sa2_engine_stats stats = test_stats(engine);
    assert_int_equal(stats.n_running + stats.n_waiting, 0);
    assert_int_equal(stats.n_pages_free + stats.n_pages_cached, stats.n_pages);
    assert_int_equal(engine->desk.n_bytes, 0);
}

void assert_request_refused(sa2_engine *engine, const sa2_request *request, sa2_status status,
                            const char *part)
{
    sa2_error err = {0};
    sa2_request_id id;
    sa2_status st = sa2_engine_submit(engine, request, &id, &err);
    if (st != status || strstr(err.message, part) == NULL)
        fail_msg("%s with \"%s\" expected, found %s: %s", sa2_status_name(status), part,
                 sa2_status_name(st), err.message);
}
