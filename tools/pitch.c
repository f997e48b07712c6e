#include "tools/pitch.h"

#include <math.h>

/* How alike x[0, w) and x[lag, lag + w) are, -1 to 1. */
static double likeness(const float *x, int w, int lag)
{
    double xy = 0.0, xx = 1e-9, yy = 1e-9;
    for (int i = 0; i < w; i++) {
        double a = x[i], b = x[i + lag];
        xy += a * b;
        xx += a * a;
        yy += b * b;
    }
    return xy / sqrt(xx * yy);
}

float sa2_pitch_at(const float *samples, int64_t n, int rate, int64_t at)
{
    const double voiced = 0.6,
                 as_good = 0.9; /* the shortest period that is nearly the best is meant */
    int window = rate / 50, longest = rate / SA2_PITCH_LEAST_HZ;
    int shortest = rate / SA2_PITCH_MOST_HZ;
    int64_t first = at - (window + longest) / 2;
    if (first < 0 || first + window + longest > n || shortest < 2)
        return 0.0f;
    const float *x = samples + first;
    double energy = 0.0, best = 0.0;
    for (int i = 0; i < window; i++)
        energy += (double)x[i] * x[i];
    if (energy < 1e-6 * window)
        return 0.0f;
    for (int lag = shortest; lag <= longest; lag++)
        best = fmax(best, likeness(x, window, lag));
    if (best < voiced)
        return 0.0f;
    double previous = 2.0, here = likeness(x, window, shortest);
    for (int lag = shortest; lag <= longest; lag++) {
        double next = likeness(x, window, lag + 1 < longest ? lag + 1 : longest);
        if (here > as_good * best && here >= previous && here >= next)
            return (float)rate / (float)lag;
        previous = here;
        here = next;
    }
    return 0.0f;
}
