/* resample.h - another sampling rate, by the windowed sinc of torchaudio.
 *
 * Maths: torchaudio.functional.resample with its defaults ("sinc_interp_hann", lowpass_filter_width
 * 6, rolloff 0.99), pytorch/audio functional.py. With o / n the reduced ratio of the rates:
 *   base = 0.99 min(o, n), W = ceil(6 o / base)
 *   t    = clamp((k / o - f32(j / n)) base, -6, 6)
 *   h_j[k] = f32(cos^2(pi t / 12) sinc(t) base / o)      sinc(t) = sin(pi t) / (pi t)
 *   y[i n + j] = sum over k of h_j[k] x[i o + k], x being 0 outside its range
 * The taps of a phase are 0 but for 2 W + 2 of the 2 W + o; only those are kept.
 */
#ifndef SA2_RUNTIME_AUDIO_RESAMPLE_H
#define SA2_RUNTIME_AUDIO_RESAMPLE_H

#include <stdint.h>

#include "kernels/base/status.h"

/* The taps of one pair of rates. Read-only once created: any number of streams and threads share it. */
typedef struct sa2_resample_table {
    int rate_in, rate_out; /* Hz */
    int o, n;              /* rate_in / rate_out in lowest terms */
    int width;             /* W; 0 when the rates are equal and nothing is done */
    int row;               /* floats in one row of taps: 2 W + 2 rounded up for the vector code */
    float *taps;           /* [n, row]: phase j, k = floor(j o / n) - W + column */
} sa2_resample_table;

/* At most 90 MB for rates within the limits. Errors: SA2_ERR_LIMIT a rate out of range
 * (kernels/base/limits.h); SA2_ERR_NOMEM. */
sa2_status sa2_resample_table_create(sa2_resample_table *table, int rate_in, int rate_out,
                                     sa2_error *err);
void sa2_resample_table_destroy(sa2_resample_table *table); /* zeroed is fine */

/* Samples that n_in samples become: ceil(f32(n n_in / o)), the quotient rounded to float before the ceiling
 * as torchaudio does, which shortens some clips above 262144 samples by one. */
int64_t sa2_resample_count(const sa2_resample_table *table, int64_t n_in);

/* A whole clip: in [n_in] to out [sa2_resample_count(n_in)]. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_resample(const sa2_resample_table *table, const float *in, int64_t n_in, float *out,
                        sa2_error *err);

/* ---- a stream: the same samples, to the bit, however the input is cut ---- */

typedef struct sa2_resampler {
    const sa2_resample_table *table; /* of the caller */
    int64_t n_in, n_out;             /* so far */
    float *kept;                     /* the inputs that outputs to come need, then zeros */
    int64_t kept_from;               /* position in the input of kept[0]; -W at the start */
    int n_kept, room;
} sa2_resampler;

/* Errors: SA2_ERR_NOMEM. */
sa2_status sa2_resampler_init(sa2_resampler *r, const sa2_resample_table *table, sa2_error *err);
void sa2_resampler_destroy(sa2_resampler *r); /* zeroed is fine */

/* An upper bound of what one push of n_in samples, or the finish (0), can give. */
int64_t sa2_resampler_bound(const sa2_resampler *r, int64_t n_in);

/* Takes all of in [n_in] and writes the samples that are now certain; returns how many. An output is certain W + 1
 * inputs after its place. out [sa2_resampler_bound(n_in)]. */
int64_t sa2_resampler_push(sa2_resampler *r, const float *in, int64_t n_in, float *out);

/* The input has ended: the rest, out [sa2_resampler_bound(0)]. The resampler is at a start again. */
int64_t sa2_resampler_finish(sa2_resampler *r, float *out);

#endif
