/* audio_encoder.h - log-mel of speech to 25 vectors a second: two convolutions, transformer blocks,
 * a mean over pairs.
 *
 * Maths: the Whisper encoder (Radford et al. 2022, section 2.2) with Step-Audio 2's pooling and final
 * norm after it; checked against the encoder of modeling_step_audio_2.py of
 * stepfun-ai/Step-Audio-2-mini, golden cases in tests/golden/language_model/.
 *
 *   mel [T, bins] 100 Hz -> conv1, conv2 [M, width] 50 Hz -> blocks -> pooled [P, width] 25 Hz
 * with M = ceil(T / 2), P = floor(M / 2) (runtime/audio/audio_length.h).
 */
#ifndef SA2_RUNTIME_ENCODER_AUDIO_ENCODER_H
#define SA2_RUNTIME_ENCODER_AUDIO_ENCODER_H

#include "kernels/backend.h"
#include "loader/model_config.h"
#include "runtime/encoder/encoder_block.h"

typedef struct sa2_audio_encoder {
    sa2_encoder_config config;
    sa2_matrix conv1, conv2; /* [width, 3 bins], [width, 3 width] */
    sa2_tensor conv1_bias, conv2_bias;
    sa2_tensor positions; /* [context, width] */
    sa2_encoder_block *blocks;
    sa2_tensor norm_weight, norm_bias;
} sa2_audio_encoder;

/* Fills *encoder, or only measures (weights.h). */
void sa2_audio_encoder_load(sa2_audio_encoder *encoder, const sa2_encoder_config *config,
                            sa2_weights *w);

enum { SA2_MAX_CLIPS = 64 }; /* of one forward */

/* The clips of one forward, their frames packed one after the other. */
typedef struct sa2_audio_clips {
    int n;                      /* 1 to SA2_MAX_CLIPS */
    const int32_t *mel_offsets; /* [n + 1] in frames of mel, host memory */
    bool
        see_all; /* every conv2 frame is a key; else the last one is not, as the reference has it */
} sa2_audio_clips;

/* Where to keep intermediate values for a check; absent tensors are not kept. f32 [sum M, width]. */
typedef struct sa2_audio_encoder_stages {
    sa2_tensor conv;   /* after conv2, activation and positions */
    sa2_tensor block0; /* after the first block */
} sa2_audio_encoder_stages;

/* For up to `frames` frames of mel in up to n_clips clips. Scratch is the stream's. */
size_t sa2_audio_encoder_work_bytes(const sa2_encoder_config *config, sa2_dtype activations,
                                    int64_t frames, int n_clips);
size_t sa2_audio_encoder_scratch_bytes(const sa2_encoder_config *config, sa2_dtype activations,
                                       int64_t frames, int n_clips);

/* out [sum P, width] f32 from mel [sum T, bins] f32, each clip by itself, activations in the given
 * dtype. work is rewound before return; stages may be NULL.
 * Errors: SA2_ERR_LIMIT a clip of more frames than the position table has rows for; SA2_ERR_NOMEM
 * work too small; those of the ops stay in the stream. */
sa2_status sa2_audio_encoder_forward(sa2_stream *s, const sa2_audio_encoder *encoder,
                                     sa2_dtype activations, sa2_arena *work, sa2_tensor out,
                                     sa2_tensor mel, const sa2_audio_clips *clips,
                                     const sa2_audio_encoder_stages *stages, sa2_error *err);

/* One block on x [rows, width] f32 of one clip, in place: the first n_visible rows are keys. For checks. */
sa2_status sa2_audio_encoder_block_forward(sa2_stream *s, const sa2_audio_encoder *encoder,
                                           int block, sa2_dtype activations, sa2_arena *work,
                                           sa2_tensor x, int32_t n_visible, sa2_error *err);

#endif
