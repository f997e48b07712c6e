/* audio_length.h - how many chunks, frames and tokens a sound becomes in the language model.
 *
 * A sound at 16 kHz is cut into chunks of 25 s, the last one of any length from 1 sample on, and every
 * chunk is encoded alone. For one chunk of N samples: T mel frames, M rows after the encoder's strided
 * convolution, P after its pooling, A after the adaptor's. Two references count differently: the model
 * repository declares T - 2 frames as valid, StepFun's vLLM all T.
 * Sources: utils.py of stepfun-ai/Step-Audio2; mm_step_audio.py of stepfun-ai/vllm.
 */
#ifndef SA2_RUNTIME_AUDIO_AUDIO_LENGTH_H
#define SA2_RUNTIME_AUDIO_AUDIO_LENGTH_H

#include <stdint.h>

enum {
    SA2_AUDIO_RATE = 16000,       /* Hz */
    SA2_AUDIO_CHUNK = 25 * 16000, /* samples */
};

typedef enum sa2_length_rule { SA2_LENGTH_HF = 0, SA2_LENGTH_VLLM } sa2_length_rule;

/* Chunks of a sound, and the samples of chunk i. No samples: no chunk. */
int64_t sa2_audio_chunks(int64_t n_samples);
int64_t sa2_audio_chunk_samples(int64_t n_samples, int64_t i);

typedef struct sa2_audio_lengths {
    int64_t frames; /* T */
    int64_t rows;   /* M; at most the rows of the encoder's position table */
    int64_t keys;   /* of the M rows, the first ones that attention sees */
    int64_t pooled; /* P; the adaptor runs over all of them */
    int64_t valid;  /* E: pooled rows that count */
    int64_t tokens; /* A: rows of the adaptor that are kept, and <audio_patch> tokens */
} sa2_audio_lengths;

/* Of one chunk, n_samples >= 1. `tokens` may be 0 (320 samples or fewer by the HF rule): such a chunk is not encoded, and
 * its start and end tokens stand in the prompt with nothing between them. */
sa2_audio_lengths sa2_audio_lengths_of(int64_t n_samples, sa2_length_rule rule);

#endif
