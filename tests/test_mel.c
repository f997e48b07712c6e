/* Log-mels: filters, definition, known vectors and golden cases, on every instruction set. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/audio/fbank.h"
#include "runtime/audio/mel.h"
#include "tests/support/golden.h"
#include "tests/support/test_env.h"

static const double PI = 3.14159265358979323846;

static int setup(void **state)
{
    test_env *env = malloc(sizeof *env);
    assert_non_null(env);
    test_env_open(env, 2);
    *state = env;
    return 0;
}

static int teardown(void **state)
{
    test_env_close(*state);
    free(*state);
    return 0;
}

/* A plan with memory for clips of up to `longest` samples. */
typedef struct mel_run {
    sa2_mel_plan plan;
    sa2_arena model, work;
} mel_run;

static void run_open(mel_run *run, sa2_stream *s, const sa2_mel_config *config, int64_t longest)
{
    sa2_error err = {0};
    assert_int_equal(sa2_arena_create(&run->model, sa2_mel_plan_bytes(s, config), &err), SA2_OK);
    if (sa2_mel_plan_create(&run->plan, config, s, &run->model, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sa2_arena_create(&run->work, sa2_mel_work_bytes(config, longest), &err),
                     SA2_OK);
}

static void run_close(mel_run *run)
{
    sa2_arena_destroy(&run->work);
    sa2_arena_destroy(&run->model);
}

/* One clip to a poisoned y of the test. */
static sa2_tensor mel_of(test_env *env, sa2_stream *s, const sa2_mel_config *config,
                         const float *samples, int64_t n)
{
    mel_run run;
    sa2_error err = {0};
    run_open(&run, s, config, n);
    sa2_tensor y = test_poisoned(env, SA2_F32, sa2_mel_frames(config, n), config->bins);
    int32_t offsets[2];
    if (sa2_mel_forward(s, &run.plan, &run.work, y, (sa2_clips){1, &samples, &n}, offsets, &err) !=
            SA2_OK ||
        sa2_stream_finish(s, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(offsets[1], y.shape[0]);
    assert_int_equal(run.work.used, 0);
    assert_true(run.work.peak <= run.work.bytes);
    run_close(&run);
    return y;
}

/* ---- filters ---- */

static void filters_are_slaneys(void **state)
{
    (void)state;
    sa2_mel_config config = sa2_mel_of_encoder(128);
    int bins = sa2_mel_spectrum_bins(&config);
    assert_int_equal(bins, 200); /* the filters are 0 at 8000 Hz, bin 200 */
    float *filters = malloc((size_t)bins * 128 * sizeof *filters);
    assert_non_null(filters);
    sa2_mel_filters(&config, filters);
    double sum = 0.0;
    int n = 0;
    for (int i = 0; i < 128 * bins; i++) {
        n += filters[i] != 0.0f;
        sum += (double)filters[i];
    }
    assert_int_equal(n, 394);
    assert_float_equal(sum, 3.190986, 1e-6);
    static const struct {
        int row, bin;
        double weight;
    } spots[] = {
        {0, 1, 0.012373986},     {1, 1, 0.030392565},     {10, 6, 0.011289184},
        {10, 7, 0.001084802},    {40, 24, 0.040376365},   {64, 42, 0.006749683},
        {64, 43, 0.018091518},   {127, 191, 0.000475695}, {127, 192, 0.001617172},
        {127, 195, 0.005041602}, {127, 199, 0.00111428},
    };
    for (size_t i = 0; i < sizeof spots / sizeof spots[0]; i++)
        assert_float_equal(filters[spots[i].row * bins + spots[i].bin], spots[i].weight, 2e-9);
    free(filters);
}

/* ---- the definition ---- */

static double definition_sample(const sa2_mel_config *c, const float *x, int64_t n, int64_t i)
{
    int64_t length = n + c->zeros;
    i -= c->mirror;
    i = i < 0 ? -i : i;
    i = i >= length ? 2 * (length - 1) - i : i;
    return i < n ? (double)x[i] : 0.0;
}

/* [frames, bins] in double: padding, a transform term by term, the filters above, the logarithm. */
static void definition(double *y, const sa2_mel_config *c, const float *x, int64_t n)
{
    int n_bins = sa2_mel_spectrum_bins(c);
    int64_t frames = sa2_mel_frames(c, n);
    float *filters = malloc((size_t)n_bins * (size_t)c->bins * sizeof *filters);
    double *power = malloc((size_t)n_bins * sizeof *power), most = -INFINITY;
    assert_true(filters != NULL && power != NULL);
    sa2_mel_filters(c, filters);
    for (int64_t t = 0; t < frames; t++) {
        for (int k = 0; k < n_bins; k++) {
            double re = 0.0, im = 0.0;
            for (int i = 0; i < c->n_fft; i++) {
                double v = definition_sample(c, x, n, t * c->hop + i);
                v *= 0.5 - 0.5 * cos(2.0 * PI * i / c->n_fft);
                re += v * cos(2.0 * PI * k * i / c->n_fft);
                im -= v * sin(2.0 * PI * k * i / c->n_fft);
            }
            power[k] = re * re + im * im;
            if (c->magnitude)
                power[k] = sqrt(power[k] + (double)c->eps);
        }
        for (int b = 0; b < c->bins; b++) {
            double sum = 0.0;
            for (int k = 0; k < n_bins; k++)
                sum += (double)filters[b * n_bins + k] * power[k];
            sum = fmax(sum, (double)c->floor);
            y[t * c->bins + b] = c->log == SA2_LOG_10 ? log10(sum) : log(sum);
            most = fmax(most, y[t * c->bins + b]);
        }
    }
    for (int64_t i = 0; c->clamp && i < frames * c->bins; i++)
        y[i] = (fmax(y[i], most - 8.0) + 4.0) / 4.0;
    free(power);
    free(filters);
}

/* Lengths with 1 to 3 blocks of frames, edges that mirror zeros, other sizes than the release's. */
static void every_kind_matches_the_definition(void **state)
{
    test_env *env = *state;
    sa2_mel_config small = sa2_mel_of_prompt(7);
    small.n_fft = 30;
    small.hop = 7;
    small.mirror = 11;
    small.zeros = 3;
    sa2_mel_config short_hop = sa2_mel_of_encoder(20);
    short_hop.n_fft = 32;
    short_hop.hop = 2;
    short_hop.mirror = 16;
    const struct {
        sa2_mel_config config;
        int64_t n;
    } rows[] = {
        {sa2_mel_of_encoder(128), 1},
        {sa2_mel_of_encoder(80), 1601},
        {sa2_mel_of_speech_tokenizer(128), 201},
        {sa2_mel_of_speech_tokenizer(16), 999},
        {sa2_mel_of_prompt(80), 721},
        {small, 9},
        {small, 4000},
        {short_hop, 2300},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const sa2_mel_config *c = &rows[i].config;
        int64_t n = rows[i].n;
        float *x = malloc((size_t)n * sizeof *x);
        double *want = malloc((size_t)(sa2_mel_frames(c, n) * c->bins) * sizeof *want);
        assert_true(x != NULL && want != NULL);
        for (int64_t k = 0; k < n; k++)
            x[k] = (float)test_uniform(env);
        definition(want, c, x, n);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = mel_of(env, env->streams[b], c, x, n);
            /* Noise: all bins are of one size, sums of n_fft terms err by sqrt(n_fft) 2^-24 of it, 3e-6
             * for 1920; a logarithm makes of that 3e-6 of a value near 1. Squared, with room for short sums: */
            assert_close(env, env->streams[b], "mel", &y, want, 1e-10);
            test_reset(env);
        }
        free(want);
        free(x);
    }
}

/* ---- known vectors ---- */

typedef struct known {
    int t, bin;
    double value;
} known;

static void check_known(test_env *env, const float *x, int64_t n, double sum, const known *values,
                        size_t n_values)
{
    sa2_mel_config config = sa2_mel_of_encoder(128);
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor y = mel_of(env, env->streams[b], &config, x, n);
        const float *mel = y.data;
        double found = 0.0;
        for (int64_t i = 0; i < sa2_tensor_count(&y); i++)
            found += (double)mel[i];
        assert_true(fabs(found - sum) <= 2e-4 * (double)sa2_tensor_count(&y));
        for (size_t i = 0; i < n_values; i++)
            assert_float_equal(mel[values[i].t * 128 + values[i].bin], values[i].value, 2e-4);
        test_reset(env);
    }
}

static void a_tone_has_the_known_mel(void **state)
{
    static const known values[] = {
        {0, 0, 0.90752},   {0, 18, 0.71436},  {0, 127, -0.08216}, {1, 16, 1.34999},
        {1, 64, -0.09462}, {5, 8, -0.51465},  {5, 17, 1.33749},   {5, 18, 1.48535},
        {9, 19, 1.27733},  {9, 40, 0.08431},  {10, 20, 1.23569},  {10, 127, -0.23268},
        {11, 0, 0.24500},  {11, 17, 0.27845}, {11, 64, -0.24514},
    };
    float x[1600];
    for (int i = 0; i < 1600; i++)
        x[i] = (float)(0.5 * sin(2.0 * PI * 440.0 * i / 16000.0));
    check_known(*state, x, 1600, -330.8866, values, sizeof values / sizeof values[0]);
}

static void noise_has_the_known_mel(void **state)
{
    static const known values[] = {
        {0, 0, 0.28512},  {0, 64, 0.77855},  {3, 1, 0.55470},    {3, 127, 0.68937},
        {6, 40, 0.94213}, {6, 100, 0.75169}, {7, 17, 0.14984},   {7, 127, 0.19377},
        {8, 0, -1.05119}, {8, 77, -1.05119}, {8, 127, -1.05119},
    };
    float x[1000];
    uint32_t s = 12345;
    for (int i = 0; i < 1000; i++) {
        s = (1103515245u * s + 12345u) & 0x7fffffffu;
        x[i] = (float)(0.25 * (2.0 * s / 2147483647.0 - 1.0));
    }
    check_known(*state, x, 1000, 488.2422, values, sizeof values / sizeof values[0]);
}

/* ---- golden cases ---- */

static void check_golden(test_env *env, const char *name, const sa2_mel_config *config)
{
    sa2_golden_case *golden = golden_open(name);
    sa2_tensor x = golden_input(golden, "samples");
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor y = mel_of(env, env->streams[b], config, x.data, x.shape[0]);
        assert_golden(golden, "mel", SA2_F32, y);
        test_reset(env);
    }
    sa2_golden_case_close(golden);
}

static void mels_of_the_encoder_are_golden(void **state)
{
    static const char *const names[] = {"one", "short", "tone", "silence", "clipped", "voice"};
    sa2_mel_config config = sa2_mel_of_encoder(128);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[256];
        snprintf(path, sizeof path, "language_model/mel128_%s.safetensors", names[i]);
        check_golden(*state, path, &config);
    }
}

static void mels_of_a_voice_are_golden(void **state)
{
    sa2_mel_config tokenizer = sa2_mel_of_speech_tokenizer(128), prompt = sa2_mel_of_prompt(80);
    check_golden(*state, "token2wav/s3_mel_speech.safetensors", &tokenizer);
    check_golden(*state, "token2wav/s3_mel_synthetic.safetensors", &tokenizer);
    check_golden(*state, "token2wav/prompt_mel_speech.safetensors", &prompt);
    check_golden(*state, "token2wav/prompt_mel_synthetic.safetensors", &prompt);
}

static void kaldis_filter_bank_is_golden(void **state)
{
    static const char *const names[] = {"token2wav/fbank_speech.safetensors",
                                        "token2wav/fbank_synthetic.safetensors"};
    test_env *env = *state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sa2_golden_case *golden = golden_open(names[i]);
        sa2_tensor x = golden_input(golden, "samples");
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_arena model, work;
            sa2_fbank_plan plan;
            sa2_error err = {0};
            assert_int_equal(sa2_arena_create(&model, sa2_fbank_plan_bytes(s, 80), &err), SA2_OK);
            assert_int_equal(sa2_fbank_plan_create(&plan, 80, s, &model, &err), SA2_OK);
            assert_int_equal(sa2_arena_create(&work, sa2_fbank_work_bytes(80, x.shape[0]), &err),
                             SA2_OK);
            sa2_tensor y = test_poisoned(env, SA2_F32, sa2_fbank_frames(x.shape[0]), 80);
            if (sa2_fbank_forward(s, &plan, &work, y, x.data, x.shape[0], &err) != SA2_OK ||
                sa2_stream_finish(s, &err) != SA2_OK)
                fail_msg("%s", err.message);
            assert_golden(golden, "fbank", SA2_F32, y);
            sa2_arena_destroy(&work);
            sa2_arena_destroy(&model);
            test_reset(env);
        }
        sa2_golden_case_close(golden);
    }
}

/* ---- clips and lengths ---- */

static void packed_clips_are_the_clips_alone(void **state)
{
    test_env *env = *state;
    sa2_mel_config config = sa2_mel_of_encoder(128);
    static const int64_t lengths[] = {1000, 1, 90000, 321};
    for (int b = 0; b < env->n_streams; b++) {
        sa2_stream *s = env->streams[b];
        const float *samples[4];
        sa2_tensor alone[4];
        int64_t frames = 0;
        for (int i = 0; i < 4; i++) {
            sa2_tensor x = test_random(env, SA2_F32, lengths[i], 0);
            samples[i] = x.data;
            alone[i] = mel_of(env, s, &config, samples[i], lengths[i]);
            frames += alone[i].shape[0];
        }
        mel_run run;
        int32_t offsets[5];
        run_open(&run, s, &config, 90000);
        sa2_tensor y = test_poisoned(env, SA2_F32, frames, 128);
        sa2_clips clips = {4, samples, lengths};
        assert_int_equal(sa2_mel_forward(s, &run.plan, &run.work, y, clips, offsets, NULL), SA2_OK);
        assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
        for (int i = 0; i < 4; i++) {
            sa2_tensor rows = sa2_tensor_rows(y, offsets[i], offsets[i + 1] - offsets[i]);
            assert_same_bits("clip", &rows, &alone[i]);
        }
        run_close(&run);
        test_reset(env);
    }
}

static void frames_follow_from_samples(void **state)
{
    (void)state;
    sa2_mel_config encoder = sa2_mel_of_encoder(128), tokenizer = sa2_mel_of_speech_tokenizer(128);
    sa2_mel_config prompt = sa2_mel_of_prompt(80);
    assert_int_equal(sa2_mel_least_samples(&encoder), 1);
    assert_int_equal(sa2_mel_least_samples(&tokenizer), 201);
    assert_int_equal(sa2_mel_least_samples(&prompt), 721);
    for (int64_t n = 1; n < 5000; n++) {
        assert_int_equal(sa2_mel_frames(&encoder, n), (n + 479) / 160);
        assert_int_equal(sa2_mel_frames(&tokenizer, n), n / 160);
        assert_int_equal(sa2_mel_frames(&prompt, n), n / 480);
        assert_int_equal(sa2_fbank_frames(n), n < 400 ? 0 : 1 + (n - 400) / 160);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    sa2_mel_config config = sa2_mel_of_speech_tokenizer(128);
    sa2_tensor x = test_random(env, SA2_F32, 1000, 0);
    const float *samples = x.data;
    int64_t n = 200;
    int32_t offsets[2];
    sa2_error err = {0};
    mel_run run;
    run_open(&run, s, &config, 1000);
    sa2_tensor y = test_poisoned(env, SA2_F32, 6, 128);
    sa2_clips clips = {1, &samples, &n};
    assert_int_equal(sa2_mel_forward(s, &run.plan, &run.work, y, clips, offsets, &err),
                     SA2_ERR_ARG);
    assert_string_equal(err.message, "mel: clip 0 has 200 samples, 201 or more expected");
    n = 999; /* one sample less than 6 frames */
    y = sa2_tensor_rows(y, 0, 5);
    assert_int_equal(sa2_mel_forward(s, &run.plan, &run.work, y, clips, offsets, &err),
                     SA2_ERR_ARG);
    assert_string_equal(err.message, "mel: y is f32 [5, 128], f32 [6, 128] expected");
    n = 800;
    run.work.bytes = 64;
    assert_int_equal(sa2_mel_forward(s, &run.plan, &run.work, y, clips, offsets, &err),
                     SA2_ERR_NOMEM);
    run_close(&run);
    sa2_arena small;
    sa2_mel_plan plan;
    assert_int_equal(sa2_arena_create(&small, sa2_mel_plan_bytes(s, &config) - 64, NULL), SA2_OK);
    assert_int_equal(sa2_mel_plan_create(&plan, &config, s, &small, &err), SA2_ERR_NOMEM);
    sa2_arena_destroy(&small);
    test_reset(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_are_slaneys),
        cmocka_unit_test(every_kind_matches_the_definition),
        cmocka_unit_test(a_tone_has_the_known_mel),
        cmocka_unit_test(noise_has_the_known_mel),
        cmocka_unit_test(mels_of_the_encoder_are_golden),
        cmocka_unit_test(mels_of_a_voice_are_golden),
        cmocka_unit_test(kaldis_filter_bank_is_golden),
        cmocka_unit_test(packed_clips_are_the_clips_alone),
        cmocka_unit_test(frames_follow_from_samples),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
