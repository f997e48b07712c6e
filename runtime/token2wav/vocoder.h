/* vocoder.h - log-mel to sound at 24 kHz, for whole sounds and for streams: fundamental frequency, harmonic
 * source, generator, and the cross-fade that joins the chunks of a stream.
 *
 *   mel [T, 80] 50 Hz -> f0 [T] -> source [480 T] -> generator -> samples [480 T]
 *
 * Every chunk but a stream's first begins with the last 8 frames of the one before it. Their samples are
 * made again, from the same source, and faded from the old ones to the new, so a stream is 3840 samples
 * behind until its last chunk. A whole sound is a stream of one chunk.
 *
 * Maths: HiFTGenerator of flashcosyvoice and Token2wav.stream() in stepfun-ai/Step-Audio2; golden cases
 * vocoder_zero_noise and vocoder_stream* in tests/golden/token2wav/. The windows of the fade add up to
 * 1.08: the release is that much louder there, and so is this.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_VOCODER_H
#define SA2_RUNTIME_TOKEN2WAV_VOCODER_H

#include "runtime/token2wav/f0_predictor.h"
#include "runtime/token2wav/harmonic_source.h"
#include "runtime/token2wav/hift_generator.h"
#include "runtime/token2wav/vocoder_rows.h"

typedef struct sa2_vocoder {
    sa2_vocoder_dims dims;
    sa2_f0_predictor f0;
    sa2_harmonic_source source;
    sa2_hift_generator generator;
    size_t weight_bytes; /* by sa2_vocoder_open(): in its arena and in the native file */
} sa2_vocoder;

/* Takes the dimensions out of a map of hift.pt and folds weight norm there: once, before a load.
 * Errors: those of loader/fold.h and sa2_vocoder_dims_find(). */
sa2_status sa2_vocoder_prepare(sa2_tensor_map *map, sa2_vocoder_dims *dims, sa2_error *err);

/* Fills *vocoder from such a map, or only measures (weights.h). w->dtype is F32: an error of the
 * fundamental frequency adds up in the phase. */
void sa2_vocoder_load(sa2_vocoder *vocoder, const sa2_vocoder_dims *dims, sa2_weights *w);

/* Both and the memory for it, which the caller gives back: a vocoder alone. Nothing is left to give back
 * after a failure. */
sa2_status sa2_vocoder_open(sa2_vocoder *vocoder, sa2_backend *backend, sa2_tensor_map *map,
                            sa2_arena *weights, sa2_error *err);

/* ---- streams ---- */

enum {
    SA2_VOCODER_KEPT_FRAMES = 8,
    SA2_VOCODER_KEPT = SA2_VOCODER_KEPT_FRAMES * SA2_VOCODER_FRAME, /* samples */
};

/* What a stream keeps from chunk to chunk, in memory of the backend. */
typedef struct sa2_vocoder_state {
    sa2_tensor mel;    /* [SA2_VOCODER_KEPT_FRAMES, mel] the last frames given */
    sa2_tensor source; /* [SA2_VOCODER_KEPT] of those */
    sa2_tensor speech; /* [SA2_VOCODER_KEPT] of those, not given out yet */
    int64_t frames;    /* given so far; 0: nothing is kept */
    uint64_t seed;     /* of the noise in the source */
} sa2_vocoder_state;

size_t sa2_vocoder_state_bytes(const sa2_vocoder_dims *dims);

/* A new stream in `arena`. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_vocoder_state_init(sa2_vocoder_state *state, const sa2_vocoder_dims *dims,
                                  uint64_t seed, sa2_arena *arena, sa2_error *err);

/* The stream begins anew; so it does by itself after a last chunk. */
void sa2_vocoder_state_reset(sa2_vocoder_state *state, uint64_t seed);

typedef struct sa2_vocoder_chunk {
    sa2_vocoder_state *state;
    int32_t
        frames; /* of mel: from 1, or 0 for a last chunk behind others; a first chunk that is not
                       the last has SA2_VOCODER_KEPT_FRAMES or more */
    bool last;
} sa2_vocoder_chunk;

/* Samples that a chunk gives out. */
int64_t sa2_vocoder_samples(const sa2_vocoder_chunk *chunk);

/* ---- forward ---- */

typedef struct sa2_vocoder_batch {
    int n;                           /* 1 to SA2_VOCODER_SOUNDS */
    const sa2_vocoder_chunk *chunks; /* [n], of different streams */
    sa2_tensor mel;                  /* f32 [sum of frames, mel], packed */
    bool noise;                      /* false: the source has none, for checks */
} sa2_vocoder_batch;

/* Where to keep intermediate values for a check; absent tensors are not kept. f32, packed, kept frames
 * of the streams included. */
typedef struct sa2_vocoder_stages {
    sa2_tensor f0;     /* [frames, 1] */
    sa2_tensor source; /* [480 frames] */
} sa2_vocoder_stages;

/* For up to `frames` new frames of up to n streams. Scratch is the stream's of ops. */
size_t sa2_vocoder_work_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n);
size_t sa2_vocoder_scratch_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n);

/* out f32 [sum of sa2_vocoder_samples()], packed; may leave +-1 inside a fade. Each stream's samples are
 * those it has alone, to the bit. states move on; stages may be NULL; work is rewound before return.
 * Errors: SA2_ERR_ARG chunks that break a rule above, a state twice, shapes that do not go together,
 * SA2_ERR_LIMIT too many frames, SA2_ERR_NOMEM work too small: no state has moved. Those of the ops stay
 * in the stream, and the states are then lost. */
sa2_status sa2_vocoder_forward(sa2_stream *s, const sa2_vocoder *vocoder, sa2_arena *work,
                               sa2_tensor out, const sa2_vocoder_batch *batch,
                               const sa2_vocoder_stages *stages, sa2_error *err);

#endif
