#include "runtime/audio/filterbank.h"

#include <math.h>

#include "runtime/work.h"

enum { BLOCK = 512 }; /* frames at a time: 1 MB of spectra at 200 bins */

/* ---- matrices ---- */

size_t sa2_filterbank_bytes(const sa2_stream *s, const sa2_filterbank *bank)
{
    return sa2_arena_round(sa2_matrix_bytes(s, SA2_F32, 2 * bank->spectrum_bins, bank->length)) +
           sa2_arena_round(sa2_matrix_bytes(s, SA2_F32, bank->bins, bank->spectrum_bins));
}

sa2_status sa2_front_end_matrix(sa2_matrix *w, int rows, int cols, const float *values,
                                sa2_stream *s, sa2_arena *model, sa2_error *err)
{
    size_t bytes = sa2_matrix_bytes(s, SA2_F32, rows, cols);
    union {
        const float *read;
        void *data;
    } host = {.read = values}; /* a tensor's data is not const, but src is only read */
    *w = (sa2_matrix){
        .data = sa2_arena_take(model, bytes), .dtype = SA2_F32, .rows = rows, .cols = cols};
    if (w->data == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "audio front end: %zu bytes for [%d, %d], %zu left",
                        bytes, rows, cols, model->bytes - model->used);
    sa2_matrix_write(s, w, 0, sa2_tensor_2d(host.data, SA2_F32, rows, cols));
    return SA2_OK;
}

sa2_status sa2_filterbank_load(sa2_filterbank *bank, const float *basis, const float *filters,
                               sa2_stream *s, sa2_arena *model, sa2_error *err)
{
    sa2_status st = sa2_front_end_matrix(&bank->basis, 2 * bank->spectrum_bins, bank->length, basis,
                                         s, model, err);
    if (st == SA2_OK)
        st = sa2_front_end_matrix(&bank->filters, bank->bins, bank->spectrum_bins, filters, s,
                                  model, err);
    return st;
}

void sa2_fourier_row(double *row, int n_fft, int bin, bool imaginary, const double *window,
                     int length)
{
    const double turn = 2.0 * 3.14159265358979323846 / n_fft;
    for (int i = 0; i < length; i++) {
        double angle = turn * (double)((int64_t)bin * i % n_fft);
        row[i] = window[i] * (imaginary ? -sin(angle) : cos(angle));
    }
}

/* ---- forward ---- */

typedef struct spectra {
    sa2_tensor z;     /* [rows, 2 spectrum_bins] */
    sa2_tensor power; /* [rows, spectrum_bins] */
} spectra;

static spectra take_spectra(sa2_work *work, const sa2_filterbank *bank, int64_t frames)
{
    int64_t rows = frames < BLOCK ? frames : BLOCK;
    return (spectra){
        .z = sa2_work_take(work, SA2_F32, rows, 2 * (int64_t)bank->spectrum_bins),
        .power = sa2_work_take(work, SA2_F32, rows, bank->spectrum_bins),
    };
}

size_t sa2_filterbank_work_bytes(const sa2_filterbank *bank, int64_t frames)
{
    sa2_work work = {0};
    take_spectra(&work, bank, frames);
    return work.bytes;
}

sa2_status sa2_filterbank_forward(sa2_stream *s, const sa2_filterbank *bank, sa2_arena *work,
                                  sa2_tensor y, sa2_tensor signal, sa2_error *err)
{
    size_t mark = sa2_arena_mark(work);
    sa2_work taken = {.arena = work};
    int64_t frames = y.shape[0];
    spectra room = take_spectra(&taken, bank, frames);
    if (taken.full) {
        sa2_arena_rewind(work, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "spectra of %lld frames: %zu bytes of work needed",
                        (long long)frames, taken.bytes);
    }
    for (int64_t first = 0; first < frames; first += BLOCK) {
        int64_t n = frames - first < BLOCK ? frames - first : BLOCK;
        sa2_tensor x =
            sa2_tensor_2d((float *)signal.data + first * bank->hop, SA2_F32, n, bank->length);
        x.stride = bank->hop;
        sa2_tensor z = sa2_tensor_rows(room.z, 0, n), power = sa2_tensor_rows(room.power, 0, n);
        sa2_tensor out = sa2_tensor_rows(y, first, n);
        sa2_linear(s, (sa2_linear_args){.y = z, .x = x, .w = &bank->basis});
        sa2_spectrum(s, power, z, bank->magnitude, bank->eps);
        sa2_linear(s, (sa2_linear_args){.y = out, .x = power, .w = &bank->filters});
        sa2_log_floor(s, out, bank->log, bank->floor);
    }
    sa2_arena_rewind(work, mark);
    return SA2_OK;
}
