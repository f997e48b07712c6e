/* voice_store.h - voices by name: a folder of recordings, and what models made of them.
 *
 *   FOLDER/anna.wav        the recording, as it was added; any format of audio_file.h
 *   FOLDER/encoded/        voices of it, one for each model (voice_cache.h); may be deleted at any time
 *
 * Wherever a voice is asked for, a path to a recording is one too.
 */
#ifndef SA2_TOOLS_VOICE_STORE_H
#define SA2_TOOLS_VOICE_STORE_H

#include "runtime/token2wav/voice_cache.h"

enum { SA2_STORE_PATH = 4096, SA2_STORE_VOICES = 1024, SA2_STORE_NAME = 64 };

typedef struct sa2_voice_store {
    char folder[SA2_STORE_PATH / 2];
    char encoded[SA2_STORE_PATH];
} sa2_voice_store;

/* folder NULL: $SA2_VOICES, else $XDG_DATA_HOME/sa2/voices, else ~/.local/share/sa2/voices. It is made when something is
 * put there, not here. Errors: SA2_ERR_ARG no folder to be found, a path that is too long. */
sa2_status sa2_voice_store_open(sa2_voice_store *store, const char *folder, sa2_error *err);

/* Letters, digits, "-" and "_", up to SA2_STORE_NAME. Errors: SA2_ERR_ARG. */
sa2_status sa2_voice_store_judge_name(const char *name, sa2_error *err);

/* The recording of a name, of a name in the model's assets/ (release folders have some; model may be NULL), or of a path
 * as it is. Errors: SA2_ERR_IO none of them, with the names that there are. */
sa2_status sa2_voice_store_find(const sa2_voice_store *store, const char *model, const char *name,
                                char path[SA2_STORE_PATH], sa2_error *err);

/* Names [*n], sorted, at most SA2_STORE_VOICES. A folder that is not there has none. The caller frees each and the list. */
sa2_status sa2_voice_store_list(const sa2_voice_store *store, char ***names, size_t *n,
                                sa2_error *err);
void sa2_voice_store_free_list(char **names, size_t n);

/* Copies a recording under a name, and is there only when it is complete. Errors: SA2_ERR_ARG the name; a voice of that
 * name unless `replace`; SA2_ERR_IO. */
sa2_status sa2_voice_store_add(const sa2_voice_store *store, const char *name, const char *path,
                               bool replace, sa2_error *err);

/* ---- voices of a model ---- */

typedef struct sa2_voice_wish {
    const char *voice; /* a name or a path */
    const char *store; /* a folder, or NULL */
    const char *model; /* release folder */
    const sa2_backend_options *device;
    sa2_partial_rule partial;
} sa2_voice_wish;

/* What the model makes of the voice, found in the store where it was made before. Reads the model's voice encoder. The
 * caller destroys *voice. Errors: those of the store, of the readers and of sa2_voice_encode(). */
sa2_status sa2_voice_of_model(sa2_voice *voice, const sa2_voice_wish *wish,
                              sa2_voice_report *report, sa2_error *err);

#endif
