#include "runtime/token2wav/flow_time.h"

#include <math.h>
#include <stdint.h>

static const double pi = 3.14159265358979323846;
static const double base = 10000.0; /* of the sinusoids' frequencies */

void sa2_flow_time_grid(double *tau, int n)
{
    for (int k = 0; k <= n; k++)
        tau[k] = k == n ? 1.0 : 1.0 - cos((double)k / n * pi / 2.0);
}

void sa2_flow_time_features(float *features, double t)
{
    enum { HALF = SA2_FLOW_TIME_INPUTS / 2 };
    for (int i = 0; i < HALF; i++) {
        double angle = 1000.0 * t * pow(base, -(double)i / HALF);
        features[i] = (float)cos(angle);
        features[HALF + i] = (float)sin(angle);
    }
}

void sa2_flow_distance_rows(float *rows, int n, int width, int first)
{
    for (int i = 0; i < width; i++) {
        double frequency = pow(base, -(double)(i - i % 2) / width);
        for (int r = 0; r < n; r++) {
            double angle = ((double)first + r) * frequency;
            rows[(int64_t)r * width + i] = (float)(i % 2 == 0 ? sin(angle) : cos(angle));
        }
    }
}
