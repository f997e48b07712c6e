/* hift_generator.h - log-mel and excitation to sound: three steps of upsampling with residual blocks, the
 * spectrum of the excitation added at each, and a spectrum of 16 points at the end.
 *
 *   mel [T, 80] 50 Hz -> conv_pre -> ups.0 [8 T, C / 2] -> ups.1 [40 T, C / 4] -> ups.2 [120 T + 1, C / 8]
 *   -> conv_post -> magnitude and phase [120 T + 1, 18] -> samples [480 T] 24 kHz
 *
 * Maths: HiFTGenerator.decode of flashcosyvoice in stepfun-ai/Step-Audio2 (Li et al. 2023, "HiFTNet");
 * golden cases vocoder and hift_upsample_* in tests/golden/token2wav/.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_HIFT_GENERATOR_H
#define SA2_RUNTIME_TOKEN2WAV_HIFT_GENERATOR_H

#include "runtime/token2wav/hift_resblock.h"
#include "runtime/token2wav/hift_spectrum.h"

typedef struct sa2_hift_stage {
    sa2_matrix up; /* by phases, to `channels` */
    sa2_tensor up_bias;
    sa2_matrix source_down; /* [channels, kernel * SA2_HIFT_PARTS] */
    sa2_tensor source_down_bias;
    sa2_hift_resblock source;
    sa2_hift_resblock blocks[SA2_VOCODER_RESBLOCKS]; /* their results are averaged */
} sa2_hift_stage;

typedef struct sa2_hift_generator {
    sa2_vocoder_dims dims;
    sa2_matrix conv_pre, conv_post; /* [channels, 7 mel], [SA2_HIFT_PARTS, 7 channels / 8] */
    sa2_tensor conv_pre_bias, conv_post_bias;
    sa2_hift_stage stages[SA2_VOCODER_STAGES];
    sa2_hift_spectrum spectrum;
} sa2_hift_generator;

/* Fills *generator, or only measures (weights.h). Weight norm is folded already (loader/fold.h). */
void sa2_hift_generator_load(sa2_hift_generator *generator, const sa2_vocoder_dims *dims,
                             sa2_weights *w);

size_t sa2_hift_generator_work_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n);
size_t sa2_hift_generator_scratch_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n);

/* samples [480 frames], within +-0.99, from mel [frames, mel] and source [480 frames], all f32, each of the
 * packed sounds by itself; at most SA2_VOCODER_SOUNDS (vocoder_rows.h). work is rewound before return.
 * Errors: SA2_ERR_NOMEM work too small; those of the ops stay in the stream. */
sa2_status sa2_hift_generator_forward(sa2_stream *s, const sa2_hift_generator *generator,
                                      sa2_arena *work, sa2_tensor samples, sa2_tensor mel,
                                      sa2_tensor source, sa2_rows frames, sa2_error *err);

/* The upsampling of one stage alone: y [frames * stride, channels] of x [frames, 2 channels], before what
 * the last stage puts in front. `leaky`: behind the activation that the generator has there. */
void sa2_hift_upsample(sa2_stream *s, const sa2_hift_generator *generator, int stage, sa2_tensor y,
                       sa2_tensor x, sa2_rows sounds, bool leaky);

/* samples of z [frames, SA2_HIFT_PARTS], the output of conv_post: logarithms of magnitudes, then what
 * the sine makes a phase of. z is overwritten. */
sa2_status sa2_hift_synthesise(sa2_stream *s, const sa2_hift_generator *generator, sa2_arena *work,
                               sa2_tensor samples, sa2_tensor z, sa2_rows frames, float limit,
                               sa2_error *err);

#endif
