#include "runtime/audio/fbank.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/work.h"

enum { SPECTRUM_BINS = SA2_FBANK_N_FFT / 2 }; /* the bin at the Nyquist frequency has no weight */

static const double PI = 3.14159265358979323846;
static const double PREEMPHASIS = 0.97;
static const double LOWEST_HZ = 20.0;

int64_t sa2_fbank_frames(int64_t n_samples)
{
    return n_samples < SA2_FBANK_FRAME ? 0 : 1 + (n_samples - SA2_FBANK_FRAME) / SA2_FBANK_HOP;
}

static double mel_of_hz(double hz)
{
    return 1127.0 * log(1.0 + hz / 700.0);
}

static void fill_filters(int bins, float *filters)
{
    double lowest = mel_of_hz(LOWEST_HZ), highest = mel_of_hz(SA2_FBANK_RATE / 2.0);
    double step = (highest - lowest) / (bins + 1);
    for (int b = 0; b < bins; b++) {
        double left = lowest + b * step;
        for (int k = 0; k < SPECTRUM_BINS; k++) {
            double mel = mel_of_hz((double)k * SA2_FBANK_RATE / SA2_FBANK_N_FFT);
            double weight = fmin((mel - left) / step, (left + 2.0 * step - mel) / step);
            filters[(size_t)b * SPECTRUM_BINS + (size_t)k] = (float)fmax(0.0, weight);
        }
    }
}

/* From a row that acts on the windowed frame to one that acts on the samples: pre-emphasis takes 0.97 of the
 * sample before (of itself, for the first), and before that the mean of the frame is taken off. */
static void fold_preparation(double *row)
{
    double mean = 0.0;
    row[0] -= PREEMPHASIS * row[0];
    for (int i = 0; i < SA2_FBANK_FRAME; i++) {
        if (i + 1 < SA2_FBANK_FRAME)
            row[i] -= PREEMPHASIS * row[i + 1];
        mean += row[i] / SA2_FBANK_FRAME;
    }
    for (int i = 0; i < SA2_FBANK_FRAME; i++)
        row[i] -= mean;
}

static void fill_basis(float *basis)
{
    double window[SA2_FBANK_FRAME], row[SA2_FBANK_FRAME];
    for (int i = 0; i < SA2_FBANK_FRAME; i++) /* Povey's: a symmetric Hann to the power 0.85 */
        window[i] = pow(0.5 - 0.5 * cos(2.0 * PI * i / (SA2_FBANK_FRAME - 1)), 0.85);
    for (int k = 0; k < 2 * SPECTRUM_BINS; k++) {
        sa2_fourier_row(row, SA2_FBANK_N_FFT, k % SPECTRUM_BINS, k >= SPECTRUM_BINS, window,
                        SA2_FBANK_FRAME);
        fold_preparation(row);
        for (int i = 0; i < SA2_FBANK_FRAME; i++)
            basis[(size_t)k * SA2_FBANK_FRAME + (size_t)i] = (float)row[i];
    }
}

static sa2_filterbank bank_of(int bins)
{
    return (sa2_filterbank){
        .length = SA2_FBANK_FRAME,
        .hop = SA2_FBANK_HOP,
        .spectrum_bins = SPECTRUM_BINS,
        .bins = bins,
        .log = SA2_LOG_E,
        .floor = FLT_EPSILON,
    };
}

size_t sa2_fbank_plan_bytes(const sa2_stream *s, int bins)
{
    sa2_filterbank bank = bank_of(bins);
    return sa2_filterbank_bytes(s, &bank) +
           sa2_arena_round(sa2_matrix_bytes(s, SA2_F32, bins, bins));
}

sa2_status sa2_fbank_plan_create(sa2_fbank_plan *plan, int bins, sa2_stream *s, sa2_arena *model,
                                 sa2_error *err)
{
    sa2_fbank_plan made = {.bank = bank_of(bins)};
    float *basis = malloc(2 * SPECTRUM_BINS * SA2_FBANK_FRAME * sizeof *basis);
    float *filters = malloc((size_t)bins * SPECTRUM_BINS * sizeof *filters);
    float *minus = calloc((size_t)bins * (size_t)bins, sizeof *minus);
    sa2_status st = SA2_OK;
    if (basis == NULL || filters == NULL || minus == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "fbank: no memory for its basis");
        goto cleanup;
    }
    fill_basis(basis);
    fill_filters(bins, filters);
    for (int i = 0; i < bins; i++)
        minus[(size_t)i * (size_t)bins + (size_t)i] = -1.0f;
    st = sa2_filterbank_load(&made.bank, basis, filters, s, model, err);
    if (st == SA2_OK)
        st = sa2_front_end_matrix(&made.minus, bins, bins, minus, s, model, err);
    if (st == SA2_OK)
        st = sa2_stream_finish(s, err);
    if (st == SA2_OK)
        *plan = made;

cleanup:
    free(minus);
    free(filters);
    free(basis);
    return st;
}

size_t sa2_fbank_work_bytes(int bins, int64_t n_samples)
{
    sa2_filterbank bank = bank_of(bins);
    return sa2_arena_round((size_t)n_samples * sizeof(float)) +
           2 * sa2_arena_round((size_t)bins * sizeof(float)) +
           sa2_filterbank_work_bytes(&bank, sa2_fbank_frames(n_samples));
}

/* y -= its mean over time. */
static void subtract_mean(sa2_stream *s, const sa2_fbank_plan *plan, sa2_tensor y, sa2_tensor mean,
                          sa2_tensor minus_mean)
{
    int32_t frames = (int32_t)y.shape[0];
    sa2_mean_pool(s, mean, y, (sa2_rows){1, (int32_t[]){0, frames}}, frames);
    sa2_linear(s, (sa2_linear_args){.y = minus_mean, .x = mean, .w = &plan->minus});
    sa2_add(s, y, y, sa2_tensor_1d(minus_mean.data, SA2_F32, minus_mean.shape[1]));
}

sa2_status sa2_fbank_forward(sa2_stream *s, const sa2_fbank_plan *plan, sa2_arena *work,
                             sa2_tensor y, const float *samples, int64_t n_samples, sa2_error *err)
{
    int64_t frames = sa2_fbank_frames(n_samples);
    int bins = plan->bank.bins;
    if (frames < 1)
        return sa2_fail(err, SA2_ERR_ARG, "fbank: %lld samples, %d or more expected",
                        (long long)n_samples, SA2_FBANK_FRAME);
    if (y.ndim != 2 || y.shape[0] != frames || y.shape[1] != bins) {
        char text[96];
        return sa2_fail(err, SA2_ERR_ARG, "fbank: y is %s, f32 [%lld, %d] expected",
                        sa2_tensor_describe(&y, text, sizeof text), (long long)frames, bins);
    }
    size_t mark = sa2_arena_mark(work);
    sa2_work taken = {.arena = work};
    sa2_tensor signal = sa2_work_take(&taken, SA2_F32, 1, n_samples);
    sa2_tensor mean = sa2_work_take(&taken, SA2_F32, 1, bins);
    sa2_tensor minus_mean = sa2_work_take(&taken, SA2_F32, 1, bins);
    sa2_status st = SA2_OK;
    if (taken.full)
        st = sa2_fail(err, SA2_ERR_NOMEM, "fbank of %lld samples: %zu bytes of work needed",
                      (long long)n_samples, taken.bytes);
    if (st == SA2_OK) {
        sa2_upload(s, signal, samples);
        st = sa2_filterbank_forward(s, &plan->bank, work, y, signal, err);
    }
    if (st == SA2_OK)
        subtract_mean(s, plan, y, mean, minus_mean);
    sa2_arena_rewind(work, mark);
    return st;
}
