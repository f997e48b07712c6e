/* plot_mel.h - the log-mel of a sound as a grid of a few levels, for a picture.
 */
#ifndef SA2_TOOLS_PLOT_MEL_H
#define SA2_TOOLS_PLOT_MEL_H

#include <stdint.h>

#include "kernels/base/status.h"

enum { SA2_PLOT_BINS = 80, SA2_PLOT_LEVELS = 12 };

/* levels [SA2_PLOT_BINS, columns], the lowest bin first: from 0, which is 80 dB or more below the loudest, to
 * SA2_PLOT_LEVELS - 1. The mel is the flow's (mel.h: 24 kHz, to 8 kHz); a sound that is too short for it is silent.
 * Errors: SA2_ERR_NOMEM. */
sa2_status sa2_plot_mel(uint8_t *levels, int columns, const float *samples, int64_t n,
                        sa2_error *err);

#endif
