/* sound_log.h - a sound as it was made: its samples, when each piece of them came, and a picture of both.
 */
#ifndef SA2_TOOLS_SOUND_LOG_H
#define SA2_TOOLS_SOUND_LOG_H

#include "kernels/backend.h"
#include "tools/plot.h"

typedef struct sa2_sound_log {
    float *samples; /* [n_samples] */
    int64_t n_samples, sample_room;
    sa2_plot_chunk *chunks; /* [n_chunks] */
    int n_chunks, chunk_room;
    double started; /* on the clock of sa2_now() */
} sa2_sound_log;

/* The clock runs from now on. */
void sa2_sound_log_start(sa2_sound_log *log);

/* samples [n] are ready now; n from 0, which is no chunk. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_sound_log_append(sa2_sound_log *log, const float *samples, int64_t n,
                                sa2_error *err);
void sa2_sound_log_free(sa2_sound_log *log); /* zeroed is fine */

/* Draws a sound of SA2_SPEECH_RATE with the mel that its vocoder would be given and the F0 that it has. Opens the device
 * for that. Errors: those of sa2_backend_open() and sa2_plot_write(). */
sa2_status sa2_sound_log_plot(const sa2_sound_log *log, const char *path, const char *title,
                              const sa2_backend_options *device, sa2_error *err);

#endif
