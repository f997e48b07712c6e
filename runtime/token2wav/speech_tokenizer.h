/* speech_tokenizer.h - log-mel of a voice to speech tokens, 25 a second: the prompt of the flow.
 *
 * Maths: S3TokenizerV2 (Du et al. 2024, "CosyVoice 2", section 2.2): two strided convolutions,
 * transformer blocks with rotary positions and a memory beside attention (Gao et al. 2022, "Paraformer",
 * the FSMN of SAN-M), finite scalar quantisation (Mentzer et al. 2024) to digits in base 3.
 * Reference: s3tokenizer/model_v2.py of xingchensong/S3Tokenizer, golden cases s3_block and
 * speech_tokenizer_* in tests/golden/token2wav/.
 *
 *   mel [M, bins] 100 Hz -> conv1 [ceil(M / 2), width] -> conv2 [ceil(M / 4), width] -> blocks
 *   -> projection [Np, digits] -> tokens [Np]
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_SPEECH_TOKENIZER_H
#define SA2_RUNTIME_TOKEN2WAV_SPEECH_TOKENIZER_H

#include "loader/token2wav_tensors.h"
#include "runtime/encoder/encoder_block.h"

typedef struct sa2_speech_tokenizer_block {
    sa2_encoder_block shared;
    sa2_tensor memory; /* [width, kernel] */
} sa2_speech_tokenizer_block;

typedef struct sa2_speech_tokenizer {
    sa2_speech_tokenizer_dims dims;
    sa2_matrix conv1, conv2; /* [width, 3 bins], [width, 3 width] */
    sa2_tensor conv1_bias, conv2_bias;
    sa2_tensor positions; /* i32 [rows of a window] */
    sa2_speech_tokenizer_block *blocks;
    sa2_matrix project; /* [digits, width] */
    sa2_tensor project_bias;
} sa2_speech_tokenizer;

/* Fills *tokenizer, or only measures (weights.h); names as in the PyTorch module. */
void sa2_speech_tokenizer_load(sa2_speech_tokenizer *tokenizer,
                               const sa2_speech_tokenizer_dims *dims, sa2_weights *w);

/* More frames than a window are encoded in windows that overlap, each by itself, and where two meet
 * each gives up half of what they share. */
enum {
    SA2_SPEECH_TOKENIZER_WINDOW = 3000, /* frames: 30 s */
    SA2_SPEECH_TOKENIZER_STEP = 2600,   /* from a window to the next */
};

/* Np of M frames: ceil(M / 4), less where the last of several windows is very short; M from 0. */
int64_t sa2_speech_tokenizer_tokens(int64_t frames);

/* For up to `frames` frames. Scratch is the stream's. */
size_t sa2_speech_tokenizer_work_bytes(const sa2_speech_tokenizer_dims *dims, int64_t frames);
size_t sa2_speech_tokenizer_scratch_bytes(const sa2_speech_tokenizer_dims *dims, int64_t frames);

/* out [Np, digits] f32, what the digits are rounded from, of one clip: mel [M, bins] f32, M from 1. work is
 * rewound. Errors: SA2_ERR_NOMEM work too small; those of the ops stay in the stream. */
sa2_status sa2_speech_tokenizer_forward(sa2_stream *s, const sa2_speech_tokenizer *tokenizer,
                                        sa2_arena *work, sa2_tensor out, sa2_tensor mel,
                                        sa2_error *err);

/* Tokens [n] of projections [n, digits] in host memory: digit i is 1 + round(0.999 tanh(x_i)), halves to even,
 * and counts 3^i. */
void sa2_speech_tokenizer_quantise(int digits, const float *projections, int64_t n,
                                   int32_t *tokens);

/* Where to keep intermediate values of a block; absent tensors are not kept. f32 [rows, width]. */
typedef struct sa2_speech_tokenizer_stages {
    sa2_tensor memory;    /* of the values */
    sa2_tensor attention; /* after the output projection, with the memory, before the residual */
} sa2_speech_tokenizer_stages;

/* One block on x [rows, width] f32, in place. For checks; stages may be NULL. */
sa2_status sa2_speech_tokenizer_block_forward(sa2_stream *s, const sa2_speech_tokenizer *tokenizer,
                                              int block, sa2_arena *work, sa2_tensor x,
                                              const sa2_speech_tokenizer_stages *stages,
                                              sa2_error *err);

#endif
