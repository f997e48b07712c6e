/* mel.h - log-mel spectrograms: of the audio encoder, the speech tokenizer and the flow model.
 *
 * One plan serves all three; they differ in numbers. A clip is padded (zeros after it, then a mirror of
 * its first and last samples, the edge sample itself not repeated), cut into frames `hop` apart,
 * multiplied with a windowed Fourier basis, and its spectrum with triangular filters (filterbank.h): v.
 * Then, for Whisper's kind, v = (max(v, largest of the clip - 8) + 4) / 4.
 * Maths: periodic Hann window; Slaney's mel scale and area norm (librosa.filters.mel); Radford et al. 2022,
 * section 2.2; log_mel_spectrogram() in utils.py of stepfun-ai/Step-Audio2, with its 479 zeros.
 * Golden cases mel128_*, s3_mel_*, prompt_mel_*.
 */
#ifndef SA2_RUNTIME_AUDIO_MEL_H
#define SA2_RUNTIME_AUDIO_MEL_H

#include "runtime/audio/filterbank.h"

typedef struct sa2_mel_config {
    int rate; /* Hz */
    int n_fft, hop;
    int bins;       /* of mel */
    double fmax;    /* Hz; the filters begin at 0 */
    int zeros;      /* samples appended before the mirror */
    int mirror;     /* samples on both sides */
    bool drop_last; /* the last frame is not used */
    bool magnitude; /* or power */
    float eps;      /* inside the root of the magnitude */
    sa2_log_kind log;
    float floor;
    bool clamp; /* Whisper's range below the loudest bin of the clip */
} sa2_mel_config;

/* 16 kHz, 100 frames a second. Any length from 1 sample on. */
sa2_mel_config sa2_mel_of_encoder(int bins);

/* 16 kHz, 100 frames a second, without the zeros; more than 200 samples. */
sa2_mel_config sa2_mel_of_speech_tokenizer(int bins);

/* 24 kHz, 50 frames a second, natural logarithm of magnitudes to 8 kHz; more than 720 samples. */
sa2_mel_config sa2_mel_of_prompt(int bins);

/* Fewest samples that can be transformed, and the frames of n_samples of them. */
int64_t sa2_mel_least_samples(const sa2_mel_config *config);
int64_t sa2_mel_frames(const sa2_mel_config *config, int64_t n_samples);

typedef struct sa2_mel_plan {
    sa2_mel_config config;
    sa2_filterbank bank;
} sa2_mel_plan;

/* Memory of the backend that a plan takes out of its arena. */
size_t sa2_mel_plan_bytes(const sa2_stream *s, const sa2_mel_config *config);

/* Basis and filters are computed in double and rounded once. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_mel_plan_create(sa2_mel_plan *plan, const sa2_mel_config *config, sa2_stream *s,
                               sa2_arena *model, sa2_error *err);

/* The filters alone, [bins, spectrum bins], spectrum bins being those below fmax. */
int sa2_mel_spectrum_bins(const sa2_mel_config *config);
void sa2_mel_filters(const sa2_mel_config *config, float *filters);

/* Clips in host memory, each transformed on its own. */
typedef struct sa2_clips {
    int n;
    const float *const *samples; /* [n] */
    const int64_t *n_samples;    /* [n] */
} sa2_clips;

/* What a forward takes out of its work arena, when the longest clip has this many samples. */
size_t sa2_mel_work_bytes(const sa2_mel_config *config, int64_t longest);

/* y [sum of frames, bins] f32, the clips one after the other. The samples may go on return.
 *   frame_offsets  host [n + 1], filled: the rows of clip i are [frame_offsets[i], frame_offsets[i + 1]);
 *                  stays valid until the stream has finished
 * Errors: SA2_ERR_ARG a clip that is too short, a y of another shape; SA2_ERR_NOMEM work too small; those of
 * the ops stay in the stream. */
sa2_status sa2_mel_forward(sa2_stream *s, const sa2_mel_plan *plan, sa2_arena *work, sa2_tensor y,
                           sa2_clips clips, int32_t *frame_offsets, sa2_error *err);

#endif
