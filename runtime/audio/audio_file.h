/* audio_file.h - sound files and PCM pipes to float samples of one channel.
 *
 * Container formats are libsndfile's: WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU, CAF and more.
 * Integer samples are scaled by 2^-(bits - 1), float samples are taken as they are; there is no
 * normalisation, no dither, no filter. A sound without a header (the raw PCM of a microphone) is
 * read as it comes, so that a pipe can be followed live.
 */
#ifndef SA2_RUNTIME_AUDIO_AUDIO_FILE_H
#define SA2_RUNTIME_AUDIO_AUDIO_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

/* What becomes of several channels. The model's own code keeps the first; the mel of a voice prompt
 * is of the mean. */
typedef enum sa2_audio_channel { SA2_CHANNEL_FIRST = 0, SA2_CHANNEL_MEAN } sa2_audio_channel;

typedef enum sa2_pcm_encoding {
    SA2_PCM_NONE = 0, /* a sound file, which says itself what it holds */
    SA2_PCM_S16LE,
    SA2_PCM_F32LE,
} sa2_pcm_encoding;

/* Where a sound comes from: a path, or bytes in memory. Zero-initialise what is not used. */
typedef struct sa2_audio_source {
    const char *path;  /* "-": standard input. With bytes: a name for messages, or NULL */
    const void *bytes; /* outlive the reader; NULL: read path */
    size_t n_bytes;
    sa2_pcm_encoding pcm;
    int pcm_rate, pcm_channels; /* of raw PCM */
    int max_seconds;            /* that are taken; 0: SA2_LIMIT_SOUND_SECONDS */
} sa2_audio_source;

typedef struct sa2_audio_reader sa2_audio_reader;

/* A pipe that holds a sound file is read to its end first; one that holds raw PCM is not.
 * Errors, each naming the sound: SA2_ERR_IO missing or not readable; SA2_ERR_FORMAT empty, not a
 * sound; SA2_ERR_LIMIT rate, channels or bytes of a pipe out of range (kernels/base/limits.h). */
sa2_status sa2_audio_reader_open(sa2_audio_reader **reader, const sa2_audio_source *source,
                                 sa2_error *err);
void sa2_audio_reader_close(sa2_audio_reader *reader); /* NULL is fine */

int sa2_audio_reader_rate(const sa2_audio_reader *reader); /* Hz */
int sa2_audio_reader_channels(const sa2_audio_reader *reader);

/* The next samples of one channel: *n of them, at most `max`, 0 at the end. Raw PCM gives what has
 * arrived as soon as there is any; an incomplete frame at its end is dropped.
 * Errors: SA2_ERR_IO; SA2_ERR_FORMAT a sample that is no number or is larger than any sound;
 * SA2_ERR_LIMIT the sound goes on after the longest that is taken, whatever its header says. */
sa2_status sa2_audio_reader_read(sa2_audio_reader *reader, sa2_audio_channel channel, float *out,
                                 int64_t max, int64_t *n, sa2_error *err);

/* ---- whole sounds ---- */

typedef struct sa2_audio {
    float *samples; /* [n_samples] */
    int64_t n_samples;
    int rate;
} sa2_audio;

/* Reads a sound to its end, resampled to `rate` while it is decoded: memory is bounded by the result.
 * The caller owns *audio and destroys it.
 * Errors: those of the reader; SA2_ERR_FORMAT no samples at all; SA2_ERR_NOMEM. */
sa2_status sa2_audio_read(sa2_audio *audio, const sa2_audio_source *source,
                          sa2_audio_channel channel, int rate, sa2_error *err);
void sa2_audio_destroy(sa2_audio *audio); /* zeroed is fine */

#endif
