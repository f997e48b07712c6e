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
    sa2_utterance
        *asked[SA2_VOCODER_SOUNDS]; /* for chunks that are under way; NULL: removed meanwhile */
    int n_asked;
} sa2_speaker;

void sa2_speaker_add(sa2_speaker *speaker, sa2_utterance *utterance);

/* Wherever it is; its stream is free. One that is not listed is fine. */
void sa2_speaker_remove(sa2_speaker *speaker, sa2_utterance *utterance);

/* Whether there is sound to be made and none under way; whether there is some under way; whether that has been made. */
bool sa2_speaker_ready(const sa2_speaker *speaker);
bool sa2_speaker_busy(const sa2_speaker *speaker);
bool sa2_speaker_done(const sa2_speaker *speaker);

/* Samples [n] of an utterance, valid during the call. */
typedef void (*sa2_speaker_sink)(void *context, sa2_utterance *utterance, const float *samples,
                                 int64_t n);

/* Asks for the next chunk of all that are ready, which a device makes while the caller goes on; takes what was made, waiting
 * for it. sink NULL: nobody wants it. Errors: those of sa2_speech_begin_chunks() and sa2_speech_end_chunks(); utterances
 * that took part are `lost`. */
sa2_status sa2_speaker_begin(sa2_speaker *speaker, sa2_error *err);
sa2_status sa2_speaker_end(sa2_speaker *speaker, sa2_speaker_sink sink, void *context,
                           sa2_error *err);

#endif
