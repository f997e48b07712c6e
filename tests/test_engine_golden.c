/* The whole engine against the reference, in f32, on one rank, two and four: several prompts at once, beam search,
 * recordings to tokens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/audio/audio_file.h"
#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/golden.h"
#include "tests/support/rank_team.h"
#include "tests/support/small_model.h"
#include "tests/support/test_files.h"
#include "tokenizer/chat_json.h"

typedef struct world {
    test_model model;
    sa2_engine *engine;
    test_team team; /* of one: there is no comm */
} world;

static const sa2_engine_options options = {.f32 = true,
                                           .max_num_batched_tokens = 96,
                                           .max_num_seqs = 8,
                                           .block_size = 32,
                                           .template = SA2_TEMPLATE_HF};

/* A rank other than 0. */
static void follow(test_rank *rank, void *context)
{
    test_model model;
    sa2_error err = {0};
    sa2_engine_options own = options;
    (void)context;
    own.comm = rank->comm;
    test_model_open_tiny_rank(&model, 1, sa2_comm_rank(rank->comm), sa2_comm_size(rank->comm));
    if (sa2_engine_follow_model(&model.model, &own, &err) != SA2_OK)
        fail_msg("%s", err.message);
    test_model_close(&model);
}

static int open_world(void **state, int n_ranks)
{
    world *w = calloc(1, sizeof *w);
    sa2_error err = {0};
    sa2_engine_options own = options;
    if (n_ranks > 1) {
        test_team_start(&w->team, n_ranks, 0, follow, NULL);
        own.comm = w->team.ranks[0].comm;
    }
    test_model_open_tiny_rank(&w->model, n_ranks > 1 ? 1 : 2, 0, n_ranks);
    if (sa2_engine_create_from_model(&w->engine, &w->model.model, NULL, &own, &err) != SA2_OK)
        fail_msg("%s", err.message);
    *state = w;
    return 0;
}

static int open_one(void **state)
{
    return open_world(state, 1);
}

static int open_two(void **state)
{
    return open_world(state, 2);
}

static int open_four(void **state)
{
    return open_world(state, 4);
}

static int close_world(void **state)
{
    world *w = *state;
    sa2_engine_destroy(w->engine);
    test_team_join(&w->team);
    test_model_close(&w->model);
    free(w);
    return 0;
}

/* Greedy, past all ends. */
static sa2_request golden_request(const sa2_tensor *ids, int64_t n_tokens)
{
    sa2_request request = sa2_request_default();
    request.sampling.temperature = 0.0f;
    request.sampling.n_logprobs = 0;
    request.max_tokens = (int)n_tokens;
    request.ignore_eos = true;
    if (ids != NULL) {
        request.ids = ids->data;
        request.n_ids = (size_t)ids->shape[0];
    }
    return request;
}

static sa2_tensor numbered(const sa2_golden_case *golden, const char *name, int i,
                           sa2_tensor (*get)(const sa2_golden_case *, const char *))
{
    char full[64];
    snprintf(full, sizeof full, "%s.%d", name, i);
    return get(golden, full);
}

static void prompts_side_by_side_say_what_the_reference_says(void **state)
{
    enum { N = 5 };
    world *w = *state;
    sa2_golden_case *golden = golden_open("language_model/decode_batch.safetensors");
    sa2_request_id ids[N];
    test_answer *answers = calloc(N, sizeof *answers);
    for (int i = 0; i < N; i++) {
        sa2_error err = {0};
        sa2_tensor prompt = numbered(golden, "ids", i, golden_input);
        sa2_tensor rows = numbered(golden, "audio_rows", i, sa2_golden_input);
        sa2_tensor positions = numbered(golden, "audio_positions", i, sa2_golden_input);
        sa2_given_rows given = {rows.data, positions.data,
                                rows.data != NULL ? (int)positions.shape[0] : 0};
        sa2_request r = golden_request(&prompt, 64);
        if (sa2_engine_submit_rows(w->engine, &r, &given, &ids[i], &err) != SA2_OK)
            fail_msg("%s", err.message);
    }
    test_answers_collect(w->engine, ids, answers, N);
    for (int i = 0; i < N; i++) {
        const test_choice *c = &answers[i].choices[0];
        char name[32];
        float logprobs[64];
        assert_int_equal(c->n_tokens, 64);
        for (int k = 0; k < 64; k++)
            logprobs[k] = c->tokens[k].logprob;
        snprintf(name, sizeof name, "tokens.%d", i);
        assert_golden(golden, name, SA2_F32, sa2_tensor_1d(c->ids.data, SA2_I32, 64));
        snprintf(name, sizeof name, "logprobs.%d", i);
        assert_golden(golden, name, SA2_F32, sa2_tensor_1d(logprobs, SA2_F32, 64));
        test_answer_free(&answers[i]);
    }
    free(answers);
    sa2_golden_case_close(golden);
}

static void beams_find_what_the_reference_finds(void **state)
{
    world *w = *state;
    static const char *const names[] = {"beam_2", "beam_2_eos11", "beam_2_eos5",
                                        "beam_4", "beam_4_eos11", "beam_4_eos5"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "language_model/%s.safetensors", names[i]);
        sa2_golden_case *golden = golden_open(path);
        int64_t beams, eos, longest;
        assert_int_equal(sa2_golden_number(golden, "beams", 1, 8, &beams, NULL), SA2_OK);
        assert_int_equal(sa2_golden_number(golden, "eos", 0, 1 << 20, &eos, NULL), SA2_OK);
        assert_int_equal(sa2_golden_number(golden, "max_new_tokens", 1, 100, &longest, NULL),
                         SA2_OK);
        sa2_tensor prompt = golden_input(golden, "ids");
        int32_t stop = (int32_t)eos;
        sa2_request r = golden_request(&prompt, longest);
        r.sampling.n_logprobs = -1;
        r.beam.n_beams = (int)beams;
        r.stop_ids = &stop;
        r.n_stop_ids = 1;
        test_answer answer = {0};
        test_answer_ask(w->engine, &r, &answer);
        const test_choice *c = &answer.choices[0];
        float score = (float)c->score;
        assert_golden(golden, "tokens", SA2_F32,
                      sa2_tensor_1d(c->ids.data, SA2_I32, (int64_t)c->ids.n));
        assert_golden(golden, "score", SA2_F32, sa2_tensor_1d(&score, SA2_F32, 1));
        test_answer_free(&answer);
        sa2_golden_case_close(golden);
    }
}

/* Messages and recordings in, tokens out. */
static void answer_recordings(world *w, const char *name)
{
    enum { MOST = 4 };
    char relative[128], path[1024];
    snprintf(relative, sizeof relative, "golden/language_model/%s.safetensors", name);
    if (!test_shared(path, sizeof path, relative))
        return;
    sa2_golden_case *golden;
    sa2_error err = {0};
    sa2_chat_document *document;
    if (sa2_golden_case_open(&golden, path, &err) != SA2_OK)
        fail_msg("%s", err.message);
    const char *messages = sa2_golden_text(golden, "messages");
    if (sa2_chat_from_json(&document, messages, strlen(messages), &err) != SA2_OK)
        fail_msg("%s", err.message);
    size_t n = sa2_chat_document_n_audio(document);
    assert_in_range(n, 1, MOST);
    sa2_audio audio[MOST] = {0};
    sa2_sound sounds[MOST];
    for (size_t i = 0; i < n; i++) {
        const sa2_chat_item *item = sa2_chat_document_audio(document, i);
        snprintf(relative, sizeof relative, "audio/%.*s", (int)item->n_source, item->source);
        assert_true(test_shared(path, sizeof path, relative));
        sa2_audio_source source = {.path = path};
        if (sa2_audio_read(&audio[i], &source, SA2_CHANNEL_FIRST, SA2_AUDIO_RATE, &err) != SA2_OK)
            fail_msg("%s", err.message);
        sounds[i] = (sa2_sound){audio[i].samples, audio[i].n_samples, SA2_AUDIO_RATE};
    }
    sa2_request r = golden_request(NULL, 48);
    r.chat = sa2_chat_document_chat(document);
    r.sounds = sounds;
    r.n_sounds = n;
    test_answer answer = {0};
    test_answer_ask(w->engine, &r, &answer);
    assert_int_equal(answer.usage.prompt_tokens, golden_input(golden, "ids").shape[0]);
    assert_golden(
        golden, "tokens", SA2_F32,
        sa2_tensor_1d(answer.choices[0].ids.data, SA2_I32, (int64_t)answer.choices[0].ids.n));
    test_answer_free(&answer);
    for (size_t i = 0; i < n; i++)
        sa2_audio_destroy(&audio[i]);
    sa2_chat_document_destroy(document);
    sa2_golden_case_close(golden);
}

static void recordings_are_answered_as_the_reference_does(void **state)
{
    answer_recordings(*state, "end_to_end_great_wall");
    answer_recordings(*state, "end_to_end_speech_multi_turn");
    answer_recordings(*state, "end_to_end_tool_call_query");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_side_by_side_say_what_the_reference_says),
        cmocka_unit_test(beams_find_what_the_reference_finds),
        cmocka_unit_test(recordings_are_answered_as_the_reference_does),
    };
    return cmocka_run_group_tests_name("one rank", tests, open_one, close_world) |
           cmocka_run_group_tests_name("two ranks", tests, open_two, close_world) |
           cmocka_run_group_tests_name("four ranks", tests, open_four, close_world);
}
