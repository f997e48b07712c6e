/* check_parts.h - the tables of parts that check_case.c looks through; each ends with a NULL name.
 */
#ifndef SA2_TOOLS_CHECK_PARTS_H
#define SA2_TOOLS_CHECK_PARTS_H

#include "tools/check_case.h"

/* A device with its arena, where both sizes are known beforehand. */
static inline sa2_status sa2_check_device_ready(sa2_check_device *device, const sa2_check_run *run,
                                                size_t arena_bytes, size_t scratch_bytes,
                                                sa2_error *err)
{
    sa2_status st = sa2_check_device_open(device, run, scratch_bytes, err);
    return st == SA2_OK ? sa2_check_device_reserve(device, arena_bytes, err) : st;
}

extern const sa2_check_part sa2_check_hearing_parts[];      /* check_hearing.c */
extern const sa2_check_part sa2_check_decoder_parts[];      /* check_decoder.c */
extern const sa2_check_part sa2_check_generation_parts[];   /* check_generation.c */
extern const sa2_check_part sa2_check_sampling_parts[];     /* check_sampling.c */
extern const sa2_check_part sa2_check_vocoder_parts[];      /* check_vocoder.c */
extern const sa2_check_part sa2_check_flow_encoder_parts[]; /* check_flow_encoder.c */
extern const sa2_check_part sa2_check_flow_dit_parts[];     /* check_flow_dit.c */
extern const sa2_check_part sa2_check_flow_mel_parts[];     /* check_flow_mel.c */
extern const sa2_check_part sa2_check_voice_parts[];        /* check_voice.c */
extern const sa2_check_part sa2_check_speech_parts[];       /* check_speech.c */

#endif
