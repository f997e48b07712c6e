/* hift_spectrum.h - samples to short spectra and back, 16 points every 4 samples under a Hann window.
 *
 * Maths: torch.stft and torch.istft with n_fft 16, hop 4, centred, as HiFTGenerator of flashcosyvoice in
 * stepfun-ai/Step-Audio2 calls them; golden cases stft16 and istft16 in tests/golden/token2wav/.
 * Either way is one product with a basis that holds the window.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_HIFT_SPECTRUM_H
#define SA2_RUNTIME_TOKEN2WAV_HIFT_SPECTRUM_H

#include "kernels/backend.h"
#include "loader/token2wav_tensors.h"
#include "runtime/weights.h"

enum {
    SA2_HIFT_BINS = SA2_VOCODER_N_FFT / 2 + 1,
    SA2_HIFT_PARTS = 2 * SA2_HIFT_BINS, /* real, then imaginary */
};

typedef struct sa2_hift_spectrum {
    sa2_matrix analysis;  /* [parts, n_fft] */
    sa2_matrix synthesis; /* [n_fft, parts] */
    sa2_tensor window;    /* f32 [n_fft] */
} sa2_hift_spectrum;

/* Computes the bases, or only measures (weights.h). */
void sa2_hift_spectrum_load(sa2_hift_spectrum *spectrum, sa2_weights *w);

/* Frames of a sound of that many samples, a multiple of the hop. */
static inline int64_t sa2_hift_frames(int64_t samples)
{
    return samples / SA2_VOCODER_HOP + 1;
}

size_t sa2_hift_spectrum_work_bytes(int64_t samples, int n);
size_t sa2_hift_spectrum_scratch_bytes(int64_t samples, int n);

/* parts [sum of frames, SA2_HIFT_PARTS] of samples [sum], each of the packed sounds by itself, longer than
 * half a window. work is rewound before return. Errors: SA2_ERR_NOMEM work too small; those of the ops
 * stay in the stream. */
sa2_status sa2_hift_spectrum_forward(sa2_stream *s, const sa2_hift_spectrum *spectrum,
                                     sa2_arena *work, sa2_tensor parts, sa2_tensor samples,
                                     sa2_rows sounds, sa2_error *err);

/* The other way: samples [sum] of parts [sum of frames, SA2_HIFT_PARTS], clamped to [-limit, limit]. */
sa2_status sa2_hift_spectrum_inverse(sa2_stream *s, const sa2_hift_spectrum *spectrum,
                                     sa2_arena *work, sa2_tensor samples, sa2_tensor parts,
                                     sa2_rows frames, float limit, sa2_error *err);

#endif
