#include "tools/pitch.h"

#include <assert.h>
#include <math.h>

enum {
    MOST_RATE = 48000,
    MOST_LAG = MOST_RATE / SA2_PITCH_LEAST_HZ,
    MOST_WINDOW = MOST_RATE / 25,
};

static const double DIP = 0.15;     /* the paper tries 0.1; speech with noise in it needs more */
static const double SILENCE = 1e-7; /* mean square: 70 dB below full scale */

typedef struct excerpt {
    float x[MOST_WINDOW + MOST_LAG + 1];
    double normal[MOST_LAG + 2]; /* eq. 8 */
} excerpt;

static void cut(excerpt *e, int length, const float *samples, int64_t n, int64_t from)
{
    for (int i = 0; i < length; i++) {
        int64_t at = from + i;
        e->x[i] = at >= 0 && at < n && isfinite(samples[at]) ? samples[at] : 0.0f;
    }
}

static void difference(excerpt *e, int window, int lags)
{
    double sum = 0.0;
    e->normal[0] = 1.0;
    for (int lag = 1; lag <= lags; lag++) {
        float squares = 0.0f;
        for (int i = 0; i < window; i++) {
            float d = e->x[i] - e->x[i + lag];
            squares += d * d;
        }
        sum += (double)squares;
        e->normal[lag] = sum > 0.0 ? (double)squares * lag / sum : 1.0;
    }
}

/* Where a parabola through a dip and its neighbours is lowest. */
static double refine(const double *y, int i)
{
    double curve = y[i - 1] - 2.0 * y[i] + y[i + 1];
    return curve > 0.0 ? i + 0.5 * (y[i - 1] - y[i + 1]) / curve : i;
}

static float pitch_of(excerpt *e, int window, int rate)
{
    int least = rate / SA2_PITCH_MOST_HZ, most = rate / SA2_PITCH_LEAST_HZ;
    double energy = 0.0;
    for (int i = 0; i < window; i++)
        energy += (double)e->x[i] * (double)e->x[i];
    if (energy < SILENCE * window)
        return 0.0f;
    difference(e, window, most);
    for (int lag = least; lag < most; lag++)
        if (e->normal[lag] < DIP) {
            while (lag + 1 < most && e->normal[lag + 1] < e->normal[lag])
                lag++;
            return (float)(rate / refine(e->normal, lag));
        }
    return 0.0f;
}

void sa2_pitch_track(float *f0, int frames, int hop, const float *samples, int64_t n, int rate)
{
    assert(rate >= 8000 && rate <= MOST_RATE);
    excerpt e = {0};
    int window = rate / 25, length = window + rate / SA2_PITCH_LEAST_HZ;
    for (int t = 0; t < frames; t++) {
        cut(&e, length, samples, n, (int64_t)t * hop + hop / 2 - length / 2);
        f0[t] = pitch_of(&e, window, rate);
    }
}
