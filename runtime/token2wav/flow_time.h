/* flow_time.h - the timesteps of the flow, and the sinusoids that show times and distances to a network.
 *
 * Maths: the cosine schedule of CosyVoice 2 (Du et al. 2024), sinusoids of Vaswani et al. 2017, section 3.5;
 * arrangement and scale as in cosyvoice2/ of stepfun-ai/Step-Audio2. In double, rounded once: the reference
 * rounds the angles too and differs by up to 6e-8 times the angle.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_TIME_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_TIME_H

enum {
    SA2_FLOW_STEPS = 10, /* Euler steps of the release */
    SA2_FLOW_MAX_STEPS = 64,
    SA2_FLOW_TIME_INPUTS = 256,
};

/* tau[k] = 1 - cos(k / n * pi / 2) for k = 0 to n: step k goes from tau[k] to tau[k + 1]. */
void sa2_flow_time_grid(double *tau, int n);

/* features [SA2_FLOW_TIME_INPUTS] = cos(a_i), then sin(a_i), with a_i = 1000 t 10000^(-2i / SA2_FLOW_TIME_INPUTS). */
void sa2_flow_time_features(float *features, double t);

/* rows [n, width], one for each of the signed distances first, first + 1, ...:
 * [2m] = sin(distance w_m), [2m + 1] = cos(distance w_m), with w_m = 10000^(-2m / width). */
void sa2_flow_distance_rows(float *rows, int n, int width, int first);

#endif
