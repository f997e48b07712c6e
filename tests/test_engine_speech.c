/* Spoken answers with sound: what is heard is what a stream of the same codes gives, whoever else speaks; it comes
 * before the end is told; voices are there until they are removed. On SA2_TEST_DEVICE, where that is set, only what is another
 * matter there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/small_model.h"
#include "tests/support/small_speech.h"

enum { CODES = 6561, MAX_ANSWER = 75, FRAME = 960 };

typedef struct world {
    test_model model;
    sa2_token2wav token2wav;
    sa2_voice voices[2];
    sa2_engine *engine;
    int32_t codes[CODES]; /* ids of all speech codes */
    int32_t prompt[3];
} world;

static const char *const names[] = {"anna", "bert"};

static void open_engine(world *w, const sa2_engine_options *options)
{
    sa2_error err = {0};
    if (sa2_engine_create_from_model(&w->engine, &w->model.model, &w->token2wav, options, &err) !=
        SA2_OK)
        fail_msg("%s", err.message);
}

static int open_world(void **state)
{
    static world w;
    sa2_error err = {0};
    const char *device = getenv("SA2_TEST_DEVICE");
    test_model_open_on(&w.model, device != NULL ? device : "cpu", 2);
    const sa2_token2wav_options speech = {
        .max_streams = 2, .max_voice_seconds = 1, .max_seconds = 3};
    test_speech_open(&w.token2wav, w.model.backend, &speech);
    const sa2_engine_options options = {.max_num_seqs = 6, .max_voices = 2};
    open_engine(&w, &options);
    for (int i = 0; i < (device != NULL ? 1 : 2); i++) {
        w.voices[i] = test_speech_voice(12 + 5 * i, (uint32_t)i);
        if (sa2_engine_add_voice(w.engine, names[i], &w.voices[i], &err) != SA2_OK)
            fail_msg("%s", err.message);
    }
    const sa2_special *special = sa2_engine_special(w.engine);
    for (int i = 0; i < CODES; i++)
        w.codes[i] = special->speech_first + i;
    w.prompt[0] = 10;
    w.prompt[1] = 20;
    w.prompt[2] = special->tts_start;
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sa2_engine_destroy(w->engine);
    for (int i = 0; i < 2; i++)
        sa2_voice_destroy(&w->voices[i]);
    sa2_token2wav_close(&w->token2wav);
    test_model_close(&w->model);
    return 0;
}

/* Says `n` codes. */
static sa2_request speech_of(const world *w, int n, int64_t seed, const char *voice)
{
    sa2_request request = sa2_request_default();
    request.ids = w->prompt;
    request.n_ids = 3;
    request.sampling.allowed = (sa2_token_list){w->codes, CODES};
    request.sampling.seed = seed;
    request.max_tokens = n;
    request.ignore_eos = true;
    request.voice = voice;
    return request;
}

/* ---- what a stream alone gives ---- */

typedef struct heard {
    float *samples;
    int64_t n;
} heard;

static void hear(void *context, int i, const float *samples, int64_t n)
{
    heard *h = context;
    (void)i;
    memcpy(h->samples + h->n, samples, (size_t)n * sizeof *samples);
    h->n += n;
}

/* The engine is idle meanwhile. */
static heard stream_alone(world *w, int voice, const sa2_ids *codes, int first, uint64_t seed)
{
    heard h = {.samples = malloc(MAX_ANSWER * FRAME * sizeof(float))};
    int32_t kept[MAX_ANSWER];
    sa2_speech_voice made;
    sa2_speech speech, *one = &speech;
    sa2_speech_ladder ladder = {0};
    sa2_error err = {0};
    int n_chunks;
    sa2_status st = sa2_speech_voice_init(&w->token2wav, &made, &w->voices[voice], &err);
    if (st == SA2_OK && first > 0)
        st = sa2_speech_ladder_from(&ladder, first, &err);
    if (st == SA2_OK)
        st = sa2_speech_init(&w->token2wav, &speech, &made, &ladder, kept, MAX_ANSWER, &err);
    if (st == SA2_OK)
        st = sa2_speech_start(&w->token2wav, &speech, seed, &err);
    if (st == SA2_OK)
        st = sa2_speech_push(&speech, codes->data, (int)codes->n, &err);
    sa2_speech_end(&speech);
    while (st == SA2_OK && !sa2_speech_complete(&speech))
        st = sa2_speech_step(&w->token2wav, &one, 1, hear, &h, &n_chunks, &err);
    if (st != SA2_OK)
        fail_msg("%s", err.message);
    sa2_speech_drop(&w->token2wav, &speech);
    sa2_speech_voice_destroy(&made);
    return h;
}

static void assert_heard(world *w, const test_choice *c, int voice, int first, uint64_t seed)
{
    heard h = stream_alone(w, voice, &c->codes, first, seed);
    assert_int_equal(c->sound.n, (size_t)h.n * sizeof *h.samples);
    assert_memory_equal(c->sound.data, h.samples, c->sound.n);
    assert_int_equal(h.n, (int64_t)c->codes.n * FRAME);
    free(h.samples);
}

/* ---- cases ---- */

static void an_answer_sounds_as_its_codes_do(void **state)
{
    world *w = *state;
    static const struct {
        int voice, n, first;
        uint64_t seed;
    } cases[] = {{0, 30, 0, 0}, {1, 21, 6, 3}, {0, 1, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_answer a = {0};
        sa2_request r = speech_of(w, cases[i].n, (int64_t)i, names[cases[i].voice]);
        r.first_chunk = cases[i].first;
        r.sound_seed = cases[i].seed;
        test_answer_ask(w->engine, &r, &a);
        assert_int_equal(a.choices[0].codes.n, cases[i].n);
        assert_true(a.timings.first_audio_ms > a.timings.first_token_ms);
        assert_heard(w, &a.choices[0], cases[i].voice, cases[i].first, cases[i].seed);
        test_answer_free(&a);
    }
}

static void neighbours_change_nothing_and_wait_for_their_turn(void **state)
{
    world *w = *state;
    enum { N = 4 }; /* five utterances for two streams */
    static test_answer alone[N], together[N];
    sa2_request r[N];
    for (int i = 0; i < N; i++) {
        r[i] = speech_of(w, 5 + 8 * i, i, names[i % 2]);
        r[i].first_chunk = i == 1 ? 5 : 0;
        r[i].n = i == 2 ? 2 : 1;
        test_answer_ask(w->engine, &r[i], &alone[i]);
    }
    test_answers_ask(w->engine, r, together, N);
    for (int i = 0; i < N; i++) {
        assert_same_answer("neighbours", &alone[i], &together[i]);
        test_answer_free(&alone[i]);
        test_answer_free(&together[i]);
    }
}

static void sound_comes_before_the_end_is_told_and_while_codes_come(void **state)
{
    world *w = *state;
    sa2_request r = speech_of(w, 60, 4, names[0]);
    sa2_request_id id;
    assert_int_equal(sa2_engine_submit(w->engine, &r, &id, NULL), SA2_OK);
    size_t n_codes = 0, n_samples = 0;
    bool early = false, finished = false;
    for (sa2_event_kind kind = SA2_EVENT_NONE; kind != SA2_EVENT_DONE;) {
        sa2_event *e = sa2_engine_poll(w->engine, -1);
        kind = e->kind;
        n_codes += e->n_codes;
        n_samples += e->n_samples;
        if (kind == SA2_EVENT_AUDIO) {
            assert_false(finished);
            early = early || n_codes < 60;
        }
        if (kind == SA2_EVENT_FINISHED) {
            assert_int_equal(n_samples, 60 * FRAME);
            finished = true;
        }
        sa2_event_release(w->engine, e);
    }
    assert_true(early);
    assert_true(finished);
}

static void a_cancelled_answer_stops_sounding_and_others_go_on(void **state)
{
    world *w = *state;
    static test_answer alone, stays;
    sa2_request keep = speech_of(w, 32, 1, names[0]), drop = speech_of(w, 60, 2, names[1]);
    sa2_request_id kept, dropped;
    test_answer_ask(w->engine, &keep, &alone);
    assert_int_equal(sa2_engine_submit(w->engine, &drop, &dropped, NULL), SA2_OK);
    assert_int_equal(sa2_engine_submit(w->engine, &keep, &kept, NULL), SA2_OK);
    bool over = false;
    size_t n = 0;
    while (!over || stays.n_done == 0) {
        sa2_event *e = sa2_engine_poll(w->engine, -1);
        if (e->request == kept) {
            test_answer_take(&stays, e);
        } else if (e->kind == SA2_EVENT_AUDIO) {
            n += e->n_samples;
            sa2_engine_cancel(w->engine, dropped);
        } else if (e->kind == SA2_EVENT_FINISHED) {
            assert_int_equal(e->finish, SA2_FINISH_CANCELLED);
        }
        over = over || (e->request == dropped && e->kind == SA2_EVENT_DONE);
        sa2_event_release(w->engine, e);
    }
    assert_true(n > 0 && n < 60 * FRAME);
    assert_same_answer("who stays", &alone, &stays);
    test_answer_free(&alone);
    test_answer_free(&stays);
}

/* On a device that computes while the host goes on; a processor has made a chunk when it is asked for. */
static void answers_go_on_while_sound_is_made(void **state)
{
    world *w = *state;
    sa2_engine_stats before, after;
    test_answer a = {0};
    sa2_request r = speech_of(w, 10, 4, names[0]);
    r.first_chunk = 4;
    sa2_engine_get_stats(w->engine, &before);
    test_answer_ask(w->engine, &r, &a);
    sa2_engine_get_stats(w->engine, &after);
    bool computes_late = getenv("SA2_CUDASIM_LATE") != NULL;
    assert_int_equal(after.n_steps_beside_sound > before.n_steps_beside_sound, computes_late);
    assert_heard(w, &a.choices[0], 0, 4, 0);
    test_answer_free(&a);
}

static void an_answer_ends_where_the_planned_sound_ends(void **state)
{
    world *w = *state;
    test_answer a = {0};
    sa2_request r = speech_of(w, 300, 1, names[0]);
    test_answer_ask(w->engine, &r, &a);
    assert_int_equal(a.choices[0].codes.n, MAX_ANSWER);
    assert_int_equal(a.choices[0].finish, SA2_FINISH_LENGTH);
    assert_int_equal(a.choices[0].sound.n, MAX_ANSWER * FRAME * sizeof(float));
    test_answer_free(&a);
}

static void an_answer_without_codes_or_without_a_voice_has_no_sound(void **state)
{
    world *w = *state;
    test_answer a = {0};
    const int32_t text[] = {100, 101, 102};
    sa2_request r = speech_of(w, 20, 1, names[0]);
    r.sampling.allowed = (sa2_token_list){text, 3};
    test_answer_ask(w->engine, &r, &a);
    assert_int_equal(a.n_done, 1);
    assert_int_equal(a.choices[0].n_finished, 1);
    assert_int_equal(a.choices[0].sound.n, 0);
    assert_true(a.timings.first_audio_ms < 0.0);
    test_answer_free(&a);
    r = speech_of(w, 30, 1, NULL);
    test_answer_ask(w->engine, &r, &a);
    assert_int_equal(a.choices[0].codes.n, 30);
    assert_int_equal(a.choices[0].sound.n, 0);
    test_answer_free(&a);
}

static void a_given_text_is_spoken_word_for_word(void **state)
{
    world *w = *state;
    const char *text = "Seven, or <|EOT|>?";
    for (int64_t seed = 0; seed < 3; seed++) {
        test_answer a = {0};
        sa2_request r = speech_of(w, 0, seed, names[0]);
        r.sampling.allowed = (sa2_token_list){0};
        r.ignore_eos = false;
        r.say = text;
        r.max_tokens = 150;
        test_answer_ask(w->engine, &r, &a);
        test_choice *c = &a.choices[0];
        assert_string_equal(sa2_bytes_text(&c->spoken), text);
        assert_int_equal(c->text.n, 0);
        assert_int_equal(c->sound.n, c->codes.n * FRAME * sizeof(float));
        const sa2_special *special = sa2_engine_special(w->engine);
        bool ended = false;
        for (size_t i = 0; i < c->ids.n && !ended; i++) {
            int32_t id = c->ids.data[i];
            ended = id == special->tts_end;
            bool speech = id >= special->speech_first && id <= special->speech_pad;
            assert_int_equal(speech, i % 5 != 0);
        }
        assert_int_equal(c->finish, ended ? SA2_FINISH_STOP : SA2_FINISH_LENGTH);
        test_answer_free(&a);
    }
}

static void what_cannot_be_spoken_is_refused(void **state)
{
    world *w = *state;
    sa2_error err = {0};
    sa2_request r = speech_of(w, 20, 1, "carl");
    assert_request_refused(w->engine, &r, SA2_ERR_ARG, "no \"carl\" here; there are: anna, bert");
    r = speech_of(w, 20, 1, "");
    assert_request_refused(w->engine, &r, SA2_ERR_ARG, "no \"\" here");
    r = speech_of(w, 20, 1, names[0]);
    r.first_chunk = 3;
    assert_request_refused(w->engine, &r, SA2_ERR_ARG,
                           "first_chunk: 0, or 4 to 25 codes expected, found 3");
    r = speech_of(w, 20, 1, names[0]);
    r.beam.n_beams = 2;
    assert_request_refused(w->engine, &r, SA2_ERR_ARG, "beam.n_beams: none with a voice");
    r = speech_of(w, 20, 1, names[0]);
    r.say = "good day";
    assert_request_refused(w->engine, &r, SA2_ERR_ARG, "sampling.allowed: none with say");
    r.sampling.allowed = (sa2_token_list){0};
    r.max_tokens = 5;
    assert_request_refused(w->engine, &r, SA2_ERR_LIMIT, "there is room for 5");
    r.say = "";
    assert_request_refused(w->engine, &r, SA2_ERR_ARG, "say: it is empty");
    sa2_chat_item hello = {.kind = SA2_CHAT_TEXT, .text = "hello", .n_bytes = 5};
    r = speech_of(w, 20, 1, names[0]);
    r.ids = NULL;
    r.n_ids = 0;
    r.pieces = &hello;
    r.n_pieces = 1;
    assert_request_refused(w->engine, &r, SA2_ERR_ARG, "voice: an answer that is to be spoken");

    sa2_engine *silent;
    const sa2_engine_options options = {.max_num_seqs = 1};
    assert_int_equal(sa2_engine_create_from_model(&silent, &w->model.model, NULL, &options, NULL),
                     SA2_OK);
    r = speech_of(w, 20, 1, names[0]);
    assert_request_refused(silent, &r, SA2_ERR_UNSUPPORTED, "opened without speech");
    assert_int_equal(sa2_engine_add_voice(silent, "anna", &w->voices[0], &err),
                     SA2_ERR_UNSUPPORTED);
    assert_int_equal(sa2_engine_remove_voice(silent, "anna", &err), SA2_ERR_UNSUPPORTED);
    sa2_engine_destroy(silent);
}

static void voices_come_and_go(void **state)
{
    world *w = *state;
    sa2_error err = {0};
    assert_int_equal(sa2_engine_add_voice(w->engine, "carl", &w->voices[0], &err), SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "\"carl\" is one too many, there are 2"));
    assert_int_equal(sa2_engine_add_voice(w->engine, "anna", &w->voices[0], &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "\"anna\" is there already"));
    assert_int_equal(sa2_engine_add_voice(w->engine, "", &w->voices[0], &err), SA2_ERR_ARG);
    assert_int_equal(sa2_engine_remove_voice(w->engine, "carl", &err), SA2_ERR_ARG);

    sa2_request r = speech_of(w, 20, 1, "bert");
    sa2_request_id id;
    static test_answer a;
    sa2_engine_pause(w->engine);
    assert_int_equal(sa2_engine_submit(w->engine, &r, &id, NULL), SA2_OK);
    assert_int_equal(sa2_engine_remove_voice(w->engine, "bert", &err), SA2_ERR_ARG);
    sa2_engine_resume(w->engine);
    assert_non_null(strstr(err.message, "1 requests speak in \"bert\""));
    test_answers_collect(w->engine, &id, &a, 1);
    test_answer_free(&a);
    assert_int_equal(sa2_engine_remove_voice(w->engine, "bert", &err), SA2_OK);
    assert_int_equal(sa2_engine_add_voice(w->engine, "bert", &w->voices[1], &err), SA2_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_sounds_as_its_codes_do),
        cmocka_unit_test(neighbours_change_nothing_and_wait_for_their_turn),
        cmocka_unit_test(sound_comes_before_the_end_is_told_and_while_codes_come),
        cmocka_unit_test(a_cancelled_answer_stops_sounding_and_others_go_on),
        cmocka_unit_test(answers_go_on_while_sound_is_made),
        cmocka_unit_test(an_answer_ends_where_the_planned_sound_ends),
        cmocka_unit_test(an_answer_without_codes_or_without_a_voice_has_no_sound),
        cmocka_unit_test(a_given_text_is_spoken_word_for_word),
        cmocka_unit_test(what_cannot_be_spoken_is_refused),
        cmocka_unit_test(voices_come_and_go),
    };
    if (getenv("SA2_TEST_DEVICE") != NULL)
        cmocka_set_test_filter("answers_go_on_while_sound_is_made");
    return cmocka_run_group_tests(tests, open_world, close_world);
}
