/* pitch.h - the fundamental frequency of a sound, for pictures: autocorrelation, no more exact than a picture needs.
 *
 * Maths: normalised cross-correlation of a window with itself one period later (Talkin 1995, "A Robust Algorithm for
 * Pitch Tracking", section 2), its largest peak, without the tracking.
 */
#ifndef SA2_TOOLS_PITCH_H
#define SA2_TOOLS_PITCH_H

#include <stdint.h>

enum { SA2_PITCH_LEAST_HZ = 60, SA2_PITCH_MOST_HZ = 500 };

/* Around sample `at` of samples [n]: Hz, or 0 where there is no voice. */
float sa2_pitch_at(const float *samples, int64_t n, int rate, int64_t at);

#endif
