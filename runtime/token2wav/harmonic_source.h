/* harmonic_source.h - fundamental frequency to the excitation of the vocoder: sines and noise at 24 kHz.
 *
 * Maths: SineGen2 and SourceModuleHnNSF of flashcosyvoice in stepfun-ai/Step-Audio2 (Wang et al. 2019,
 * "Neural source-filter"); golden cases source and source_zero_noise in tests/golden/token2wav/.
 * The reference adds a random phase to sample 0 that no later step reads: it has no effect, here none.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_HARMONIC_SOURCE_H
#define SA2_RUNTIME_TOKEN2WAV_HARMONIC_SOURCE_H

#include "kernels/backend.h"
#include "loader/token2wav_tensors.h"
#include "runtime/weights.h"

enum {
    SA2_VOCODER_RATE = 24000, /* Hz */
    SA2_VOCODER_FRAME = 480,  /* samples of a mel frame: strides 8 * 5 * 3, hop 4 */
};

typedef struct sa2_harmonic_source {
    sa2_tensor weight; /* f32 [SA2_VOCODER_HARMONICS] */
    sa2_tensor bias;   /* f32 [1] */
} sa2_harmonic_source;

/* Fills *source, or only measures (weights.h). */
void sa2_harmonic_source_load(sa2_harmonic_source *source, sa2_weights *w);

/* samples [frames * SA2_VOCODER_FRAME] from f0 [frames, 1] in Hz and standard normal noise [samples,
 * SA2_VOCODER_HARMONICS] or absent (none), all f32. Scratch: sa2_harmonics_scratch_bytes(). */
void sa2_harmonic_source_forward(sa2_stream *s, const sa2_harmonic_source *source,
                                 sa2_tensor samples, sa2_tensor f0, sa2_rows frames,
                                 sa2_tensor noise);

#endif
