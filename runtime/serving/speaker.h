/* speaker.h - who speaks: utterances of the running requests, and their sound chunk by chunk.
 *
 * An utterance waits in line until it has enough codes and one of the planned streams is free; then it keeps the
 * stream until its last chunk. Those that can go on go on together.
 * Threads: the engine's.
 */
#ifndef SA2_RUNTIME_SERVING_SPEAKER_H
#define SA2_RUNTIME_SERVING_SPEAKER_H

#include "runtime/token2wav/speech.h"

/* The sound of one answer; its memory is the request's. */
typedef struct sa2_utterance {
    sa2_speech speech; /* takes codes from the start */
    uint64_t seed;     /* of its noise */
    void *owner;       /* the request */
    int choice;        /* which of its answers */
    bool listed;
    bool lost; /* in a step that failed */
    struct sa2_utterance *next;
} sa2_utterance;

/* Zero-initialise it, with `token2wav` set; NULL: nobody ever speaks. */
typedef struct sa2_speaker {
    sa2_token2wav *token2wav;
    sa2_utterance *first;
} sa2_speaker;

void sa2_speaker_add(sa2_speaker *speaker, sa2_utterance *utterance);

/* Wherever it is; its stream is free. One that is not listed is fine. */
void sa2_speaker_remove(sa2_speaker *speaker, sa2_utterance *utterance);

/* Whether a step would make sound. */
bool sa2_speaker_ready(const sa2_speaker *speaker);

/* Samples [n] of an utterance, valid during the call. */
typedef void (*sa2_speaker_sink)(void *context, sa2_utterance *utterance, const float *samples,
                                 int64_t n);

/* The next chunk of all that are ready. Errors: those of sa2_speech_step(); utterances that took part are `lost`. */
sa2_status sa2_speaker_step(sa2_speaker *speaker, sa2_speaker_sink sink, void *context,
                            sa2_error *err);

#endif
