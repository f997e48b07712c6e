/* voice.h - a recording of somebody to what makes speech sound like him: tokens, a vector, a mel.
 *
 *   recording, any rate and channels
 *     first channel, 16 kHz -> mel.h -> speech_tokenizer.h -> tokens [Np], 25 a second
 *                           -> fbank.h -> speaker_encoder.h -> speaker vector
 *     mean of channels, 24 kHz -> mel.h -> prompt mel, 50 a second, made as long as the tokens
 *
 * Reference: _prepare_prompt() in token2wav.py of stepfun-ai/Step-Audio2; golden cases voice_prompt_* in
 * tests/golden/token2wav/.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_VOICE_H
#define SA2_RUNTIME_TOKEN2WAV_VOICE_H

#include "kernels/backend.h"
#include "loader/pack_writer.h"
#include "runtime/audio/audio_file.h"
#include "runtime/audio/fbank.h"
#include "runtime/audio/mel.h"
#include "runtime/token2wav/speaker_encoder.h"
#include "runtime/token2wav/speech_tokenizer.h"

/* ---- a voice ---- */

/* In host memory of its own. */
typedef struct sa2_voice {
    int32_t *tokens; /* [n_tokens] */
    float *speaker;  /* [n_speaker], not normalised */
    float *mel;      /* [n_frames, mel_bins]; n_frames = frames_per_token * n_tokens */
    int n_tokens, n_speaker, n_frames, mel_bins;
    sa2_arena memory;
} sa2_voice;

/* Room for these sizes, all above 0; values unset. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_voice_create(sa2_voice *voice, int n_tokens, int n_speaker, int n_frames,
                            int mel_bins, sa2_error *err);
void sa2_voice_destroy(sa2_voice *voice); /* zeroed is fine */

/* ---- lengths ---- */

typedef struct sa2_voice_lengths {
    int64_t frames;       /* M: of the speech tokenizer's mel */
    int64_t tokens;       /* Np */
    int64_t fbank_frames; /* Tf; half as many rows, rounded up, in the speaker encoder */
    int64_t mel_frames;   /* of the prompt mel as computed */
    int64_t
        prompt; /* P = frames_per_token * Np: the last frame is repeated, or frames are dropped */
} sa2_voice_lengths;

/* Of a recording that has n_16k samples at 16 kHz and n_24k at 24 kHz. */
sa2_voice_lengths sa2_voice_lengths_of(int64_t n_16k, int64_t n_24k, int frames_per_token);

/* ---- encoding ---- */

typedef struct sa2_voice_options {
    int mel_bins;         /* of the prompt mel: the flow's */
    int frames_per_token; /* of it: the flow's upsampling */
    int least_tokens;     /* of a prompt: the flow's look-ahead where speech is streamed; 0: any */
    int max_seconds; /* of a recording, up to SA2_LIMIT_VOICE_SECONDS; memory is planned for it */
    sa2_partial_rule partial; /* of the speaker encoder */
} sa2_voice_options;

typedef struct sa2_voice_encoder {
    sa2_voice_options options;
    sa2_speech_tokenizer tokenizer;
    sa2_speaker_encoder speaker;
    sa2_mel_plan tokenizer_mel, prompt_mel;
    sa2_fbank_plan fbank;
    uint64_t identity; /* of the weights: names, shapes and the first values of every tensor */

    sa2_backend *backend; /* borrowed */
    sa2_pack *packs[2];   /* native files that weights of tokenizer and speaker lie in, or NULL */
    sa2_stream *stream;
    sa2_arena weights, work;
    sa2_arena layers; /* host: where the weights of each layer are */
} sa2_voice_encoder;

/* From the maps of the two ONNX files (onnx_names.h, or synthetic ones), which are read during the call only and
 * get the scales and shifts of the speaker encoder. Weights and products are f32: a token is a rounded number.
 * The report names every tensor that is missing, has another shape, is not expected or has no number.
 * *encoder is filled, or empty again after a failure. Errors: SA2_ERR_FORMAT; SA2_ERR_LIMIT; SA2_ERR_ARG options
 * out of range; SA2_ERR_NOMEM. */
sa2_status sa2_voice_encoder_from_maps(sa2_voice_encoder *encoder, sa2_backend *backend,
                                       sa2_tensor_map *tokenizer, sa2_tensor_map *speaker,
                                       const sa2_voice_options *options, sa2_error *err);

/* From the token2wav/ folder of a release, or from a native file. */
sa2_status sa2_voice_encoder_open(sa2_voice_encoder *encoder, sa2_backend *backend,
                                  const char *path, const sa2_voice_options *options,
                                  sa2_error *err);

/* Writes the weights of both maps to a native file. Errors: those of the checks and of the writer. */
sa2_status sa2_voice_encoder_pack(sa2_pack_writer *writer, sa2_backend *backend,
                                  sa2_tensor_map *tokenizer, sa2_tensor_map *speaker,
                                  sa2_error *err);
void sa2_voice_encoder_close(sa2_voice_encoder *encoder); /* zeroed is fine */

/* A whole recording. The caller owns *voice. Raw samples in memory are a source too: pcm, pcm_rate, pcm_channels.
 * Errors, each naming the recording: those of audio_file.h; SA2_ERR_ARG too short, with what is missing; SA2_ERR_LIMIT
 * longer than max_seconds; SA2_ERR_FORMAT the weights make no numbers of it; SA2_ERR_NOMEM.
 * Threads: one at a time, and none that uses the backend meanwhile. */
sa2_status sa2_voice_encode(sa2_voice_encoder *encoder, const sa2_audio_source *source,
                            sa2_voice *voice, sa2_error *err);

#endif
