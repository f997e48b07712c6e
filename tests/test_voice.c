/* Recordings to voices beside their golden cases: lengths, channels, padding, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/limits.h"
#include "loader/token2wav_writer.h"
#include "runtime/audio/resample.h"
#include "tests/support/small_voice.h"
#include "tests/support/test_files.h"

typedef struct env {
    sa2_backend *backend;
    sa2_voice_encoder encoder;
} env;

enum { MAX_SECONDS = 31 };

static int open_env(void **state)
{
    static env e;
    e.backend = test_voice_open(&e.encoder, MAX_SECONDS, SA2_PARTIAL_KERNEL);
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

static sa2_voice encoded(env *e, sa2_audio_source source)
{
    sa2_voice voice;
    sa2_error err = {0};
    if (sa2_voice_encode(&e->encoder, &source, &voice, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return voice;
}

/* Of test_recording(). */
static float *recorded(int n, int channels, int rate, uint32_t seed)
{
    float *samples = malloc((size_t)n * (size_t)channels * sizeof *samples);
    assert_non_null(samples);
    test_recording(samples, n, channels, rate, seed);
    return samples;
}

/* ---- lengths ---- */

static int64_t resampled(int rate_in, int rate_out, int64_t n)
{
    sa2_resample_table table;
    assert_int_equal(sa2_resample_table_create(&table, rate_in, rate_out, NULL), SA2_OK);
    int64_t count = sa2_resample_count(&table, n);
    sa2_resample_table_destroy(&table);
    return count;
}

static void the_default_voices_have_the_lengths_of_the_reference(void **state)
{
    (void)state;
    static const struct {
        int samples, n_16k, n_24k; /* at 48 kHz, and resampled */
        sa2_voice_lengths want;
    } voices[] = {
        {434028, 144676, 217014, {904, 226, 902, 452, 452}}, /* default_female.wav */
        {369600, 123200, 184800, {770, 193, 768, 385, 386}}, /* default_male.wav */
    };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(resampled(48000, 16000, voices[i].samples), voices[i].n_16k);
        assert_int_equal(resampled(48000, 24000, voices[i].samples), voices[i].n_24k);
        sa2_voice_lengths n = sa2_voice_lengths_of(voices[i].n_16k, voices[i].n_24k, 2);
        assert_memory_equal(&n, &voices[i].want, sizeof n);
    }
}

static void the_default_voices_are_encoded_to_those_lengths(void **state)
{
    env *e = *state;
    static const struct {
        const char *file;
        int tokens, frames;
    } voices[] = {{"audio/default_female.wav", 226, 452}, {"audio/default_male.wav", 193, 386}};
    for (size_t i = 0; i < 2; i++) {
        char path[1024];
        if (!test_shared(path, sizeof path, voices[i].file))
            continue;
        sa2_voice voice = encoded(e, (sa2_audio_source){.path = path});
        assert_int_equal(voice.n_tokens, voices[i].tokens);
        assert_int_equal(voice.n_frames, voices[i].frames);
        assert_int_equal(voice.mel_bins, 80);
        assert_int_equal(voice.n_speaker, 192);
        sa2_voice_destroy(&voice);
    }
}

/* ---- the mel is as long as the tokens ---- */

static const float *mel_row(const sa2_voice *v, int t)
{
    return v->mel + (size_t)t * (size_t)v->mel_bins;
}

static void a_mel_that_is_short_repeats_its_last_frame(void **state)
{
    env *e = *state;
    enum { RATE = 16000, N = 16 * 1000 }; /* M = 100, Np = 25, 50 frames: nothing is missing */
    for (int more = 0; more <= 640; more += 160) {
        /* M = 100 + more / 160, so Np is 26 from one frame on; 50 + more * 1.5 / 480 frames */
        int n = N + more, whole = 50 + more / 320, asked = more > 0 ? 52 : 50;
        float *samples = recorded(n, 1, RATE, 1);
        sa2_voice voice = encoded(e, test_samples(samples, n, 1, RATE));
        assert_int_equal(voice.n_tokens, asked / 2);
        assert_int_equal(voice.n_frames, asked);
        for (int t = whole; t < asked; t++)
            assert_memory_equal(mel_row(&voice, t), mel_row(&voice, whole - 1), 80 * sizeof(float));
        if (whole > 1)
            assert_memory_not_equal(mel_row(&voice, whole - 1), mel_row(&voice, whole - 2),
                                    80 * sizeof(float));
        sa2_voice_destroy(&voice);
        free(samples);
    }
}

static void a_mel_that_is_long_loses_its_end(void **state)
{
    env *e = *state;
    enum { RATE = 16000, N = RATE };
    float *samples = recorded(N, 1, RATE, 2);
    sa2_voice whole = encoded(e, test_samples(samples, N, 1, RATE));
    e->encoder.options.frames_per_token = 1;
    sa2_voice cut = encoded(e, test_samples(samples, N, 1, RATE));
    e->encoder.options.frames_per_token = 2;
    assert_int_equal(cut.n_frames, 25);
    assert_memory_equal(cut.mel, whole.mel, 25 * 80 * sizeof(float));
    sa2_voice_destroy(&whole);
    sa2_voice_destroy(&cut);
    free(samples);
    /* how it comes about: three windows, the last of 100 frames, all of them shared */
    sa2_voice_lengths n = sa2_voice_lengths_of(5300 * 160, 5300 * 240, 2);
    assert_int_equal(n.tokens, 1275);
    assert_int_equal(n.prompt, 2550);
    assert_int_equal(n.mel_frames, 2650);
}

/* ---- channels and rates ---- */

static void tokens_come_of_the_first_channel_and_the_mel_of_all(void **state)
{
    env *e = *state;
    enum { RATE = 22050, N = RATE };
    float *both = recorded(N, 2, RATE, 3);
    float *first = malloc(N * sizeof *first), *mean = malloc(N * sizeof *mean);
    assert_true(first != NULL && mean != NULL);
    for (int i = 0; i < N; i++) {
        first[i] = both[2 * i];
        mean[i] = (both[2 * i] + both[2 * i + 1]) / 2.0f;
    }
    sa2_voice stereo = encoded(e, test_samples(both, N, 2, RATE));
    sa2_voice of_first = encoded(e, test_samples(first, N, 1, RATE));
    sa2_voice of_mean = encoded(e, test_samples(mean, N, 1, RATE));
    size_t tokens = (size_t)stereo.n_tokens * sizeof(int32_t);
    size_t speaker = (size_t)stereo.n_speaker * sizeof(float);
    size_t mel = (size_t)stereo.n_frames * (size_t)stereo.mel_bins * sizeof(float);
    assert_memory_equal(stereo.tokens, of_first.tokens, tokens);
    assert_memory_equal(stereo.speaker, of_first.speaker, speaker);
    assert_memory_equal(stereo.mel, of_mean.mel, mel);
    assert_memory_not_equal(stereo.speaker, of_mean.speaker, speaker);
    assert_memory_not_equal(stereo.mel, of_first.mel, mel);
    sa2_voice_destroy(&stereo);
    sa2_voice_destroy(&of_first);
    sa2_voice_destroy(&of_mean);
    free(both);
    free(first);
    free(mean);
}

static void any_rate_gives_as_many_tokens(void **state)
{
    env *e = *state;
    static const int rates[] = {1000, 8000, 16000, 24000, 44100, 96000, 192000};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        float *samples = recorded(rates[i], 1, rates[i], 4);
        sa2_voice voice = encoded(e, test_samples(samples, rates[i], 1, rates[i]));
        assert_int_equal(voice.n_tokens, 25);
        assert_int_equal(voice.n_frames, 50);
        sa2_voice_destroy(&voice);
        free(samples);
    }
}

static void a_voice_does_not_depend_on_the_one_before(void **state)
{
    env *e = *state;
    enum { RATE = 16000, LONG = 3 * RATE, SHORT = RATE / 2 };
    float *some = recorded(LONG, 1, RATE, 5);
    sa2_voice alone = encoded(e, test_samples(some, SHORT, 1, RATE));
    sa2_voice other = encoded(e, test_samples(some, LONG, 1, RATE));
    sa2_voice again = encoded(e, test_samples(some, SHORT, 1, RATE));
    assert_memory_equal(alone.tokens, again.tokens, (size_t)alone.n_tokens * sizeof(int32_t));
    assert_memory_equal(alone.speaker, again.speaker, (size_t)alone.n_speaker * sizeof(float));
    assert_memory_equal(alone.mel, again.mel, (size_t)alone.n_frames * 80 * sizeof(float));
    sa2_voice_destroy(&alone);
    sa2_voice_destroy(&other);
    sa2_voice_destroy(&again);
    free(some);
}

/* ---- what is refused ---- */

static void assert_encode_refused(env *e, sa2_audio_source source, sa2_status want,
                                  const char *words)
{
    sa2_voice voice;
    sa2_error err = {0};
    assert_int_equal(sa2_voice_encode(&e->encoder, &source, &voice, &err), want);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", words, err.message);
    assert_int_equal(e->encoder.work.used, 0);
}

static void recordings_that_are_too_short_or_too_long_are_refused(void **state)
{
    env *e = *state;
    enum { RATE = 16000, LONG = MAX_SECONDS * RATE + 1 };
    float *samples = recorded(LONG, 1, RATE, 6);
    assert_encode_refused(e, test_samples(samples, 0, 1, RATE), SA2_ERR_FORMAT,
                          "sound in memory: no samples");
    assert_encode_refused(
        e, test_samples(samples, 1439, 1, RATE), SA2_ERR_ARG,
        "voice in memory: too short: 1439 samples at 16000 Hz, 1440 or more expected");
    sa2_voice least = encoded(e, test_samples(samples, 1440, 1, RATE));
    assert_int_equal(least.n_tokens, 3);
    sa2_voice_destroy(&least);
    assert_encode_refused(e, test_samples(samples, LONG, 1, RATE), SA2_ERR_LIMIT,
                          "sound in memory: longer than 31 s, the longest sound taken");

    e->encoder.options.least_tokens = 0; /* not to be streamed */
    assert_encode_refused(e, test_samples(samples, 719, 1, RATE), SA2_ERR_ARG,
                          "719 samples at 16000 Hz, 720 or more expected");
    least = encoded(e, test_samples(samples, 720, 1, RATE));
    assert_int_equal(least.n_tokens, 1);
    assert_int_equal(least.n_frames, 2);
    sa2_voice_destroy(&least);
    e->encoder.options.least_tokens = 3;
    free(samples);
}

static void the_longest_recording_fits_the_planned_memory(void **state)
{
    env *e = *state;
    enum { RATE = 48000, N = MAX_SECONDS * RATE };
    float *samples = recorded(N, 1, RATE, 7);
    sa2_voice voice = encoded(e, test_samples(samples, N, 1, RATE));
    assert_int_equal(voice.n_tokens, 775); /* two windows */
    assert_true(e->encoder.work.peak <= e->encoder.work.bytes);
    sa2_voice_destroy(&voice);
    free(samples);
}

static void sounds_that_are_none_are_refused(void **state)
{
    env *e = *state;
    static const char text[] = "this is not a sound, however long it may be";
    float samples[4000] = {0};
    assert_encode_refused(e, (sa2_audio_source){.path = "/nowhere/v.wav"}, SA2_ERR_IO,
                          "/nowhere/v.wav: No such file");
    assert_encode_refused(e, (sa2_audio_source){.bytes = text, .n_bytes = sizeof text},
                          SA2_ERR_FORMAT, "sound in memory");
    samples[2000] = NAN;
    assert_encode_refused(e, test_samples(samples, 4000, 1, 16000), SA2_ERR_FORMAT,
                          "sample 2000 is nan");
    assert_encode_refused(e, test_samples(samples, 4000, 1, 999), SA2_ERR_LIMIT, "999 Hz");
    assert_encode_refused(e, test_samples(samples, 10, 65, 16000), SA2_ERR_LIMIT, "65 channels");
}

static void silence_and_noise_as_loud_as_it_gets_have_a_voice(void **state)
{
    env *e = *state;
    enum { N = 4000 };
    float samples[N] = {0};
    sa2_voice voice = encoded(e, test_samples(samples, N, 1, 16000));
    sa2_voice_destroy(&voice);
    for (int i = 0; i < N; i++)
        samples[i] = i % 3 == 0 ? 1e12f : -1e12f;
    voice = encoded(e, test_samples(samples, N, 1, 16000));
    sa2_voice_destroy(&voice);
}

/* ---- opening ---- */

static void assert_open_refused(env *e, sa2_tensor_map *tokenizer, sa2_tensor_map *speaker,
                                sa2_voice_options options, sa2_status want, const char *words)
{
    sa2_voice_encoder encoder;
    sa2_error err = {0};
    assert_int_equal(
        sa2_voice_encoder_from_maps(&encoder, e->backend, tokenizer, speaker, &options, &err),
        want);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", words, err.message);
    assert_null(encoder.stream);
}

static void options_and_weights_that_cannot_be_are_refused(void **state)
{
    env *e = *state;
    sa2_voice_options good = e->encoder.options, bad = good;
    sa2_tensor_map *tokenizer = test_voice_map(SA2_SPEECH_TOKENIZER_FILE);
    sa2_tensor_map *speaker = test_voice_map(SA2_SPEAKER_FILE);
    bad.max_seconds = SA2_LIMIT_VOICE_SECONDS + 1;
    assert_open_refused(e, tokenizer, speaker, bad, SA2_ERR_ARG, "up to 601 s, 1 to 600 expected");
    bad = good;
    bad.mel_bins = 0;
    assert_open_refused(e, tokenizer, speaker, bad, SA2_ERR_ARG, "0 mel bands");
    bad = good;
    bad.frames_per_token = 0;
    assert_open_refused(e, tokenizer, speaker, bad, SA2_ERR_ARG, "0 frames a token");
    /* one for the other: both reports in one */
    assert_open_refused(e, speaker, tokenizer, good, SA2_ERR_FORMAT,
                        "encoder.conv1.weight is missing");
    assert_open_refused(e, speaker, tokenizer, good, SA2_ERR_FORMAT,
                        "head.conv1.weight is missing");
    float extra = 0.0f;
    sa2_tensor one = sa2_tensor_1d(&extra, SA2_F32, 1);
    assert_int_equal(sa2_tensor_map_add(speaker, "head.bn1.weight", "a test", one, NULL), SA2_OK);
    assert_open_refused(e, tokenizer, speaker, good, SA2_ERR_FORMAT, "head.bn1.weight");
    sa2_tensor_map_destroy(speaker);
    sa2_tensor_map_destroy(tokenizer);
}

static void the_files_of_a_release_give_the_same_voice(void **state)
{
    env *e = *state;
    char folder[1024];
    sa2_error err = {0};
    sa2_preset preset;
    sa2_voice_encoder encoder = {0};
    enum { RATE = 16000, N = RATE };
    test_folder_create(folder, sizeof folder);
    assert_int_equal(sa2_preset_find(&preset, "tiny", NULL), SA2_OK);
    if (sa2_token2wav_write(folder, &preset, 0, (sa2_write_progress){0}, &err) != SA2_OK ||
        sa2_voice_encoder_open(&encoder, e->backend, folder, &e->encoder.options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    float *samples = recorded(N, 1, RATE, 8);
    env other = {.backend = e->backend, .encoder = encoder};
    sa2_voice here = encoded(e, test_samples(samples, N, 1, RATE));
    sa2_voice there = encoded(&other, test_samples(samples, N, 1, RATE));
    assert_memory_equal(here.tokens, there.tokens, (size_t)here.n_tokens * sizeof(int32_t));
    assert_memory_equal(here.speaker, there.speaker, (size_t)here.n_speaker * sizeof(float));
    sa2_voice_destroy(&here);
    sa2_voice_destroy(&there);
    sa2_voice_encoder_close(&other.encoder);
    free(samples);
    test_folder_remove(folder);
    assert_int_equal(
        sa2_voice_encoder_open(&encoder, e->backend, folder, &e->encoder.options, &err),
        SA2_ERR_IO);
    assert_non_null(strstr(err.message, "speech_tokenizer_v2_25hz.onnx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_voices_have_the_lengths_of_the_reference),
        cmocka_unit_test(the_default_voices_are_encoded_to_those_lengths),
        cmocka_unit_test(a_mel_that_is_short_repeats_its_last_frame),
        cmocka_unit_test(a_mel_that_is_long_loses_its_end),
        cmocka_unit_test(tokens_come_of_the_first_channel_and_the_mel_of_all),
        cmocka_unit_test(any_rate_gives_as_many_tokens),
        cmocka_unit_test(a_voice_does_not_depend_on_the_one_before),
        cmocka_unit_test(recordings_that_are_too_short_or_too_long_are_refused),
        cmocka_unit_test(the_longest_recording_fits_the_planned_memory),
        cmocka_unit_test(sounds_that_are_none_are_refused),
        cmocka_unit_test(silence_and_noise_as_loud_as_it_gets_have_a_voice),
        cmocka_unit_test(options_and_weights_that_cannot_be_are_refused),
        cmocka_unit_test(the_files_of_a_release_give_the_same_voice),
    };
    return cmocka_run_group_tests(tests, open_env, close_env);
}
