/* voice_file.h - a voice on disk, so that a recording is encoded once.
 *
 * All numbers little-endian; behind the header follow tokens, speaker vector and mel, without gaps.
 *   bytes  0 "SA2VOICE"                 8 version, u32           12 mel_bins, u32
 *         16 key, 16 bytes             32 n_tokens, u32          36 n_speaker, u32
 *         40 n_frames, u32             44 0, u32                 48 XXH3-64 of the header before it and of all that follows
 * The key says of which recording and which model the voice is (voice_cache.h).
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_VOICE_FILE_H
#define SA2_RUNTIME_TOKEN2WAV_VOICE_FILE_H

#include "runtime/token2wav/voice.h"

enum { SA2_VOICE_FILE_VERSION = 1 };

typedef struct sa2_voice_key {
    unsigned char bytes[16];
} sa2_voice_key;

/* Appears under `path` only when it is complete. Errors: SA2_ERR_IO, with the path; SA2_ERR_NOMEM. */
sa2_status sa2_voice_file_write(const char *path, const sa2_voice_key *key, const sa2_voice *voice,
                                sa2_error *err);

/* What a voice of an encoder looks like: its tokens are below `vocab`. */
typedef struct sa2_voice_form {
    int64_t vocab;
    int n_speaker, mel_bins, frames_per_token;
} sa2_voice_form;

/* The caller owns *voice. Errors, with the path: SA2_ERR_IO; SA2_ERR_FORMAT no voice file, another version, another
 * key, sizes that do not fit the form or the file, a wrong checksum, a token or a value out of range; SA2_ERR_NOMEM. */
sa2_status sa2_voice_file_read(sa2_voice *voice, const char *path, const sa2_voice_key *key,
                               const sa2_voice_form *form, sa2_error *err);

#endif
