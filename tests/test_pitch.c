/* The fundamental frequency of sounds that have one, and none where there is none. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tools/pitch.h"

enum { MOST_N = 48000 / 2, MOST_FRAMES = 25 };

static const double PI = 3.14159265358979323846;

/* Ten harmonics that fall off, with a weak first one: their common period is what counts. */
static void make_voice(float *samples, int n, int rate, double hz)
{
    for (int i = 0; i < n; i++) {
        double sum = 0.1 * sin(2.0 * PI * hz * i / rate);
        for (int k = 2; k <= 10 && k * hz < rate / 2; k++)
            sum += 0.3 / k * sin(2.0 * PI * k * hz * i / rate + k);
        samples[i] = (float)(0.5 * sum);
    }
}

static void a_voice_has_its_pitch_at_every_rate(void **state)
{
    (void)state;
    static const int rates[] = {8000, 16000, 24000, 44100, 48000};
    static const double pitches[] = {70.0, 123.4, 220.0, 350.0, 500.0};
    float samples[MOST_N], f0[MOST_FRAMES];
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++)
        for (size_t p = 0; p < sizeof pitches / sizeof pitches[0]; p++) {
            int n = rates[r] / 2, hop = rates[r] / 50;
            make_voice(samples, n, rates[r], pitches[p]);
            sa2_pitch_track(f0, MOST_FRAMES, hop, samples, n, rates[r]);
            /* frames that lie inside; a parabola is within a tenth of a lag, at most 16 lags make a period */
            for (int t = 2; t < MOST_FRAMES - 2; t++)
                if (fabs((double)f0[t] / pitches[p] - 1.0) > 0.01)
                    fail_msg("%d Hz, frame %d: %g expected, %g found", rates[r], t, pitches[p],
                             (double)f0[t]);
        }
}

static void noise_and_silence_have_none(void **state)
{
    (void)state;
    float noise[MOST_N], f0[MOST_FRAMES];
    uint32_t random = 1;
    for (int i = 0; i < MOST_N; i++) {
        random = random * 1664525u + 1013904223u;
        noise[i] = (float)(random >> 8) / 8388608.0f - 1.0f;
    }
    sa2_pitch_track(f0, MOST_FRAMES, 480, noise, 12000, 24000);
    for (int t = 0; t < MOST_FRAMES; t++)
        assert_true(f0[t] == 0.0f);
    for (int i = 0; i < MOST_N; i++)
        noise[i] = i % 5 == 0 ? NAN : 1e-5f * sinf(0.05f * (float)i);
    sa2_pitch_track(f0, MOST_FRAMES, 480, noise, 12000, 24000);
    for (int t = 0; t < MOST_FRAMES; t++)
        assert_true(f0[t] == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_voice_has_its_pitch_at_every_rate),
        cmocka_unit_test(noise_and_silence_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
