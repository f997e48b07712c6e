/* adaptor.h - encoder vectors at 25 Hz to rows of the decoder's width at 12.5 Hz.
 *
 * Maths: convolution of stride 2 and GELU, then two linear layers with ReLU between; the Adaptor of
 * modeling_step_audio_2.py of stepfun-ai/Step-Audio-2-mini, golden cases in tests/golden/language_model/.
 */
#ifndef SA2_RUNTIME_ENCODER_ADAPTOR_H
#define SA2_RUNTIME_ENCODER_ADAPTOR_H

#include "kernels/backend.h"
#include "loader/model_config.h"
#include "runtime/weights.h"

typedef struct sa2_adaptor {
    sa2_adaptor_config config;
    int width;       /* of the encoder */
    int hidden;      /* of the decoder */
    sa2_matrix conv; /* [width, kernel * width] */
    sa2_tensor conv_bias;
    sa2_matrix linear1; /* [inner, width] */
    sa2_tensor linear1_bias;
    sa2_matrix linear2; /* [hidden, inner] */
    sa2_tensor linear2_bias;
} sa2_adaptor;

/* Fills *adaptor, or only measures (weights.h). */
void sa2_adaptor_load(sa2_adaptor *adaptor, const sa2_model_config *config, sa2_weights *w);

/* Rows that P encoder vectors of one clip give: (P - 1) / stride + 1, none from none. The prompt holds
 * the first A of them (runtime/audio/audio_length.h). */
int64_t sa2_adaptor_rows(const sa2_adaptor_config *config, int64_t pooled);

size_t sa2_adaptor_work_bytes(const sa2_model_config *config, sa2_dtype activations, int64_t pooled,
                              int n_clips);
size_t sa2_adaptor_scratch_bytes(const sa2_model_config *config, sa2_dtype activations,
                                 int64_t pooled, int n_clips);

/* out [sum of rows, hidden] f32 from x [sum P, width] f32 of several clips; work is rewound.
 * Errors: SA2_ERR_NOMEM work too small; those of the ops stay in the stream. */
sa2_status sa2_adaptor_forward(sa2_stream *s, const sa2_adaptor *adaptor, sa2_dtype activations,
                               sa2_arena *work, sa2_tensor out, sa2_tensor x, sa2_rows clips,
                               sa2_error *err);

#endif
