/* speech.h - speech codes to sound while they are still being made: streams of token2wav.
 *
 * A stream takes codes as they come and gives sound in chunks: `chunk` codes at a time, as soon as the flow's
 * look-ahead of codes behind them is there too. A shorter first chunk starts the sound earlier. Any number of
 * streams is computed together, each what it would be alone, to the bit.
 * Source of the chunk rule: examples-vllm-stream.py of stepfun-ai/Step-Audio2 (25 codes, 3 ahead).
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_SPEECH_H
#define SA2_RUNTIME_TOKEN2WAV_SPEECH_H

#include "runtime/token2wav/token2wav.h"

enum {
    SA2_SPEECH_FIRST_LEAST = 4, /* codes: the vocoder keeps back what four make */
    SA2_SPEECH_LADDER = 64,
};

/* How many codes each chunk turns into sound; the last number serves all that follow. */
typedef struct sa2_speech_ladder {
    int n; /* 0: SA2_SPEECH_CHUNK throughout */
    int codes[SA2_SPEECH_LADDER];
} sa2_speech_ladder;

/* first, then twice as many each time, up to SA2_SPEECH_CHUNK. Errors: SA2_ERR_ARG out of
 * [SA2_SPEECH_FIRST_LEAST, SA2_SPEECH_CHUNK]. */
sa2_status sa2_speech_ladder_from(sa2_speech_ladder *ladder, int first, sa2_error *err);

/* One stream. The codes' memory is the caller's, everything on the device is planned by token2wav. */
typedef struct sa2_speech {
    const sa2_speech_voice *voice; /* borrowed; NULL: not initialised, or over */
    sa2_speech_ladder ladder;
    int32_t *codes; /* [room] */
    int room, n_codes;
    int vocab;    /* codes that are sound lie below */
    int n_done;   /* codes that are sound already */
    int n_chunks; /* computed so far */
    bool ended;   /* no more codes come */
    int slot;     /* of token2wav; -1: not started */
    sa2_flow_stream flow;
} sa2_speech;

/* Codes can be pushed from now on; nothing of the device is used yet. codes [room]: where the stream keeps them, no
 * more than are planned count. ladder NULL: chunks of SA2_SPEECH_CHUNK. Errors: SA2_ERR_LIMIT a chunk of the ladder
 * that is out of range. */
sa2_status sa2_speech_init(const sa2_token2wav *t, sa2_speech *speech,
                           const sa2_speech_voice *voice, const sa2_speech_ladder *ladder,
                           int32_t *codes, int room, sa2_error *err);

/* Codes in order; the padding code and above are passed over. Errors: SA2_ERR_ARG a negative code, a stream that has
 * ended; SA2_ERR_LIMIT more than its room. */
sa2_status sa2_speech_push(sa2_speech *speech, const int32_t *codes, int n, sa2_error *err);
void sa2_speech_end(sa2_speech *speech);
bool sa2_speech_full(const sa2_speech *speech); /* no room for another code */

/* Takes one of the planned streams. seed: of the noise in the source. Errors: SA2_ERR_LIMIT all are taken. */
bool sa2_speech_can_start(const sa2_token2wav *t);
sa2_status sa2_speech_start(sa2_token2wav *t, sa2_speech *speech, uint64_t seed, sa2_error *err);

/* Whether a chunk can be computed now, once it has started, and whether all is computed (an ended stream without a code
 * is complete too). */
bool sa2_speech_ready(const sa2_token2wav *t, const sa2_speech *speech);
bool sa2_speech_complete(const sa2_speech *speech);

/* The stream is over, wherever it was; others do not notice. Zeroed is fine. */
void sa2_speech_drop(sa2_token2wav *t, sa2_speech *speech);

/* Samples [n] at SA2_SPEECH_RATE of streams[i], in host memory, valid during the call. */
typedef void (*sa2_speech_sink)(void *context, int i, const float *samples, int64_t n);

/* One chunk of every stream that has started and is ready, together: asked of the device, which computes it while the
 * caller goes on. *n_chunks: how many; 0: nothing was asked for. Until they are ended streams take codes, are ended and
 * dropped, and nothing else is asked of t. Errors: SA2_ERR_ARG; those of the ops, and the streams that are ready are
 * then lost. */
sa2_status sa2_speech_begin_chunks(sa2_token2wav *t, sa2_speech *const *streams, int n,
                                   int *n_chunks, sa2_error *err);

/* Whether sa2_speech_end_chunks() need not wait. */
bool sa2_speech_chunks_done(const sa2_token2wav *t);

/* sink is called once for each of them that gave samples and was not dropped. Errors: those of the ops, and the streams of
 * these chunks are then lost. */
sa2_status sa2_speech_end_chunks(sa2_token2wav *t, sa2_speech_sink sink, void *context,
                                 sa2_error *err);

/* Both, one behind the other. */
sa2_status sa2_speech_step(sa2_token2wav *t, sa2_speech *const *streams, int n,
                           sa2_speech_sink sink, void *context, int *n_chunks, sa2_error *err);

#endif
