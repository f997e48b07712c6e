/* voices.h - the voices that answers can be spoken in, by name: set up once, shared by all streams.
 *
 * Threads: one adds, the one that owns the device; the others may take, give back and remove at any time.
 */
#ifndef SA2_RUNTIME_SERVING_VOICES_H
#define SA2_RUNTIME_SERVING_VOICES_H

#include <pthread.h>

#include "runtime/token2wav/token2wav.h"

enum { SA2_VOICES_MAX = 64, SA2_VOICE_NAME_BYTES = 64 };

typedef struct sa2_named_voice {
    char name[SA2_VOICE_NAME_BYTES + 1]; /* "": nobody is here */
    int n_users;
    sa2_speech_voice speech;
} sa2_named_voice;

typedef struct sa2_voices {
    pthread_mutex_t lock;
    bool open; /* the lock is there */
    int max;
    sa2_named_voice voices[SA2_VOICES_MAX];
} sa2_voices;

/* Errors: SA2_ERR_NOMEM. */
sa2_status sa2_voices_open(sa2_voices *voices, int max, sa2_error *err);
void sa2_voices_close(sa2_voices *voices); /* zeroed is fine */

/* Errors: SA2_ERR_ARG a name that is empty, too long or there already; SA2_ERR_LIMIT no place for another;
 * those of sa2_speech_voice_init(). */
sa2_status sa2_voices_add(sa2_voices *voices, sa2_token2wav *t, const char *name,
                          const sa2_voice *voice, sa2_error *err);

/* Errors: SA2_ERR_ARG no voice of this name, with those that are there; somebody speaks in it. */
sa2_status sa2_voices_remove(sa2_voices *voices, const char *name, sa2_error *err);

/* A voice that stays until it is given back. Errors: SA2_ERR_ARG as above. */
sa2_status sa2_voices_take(sa2_voices *voices, const char *name, const sa2_speech_voice **taken,
                           sa2_error *err);
void sa2_voices_give(sa2_voices *voices, const sa2_speech_voice *taken); /* NULL is fine */

#endif
