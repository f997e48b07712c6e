/* speaker_head.h - the 2-d convolutions in front of speaker_encoder.h; its sa2_speaker_encoder_head_forward()
 * runs them.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_SPEAKER_HEAD_H
#define SA2_RUNTIME_TOKEN2WAV_SPEAKER_HEAD_H

#include "runtime/token2wav/speaker_encoder.h"

/* Fills *head, or only measures (weights.h). */
void sa2_speaker_head_load(sa2_speaker_head *head, const sa2_speaker_dims *dims, sa2_weights *w);

/* Of a forward of up to `frames` frames; bounded whatever they are. */
size_t sa2_speaker_head_work_bytes(const sa2_speaker_dims *dims, int64_t frames);
size_t sa2_speaker_head_scratch_bytes(const sa2_speaker_dims *dims, int64_t frames);

#endif
