/* f0_predictor.h - log-mel of speech to its fundamental frequency, one number a frame.
 *
 * Maths: five convolutions with ELU, a linear layer, an absolute value; checked against
 * ConvRNNF0Predictor of flashcosyvoice in stepfun-ai/Step-Audio2, golden case f0 in
 * tests/golden/token2wav/.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_F0_PREDICTOR_H
#define SA2_RUNTIME_TOKEN2WAV_F0_PREDICTOR_H

#include "kernels/backend.h"
#include "loader/token2wav_tensors.h"
#include "runtime/weights.h"

typedef struct sa2_f0_predictor {
    int mel, channels;
    sa2_matrix convs[SA2_F0_LAYERS]; /* [channels, 3 mel], then [channels, 3 channels] */
    sa2_tensor biases[SA2_F0_LAYERS];
    sa2_matrix classifier; /* [1, channels] */
    sa2_tensor classifier_bias;
} sa2_f0_predictor;

/* Fills *predictor, or only measures (weights.h). Weight norm is folded already (loader/fold.h). */
void sa2_f0_predictor_load(sa2_f0_predictor *predictor, const sa2_vocoder_dims *dims,
                           sa2_weights *w);

size_t sa2_f0_predictor_work_bytes(const sa2_vocoder_dims *dims, int64_t frames);
size_t sa2_f0_predictor_scratch_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n);

/* f0 [frames, 1] in Hz from mel [frames, mel], both f32, each of the packed sequences by itself. work is
 * rewound before return. Errors: SA2_ERR_NOMEM work too small; those of the ops stay in the stream. */
sa2_status sa2_f0_predictor_forward(sa2_stream *s, const sa2_f0_predictor *predictor,
                                    sa2_arena *work, sa2_tensor f0, sa2_tensor mel, sa2_rows frames,
                                    sa2_error *err);

#endif
