/* filterbank.h - frames of a signal to the logarithms of filtered spectra: what mel.h and fbank.h share.
 *
 *   z = basis frame, S = filters |z|^2 or filters sqrt(|z|^2 + eps), y = log(max(S, floor))
 * The frames overlap in the signal and are never copied; they are worked on a block at a time, so that
 * the spectra stay in the cache.
 */
#ifndef SA2_RUNTIME_AUDIO_FILTERBANK_H
#define SA2_RUNTIME_AUDIO_FILTERBANK_H

#include "kernels/backend.h"

typedef struct sa2_filterbank {
    int length, hop;   /* samples of a frame, and from one to the next */
    int spectrum_bins; /* that any filter uses */
    int bins;
    bool magnitude; /* or power */
    float eps;      /* inside the root of the magnitude */
    sa2_log_kind log;
    float floor;
    sa2_matrix basis;   /* [2 spectrum_bins, length]: real parts, then imaginary parts */
    sa2_matrix filters; /* [bins, spectrum_bins] */
} sa2_filterbank;

/* Memory of the backend that the matrices take; the sizes in *bank are set. */
size_t sa2_filterbank_bytes(const sa2_stream *s, const sa2_filterbank *bank);

/* Fills the matrices from host memory, row-major. Errors: SA2_ERR_NOMEM the arena is too small. */
sa2_status sa2_filterbank_load(sa2_filterbank *bank, const float *basis, const float *filters,
                               sa2_stream *s, sa2_arena *model, sa2_error *err);

/* [rows, cols] f32 from host memory, in the arena. */
sa2_status sa2_front_end_matrix(sa2_matrix *w, int rows, int cols, const float *values,
                                sa2_stream *s, sa2_arena *model, sa2_error *err);

size_t sa2_filterbank_work_bytes(const sa2_filterbank *bank, int64_t frames);

/* y [frames, bins] f32; signal f32, at least (frames - 1) hop + length samples, memory of the backend.
 * Errors: SA2_ERR_NOMEM work too small; those of the ops stay in the stream. */
sa2_status sa2_filterbank_forward(sa2_stream *s, const sa2_filterbank *bank, sa2_arena *work,
                                  sa2_tensor y, sa2_tensor signal, sa2_error *err);

/* row[i] = window[i] cos(2 pi bin i / n_fft), or - sin of it, i in [0, length), length <= n_fft. */
void sa2_fourier_row(double *row, int n_fft, int bin, bool imaginary, const double *window,
                     int length);

#endif
