/* Voices that are kept: a hit equals the miss before it, and no file of the folder is believed unseen. */
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "runtime/token2wav/voice_cache.h"
#include "runtime/token2wav/voice_file.h"
#include "tests/support/small_voice.h"
#include "tests/support/test_files.h"

enum { RATE = 16000, N = RATE / 2 };

typedef struct env {
    sa2_backend *backend;
    sa2_voice_encoder encoder;
    float samples[4][N];
    char folder[1024];
} env;

static int open_env(void **state)
{
    static env e;
    e.backend = test_voice_open(&e.encoder, 5, SA2_PARTIAL_KERNEL);
    for (uint32_t i = 0; i < 4; i++)
        test_recording(e.samples[i], N, 1, RATE, i);
    *state = &e;
    return 0;
}

static int close_env(void **state)
{
    env *e = *state;
    sa2_voice_encoder_close(&e->encoder);
    sa2_backend_close(e->backend);
    return 0;
}

static sa2_audio_source recording(env *e, int i)
{
    return test_samples(e->samples[i], N, 1, RATE);
}

static sa2_voice_cache *opened(env *e, const char *folder, int max_voices)
{
    sa2_voice_cache *cache;
    sa2_error err = {0};
    if (sa2_voice_cache_create(&cache, &e->encoder, folder, max_voices, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return cache;
}

static const sa2_voice *got(sa2_voice_cache *cache, sa2_audio_source source,
                            sa2_voice_origin origin)
{
    const sa2_voice *voice;
    sa2_voice_report report;
    sa2_error err = {0};
    if (sa2_voice_cache_get(cache, &source, &voice, &report, &err) != SA2_OK)
        fail_msg("%s", err.message);
    if (report.note[0] != '\0')
        fail_msg("%s", report.note);
    assert_int_equal(report.origin, origin);
    return voice;
}

static void assert_same_voice(const sa2_voice *a, const sa2_voice *b)
{
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->n_speaker, b->n_speaker);
    assert_int_equal(a->n_frames, b->n_frames);
    assert_int_equal(a->mel_bins, b->mel_bins);
    assert_memory_equal(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof(int32_t));
    assert_memory_equal(a->speaker, b->speaker, (size_t)a->n_speaker * sizeof(float));
    assert_memory_equal(a->mel, b->mel, (size_t)a->n_frames * (size_t)a->mel_bins * sizeof(float));
}

/* ---- hits ---- */

static void a_hit_equals_the_miss_before_it(void **state)
{
    env *e = *state;
    sa2_voice plain;
    sa2_audio_source source = recording(e, 0);
    test_folder_create(e->folder, sizeof e->folder);
    assert_int_equal(sa2_voice_encode(&e->encoder, &source, &plain, NULL), SA2_OK);
    sa2_voice_cache *cache = opened(e, e->folder, 2);
    const sa2_voice *first = got(cache, source, SA2_VOICE_ENCODED);
    assert_same_voice(first, &plain);
    assert_ptr_equal(got(cache, source, SA2_VOICE_FROM_MEMORY), first);
    sa2_voice_cache *later = opened(e, e->folder, 2); /* another process, as it were */
    assert_same_voice(got(later, source, SA2_VOICE_FROM_FOLDER), &plain);
    got(later, source, SA2_VOICE_FROM_MEMORY);
    sa2_voice_cache_destroy(later);
    sa2_voice_cache_destroy(cache);
    sa2_voice_destroy(&plain);
    test_folder_remove(e->folder);
}

static void a_recording_is_known_by_its_content(void **state)
{
    env *e = *state;
    char here[1100], there[1100];
    test_folder_create(e->folder, sizeof e->folder);
    snprintf(here, sizeof here, "%s/a.raw", e->folder);
    snprintf(there, sizeof there, "%s/b.raw", e->folder);
    test_write_file(here, e->samples[0], sizeof e->samples[0]);
    test_write_file(there, e->samples[0], sizeof e->samples[0]);
    sa2_audio_source source = recording(e, 0);
    sa2_voice_cache *cache = opened(e, NULL, 8);
    const sa2_voice *voice = got(cache, source, SA2_VOICE_ENCODED);
    source.bytes = NULL;
    source.path = here;
    assert_ptr_equal(got(cache, source, SA2_VOICE_FROM_MEMORY), voice);
    source.path = there;
    assert_ptr_equal(got(cache, source, SA2_VOICE_FROM_MEMORY), voice);
    source.pcm_rate = 2 * RATE; /* the same bytes, read in another way */
    got(cache, source, SA2_VOICE_ENCODED);
    test_write_file(there, e->samples[1], sizeof e->samples[1]);
    source.pcm_rate = RATE;
    got(cache, source, SA2_VOICE_ENCODED);
    sa2_voice_cache_destroy(cache);
    test_folder_remove(e->folder);
}

static void a_voice_of_another_encoder_is_not_taken(void **state)
{
    env *e = *state;
    test_folder_create(e->folder, sizeof e->folder);
    sa2_voice_cache *cache = opened(e, e->folder, 2);
    got(cache, recording(e, 0), SA2_VOICE_ENCODED);
    sa2_voice_cache_destroy(cache);
    e->encoder.options.partial = SA2_PARTIAL_TRUE;
    cache = opened(e, e->folder, 2);
    got(cache, recording(e, 0), SA2_VOICE_ENCODED);
    sa2_voice_cache_destroy(cache);
    e->encoder.options.partial = SA2_PARTIAL_KERNEL;
    e->encoder.identity++; /* other weights */
    cache = opened(e, e->folder, 2);
    got(cache, recording(e, 0), SA2_VOICE_ENCODED);
    sa2_voice_cache_destroy(cache);
    e->encoder.identity--;
    cache = opened(e, e->folder, 2);
    got(cache, recording(e, 0), SA2_VOICE_FROM_FOLDER);
    sa2_voice_cache_destroy(cache);
    test_folder_remove(e->folder);
}

static void the_voice_unused_for_the_longest_time_makes_room(void **state)
{
    env *e = *state;
    const sa2_voice *none;
    sa2_error err = {0};
    sa2_voice_cache *cache = opened(e, NULL, 2);
    const sa2_voice *zero = got(cache, recording(e, 0), SA2_VOICE_ENCODED);
    const sa2_voice *one = got(cache, recording(e, 1), SA2_VOICE_ENCODED);
    sa2_audio_source two = recording(e, 2);
    assert_int_equal(sa2_voice_cache_get(cache, &two, &none, NULL, &err), SA2_ERR_LIMIT);
    assert_string_equal(err.message, "voices: all 2 that fit in memory are in use");
    sa2_voice_cache_release(cache, one);
    sa2_voice_cache_release(cache, zero);
    got(cache, recording(e, 0), SA2_VOICE_FROM_MEMORY);
    sa2_voice_cache_release(cache, zero);
    got(cache, two, SA2_VOICE_ENCODED); /* where 1 was */
    got(cache, recording(e, 0), SA2_VOICE_FROM_MEMORY);
    sa2_voice_cache_release(cache, zero);
    got(cache, recording(e, 1), SA2_VOICE_ENCODED);
    sa2_voice_cache_destroy(cache);
}

static void a_recording_that_is_refused_leaves_no_trace(void **state)
{
    env *e = *state;
    const sa2_voice *voice;
    sa2_error err = {0};
    sa2_voice_cache *cache = opened(e, NULL, 1);
    sa2_audio_source few = test_samples(e->samples[0], 100, 1, RATE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sa2_voice_cache_get(cache, &few, &voice, NULL, &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "too short: 100 samples"));
    sa2_audio_source nothing = {.path = "/nowhere/v.wav"}, folder = {.path = "/"};
    assert_int_equal(sa2_voice_cache_get(cache, &nothing, &voice, NULL, &err), SA2_ERR_IO);
    assert_int_equal(sa2_voice_cache_get(cache, &folder, &voice, NULL, &err), SA2_ERR_IO);
    assert_int_equal(sa2_voice_cache_get(cache, &(sa2_audio_source){0}, &voice, NULL, &err),
                     SA2_ERR_ARG);
    got(cache, recording(e, 0), SA2_VOICE_ENCODED);
    sa2_voice_cache_destroy(cache);
}

/* ---- the folder ---- */

/* The one voice file of the folder. */
static void find_file(const env *e, char path[2048])
{
    char pattern[1100];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*", e->folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(path, 2048, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static void a_broken_file_is_made_again_and_good_then(void **state)
{
    env *e = *state;
    char path[2048];
    size_t bytes;
    test_folder_create(e->folder, sizeof e->folder);
    sa2_voice_cache *cache = opened(e, e->folder, 1);
    got(cache, recording(e, 0), SA2_VOICE_ENCODED);
    find_file(e, path);
    sa2_voice_cache_destroy(cache);
    char *good = test_read_file(path, &bytes);
    static const char *const notes[] = {"not a voice file", "are not those of", "the checksum",
                                        "empty"};
    for (int i = 0; i < 4; i++) {
        const sa2_voice *voice;
        sa2_voice_report report;
        sa2_audio_source source = recording(e, 0);
        size_t n = i == 0 ? 20 : i == 1 ? bytes - 4 : i == 2 ? bytes : 0;
        char *bad = malloc(bytes);
        assert_non_null(bad);
        memcpy(bad, good, bytes);
        bad[bytes - 1] ^= 1;
        test_write_file(path, bad, n);
        cache = opened(e, e->folder, 1);
        assert_int_equal(sa2_voice_cache_get(cache, &source, &voice, &report, NULL), SA2_OK);
        assert_int_equal(report.origin, SA2_VOICE_ENCODED);
        if (strstr(report.note, "made again: ") == NULL || strstr(report.note, notes[i]) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", notes[i], report.note);
        free(bad);
        size_t again;
        char *remade = test_read_file(path, &again);
        assert_int_equal(again, bytes);
        assert_memory_equal(remade, good, bytes);
        free(remade);
        sa2_voice_cache_destroy(cache);
    }
    free(good);
    test_folder_remove(e->folder);
}

static void a_folder_that_is_gone_costs_only_the_file(void **state)
{
    env *e = *state;
    const sa2_voice *voice;
    sa2_voice_report report;
    sa2_audio_source source = recording(e, 3);
    test_folder_create(e->folder, sizeof e->folder);
    sa2_voice_cache *cache = opened(e, e->folder, 1);
    test_folder_remove(e->folder);
    assert_int_equal(sa2_voice_cache_get(cache, &source, &voice, &report, NULL), SA2_OK);
    assert_non_null(strstr(report.note, "not kept: "));
    sa2_voice_cache_destroy(cache);
}

static void caches_that_cannot_be_are_refused(void **state)
{
    env *e = *state;
    sa2_voice_cache *cache;
    sa2_error err = {0};
    assert_int_equal(sa2_voice_cache_create(&cache, &e->encoder, NULL, 0, &err), SA2_ERR_ARG);
    assert_int_equal(sa2_voice_cache_create(&cache, &e->encoder, "", 1, &err), SA2_ERR_ARG);
    assert_int_equal(sa2_voice_cache_create(&cache, &e->encoder, "/nowhere/voices", 1, &err),
                     SA2_ERR_IO);
    assert_non_null(strstr(err.message, "voices /nowhere/voices: No such file"));
    assert_int_equal(sa2_voice_cache_create(&cache, &e->encoder, "/dev/null", 1, &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "voices /dev/null: not a folder"));
}

/* ---- voice files ---- */

static const sa2_voice_form form = {
    .vocab = 27, .n_speaker = 3, .mel_bins = 2, .frames_per_token = 2};
static const sa2_voice_key key = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

/* A file of two tokens; path in the folder. */
static char *write_small(env *e, char path[1100], size_t *bytes, int32_t token, float value)
{
    sa2_voice v;
    sa2_error err = {0};
    test_folder_create(e->folder, sizeof e->folder);
    snprintf(path, 1100, "%s/a.voice", e->folder);
    assert_int_equal(sa2_voice_create(&v, 2, 3, 4, 2, NULL), SA2_OK);
    for (int i = 0; i < 8; i++)
        v.mel[i] = value * (float)i;
    v.tokens[0] = token;
    v.tokens[1] = 26;
    v.speaker[0] = v.speaker[1] = v.speaker[2] = -1.5f;
    if (sa2_voice_file_write(path, &key, &v, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_voice_destroy(&v);
    return test_read_file(path, bytes);
}

static void assert_unread(const char *path, const sa2_voice_key *of, const sa2_voice_form *like,
                          const char *words)
{
    sa2_voice v = {0};
    sa2_error err = {0};
    assert_int_equal(sa2_voice_file_read(&v, path, of, like, &err), SA2_ERR_FORMAT);
    if (strstr(err.message, words) == NULL || strstr(err.message, path) == NULL)
        fail_msg("\"%s\" and the path expected in \"%s\"", words, err.message);
    assert_null(v.memory.base);
}

static void a_file_cut_or_changed_anywhere_is_refused(void **state)
{
    env *e = *state;
    char path[1100];
    size_t bytes;
    char *file = write_small(e, path, &bytes, 5, 0.25f);
    assert_int_equal(bytes, 56 + 4 * (2 + 3 + 8));
    for (size_t n = 0; n < bytes; n++) {
        test_write_file(path, file, n);
        assert_unread(path, &key, &form, "");
    }
    for (size_t i = 0; i < bytes; i++) {
        file[i] ^= 4;
        test_write_file(path, file, bytes);
        assert_unread(path, &key, &form, "");
        file[i] ^= 4;
    }
    sa2_voice v;
    sa2_error err = {0};
    test_write_file(path, file, bytes);
    if (sa2_voice_file_read(&v, path, &key, &form, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(v.tokens[0], 5);
    assert_int_equal(v.tokens[1], 26);
    assert_true(v.speaker[2] == -1.5f && v.mel[7] == 1.75f);
    sa2_voice_destroy(&v);
    free(file);
    test_folder_remove(e->folder);
}

static void a_file_of_something_else_is_refused_with_what_it_is(void **state)
{
    env *e = *state;
    char path[1100];
    size_t bytes;
    char *file = write_small(e, path, &bytes, 5, 0.25f);
    sa2_voice_key other = key;
    other.bytes[15]++;
    assert_unread(path, &other, &form, "of another recording or another model");
    sa2_voice_form like = form;
    like.n_speaker = 4;
    assert_unread(path, &key, &like, "a vector of 4, 2 frames of 2 bands for each token expected");
    like = form;
    like.frames_per_token = 1;
    assert_unread(path, &key, &like, "2 tokens, a vector of 3, 4 frames of 2 bands");
    like = form;
    like.vocab = 26;
    assert_unread(path, &key, &like, "token 1 is 26, 0 to 25 expected");
    file[8] = 2;
    test_write_file(path, file, bytes);
    assert_unread(path, &key, &form, "version 2, 1 expected");
    free(file);
    test_folder_remove(e->folder);
}

/* Values that no encoder makes, under a right checksum. */
static void values_out_of_range_are_refused(void **state)
{
    env *e = *state;
    char path[1100];
    size_t bytes;
    free(write_small(e, path, &bytes, -1, 0.25f));
    assert_unread(path, &key, &form, "token 0 is -1, 0 to 26 expected");
    test_folder_remove(e->folder);
    free(write_small(e, path, &bytes, 0, INFINITY));
    assert_unread(path, &key, &form, "a value is not a number");
    test_folder_remove(e->folder);
}

/* Sizes so large that they would overflow, under a right checksum. */
static void sizes_beyond_the_file_are_refused(void **state)
{
    env *e = *state;
    char path[1100];
    size_t bytes;
    unsigned char *file = (unsigned char *)write_small(e, path, &bytes, 5, 0.25f);
    static const uint32_t sizes[][2] = {
        {0x7fffffff, 0xfffffffe}, {0x40000000, 0x80000000}, {0, 0}, {3, 6}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int k = 0; k < 4; k++) {
            file[32 + k] = (unsigned char)(sizes[i][0] >> 8 * k);
            file[40 + k] = (unsigned char)(sizes[i][1] >> 8 * k);
        }
        uint64_t sum = XXH3_64bits_withSeed(file + 56, bytes - 56, XXH3_64bits(file, 48));
        for (int k = 0; k < 8; k++)
            file[48 + k] = (unsigned char)(sum >> 8 * k);
        test_write_file(path, file, bytes);
        assert_unread(path, &key, &form, i == 3 ? "bytes are not those of 3 tokens" : "tokens");
    }
    free(file);
    test_folder_remove(e->folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_equals_the_miss_before_it),
        cmocka_unit_test(a_recording_is_known_by_its_content),
        cmocka_unit_test(a_voice_of_another_encoder_is_not_taken),
        cmocka_unit_test(the_voice_unused_for_the_longest_time_makes_room),
        cmocka_unit_test(a_recording_that_is_refused_leaves_no_trace),
        cmocka_unit_test(a_broken_file_is_made_again_and_good_then),
        cmocka_unit_test(a_folder_that_is_gone_costs_only_the_file),
        cmocka_unit_test(caches_that_cannot_be_are_refused),
        cmocka_unit_test(a_file_cut_or_changed_anywhere_is_refused),
        cmocka_unit_test(a_file_of_something_else_is_refused_with_what_it_is),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(sizes_beyond_the_file_are_refused),
    };
    return cmocka_run_group_tests(tests, open_env, close_env);
}
