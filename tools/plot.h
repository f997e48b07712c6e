/* plot.h - a picture of speech as SVG: waveform, log-mel, pitch, and when each chunk was there against its playback.
 */
#ifndef SA2_TOOLS_PLOT_H
#define SA2_TOOLS_PLOT_H

#include <stdint.h>

#include "kernels/base/status.h"

/* Samples [first, first + n) and when they were there, in seconds from the question on. */
typedef struct sa2_plot_chunk {
    int64_t first, n;
    double ready;
} sa2_plot_chunk;

typedef struct sa2_plot {
    const char *title;
    const float *samples; /* [n], 24 kHz */
    int64_t n;
    const sa2_plot_chunk *chunks; /* [n_chunks], none: no time line */
    int n_chunks;
} sa2_plot;

/* Appears under `path` only when it is complete; at most half a megabyte. Errors: SA2_ERR_IO; SA2_ERR_NOMEM. */
sa2_status sa2_plot_write(const char *path, const sa2_plot *plot, sa2_error *err);

#endif
