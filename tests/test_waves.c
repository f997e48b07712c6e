/* Padding by reflection, spectra to frames to samples, harmonics, noise and cross-fades against their
 * definitions, on every instruction set. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

static const double pi = 3.14159265358979323846;

/* ---- padding ---- */

static void reflect_pad_mirrors_each_sequence_without_its_edge(void **state)
{
    test_env *env = *state;
    static const struct {
        int before, after;
        int64_t cols;
        int32_t lengths[3];
    } cases[] = {{1, 0, 64, {2, 70, 9}},
                 {8, 8, 1, {9, 480, 960}},
                 {0, 3, 5, {4, 4, 4000}},
                 {0, 0, 2, {3, 1, 5}}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        int before = cases[c].before, after = cases[c].after;
        int64_t cols = cases[c].cols;
        int32_t *offsets = test_offsets(env, 3, cases[c].lengths);
        sa2_tensor x = test_random(env, SA2_F32, offsets[3], cols);
        int64_t rows = offsets[3] + 3 * (before + after), row = 0;
        double *from = test_values(env, &x), *want = test_doubles(env, rows * cols);
        for (int i = 0; i < 3; i++) {
            int length = cases[c].lengths[i];
            for (int t = -before; t < length + after; t++, row++) {
                int at = abs(t) < length ? abs(t) : 2 * (length - 1) - t;
                for (int64_t k = 0; k < cols; k++)
                    want[row * cols + k] = from[(offsets[i] + at) * cols + k];
            }
        }
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = test_poisoned(env, SA2_F32, rows, cols);
            sa2_reflect_pad(env->streams[b], y, x, (sa2_rows){3, offsets}, before, after);
            assert_close(env, env->streams[b], "reflect_pad", &y, want, 0.0);
        }
        test_reset(env);
    }
}

static void reflect_pad_refuses_what_has_nothing_to_mirror(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    static const int32_t offsets[] = {0, 9, 17};
    sa2_tensor x = test_random(env, SA2_F32, 17, 1), y = test_random(env, SA2_F32, 33, 1);
    sa2_reflect_pad(s, y, x, (sa2_rows){2, offsets}, 8, 0);
    assert_refused(s, "reflect_pad: a sequence is not longer than its padding: y f32 [33, 1], x");
    sa2_reflect_pad(s, y, x, (sa2_rows){2, offsets}, 1, 1);
    assert_refused(s, "reflect_pad: offsets do not cover x, or y has not its rows");
    sa2_reflect_pad(s, sa2_tensor_rows(x, 0, 17), x, (sa2_rows){2, offsets}, 0, 0);
    assert_refused(s, "dense and apart");
    test_reset(env);
}

/* ---- spectra ---- */

static void polar_turns_magnitudes_and_phases_into_parts(void **state)
{
    test_env *env = *state;
    static const int64_t shapes[][2] = {{1, 9}, {241, 9}, {3, 1}, {5, 33}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t frames = shapes[i][0], bins = shapes[i][1];
        sa2_tensor z = test_random(env, SA2_F32, frames, 2 * bins);
        for (int64_t j = 0; j < frames * 2 * bins; j++)
            ((float *)z.data)[j] *= 8.0f; /* e^8 is clipped */
        double *x = test_values(env, &z), *want = test_doubles(env, frames * 2 * bins);
        for (int64_t t = 0; t < frames; t++)
            for (int64_t k = 0; k < bins; k++) {
                double m = fmin(exp(x[t * 2 * bins + k]), 100.0);
                double phase = sin(x[t * 2 * bins + bins + k]);
                want[t * 2 * bins + k] = m * cos(phase);
                want[t * 2 * bins + bins + k] = m * sin(phase);
            }
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = test_poisoned(env, SA2_F32, frames, 2 * bins);
            sa2_polar(env->streams[b], y, z, 100.0f);
            /* five roundings of some units in the last place: 2^-22 squared */
            assert_close(env, env->streams[b], "polar", &y, want, 6e-14);
            sa2_tensor in_place = test_copy(env, &z);
            sa2_polar(env->streams[b], in_place, in_place, 100.0f);
            assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
            assert_same_bits("polar in place", &in_place, &y);
        }
        test_reset(env);
    }
}

static void polar_keeps_nan_and_clips_infinity(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor z = test_random(env, SA2_F32, 1, 4), y = test_poisoned(env, SA2_F32, 1, 4);
        float *x = z.data, *found = y.data;
        x[0] = NAN;
        x[1] = INFINITY;
        x[2] = x[3] = 0.0f;
        sa2_polar(env->streams[b], y, z, 100.0f);
        assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
        assert_true(isnan(found[0]) && isnan(found[2]));
        assert_true(fabsf(found[1] - 100.0f) < 1e-4f && found[3] == 0.0f);
        sa2_polar(env->streams[b], sa2_tensor_cols(y, 0, 3), sa2_tensor_cols(z, 0, 3), 1.0f);
        assert_refused(env->streams[b], "polar: y and z f32 [frames, 2 bins] expected");
        test_reset(env);
    }
}

static void overlap_add_divides_by_the_energy_of_the_windows(void **state)
{
    test_env *env = *state;
    static const struct {
        int n, hop, trim;
        int32_t frames[3];
        float limit;
    } cases[] = {
        {16, 4, 8, {121, 241, 5}, INFINITY},
        {16, 4, 8, {2001, 1, 3}, 0.5f}, /* one frame: 16 - 16 samples */
        {12, 12, 0, {3, 1, 7}, INFINITY},
        {6, 2, 1, {0, 4, 40}, 0.99f},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        int n = cases[c].n, hop = cases[c].hop, trim = cases[c].trim;
        int32_t *offsets = test_offsets(env, 3, cases[c].frames);
        sa2_tensor x = test_random(env, SA2_F32, offsets[3], n);
        sa2_tensor window = test_random(env, SA2_F32, n, 0);
        double *from = test_values(env, &x), *w = test_values(env, &window);
        for (int k = 0; k < n; k++)
            ((float *)window.data)[k] = (float)(w[k] = (float)(0.2 + w[k] * w[k]));
        double *want = test_doubles(env, offsets[3] * n), samples = 0;
        for (int i = 0; i < 3; i++) {
            int64_t length = (cases[c].frames[i] - 1) * hop + n - 2 * trim;
            for (int64_t j = 0; j < length && cases[c].frames[i] > 0; j++) {
                double sum = 0.0, energy = 0.0;
                for (int64_t m = 0; m < cases[c].frames[i]; m++) {
                    int64_t k = j + trim - m * hop;
                    if (k < 0 || k >= n)
                        continue;
                    sum += from[(offsets[i] + m) * n + k];
                    energy += w[k] * w[k];
                }
                want[(int64_t)samples++] =
                    fmax(fmin(sum / energy, cases[c].limit), -cases[c].limit);
            }
        }
        for (int b = 0; b < env->n_streams; b++) {
            sa2_overlap_add_args a = {.y = test_poisoned(env, SA2_F32, (int64_t)samples, 0),
                                      .x = x,
                                      .sequences = {3, offsets},
                                      .window = window,
                                      .hop = hop,
                                      .trim = trim,
                                      .limit = cases[c].limit};
            sa2_overlap_add(env->streams[b], a);
            assert_close(env, env->streams[b], "overlap_add", &a.y, want, 1e-13);
            a.y.shape[0]--;
            sa2_overlap_add(env->streams[b], a);
            assert_refused(env->streams[b], "overlap_add: y has not as many samples");
            a.hop = 5;
            sa2_overlap_add(env->streams[b], a);
            assert_refused(env->streams[b], "n a multiple of hop");
        }
        test_reset(env);
    }
}

/* ---- harmonics ---- */

enum { HOP = 480, HARMONICS = 9 };
static const double rate = 24000.0;

/* The formula of the contract, sample by sample, phases never reduced. */
static void harmonics(double *y, const double *f0, int frames, const double *weight, double bias,
                      const double *noise)
{
    for (int64_t j = 0; j < (int64_t)frames * HOP; j++) {
        double at = fmax(0.0, ((double)j + 0.5) / HOP - 0.5), sum = bias;
        int i0 = (int)at, i1 = i0 + 1 < frames ? i0 + 1 : frames - 1;
        bool voiced = f0[j / HOP] > 10.0;
        for (int h = 0; h < HARMONICS; h++) {
            long double phase0 = 0.0L, phase1 = 0.0L;
            for (int k = 0; k <= i1; k++) {
                double turns = (h + 1) * f0[k] / rate;
                phase1 += (long double)(turns - floor(turns)) * HOP;
                if (k <= i0)
                    phase0 = phase1;
            }
            long double turns = phase0 + (at - i0) * (phase1 - phase0);
            double e = voiced ? 0.1 * sin(2.0 * pi * (double)(turns - floorl(turns))) : 0.0;
            e += (voiced ? 0.003 : 0.1 / 3) * (noise != NULL ? noise[j * HARMONICS + h] : 0.0);
            sum += weight[h] * e;
        }
        y[j] = tanh(sum);
    }
}

static void fill_f0(test_env *env, sa2_tensor f0)
{
    for (int64_t t = 0; t < f0.shape[0]; t++) {
        double u = test_uniform(env);
        ((float *)f0.data)[t] = (float)(t % 5 == 3 ? 10.0 : 220.0 + 200.0 * u);
    }
}

static sa2_harmonics_args harmonics_args(sa2_tensor y, sa2_tensor f0, sa2_rows sequences,
                                         sa2_tensor weight, sa2_tensor bias, sa2_tensor noise)
{
    return (sa2_harmonics_args){.y = y,
                                .f0 = f0,
                                .sequences = sequences,
                                .weight = weight,
                                .bias = bias,
                                .noise = noise,
                                .hop = HOP,
                                .rate = (float)rate,
                                .threshold = 10.0f,
                                .amplitude = 0.1f,
                                .voiced_noise = 0.003f,
                                .other_noise = 0.1f / 3};
}

static void harmonics_follow_the_formula_in_each_sequence(void **state)
{
    test_env *env = *state;
    static const int32_t lengths[] = {1, 7, 2, 40};
    int32_t *offsets = test_offsets(env, 4, lengths);
    int64_t samples = (int64_t)offsets[4] * HOP;
    sa2_tensor f0 = test_random(env, SA2_F32, offsets[4], 0);
    fill_f0(env, f0);
    sa2_tensor weight = test_random(env, SA2_F32, HARMONICS, 0);
    sa2_tensor bias = test_random(env, SA2_F32, 1, 0);
    sa2_tensor noise = test_random(env, SA2_F32, samples, HARMONICS);
    double *f = test_values(env, &f0), *w = test_values(env, &weight);
    double *xi = test_values(env, &noise), *want = test_doubles(env, samples);
    for (int with_noise = 0; with_noise < 2; with_noise++) {
        for (int i = 0; i < 4; i++)
            harmonics(want + offsets[i] * HOP, f + offsets[i], lengths[i], w,
                      ((float *)bias.data)[0],
                      with_noise ? xi + (int64_t)offsets[i] * HOP * HARMONICS : NULL);
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = test_poisoned(env, SA2_F32, samples, 0);
            sa2_harmonics_args a = harmonics_args(y, f0, (sa2_rows){4, offsets}, weight, bias,
                                                  with_noise ? noise : (sa2_tensor){0});
            sa2_harmonics(env->streams[b], a);
            /* an angle of up to pi rounded to 2^-23, nine sines, a sum: about 2^-22 */
            assert_close(env, env->streams[b], "harmonics", &y, want, 6e-14);
        }
    }
    test_reset(env);
}

static void harmonics_stay_exact_after_ten_minutes(void **state)
{
    test_env *env = *state;
    enum { FRAMES = 30000 };
    static const int32_t offsets[] = {0, FRAMES};
    sa2_tensor f0 = test_random(env, SA2_F32, FRAMES, 0);
    for (int t = 0; t < FRAMES; t++)
        ((float *)f0.data)[t] = 437.3f; /* a multiple of it and 480 samples is no whole turn */
    sa2_tensor weight = test_random(env, SA2_F32, HARMONICS, 0);
    sa2_tensor bias = test_random(env, SA2_F32, 1, 0);
    for (int b = 0; b < env->n_streams; b++) {
        sa2_tensor y = test_poisoned(env, SA2_F32, (int64_t)FRAMES * HOP, 0);
        sa2_harmonics(env->streams[b],
                      harmonics_args(y, f0, (sa2_rows){1, offsets}, weight, bias, (sa2_tensor){0}));
        assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
        for (int64_t j = (int64_t)FRAMES * HOP - 1000; j < (int64_t)FRAMES * HOP - 240; j++) {
            long double sum = ((float *)bias.data)[0];
            for (int h = 1; h <= HARMONICS; h++) { /* h f0 stays below the rate */
                long double turns = (long double)437.3f * h / 24000.0L * (j + 240.5L);
                sum += ((float *)weight.data)[h - 1] * 0.1L *
                       sinl(2.0L * (long double)pi * (turns - floorl(turns)));
            }
            if (!(fabs((double)((float *)y.data)[j] - tanh((double)sum)) < 1e-6))
                fail_msg("%s: sample %lld is %.9g, %.9g expected", env->isas[b], (long long)j,
                         (double)((float *)y.data)[j], tanh((double)sum));
        }
    }
    test_reset(env);
}

static void harmonics_refuse_what_does_not_go_together(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    static const int32_t offsets[] = {0, 2};
    sa2_tensor f0 = test_random(env, SA2_F32, 2, 0), y = test_random(env, SA2_F32, 2 * HOP, 0);
    sa2_tensor weight = test_random(env, SA2_F32, 3, 0), bias = test_random(env, SA2_F32, 1, 0);
    sa2_harmonics_args good =
        harmonics_args(y, f0, (sa2_rows){1, offsets}, weight, bias, (sa2_tensor){0});
    sa2_harmonics_args a = good;
    a.hop = 481;
    sa2_harmonics(s, a);
    assert_refused(s, "harmonics: an even hop");
    a = good;
    a.noise = test_random(env, SA2_F32, 2 * HOP, 2);
    sa2_harmonics(s, a);
    assert_refused(s, "harmonics: noise f32 [samples, harmonics] expected");
    a = good;
    a.bias = weight;
    sa2_harmonics(s, a);
    assert_refused(s, "harmonics: y, f0, weight [harmonics] and bias [1], all f32, expected");
    test_reset(env);
}

/* ---- noise ---- */

/* One block, as Salmon et al. 2011 write it (section 3.3), with the key's words and the counter's. */
static void philox(uint32_t x[4], uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p = 0xD2511F53ull * x[0], q = 0xCD9E8D57ull * x[2];
        uint32_t next[4] = {(uint32_t)(q >> 32) ^ x[1] ^ key0, (uint32_t)q,
                            (uint32_t)(p >> 32) ^ x[3] ^ key1, (uint32_t)p};
        memcpy(x, next, sizeof next);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

static double normal(uint64_t seed, uint32_t track, int64_t i)
{
    uint64_t block = (uint64_t)i / 4;
    uint32_t x[4] = {(uint32_t)block, (uint32_t)(block >> 32), track, 1};
    philox(x, (uint32_t)seed, (uint32_t)(seed >> 32));
    const uint32_t *pair = x + i % 4 / 2 * 2;
    double u = ((pair[0] >> 8) + 1) * 0x1p-24, angle = 2.0 * pi * (pair[1] >> 8) * 0x1p-24;
    return sqrt(-2.0 * log(u)) * (i % 2 == 0 ? cos(angle) : sin(angle));
}

static void philox_of_this_test_gives_the_known_answers(void **state)
{
    (void)state; /* kat_vectors of the authors' Random123 library */
    uint32_t zeros[4] = {0}, ones[4] = {~0u, ~0u, ~0u, ~0u};
    static const uint32_t of_zeros[] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
    static const uint32_t of_ones[] = {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu};
    philox(zeros, 0, 0);
    philox(ones, ~0u, ~0u);
    assert_memory_equal(zeros, of_zeros, sizeof zeros);
    assert_memory_equal(ones, of_ones, sizeof ones);
}

static void normal_numbers_depend_on_seed_track_and_place_alone(void **state)
{
    test_env *env = *state;
    static const struct {
        uint64_t seed;
        uint32_t track;
        int64_t first, n;
    } cases[] = {{0, 0, 0, 1},
                 {1, 2, 3, 1000},
                 {0xfedcba9876543210u, 7, 255, 2},
                 {42, 0, ((int64_t)1 << 36) - 300, 5000}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            int64_t n = cases[c].n;
            sa2_tensor y = test_poisoned(env, SA2_F32, n, 0);
            double *want = test_doubles(env, n);
            for (int64_t i = 0; i < n; i++)
                want[i] = normal(cases[c].seed, cases[c].track, cases[c].first + i);
            sa2_normal(s, y, cases[c].seed, cases[c].track, cases[c].first);
            /* an angle below 2 pi is known to 2^-22, a logarithm and a root less */
            assert_close(env, s, "normal", &y, want, 3e-13);
            sa2_tensor parts = test_poisoned(env, SA2_F32, n, 0);
            for (int64_t at = 0, size = 1; at < n; at += size, size = size % 301 + 1) {
                size = size < n - at ? size : n - at;
                sa2_normal(s, sa2_tensor_rows(parts, at, size), cases[c].seed, cases[c].track,
                           cases[c].first + at);
            }
            assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
            assert_same_bits("normal in parts", &parts, &y);
            test_reset(env);
        }
    sa2_tensor y = test_random(env, SA2_F32, 4, 0);
    sa2_normal(env->streams[0], y, 0, 0, -1);
    assert_refused(env->streams[0], "normal: y f32, dense, and a first number from 0 expected");
    test_reset(env);
}

static void normal_numbers_have_the_moments_of_their_name(void **state)
{
    test_env *env = *state;
    enum { N = 1 << 18 };
    sa2_tensor y = test_poisoned(env, SA2_F32, N, 0);
    sa2_normal(env->streams[env->n_streams - 1], y, 2024, 0, 0);
    assert_int_equal(sa2_stream_finish(env->streams[env->n_streams - 1], NULL), SA2_OK);
    double m1 = 0.0, m2 = 0.0, m4 = 0.0, beside = 0.0, last = 0.0;
    for (int i = 0; i < N; i++) {
        double x = (double)((float *)y.data)[i];
        m1 += x;
        m2 += x * x;
        m4 += x * x * x * x;
        beside += x * last;
        last = x;
    }
    /* five standard errors: 1, sqrt 2, sqrt 96 and 1 over sqrt N = 512 */
    assert_true(fabs(m1 / N) < 5.0 / 512 && fabs(m2 / N - 1.0) < 5.0 * 1.42 / 512);
    assert_true(fabs(m4 / N - 3.0) < 5.0 * 9.8 / 512 && fabs(beside / N) < 5.0 / 512);
    test_reset(env);
}

/* ---- cross-fade ---- */

static void cross_fade_weighs_by_the_halves_of_a_hamming_window(void **state)
{
    test_env *env = *state;
    static const int64_t lengths[] = {3840, 1, 5, 1000};
    for (size_t c = 0; c < sizeof lengths / sizeof lengths[0]; c++) {
        int64_t n = lengths[c];
        sa2_tensor x = test_random(env, SA2_F32, n, 0), z = test_random(env, SA2_F32, n, 0);
        double *want = test_values(env, &x), *old = test_values(env, &z);
        for (int64_t i = 0; i < n; i++) {
            double rising = 0.54 - 0.46 * cos(2.0 * pi * (double)i / (double)(2 * n - 1));
            double falling = 0.54 - 0.46 * cos(2.0 * pi * (double)(n + i) / (double)(2 * n - 1));
            /* cos(a) + cos(a + pi + e) with e = pi / (2n - 1) is e at most */
            assert_true(fabs(rising + falling - 1.08) <= 0.46 * pi / (double)(2 * n - 1));
            want[i] = (double)(float)(want[i] * rising + old[i] * falling);
        }
        for (int b = 0; b < env->n_streams; b++) {
            sa2_tensor y = test_poisoned(env, SA2_F32, n, 0);
            sa2_cross_fade(env->streams[b], y, x, z);
            assert_close(env, env->streams[b], "cross_fade", &y, want, 0.0);
            sa2_tensor in_place = test_copy(env, &x);
            sa2_cross_fade(env->streams[b], in_place, in_place, z);
            assert_int_equal(sa2_stream_finish(env->streams[b], NULL), SA2_OK);
            assert_same_bits("cross_fade in place", &in_place, &y);
        }
        sa2_cross_fade(env->streams[0], x, x, sa2_tensor_rows(z, 0, n - 1));
        assert_refused(env->streams[0], "cross_fade: y, x and z f32 [n] expected");
        test_reset(env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reflect_pad_mirrors_each_sequence_without_its_edge),
        cmocka_unit_test(reflect_pad_refuses_what_has_nothing_to_mirror),
        cmocka_unit_test(polar_turns_magnitudes_and_phases_into_parts),
        cmocka_unit_test(polar_keeps_nan_and_clips_infinity),
        cmocka_unit_test(overlap_add_divides_by_the_energy_of_the_windows),
        cmocka_unit_test(harmonics_follow_the_formula_in_each_sequence),
        cmocka_unit_test(harmonics_stay_exact_after_ten_minutes),
        cmocka_unit_test(harmonics_refuse_what_does_not_go_together),
        cmocka_unit_test(philox_of_this_test_gives_the_known_answers),
        cmocka_unit_test(normal_numbers_depend_on_seed_track_and_place_alone),
        cmocka_unit_test(normal_numbers_have_the_moments_of_their_name),
        cmocka_unit_test(cross_fade_weighs_by_the_halves_of_a_hamming_window),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
