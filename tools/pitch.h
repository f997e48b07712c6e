/* pitch.h - the fundamental frequency that a sound has, for pictures of it.
 *
 * Maths: de Cheveigne & Kawahara 2002, "YIN, a fundamental frequency estimator for speech and music": squared
 * difference (eq. 6), divided by its mean over shorter lags (eq. 8), first dip below a threshold, parabola.
 */
#ifndef SA2_TOOLS_PITCH_H
#define SA2_TOOLS_PITCH_H

#include <stdint.h>

enum { SA2_PITCH_LEAST_HZ = 60, SA2_PITCH_MOST_HZ = 600 };

/* f0 [frames] in Hz, of 40 ms around the middle of each `hop` samples; 0 where the sound is not periodic, or nearly
 * silent. samples [n], zeros around them. rate: 8000 to 48000 Hz. */
void sa2_pitch_track(float *f0, int frames, int hop, const float *samples, int64_t n, int rate);

#endif
