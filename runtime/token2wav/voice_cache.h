/* voice_cache.h - voices that were encoded before: in memory, and in a folder where one is given.
 *
 * A voice is found by its key, the XXH3-128 of what the recording holds, of how raw samples are to be read, and of
 * the encoder (its weights and options). So the same file under another name is found, and a voice of
 * another model is not. A file of the folder that is damaged, cut short or of something else is made again.
 *
 * Threads: one at a time, the one that may use the encoder.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_VOICE_CACHE_H
#define SA2_RUNTIME_TOKEN2WAV_VOICE_CACHE_H

#include "runtime/token2wav/voice.h"

typedef struct sa2_voice_cache sa2_voice_cache;

/* folder: copied; it exists, or is made when its parent does; NULL: memory only. At most max_voices, 1 or more,
 * are in memory. The encoder, borrowed, outlives the cache.
 * Errors: SA2_ERR_ARG; SA2_ERR_IO the folder cannot be made; SA2_ERR_NOMEM. */
sa2_status sa2_voice_cache_create(sa2_voice_cache **cache, sa2_voice_encoder *encoder,
                                  const char *folder, int max_voices, sa2_error *err);
void sa2_voice_cache_destroy(sa2_voice_cache *cache); /* NULL is fine; its voices go with it */

typedef enum sa2_voice_origin {
    SA2_VOICE_ENCODED = 0,
    SA2_VOICE_FROM_FOLDER,
    SA2_VOICE_FROM_MEMORY,
} sa2_voice_origin;

enum { SA2_VOICE_NOTE_BYTES = 512 };

/* What else there is to say, which is no failure: a file of the folder was refused or could not be written. */
typedef struct sa2_voice_report {
    sa2_voice_origin origin;
    char note[SA2_VOICE_NOTE_BYTES]; /* "" when there is nothing */
} sa2_voice_report;

/* The voice of a recording, which stays until it is released as often as it was got. report may be NULL.
 * Errors: those of sa2_voice_encode(); SA2_ERR_IO the recording is no regular file; SA2_ERR_LIMIT all max_voices
 * are in use. */
sa2_status sa2_voice_cache_get(sa2_voice_cache *cache, const sa2_audio_source *source,
                               const sa2_voice **voice, sa2_voice_report *report, sa2_error *err);
void sa2_voice_cache_release(sa2_voice_cache *cache, const sa2_voice *voice);

#endif
