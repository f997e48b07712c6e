/* fbank.h - Kaldi's log filter bank of 16 kHz speech, the input of the speaker encoder.
 *
 * Maths: torchaudio.compliance.kaldi.fbank with 80 bins and dither 0: frames of 25 ms every 10 ms inside the
 * signal, mean removed, pre-emphasis 0.97, Povey window, power spectrum of 512 points, triangles on
 * mel(f) = 1127 ln(1 + f / 700) from 20 Hz, natural logarithm; then the mean over time is taken off
 * (CosyVoice's speaker front end). All before the power is linear in the frame, so it is one matrix.
 * Golden cases fbank_*.
 */
#ifndef SA2_RUNTIME_AUDIO_FBANK_H
#define SA2_RUNTIME_AUDIO_FBANK_H

#include "runtime/audio/filterbank.h"

enum {
    SA2_FBANK_RATE = 16000, /* Hz */
    SA2_FBANK_FRAME = 400,  /* samples */
    SA2_FBANK_HOP = 160,
    SA2_FBANK_N_FFT = 512,
};

/* 0 when n_samples is below SA2_FBANK_FRAME. */
int64_t sa2_fbank_frames(int64_t n_samples);

typedef struct sa2_fbank_plan {
    sa2_filterbank bank;
    sa2_matrix minus; /* [bins, bins]: -1 on the diagonal */
} sa2_fbank_plan;

size_t sa2_fbank_plan_bytes(const sa2_stream *s, int bins);

/* Errors: SA2_ERR_NOMEM. */
sa2_status sa2_fbank_plan_create(sa2_fbank_plan *plan, int bins, sa2_stream *s, sa2_arena *model,
                                 sa2_error *err);

size_t sa2_fbank_work_bytes(int bins, int64_t n_samples);

/* y [sa2_fbank_frames(n_samples), bins] f32 of one clip, samples [n_samples] in host memory, in [-1, 1].
 * Errors: SA2_ERR_ARG too short, a y of another shape; SA2_ERR_NOMEM; those of the ops stay in the stream. */
sa2_status sa2_fbank_forward(sa2_stream *s, const sa2_fbank_plan *plan, sa2_arena *work,
                             sa2_tensor y, const float *samples, int64_t n_samples, sa2_error *err);

#endif
