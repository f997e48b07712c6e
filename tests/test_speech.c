/* Streams of speech: how long they are, that neither neighbours nor the way codes come change a sample, that one may
 * go at any time, and what is refused. Values are judged by golden cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/small_speech.h"

enum { STREAMS = 4, MAX_CODES = 200, FRAME = 960 /* samples of a code */ };

typedef struct rig {
    sa2_backend *backend;
    sa2_token2wav t;
    sa2_speech_voice voices[2];
} rig;

static int open_rig(void **state)
{
    static rig r;
    sa2_error err = {0};
    const sa2_token2wav_options options = {
        .max_streams = STREAMS, .max_voice_seconds = 1, .max_seconds = MAX_CODES / 25};
    if (sa2_backend_open(&r.backend, &(sa2_backend_options){.n_threads = 2}, &err) != SA2_OK)
        fail_msg("%s", err.message);
    test_speech_open(&r.t, r.backend, &options);
    for (int i = 0; i < 2; i++) {
        sa2_voice voice = test_speech_voice(10 + 8 * i, (uint32_t)i + 1);
        if (sa2_speech_voice_init(&r.t, &r.voices[i], &voice, &err) != SA2_OK)
            fail_msg("%s", err.message);
        sa2_voice_destroy(&voice);
    }
    *state = &r;
    return 0;
}

static int close_rig(void **state)
{
    rig *r = *state;
    for (int i = 0; i < 2; i++)
        sa2_speech_voice_destroy(&r->voices[i]);
    sa2_token2wav_close(&r->t);
    sa2_backend_close(r->backend);
    return 0;
}

/* ---- streams of a test ---- */

/* What one stream says, and what is heard of it. */
typedef struct talk {
    int voice, n;
    uint32_t seed;
    sa2_speech_ladder ladder;
    int32_t codes[MAX_CODES], kept[MAX_CODES];
    sa2_speech speech;
    int n_pushed;
    float samples[MAX_CODES * FRAME];
    int64_t n_samples;
} talk;

static talk make_talk(int voice, int n, uint32_t seed)
{
    talk t = {.voice = voice, .n = n, .seed = seed};
    test_speech_codes(t.codes, n, seed);
    return t;
}

static void begin(rig *r, talk *t)
{
    sa2_error err = {0};
    t->n_samples = t->n_pushed = 0;
    memset(t->samples, 0, sizeof t->samples);
    if (sa2_speech_init(&r->t, &t->speech, &r->voices[t->voice], &t->ladder, t->kept, MAX_CODES,
                        &err) != SA2_OK ||
        sa2_speech_start(&r->t, &t->speech, t->seed, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

static void push(talk *t, int n)
{
    n = n < t->n - t->n_pushed ? n : t->n - t->n_pushed;
    if (n == 0)
        return;
    assert_int_equal(sa2_speech_push(&t->speech, t->codes + t->n_pushed, n, NULL), SA2_OK);
    t->n_pushed += n;
    if (t->n_pushed == t->n)
        sa2_speech_end(&t->speech);
}

static void hear(void *context, int i, const float *samples, int64_t n)
{
    talk *t = ((talk **)context)[i];
    assert_true(t->n_samples + n <= MAX_CODES * FRAME);
    memcpy(t->samples + t->n_samples, samples, (size_t)n * sizeof *samples);
    t->n_samples += n;
}

/* Steps until nothing is ready. */
static void run_ready(rig *r, talk **talks, int n)
{
    sa2_speech *streams[STREAMS];
    int n_chunks = 1;
    sa2_error err = {0};
    for (int i = 0; i < n; i++)
        streams[i] = &talks[i]->speech;
    while (n_chunks > 0)
        if (sa2_speech_step(&r->t, streams, n, hear, talks, &n_chunks, &err) != SA2_OK)
            fail_msg("%s", err.message);
}

/* Codes come `piece` at a time. */
static void run(rig *r, talk **talks, int n, int piece)
{
    bool more = true;
    for (int i = 0; i < n; i++)
        begin(r, talks[i]);
    while (more) {
        more = false;
        for (int i = 0; i < n; i++) {
            push(talks[i], piece);
            more = more || talks[i]->n_pushed < talks[i]->n;
        }
        run_ready(r, talks, n);
    }
    for (int i = 0; i < n; i++) {
        assert_true(sa2_speech_complete(&talks[i]->speech));
        sa2_speech_drop(&r->t, &talks[i]->speech);
    }
}

static void assert_same_sound(const talk *a, const talk *b)
{
    assert_int_equal(a->n_samples, b->n_samples);
    assert_memory_equal(a->samples, b->samples, (size_t)a->n_samples * sizeof *a->samples);
}

/* ---- cases ---- */

static void n_codes_are_960_n_samples_in_chunks_and_whole(void **state)
{
    rig *r = *state;
    static talk t[STREAMS];
    talk *all[STREAMS];
    static const int from[] = {1, 5, 23, 27, 51}; /* around the ends of chunks */
    for (size_t k = 0; k < sizeof from / sizeof from[0]; k++) {
        for (int i = 0; i < STREAMS; i++) {
            t[i] = make_talk(i % 2, from[k] + i, 5);
            all[i] = &t[i];
        }
        run(r, all, STREAMS, MAX_CODES);
        for (int i = 0; i < STREAMS; i++)
            assert_int_equal(t[i].n_samples, t[i].n * FRAME);
    }
    for (int n = 1; n <= MAX_CODES; n++)
        assert_int_equal(sa2_speech_samples(&r->t, n), n * FRAME);
}

static void the_way_codes_come_changes_nothing(void **state)
{
    rig *r = *state;
    static talk a, b;
    a = make_talk(0, 41, 3);
    sa2_speech_ladder_from(&a.ladder, 5, NULL);
    b = a;
    run(r, (talk *[]){&a}, 1, MAX_CODES);
    for (int piece = 1; piece < 20; piece += 9) {
        run(r, (talk *[]){&b}, 1, piece);
        assert_same_sound(&a, &b);
    }
}

static void neighbours_change_nothing(void **state)
{
    rig *r = *state;
    static const struct {
        int voice, n, first;
    } cases[STREAMS] = {{0, 31, 4}, {1, 40, 25}, {0, 7, 0}, {1, 24, 9}};
    static talk alone[STREAMS], together[STREAMS];
    talk *all[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        alone[i] = make_talk(cases[i].voice, cases[i].n, (uint32_t)i);
        if (cases[i].first > 0)
            sa2_speech_ladder_from(&alone[i].ladder, cases[i].first, NULL);
        together[i] = alone[i];
        all[i] = &together[i];
        run(r, (talk *[]){&alone[i]}, 1, MAX_CODES);
    }
    for (int piece = 10; piece <= 40; piece *= 4) {
        run(r, all, STREAMS, piece);
        for (int i = 0; i < STREAMS; i++)
            assert_same_sound(&alone[i], &together[i]);
    }
}

static void one_that_goes_changes_nothing_and_leaves_its_place(void **state)
{
    rig *r = *state;
    static talk alone, stays, goes, follows;
    alone = stays = make_talk(0, 45, 1);
    goes = follows = make_talk(1, 45, 2);
    size_t kept = r->t.kept.used, work = r->t.work.used, host = r->t.host.used;
    run(r, (talk *[]){&alone}, 1, MAX_CODES);

    begin(r, &stays);
    begin(r, &goes);
    push(&stays, 30);
    push(&goes, 30);
    run_ready(r, (talk *[]){&stays, &goes}, 2);
    assert_true(goes.n_samples > 0 && goes.n_samples < 30 * FRAME);
    int place = goes.speech.slot;
    sa2_speech_drop(&r->t, &goes.speech);
    begin(r, &follows);
    assert_int_equal(follows.speech.slot, place);
    push(&stays, 15);
    push(&follows, 45);
    run_ready(r, (talk *[]){&stays, &follows}, 2);
    assert_same_sound(&alone, &stays);
    sa2_speech_drop(&r->t, &stays.speech);
    sa2_speech_drop(&r->t, &follows.speech);

    run(r, (talk *[]){&goes}, 1, MAX_CODES); /* what was there before is forgotten */
    assert_same_sound(&goes, &follows);
    assert_int_equal(r->t.kept.used, kept);
    assert_int_equal(r->t.work.used, work);
    assert_int_equal(r->t.host.used, host);
}

static void a_shorter_first_chunk_is_heard_earlier(void **state)
{
    rig *r = *state;
    static talk t;
    t = make_talk(0, 60, 1);
    assert_int_equal(sa2_speech_ladder_from(&t.ladder, 10, NULL), SA2_OK);
    assert_int_equal(t.ladder.n, 3);
    assert_int_equal(t.ladder.codes[1], 20);
    assert_int_equal(t.ladder.codes[2], SA2_SPEECH_CHUNK);
    begin(r, &t);
    push(&t, 12);
    assert_false(sa2_speech_ready(&r->t, &t.speech)); /* 3 codes ahead */
    push(&t, 1);
    assert_true(sa2_speech_ready(&r->t, &t.speech));
    run_ready(r, (talk *[]){&t}, 1);
    assert_true(t.n_samples > 0);
    sa2_speech_drop(&r->t, &t.speech);
}

static void what_is_no_code_is_passed_over_or_refused(void **state)
{
    rig *r = *state;
    static talk t;
    sa2_error err = {0};
    const int32_t padded[] = {5, 6561, 7, 6562}, negative = -1, more = 3;
    t = make_talk(0, 10, 1);
    begin(r, &t);
    assert_int_equal(sa2_speech_push(&t.speech, padded, 4, &err), SA2_OK);
    assert_int_equal(t.speech.n_codes, 2);
    assert_int_equal(sa2_speech_push(&t.speech, &negative, 1, &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "code -1, 0 to 6560 expected"));
    t.speech.room = 2;
    assert_true(sa2_speech_full(&t.speech));
    assert_int_equal(sa2_speech_push(&t.speech, &more, 1, &err), SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "more than 2 codes"));
    sa2_speech_end(&t.speech);
    assert_int_equal(sa2_speech_push(&t.speech, &more, 1, &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "over"));
    sa2_speech_drop(&r->t, &t.speech);
}

static void chunks_out_of_range_and_too_many_streams_are_refused(void **state)
{
    rig *r = *state;
    static talk t[STREAMS + 1];
    sa2_error err = {0};
    sa2_speech_ladder ladder = {.n = 2, .codes = {25, 1}};
    assert_int_equal(sa2_speech_ladder_from(&ladder, 3, &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "3 codes, 4 to 25 expected"));
    ladder = (sa2_speech_ladder){.n = 2, .codes = {25, 1}};
    assert_int_equal(
        sa2_speech_init(&r->t, &t[0].speech, &r->voices[0], &ladder, t[0].kept, 10, &err),
        SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "chunk 1: 1 codes, 2 to 50 expected"));
    for (int i = 0; i < STREAMS; i++) {
        t[i] = make_talk(0, 10, 1);
        begin(r, &t[i]);
    }
    assert_false(sa2_speech_can_start(&r->t));
    assert_int_equal(
        sa2_speech_init(&r->t, &t[STREAMS].speech, &r->voices[0], NULL, t[STREAMS].kept, 10, &err),
        SA2_OK);
    assert_int_equal(sa2_speech_start(&r->t, &t[STREAMS].speech, 0, &err), SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "all 4 streams are taken"));
    for (int i = 0; i <= STREAMS; i++)
        sa2_speech_drop(&r->t, &t[i].speech);
    assert_true(sa2_speech_can_start(&r->t));
}

static void voices_that_do_not_fit_are_refused(void **state)
{
    rig *r = *state;
    sa2_speech_voice made;
    sa2_error err = {0};
    sa2_voice voice = test_speech_voice(26, 1);
    assert_int_equal(sa2_speech_voice_init(&r->t, &made, &voice, &err), SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "1.0 s, memory is planned for 1 s"));
    voice.n_speaker = 191;
    assert_int_equal(sa2_speech_voice_init(&r->t, &made, &voice, &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "a vector of 191"));
    sa2_voice_destroy(&voice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n_codes_are_960_n_samples_in_chunks_and_whole),
        cmocka_unit_test(the_way_codes_come_changes_nothing),
        cmocka_unit_test(neighbours_change_nothing),
        cmocka_unit_test(one_that_goes_changes_nothing_and_leaves_its_place),
        cmocka_unit_test(a_shorter_first_chunk_is_heard_earlier),
        cmocka_unit_test(what_is_no_code_is_passed_over_or_refused),
        cmocka_unit_test(chunks_out_of_range_and_too_many_streams_are_refused),
        cmocka_unit_test(voices_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
