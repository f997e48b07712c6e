/* check_sound.h - the sounds of a golden conversation to rows of the decoder.
 */
#ifndef SA2_TOOLS_CHECK_SOUND_H
#define SA2_TOOLS_CHECK_SOUND_H

#include "runtime/model.h"
#include "tools/check_case.h"

/* Zero-initialise it. */
typedef struct sa2_check_sound {
    float *rows; /* [n_rows, hidden]: the adaptor's rows of all chunks, in order */
    int64_t n_rows;
} sa2_check_sound;

/* Every audio item of the case's `messages`, by the rule of the model repository. Errors: SA2_ERR_IO a recording that is not
 * there; SA2_ERR_FORMAT messages that are no such JSON. */
sa2_status sa2_check_sound_encode(sa2_check_sound *sound, const sa2_check_run *run,
                                  const sa2_model *model, sa2_error *err);
void sa2_check_sound_free(sa2_check_sound *sound);

#endif
