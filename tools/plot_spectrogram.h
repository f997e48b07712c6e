/* plot_spectrogram.h - the spectrogram of plot.h.
 */
#ifndef SA2_TOOLS_PLOT_SPECTROGRAM_H
#define SA2_TOOLS_PLOT_SPECTROGRAM_H

#include "tools/plot.h"
#include "tools/svg.h"

/* Within the panel, whose x axis is set, with axis and scale of colours. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_plot_spectrogram(sa2_svg_panel *panel, const sa2_plot *plot, sa2_error *err);

#endif
