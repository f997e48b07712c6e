/* audio_writer.h - float samples to a sound file, or to a pipe as raw PCM.
 *
 * 16-bit samples are trunc(clip(x, -1, 1) * 32767), the rule of the reference's clients, so a WAV
 * file and a pipe hold the same numbers.
 */
#ifndef SA2_RUNTIME_AUDIO_AUDIO_WRITER_H
#define SA2_RUNTIME_AUDIO_AUDIO_WRITER_H

#include <stdint.h>

#include "kernels/base/status.h"

typedef enum sa2_audio_sample { SA2_SAMPLE_S16 = 0, SA2_SAMPLE_F32 } sa2_audio_sample;

typedef struct sa2_audio_writer sa2_audio_writer;

/* Mono. `path` says the format by its end: .wav, .flac, .ogg (Vorbis), .opus, .mp3; "-" is raw
 * little-endian PCM to standard output. Samples are 16-bit, or 32-bit float where WAV or the pipe
 * are asked for them; FLAC stores 16 bits and the lossy formats what they can.
 * Errors: SA2_ERR_ARG an unknown ending, float in FLAC, a rate that the format does not have;
 * SA2_ERR_IO not writable. */
sa2_status sa2_audio_writer_create(sa2_audio_writer **writer, const char *path, int rate,
                                   sa2_audio_sample sample, sa2_error *err);

/* Appends samples [n]. The header of a WAV file knows of them at once: it is whole even when the program is stopped.
 * Errors: SA2_ERR_IO, with the reason (disk full, reader of the pipe gone). */
sa2_status sa2_audio_writer_append(sa2_audio_writer *writer, const float *samples, int64_t n,
                                   sa2_error *err);

/* Completes the file; the writer can only be destroyed then. */
sa2_status sa2_audio_writer_finish(sa2_audio_writer *writer, sa2_error *err);

/* An unfinished file stays as it is: what was spoken is not thrown away. NULL is fine. */
void sa2_audio_writer_destroy(sa2_audio_writer *writer);

/* [n] 16-bit samples by the rule above. */
void sa2_audio_to_s16(int16_t *out, const float *samples, int64_t n);

#endif
