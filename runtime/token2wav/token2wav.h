/* token2wav.h - speech codes in a voice to sound: flow and vocoder together, for whole sounds and for
 * streams side by side.
 *
 *   codes 25 a second -> flow.h -> log-mel 50 a second -> vocoder.h -> samples 24 kHz
 *
 * All memory is planned when it is opened; streams (speech.h) and whole sounds take none. Checked against
 * Token2wav of stepfun-ai/Step-Audio2, golden cases token2wav and token2wav_stream in tests/golden/token2wav/.
 * Threads: one at a time.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_TOKEN2WAV_H
#define SA2_RUNTIME_TOKEN2WAV_TOKEN2WAV_H

#include "loader/pack_writer.h"
#include "runtime/token2wav/flow.h"
#include "runtime/token2wav/vocoder.h"
#include "runtime/token2wav/voice.h"

enum {
    SA2_SPEECH_RATE = 24000, /* Hz */
    SA2_SPEECH_CHUNK = 25,   /* codes turned into sound at a time, as the reference's client does */
};

typedef struct sa2_token2wav_options {
    bool bf16;             /* products of the flow in bf16; the vocoder is f32 in any case */
    int max_streams;       /* side by side; 0: 1 */
    int max_voice_seconds; /* of a voice prompt; 0: 17, what the reference can stream */
    int max_seconds;       /* of a sound, behind the voice prompt; 0: 60 */
    uint64_t noise_seed;   /* of the flow's noise */
    bool no_source_noise;  /* the vocoder's source has none: for checks */
} sa2_token2wav_options;

/* What a stream of speech.h keeps, beside the flow's cache. */
typedef struct sa2_speech_slot {
    bool taken;
    sa2_vocoder_state vocoder;
} sa2_speech_slot;

/* The chunks that are under way (speech.h). */
typedef struct sa2_speech_chunks {
    int n;                                          /* 0: none is */
    struct sa2_speech *streams[SA2_VOCODER_SOUNDS]; /* NULL: dropped meanwhile */
    int who[SA2_VOCODER_SOUNDS];                    /* of the caller's streams */
    int codes[SA2_VOCODER_SOUNDS];
    int64_t n_samples[SA2_VOCODER_SOUNDS];
    float *samples;   /* of all, in `host` */
    size_t host_mark; /* of `host` before */
} sa2_speech_chunks;

typedef struct sa2_token2wav {
    sa2_token2wav_options options; /* complete */
    sa2_flow flow;
    sa2_flow_cache cache; /* of the streams */
    sa2_vocoder vocoder;
    sa2_speech_slot slots[SA2_VOCODER_SOUNDS]; /* the first max_streams */
    int max_codes; /* of a forward's chunks together, look-ahead included */
    sa2_speech_chunks under_way;

    sa2_backend *backend; /* borrowed */
    sa2_pack *packs[2];   /* native files that weights of flow and vocoder lie in, or NULL */
    sa2_stream *stream;
    sa2_arena flow_weights, vocoder_weights;
    size_t weight_bytes; /* of the flow, in arenas and in the native file */
    sa2_arena layers;    /* host: where the weights of each layer of the flow are */
    sa2_arena kept;      /* caches of flow and vocoder */
    sa2_arena work, host;
    sa2_flow_room room;
} sa2_token2wav;

/* From the token2wav/ folder of a release (flow.yaml, flow.pt, hift.pt) or from a native file. *t is filled, or
 * empty again. Errors: those of the readers and of the maps' checks; SA2_ERR_ARG options; SA2_ERR_NOMEM. */
sa2_status sa2_token2wav_open(sa2_token2wav *t, sa2_backend *backend, const char *path,
                              const sa2_token2wav_options *options, sa2_error *err);

/* From maps of flow.pt and hift.pt (files or synthetic), read during the call only; a native file stays open. */
sa2_status sa2_token2wav_from_maps(sa2_token2wav *t, sa2_backend *backend,
                                   const sa2_flow_config *config, sa2_tensor_map *flow,
                                   sa2_tensor_map *vocoder, const sa2_token2wav_options *options,
                                   sa2_error *err);
void sa2_token2wav_close(sa2_token2wav *t); /* zeroed is fine */

/* Writes the weights of both maps to a native file. Errors: those of the checks and of the writer. */
sa2_status sa2_token2wav_pack(sa2_pack_writer *writer, sa2_backend *backend,
                              const sa2_flow_config *config, sa2_tensor_map *flow,
                              sa2_tensor_map *vocoder, sa2_error *err);

/* Bytes of the weights, of what streams keep, and of work. */
typedef struct sa2_token2wav_plan {
    size_t weights, kept, work;
} sa2_token2wav_plan;
sa2_token2wav_plan sa2_token2wav_planned(const sa2_token2wav *t);

/* ---- voices ---- */

/* A voice that streams begin with: computed once, shared by any number of them. */
typedef struct sa2_speech_voice {
    sa2_flow_voice flow;
    sa2_arena memory;     /* of the backend */
    sa2_backend *backend; /* borrowed */
} sa2_speech_voice;

/* `voice` is only read. Errors: SA2_ERR_LIMIT longer than max_voice_seconds; those of sa2_flow_voice_init(). */
sa2_status sa2_speech_voice_init(sa2_token2wav *t, sa2_speech_voice *made, const sa2_voice *voice,
                                 sa2_error *err);
void sa2_speech_voice_destroy(sa2_speech_voice *voice); /* zeroed is fine */

/* Bytes of a voice of max_voice_seconds. */
size_t sa2_speech_voice_bytes(const sa2_token2wav *t);

/* ---- a whole sound ---- */

/* Most codes of a sound behind a voice of any planned length. */
int sa2_token2wav_max_codes(const sa2_token2wav *t);

/* Samples of n codes: 960 each. */
int64_t sa2_speech_samples(const sa2_token2wav *t, int n_codes);

/* samples [sa2_speech_samples(n)] (host) of codes [n] in a voice, attention in both directions over prompt and
 * codes: the reference's offline function. mel [up_stride * n, mel] (host) or NULL. seed: of the source's noise.
 * Errors: SA2_ERR_ARG a code that is none; SA2_ERR_LIMIT too long; those of the ops. */
sa2_status sa2_token2wav_whole(sa2_token2wav *t, const sa2_voice *voice, const int32_t *codes,
                               int n, uint64_t seed, float *mel, float *samples, sa2_error *err);

#endif
