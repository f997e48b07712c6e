/* speech_record.h - a sound as it was made, chunk by chunk, for a picture of it.
 */
#ifndef SA2_TOOLS_SPEECH_RECORD_H
#define SA2_TOOLS_SPEECH_RECORD_H

#include <stddef.h>

#include "kernels/base/status.h"

typedef struct sa2_speech_record sa2_speech_record;

sa2_speech_record *sa2_speech_record_create(void);         /* NULL: no memory */
void sa2_speech_record_destroy(sa2_speech_record *record); /* NULL is fine */

/* Times of the chunks count from the first call on. */
void sa2_speech_record_asked(sa2_speech_record *record);

/* Samples [n] at 24 kHz, there now. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_speech_record_add(sa2_speech_record *record, const float *samples, size_t n,
                                 sa2_error *err);

/* Errors: those of sa2_plot_write(). */
sa2_status sa2_speech_record_draw(const sa2_speech_record *record, const char *path,
                                  const char *title, sa2_error *err);

#endif
