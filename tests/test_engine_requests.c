/* What requests may ask for: what is refused and how it is said, sounds, stops, reasoning, prefixes, failures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/small_model.h"
#include "tokenizer/think.h"

typedef struct world {
    test_model model;
    sa2_engine *engine;
} world;

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    sa2_error err = {0};
    test_model_open(&w->model, 2);
    sa2_engine_options options = {.block_size = 16, .max_num_batched_tokens = 64};
    if (sa2_engine_create_from_model(&w->engine, &w->model.model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sa2_engine_destroy(w->engine);
    test_model_close(&w->model);
    free(w);
    return 0;
}

static const int32_t ids[] = {10, 20, 30, 40, 50, 60, 70, 80};

static sa2_request request_of_ids(int max_tokens)
{
    sa2_request request = sa2_request_default();
    request.ids = ids;
    request.n_ids = sizeof ids / sizeof ids[0];
    request.sampling.seed = 3;
    request.max_tokens = max_tokens;
    return request;
}

/* ---- refusals ---- */

static void what_makes_no_sense_is_refused_by_name(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    const sa2_request good = request_of_ids(4);
    const int32_t no_token[] = {5, 7640}; /* a row of the matrices, but no token */
    const char *const long_stop[] = {""};
    sa2_request r = good;
    r.n = 33;
    r.max_tokens = -1;
    assert_request_refused(engine, &r, SA2_ERR_ARG,
                           "n: 0 to 32 expected, found 33\n"
                           "max_tokens: 0 or more expected, found -1");
    r = good;
    r.sampling.top_p = 1.5f;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "top_p");
    r = good;
    r.sampling.min_tokens = 5;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "min_tokens: at most max_tokens expected");
    r = good;
    r.stop = long_stop;
    r.n_stop = 1;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "stop: strings of 1 to 256 bytes");
    r = good;
    r.ids = no_token;
    r.n_ids = 2;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "ids[1]: 0 to 7614 expected, found 7640");
    r = good;
    r.n_ids = 0;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "prompt: it is empty");
    r = good;
    r.ids = NULL;
    assert_request_refused(engine, &r, SA2_ERR_ARG,
                           "one of chat, pieces and ids expected, found 0");
    r = good;
    r.think = true;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "think: a chat expected");
    r = good;
    r.beam.n_beams = 2;
    r.sampling.n_logprobs = 1;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "sampling.n_logprobs: -1 (none) with beams");
    r = good;
    r.beam.n_beams = 2;
    r.n = 3;
    assert_request_refused(engine, &r, SA2_ERR_ARG, "n: at most beam.n_beams expected, found 3");
}

static void what_can_never_fit_is_refused_with_the_sum(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    int32_t *many = calloc(1024, sizeof *many);
    sa2_request r = request_of_ids(0);
    r.ids = many;
    r.n_ids = 1024;
    assert_request_refused(engine, &r, SA2_ERR_LIMIT, "1024 positions");
    r.n_ids = 1000;
    r.max_tokens = 25;
    assert_request_refused(engine, &r, SA2_ERR_LIMIT,
                           "max_tokens: 25 behind a prompt of 1000 positions, the model has 1024");
    free(many);
}

/* ---- sounds ---- */

static const char caption[] = "what is to be heard";

/* One sound in front of a question. */
typedef struct question {
    sa2_chat_item items[2];
    sa2_sound sound;
    sa2_request request;
} question;

static void ask_about(question *q, const float *samples, int64_t n, int rate)
{
    q->items[0] = (sa2_chat_item){.kind = SA2_CHAT_AUDIO};
    q->items[1] =
        (sa2_chat_item){.kind = SA2_CHAT_TEXT, .text = caption, .n_bytes = strlen(caption)};
    q->sound = (sa2_sound){samples, n, rate};
    q->request = sa2_request_default();
    q->request.pieces = q->items;
    q->request.n_pieces = 2;
    q->request.sounds = &q->sound;
    q->request.n_sounds = 1;
    q->request.sampling.temperature = 0.0f;
    q->request.max_tokens = 6;
    q->request.ignore_eos = true;
}

static float *noise(int64_t n, uint32_t seed)
{
    float *samples = malloc((size_t)n * sizeof *samples);
    assert_non_null(samples);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        samples[i] = (float)(seed >> 16) / 65536.0f - 0.5f;
    }
    return samples;
}

static void sounds_that_cannot_be_heard_are_refused(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    question q;
    float *samples = noise(400, 1);
    ask_about(&q, samples, 0, 16000);
    assert_request_refused(engine, &q.request, SA2_ERR_ARG, "sounds[0]: it has no samples");
    ask_about(&q, samples, 400, 10);
    assert_request_refused(engine, &q.request, SA2_ERR_ARG, "sounds[0].rate: 1000 to 384000 Hz");
    samples[200] = NAN;
    ask_about(&q, samples, 400, 16000);
    assert_request_refused(engine, &q.request, SA2_ERR_FORMAT, "sounds[0]: sample 200 is nan");
    ask_about(&q, samples, 400, 16000);
    q.request.n_sounds = 0;
    assert_request_refused(engine, &q.request, SA2_ERR_ARG, "sounds: 0 given for 1 audio items");
    assert_int_equal(engine->desk.n_bytes, 0);
    free(samples);
}

/* 30 minutes: 72 chunks of 313 rows and two brackets, and 5 tokens or more of text. */
static void a_recording_beyond_the_context_is_refused_with_the_sum(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    int64_t n = (int64_t)30 * 60 * 16000;
    float *samples = calloc((size_t)n + 1, sizeof *samples);
    assert_non_null(samples);
    question q;
    ask_about(&q, samples, n, 16000);
    assert_request_refused(engine, &q.request, SA2_ERR_LIMIT,
                           "22680 of them for sound in 72 chunks");
    ask_about(&q, samples, n + 1, 16000);
    assert_request_refused(engine, &q.request, SA2_ERR_LIMIT,
                           "sounds[0]: 1800.0 s, at most 1800 s are taken");
    free(samples);
}

static void sounds_of_any_length_and_rate_are_answered(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    static const struct {
        int64_t n;
        int rate, rows; /* with brackets */
    } sounds[] = {
        {1, 16000, 2},                                     /* nothing between the brackets */
        {3, 16000, 2},      {16000, 16000, 15},            /* ceil(16000 / 160) = 100: 13 rows */
        {48000, 48000, 15}, {28 * 16000, 16000, 315 + 40}, /* two chunks */
    };
    for (size_t i = 0; i < sizeof sounds / sizeof sounds[0]; i++) {
        float *samples = noise(sounds[i].n, 7);
        question q;
        test_answer answer = {0};
        ask_about(&q, samples, sounds[i].n, sounds[i].rate);
        test_answer_ask(engine, &q.request, &answer);
        assert_int_equal(answer.finish, SA2_FINISH_LENGTH);
        assert_int_equal(answer.choices[0].ids.n, 6);
        assert_int_equal(answer.usage.audio_tokens, sounds[i].rows);
        assert_true((answer.timings.encoded_ms >= 0.0) == (sounds[i].rows > 2));
        test_answer_free(&answer);
        free(samples);
    }
}

static int cached_tokens(sa2_engine *engine, const sa2_request *request)
{
    test_answer answer = {0};
    test_answer_ask(engine, request, &answer);
    int n = answer.usage.cached_tokens;
    test_answer_free(&answer);
    return n;
}

static void a_sound_is_found_again_by_its_samples(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    float *one = noise(80000, 21), *other = noise(80000, 21); /* 5 s: 65 positions */
    other[79000] += 0.25f;
    question q;
    ask_about(&q, one, 80000, 16000);
    q.request.cache_salt = "a";
    assert_int_equal(cached_tokens(engine, &q.request), 0);
    assert_in_range(cached_tokens(engine, &q.request), 64, 80);
    q.request.cache_salt = "b";
    assert_int_equal(cached_tokens(engine, &q.request), 0);
    q.request.cache_salt = "a";
    q.sound.samples = other;
    assert_int_equal(cached_tokens(engine, &q.request), 0);
    free(one);
    free(other);
}

/* ---- ends ---- */

static void an_answer_ends_at_a_stop_string_wherever_tokens_end(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    test_answer whole = {0}, cut = {0};
    sa2_request r = request_of_ids(40);
    r.ignore_eos = true;
    const char *text = "";
    for (r.sampling.seed = 0; r.sampling.seed < 50 && strlen(text) <= 20; r.sampling.seed++) {
        test_answer_free(&whole); /* some draws are bytes that are no characters */
        test_answer_ask(engine, &r, &whole);
        text = sa2_bytes_text(&whole.choices[0].text);
    }
    r.sampling.seed--;
    assert_true(strlen(text) > 20);
    char stop[8];
    size_t from = strlen(text) / 2; /* three bytes from a whole character on */
    while (((unsigned char)text[from] & 0xc0) == 0x80)
        from++;
    snprintf(stop, sizeof stop, "%.3s", text + from);
    size_t first = (size_t)(strstr(text, stop) - text);
    const char *const stops[] = {"this is not there", stop};
    r.stop = stops;
    r.n_stop = 2;
    for (int keep = 0; keep < 2; keep++) {
        r.include_stop = keep == 1;
        test_answer_ask(engine, &r, &cut);
        const test_choice *c = &cut.choices[0];
        assert_int_equal(c->text.n, first + (keep == 1 ? strlen(stop) : 0));
        assert_memory_equal(c->text.data, text, c->text.n);
        assert_string_equal(c->stop_string, stop);
        assert_int_equal(c->finish, SA2_FINISH_STOP);
        test_answer_free(&cut);
    }
    test_answer_free(&whole);
}

static void an_answer_ends_at_a_stop_id_which_is_no_text(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    test_answer whole = {0}, cut = {0};
    sa2_request r = request_of_ids(20);
    r.ignore_eos = true;
    test_answer_ask(engine, &r, &whole);
    int32_t stop = whole.choices[0].ids.data[9];
    int first = 0;
    while (whole.choices[0].ids.data[first] != stop)
        first++;
    r.stop_ids = &stop;
    r.n_stop_ids = 1;
    test_answer_ask(engine, &r, &cut);
    assert_int_equal(cut.choices[0].ids.n, first + 1);
    assert_int_equal(cut.choices[0].stop_id, stop);
    assert_int_equal(cut.choices[0].finish, SA2_FINISH_STOP);
    assert_int_equal(cut.usage.completion_tokens, first + 1);
    test_answer_free(&cut);
    r.sampling.min_tokens = 15; /* masked until then */
    test_answer_ask(engine, &r, &cut);
    assert_true(cut.choices[0].ids.n > 15 || cut.choices[0].finish == SA2_FINISH_LENGTH);
    test_answer_free(&cut);
    test_answer_free(&whole);
}

static void greedy_tokens_are_the_first_of_their_log_probabilities(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    test_answer answer = {0};
    sa2_request r = request_of_ids(10);
    r.sampling.temperature = 0.0f;
    r.sampling.n_logprobs = 3;
    test_answer_ask(engine, &r, &answer);
    const test_choice *c = &answer.choices[0];
    assert_int_equal(c->n_tokens, c->ids.n);
    for (int i = 0; i < c->n_tokens; i++) {
        assert_int_equal(c->tokens[i].id, c->top[i][0].id);
        assert_memory_equal(&c->tokens[i].logprob, &c->top[i][0].logprob, sizeof(float));
        assert_true(c->top[i][0].logprob >= c->top[i][1].logprob &&
                    c->top[i][1].logprob >= c->top[i][2].logprob);
    }
    test_answer_free(&answer);
}

static void beams_come_best_first(void **state)
{
    sa2_engine *engine = ((world *)*state)->engine;
    test_answer answer = {0};
    sa2_request r = request_of_ids(8);
    r.beam.n_beams = 3;
    r.n = 3;
    test_answer_ask(engine, &r, &answer);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answer.choices[i].n_finished, 1);
        assert_in_range(answer.choices[i].ids.n, 1, 8);
        assert_true(i == 0 || answer.choices[i - 1].score >= answer.choices[i].score);
    }
    test_answer_free(&answer);
}

/* ---- reasoning ---- */

/* Two passes in one request are two requests. */
static void an_answer_after_reasoning_is_that_of_the_second_prompt(void **state)
{
    world *w = *state;
    sa2_chat_item item = {.kind = SA2_CHAT_TEXT, .text = "why", .n_bytes = 3};
    sa2_chat_message message = {
        .role = "user", .content = SA2_CONTENT_STRING, .items = &item, .n_items = 1};
    sa2_chat chat = {.messages = &message, .n_messages = 1};
    sa2_request r = sa2_request_default();
    int32_t words[200];
    for (int i = 0; i < 200; i++)
        words[i] = 40 + i; /* text, no codes of speech */
    r.chat = &chat;
    r.think = true;
    r.sampling.seed = 9;
    r.sampling.allowed = (sa2_token_list){words, 200};
    r.max_thinking_tokens = 12;
    r.max_tokens = 10;
    r.ignore_eos = true;
    for (int speak = 0; speak < 2; speak++) {
        r.speak = speak == 1;
        test_answer whole = {0}, second = {0};
        test_answer_ask(w->engine, &r, &whole);
        assert_int_equal(whole.usage.reasoning_tokens, 12);
        assert_int_equal(whole.usage.completion_tokens, 22);
        assert_true(whole.choices[0].reasoning.n > 0);

        sa2_encoder *encoder;
        assert_int_equal(sa2_encoder_create(&encoder, w->model.model.tokenizer, NULL), SA2_OK);
        const sa2_special *special = &w->model.model.special;
        sa2_bytes prefill = {0};
        sa2_bytes_append_text(&whole.choices[0].reasoning,
                              "\n"); /* the budget ended it, not the tag */
        sa2_think_answer_prefill(SA2_TEMPLATE_DEFAULT, whole.choices[0].reasoning.data,
                                 whole.choices[0].reasoning.n, r.speak, &prefill);
        sa2_template_options options = {.prefill = sa2_bytes_text(&prefill)};
        sa2_prompt prompt = {0};
        assert_int_equal(sa2_chat_prompt(&prompt, encoder, special, &chat, &options, NULL), SA2_OK);
        sa2_request again = r;
        again.chat = NULL;
        again.think = false;
        again.ids = prompt.ids.data;
        again.n_ids = prompt.ids.n;
        test_answer_ask(w->engine, &again, &second);
        assert_int_equal(second.choices[0].ids.n, 10);
        assert_memory_equal(second.choices[0].ids.data, whole.choices[0].ids.data,
                            10 * sizeof(int32_t));
        assert_int_equal(second.choices[0].text.n, whole.choices[0].text.n);
        assert_int_equal(second.choices[0].spoken.n, whole.choices[0].spoken.n);
        sa2_prompt_free(&prompt);
        sa2_bytes_free(&prefill);
        sa2_encoder_destroy(encoder);
        test_answer_free(&whole);
        test_answer_free(&second);
    }
}

static void reasoning_that_fills_the_context_leaves_room_for_the_answer(void **state)
{
    world *w = *state;
    sa2_chat_item item = {.kind = SA2_CHAT_TEXT, .text = "why", .n_bytes = 3};
    sa2_chat_message message = {
        .role = "user", .content = SA2_CONTENT_STRING, .items = &item, .n_items = 1};
    sa2_chat chat = {.messages = &message, .n_messages = 1};
    sa2_request r = sa2_request_default();
    r.chat = &chat;
    r.think = true;
    r.max_tokens = 16;
    r.ignore_eos = true;
    r.sampling.seed = 5;
    test_answer answer = {0};
    test_answer_ask(w->engine, &r, &answer);
    if (answer.status != SA2_OK)
        fail_msg("%s", answer.message);
    assert_int_equal(answer.choices[0].ids.n, 16);
    assert_true(answer.usage.reasoning_tokens > 900);
    test_answer_free(&answer);
}

/* ---- failures ---- */

static void rows_that_are_no_numbers_end_their_request_alone(void **state)
{
    world *w = *state;
    int hidden = w->model.model.config.decoder.hidden;
    float *rows = calloc((size_t)hidden, sizeof *rows);
    const int32_t position = 3;
    sa2_given_rows given = {.rows = rows, .positions = &position, .n = 1};
    rows[5] = NAN;
    sa2_request r = request_of_ids(30), other = request_of_ids(30);
    other.ignore_eos = true;
    test_answer answers[2] = {0};
    sa2_request_id both[2];
    assert_int_equal(sa2_engine_submit(w->engine, &other, &both[0], NULL), SA2_OK);
    assert_int_equal(sa2_engine_submit_rows(w->engine, &r, &given, &both[1], NULL), SA2_OK);
    test_answers_collect(w->engine, both, answers, 2);
    assert_int_equal(answers[0].finish, SA2_FINISH_LENGTH);
    assert_int_equal(answers[1].finish, SA2_FINISH_ERROR);
    assert_int_equal(answers[1].status, SA2_ERR_FORMAT);
    assert_int_equal(answers[1].n_done, 1);
    assert_non_null(strstr(answers[1].message, "logit"));
    test_answer_free(&answers[0]);
    test_answer_free(&answers[1]);
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
        cmocka_unit_test(what_can_never_fit_is_refused_with_the_sum),
        cmocka_unit_test(sounds_that_cannot_be_heard_are_refused),
        cmocka_unit_test(a_recording_beyond_the_context_is_refused_with_the_sum),
        cmocka_unit_test(sounds_of_any_length_and_rate_are_answered),
        cmocka_unit_test(a_sound_is_found_again_by_its_samples),
        cmocka_unit_test(an_answer_ends_at_a_stop_string_wherever_tokens_end),
        cmocka_unit_test(an_answer_ends_at_a_stop_id_which_is_no_text),
        cmocka_unit_test(greedy_tokens_are_the_first_of_their_log_probabilities),
        cmocka_unit_test(beams_come_best_first),
        cmocka_unit_test(an_answer_after_reasoning_is_that_of_the_second_prompt),
        cmocka_unit_test(reasoning_that_fills_the_context_leaves_room_for_the_answer),
        cmocka_unit_test(rows_that_are_no_numbers_end_their_request_alone),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
