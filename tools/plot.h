/* plot.h - a picture of a sound, as an SVG file: waveform, log-mel spectrogram, fundamental frequency, and when each
 * chunk of it was ready beside when it had to be played.
 *
 * All panels have the time in the sound as x axis. The file stays below half a megabyte whatever the length is: the
 * waveform is drawn as its extremes in each pixel, the spectrogram as runs of 16 colours.
 */
#ifndef SA2_TOOLS_PLOT_H
#define SA2_TOOLS_PLOT_H

#include <stdint.h>

#include "kernels/base/status.h"

/* Samples that came together. */
typedef struct sa2_plot_chunk {
    int64_t first, n;
    double ready_s; /* since the sound was asked for */
} sa2_plot_chunk;

typedef struct sa2_plot {
    const char *title;
    const float *samples; /* [n_samples], 1 or more */
    int64_t n_samples;
    int rate; /* Hz */

    const float *mel; /* [n_frames, bins], natural logarithm of magnitudes; NULL: not drawn */
    const float *f0;  /* [n_frames] Hz, 0 where there is no voice; NULL: not drawn */
    int n_frames, bins;
    double frame_s; /* from one frame to the next */
    double top_hz;  /* where the mel bins end; they are Slaney's from 0 on */

    const sa2_plot_chunk *chunks; /* in order; n_chunks 0: not drawn */
    int n_chunks;
} sa2_plot;

/* Samples and features may be anything, what is no number included. Errors: SA2_ERR_ARG no samples; SA2_ERR_IO, with
 * the path; SA2_ERR_NOMEM. */
sa2_status sa2_plot_write(const sa2_plot *plot, const char *path, sa2_error *err);

/* How late chunk i is, in seconds, when playing begins with chunk 0 and never waits; not above 0: in time. */
double sa2_plot_chunk_late(const sa2_plot_chunk *chunks, int i, int rate);

#endif
