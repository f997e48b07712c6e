/* The model that is built in, as somebody meets it who talks to it: it writes down what it hears, answers, and speaks.
 * Its recordings are in voices that were not trained on. Without the model there is nothing to test. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/audio/audio_file.h"
#include "runtime/audio/mel.h"
#include "runtime/engine.h"
#include "runtime/token2wav/token2wav.h"
#include "tests/support/answers.h"
#include "tests/support/test_files.h"

#define NANO SA2_TEST_MODELS "/nano"

/* Of the twelve: what the model can do (tools/nano/README.md has the figures), less one that may turn over where other
 * instructions sum in another order. */
enum { LEAST_HEARD = 10, LEAST_ANSWERED = 9, SPOKEN = 3 };

/* Nepers. The streamed answer sees no more than its chunks: another sound of the same codes. */
static const double streamed_off = 1.0, kept_off = 0.1;

enum { MAX_QUESTIONS = 16, TEXT = 128, FRAME = 960, MAX_CODES = 250 };

typedef struct question {
    char asked[TEXT], answer[TEXT];
    sa2_audio sound; /* 16 kHz */
} question;

typedef struct world {
    sa2_engine *engine;
    sa2_backend *backend;
    sa2_token2wav token2wav;
    sa2_voice voice;
    question questions[MAX_QUESTIONS];
    int n;
} world;

static void read_questions(world *w)
{
    size_t bytes;
    char *text = test_read_file(NANO "/questions/questions.tsv", &bytes), *rest = text;
    for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL && w->n < MAX_QUESTIONS;) {
        question *q = &w->questions[w->n++];
        char path[512], *name = strtok_r(line, "\t", &line), *asked = strtok_r(line, "\t", &line);
        snprintf(q->asked, sizeof q->asked, "%s", asked);
        snprintf(q->answer, sizeof q->answer, "%s", line);
        snprintf(path, sizeof path, NANO "/questions/%s.flac", name);
        assert_int_equal(sa2_audio_read(&q->sound, &(sa2_audio_source){.path = path},
                                        SA2_CHANNEL_FIRST, 16000, NULL),
                         SA2_OK);
    }
    free(text);
}

static void read_voice(world *w)
{
    sa2_voice_encoder encoder;
    sa2_error err = {0};
    const sa2_audio_source source = {.path = NANO "/assets/anna.wav"};
    const sa2_voice_options options = {.mel_bins = w->token2wav.flow.config.mel,
                                       .frames_per_token = w->token2wav.flow.config.up_stride,
                                       .max_seconds = 17};
    if (sa2_voice_encoder_open(&encoder, w->backend, NANO "/token2wav", &options, &err) != SA2_OK ||
        sa2_voice_encode(&encoder, &source, &w->voice, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_voice_encoder_close(&encoder);
}

static int open_world(void **state)
{
    static world w;
    sa2_error err = {0};
    const sa2_token2wav_options speech = {.max_voice_seconds = 17, .max_seconds = 10};
    const sa2_engine_options options = {.n_threads = 2,
                                        .max_num_seqs = MAX_QUESTIONS,
                                        .kv_cache_bytes = 64 << 20,
                                        .speech = true,
                                        .max_speech_seconds = 10};
    if (access(NANO, F_OK) != 0)
        return 0;
    if (sa2_backend_open(&w.backend, &(sa2_backend_options){.n_threads = 2}, &err) != SA2_OK ||
        sa2_token2wav_open(&w.token2wav, w.backend, NANO "/token2wav", &speech, &err) != SA2_OK ||
        sa2_engine_create(&w.engine, NANO, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    read_questions(&w);
    read_voice(&w);
    if (sa2_engine_add_voice(w.engine, "anna", &w.voice, &err) != SA2_OK)
        fail_msg("%s", err.message);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    if (w == NULL)
        return 0;
    sa2_engine_destroy(w->engine);
    sa2_voice_destroy(&w->voice);
    sa2_token2wav_close(&w->token2wav);
    sa2_backend_close(w->backend);
    for (int i = 0; i < w->n; i++)
        sa2_audio_destroy(&w->questions[i].sound);
    return 0;
}

/* ---- asking ---- */

typedef struct asked {
    sa2_chat_item items[2]; /* what the model is told to be, and the question */
    sa2_chat_message messages[2];
    sa2_chat chat;
    sa2_sound sound;
    sa2_request request;
} asked;

/* `a` stays where it is until the request is submitted. */
static void ask(asked *a, const question *q, const char *system)
{
    *a = (asked){.items = {{.kind = SA2_CHAT_TEXT, .text = system, .n_bytes = strlen(system)},
                           {.kind = SA2_CHAT_AUDIO}},
                 .sound = {q->sound.samples, q->sound.n_samples, 16000},
                 .request = sa2_request_default()};
    a->messages[0] = (sa2_chat_message){
        .role = "system", .content = SA2_CONTENT_STRING, .items = &a->items[0], .n_items = 1};
    a->messages[1] = (sa2_chat_message){
        .role = "human", .content = SA2_CONTENT_LIST, .items = &a->items[1], .n_items = 1};
    a->chat = (sa2_chat){.messages = a->messages, .n_messages = 2};
    a->request.chat = &a->chat;
    a->request.sounds = &a->sound;
    a->request.n_sounds = 1;
    a->request.sampling.temperature = 0.0f;
    a->request.sampling.n_logprobs = 0;
    a->request.max_tokens = 400;
}

static const char *const write_down = "请记录下你所听到的语音内容。";
static const char *const assistant = "You are a helpful assistant.";

static bool is_text(const sa2_bytes *found, const char *want)
{
    const char *text = sa2_bytes_text(found);
    size_t n = strlen(want);
    while (*text == ' ')
        text++;
    return strncmp(text, want, n) == 0 && strspn(text + n, " \n") == strlen(text + n);
}

/* How many of the questions give what is wanted, each asked alone. */
static int count_right(world *w, const char *system, bool answers)
{
    int right = 0;
    for (int i = 0; i < w->n; i++) {
        asked a;
        test_answer *answer = calloc(1, sizeof *answer);
        const question *q = &w->questions[i];
        const char *want = answers ? q->answer : q->asked;
        assert_non_null(answer);
        ask(&a, q, system);
        test_answer_ask(w->engine, &a.request, answer);
        bool good = is_text(&answer->choices[0].text, want);
        if (!good)
            print_message("\"%s\" expected, \"%s\" found\n", want,
                          sa2_bytes_text(&answer->choices[0].text));
        right += good;
        test_answer_free(answer);
        free(answer);
    }
    return right;
}

static void need_model(void **state)
{
    if (*state == NULL) {
        print_message("no nano model in this build: skipped\n");
        skip();
    }
}

static void what_is_asked_is_written_down(void **state)
{
    need_model(state);
    world *w = *state;
    assert_true(w->n >= 10);
    assert_true(count_right(w, write_down, false) >= LEAST_HEARD);
}

static void questions_are_answered(void **state)
{
    need_model(state);
    world *w = *state;
    assert_true(count_right(w, assistant, true) >= LEAST_ANSWERED);
}

static void all_at_once_say_what_each_says_alone(void **state)
{
    need_model(state);
    world *w = *state;
    test_answer *alone = calloc((size_t)w->n, sizeof *alone);
    test_answer *together = calloc((size_t)w->n, sizeof *together);
    sa2_request_id ids[MAX_QUESTIONS];
    asked a;
    for (int i = 0; i < w->n; i++) {
        ask(&a, &w->questions[i], assistant);
        test_answer_ask(w->engine, &a.request, &alone[i]);
    }
    for (int i = 0; i < w->n; i++) {
        ask(&a, &w->questions[i], assistant);
        assert_int_equal(sa2_engine_submit(w->engine, &a.request, &ids[i], NULL), SA2_OK);
    }
    test_answers_collect(w->engine, ids, together, w->n);
    for (int i = 0; i < w->n; i++) {
        assert_same_answer(w->questions[i].asked, &alone[i], &together[i]);
        test_answer_free(&alone[i]);
        test_answer_free(&together[i]);
    }
    free(alone);
    free(together);
}

/* ---- speech ---- */

/* Mean distance of two sounds' log-mels, natural logarithms of magnitudes, where either is loud enough to be heard. */
static double mel_distance(world *w, const float *a, const float *b, int64_t n)
{
    enum { ROOM = 256 << 20 };
    sa2_mel_config config = sa2_mel_of_prompt(80);
    sa2_mel_plan plan;
    sa2_arena arena = {0};
    sa2_stream *s = NULL;
    const float *both[] = {a, b};
    const int64_t lengths[] = {n, n};
    int32_t offsets[3];
    int64_t frames = sa2_mel_frames(&config, n);
    double sum = 0.0;
    int64_t heard = 0;
    assert_int_equal(sa2_arena_create(&arena, ROOM, NULL), SA2_OK);
    assert_int_equal(sa2_stream_create(&s, w->backend, ROOM, NULL), SA2_OK);
    assert_int_equal(sa2_mel_plan_create(&plan, &config, s, &arena, NULL), SA2_OK);
    sa2_tensor mel = sa2_tensor_2d(NULL, SA2_F32, 2 * frames, 80);
    mel.data = sa2_arena_take(&arena, sa2_tensor_bytes(&mel));
    assert_int_equal(
        sa2_mel_forward(s, &plan, &arena, mel, (sa2_clips){2, both, lengths}, offsets, NULL),
        SA2_OK);
    assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
    const float *x = mel.data, *y = x + frames * 80;
    for (int64_t i = 0; i < frames * 80; i++)
        if (x[i] > -5.0f || y[i] > -5.0f) {
            sum += fabs((double)x[i] - (double)y[i]);
            heard++;
        }
    sa2_stream_destroy(s);
    sa2_arena_destroy(&arena);
    assert_true(heard > frames);
    return sum / (double)heard;
}

static double loudness(const float *x, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum / (double)n);
}

/* The text of the answer is said, and the sound that came in pieces is that of its codes at once. */
static void an_answer_is_spoken(void **state)
{
    need_model(state);
    world *w = *state;
    asked a;
    test_answer *answer = calloc(1, sizeof *answer);
    assert_non_null(answer);
    ask(&a, &w->questions[SPOKEN], assistant);
    a.request.speak = true;
    a.request.voice = "anna";
    a.request.sound_seed = 1;
    test_answer_ask(w->engine, &a.request, answer);
    const test_choice *c = &answer->choices[0];
    if (!is_text(&c->spoken, w->questions[SPOKEN].answer))
        fail_msg("\"%s\" expected, \"%s\" found", w->questions[SPOKEN].answer,
                 sa2_bytes_text(&c->spoken));
    int n = (int)c->codes.n;
    assert_in_range(n, 25, MAX_CODES); /* a second to ten */
    int64_t samples = sa2_speech_samples(&w->token2wav, n);
    assert_int_equal(c->sound.n, (size_t)samples * sizeof(float));
    float *whole = malloc((size_t)samples * sizeof *whole);
    const float *streamed = (const float *)(const void *)c->sound.data;
    assert_non_null(whole);
    assert_int_equal(
        sa2_token2wav_whole(&w->token2wav, &w->voice, c->codes.data, n, 1, NULL, whole, NULL),
        SA2_OK);
    assert_true(loudness(whole, samples) > 0.01);
    double off = mel_distance(w, whole, streamed, samples);
    if (!(off < streamed_off))
        fail_msg("the streamed answer is %g nepers off", off);
    free(whole);
    test_answer_free(answer);
    free(answer);
}

/* Codes and sound of an answer as they were when the model was put here. */
static void codes_sound_as_they_did(void **state)
{
    need_model(state);
    world *w = *state;
    char path[512];
    size_t bytes;
    int32_t codes[MAX_CODES];
    int n = 0;
    sa2_audio kept = {0};
    char *text = test_read_file(test_data(path, sizeof path, "nano/reply.txt"), &bytes), *at = text;
    for (char *end; n < MAX_CODES; at = end) {
        codes[n] = (int32_t)strtol(at, &end, 10);
        if (end == at)
            break;
        n++;
    }
    free(text);
    test_data(path, sizeof path, "nano/reply.flac");
    assert_int_equal(
        sa2_audio_read(&kept, &(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, 24000, NULL),
        SA2_OK);
    assert_int_equal(kept.n_samples, sa2_speech_samples(&w->token2wav, n));
    float *found = malloc((size_t)kept.n_samples * sizeof *found);
    assert_non_null(found);
    assert_int_equal(sa2_token2wav_whole(&w->token2wav, &w->voice, codes, n, 1, NULL, found, NULL),
                     SA2_OK);
    double off = mel_distance(w, kept.samples, found, kept.n_samples);
    if (!(off < kept_off))
        fail_msg("the sound is %g nepers off", off);
    free(found);
    sa2_audio_destroy(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_is_written_down),
        cmocka_unit_test(questions_are_answered),
        cmocka_unit_test(all_at_once_say_what_each_says_alone),
        cmocka_unit_test(an_answer_is_spoken),
        cmocka_unit_test(codes_sound_as_they_did),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
