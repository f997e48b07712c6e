#include "runtime/audio/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"

enum {
    LANES = 16,   /* independent sums of one output: four vectors of SSE, one of AVX-512 */
    BLOCK = 4096, /* inputs taken at once */
};

static const double PI = 3.14159265358979323846;
static const double HALF_WIDTH = 6.0; /* lowpass_filter_width of torchaudio: zero crossings kept */
static const double ROLLOFF = 0.99; /* of torchaudio: cut-off as a part of the Nyquist frequency */

static int greatest_common_divisor(int a, int b)
{
    while (b != 0) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* ---- taps ---- */

static float tap(int64_t k, int j, int o, int n, double base)
{
    float phase = -(float)j / (float)n; /* float32 in torchaudio, all else double */
    double t = ((double)k / o + (double)phase) * base;
    t = fmin(fmax(t, -HALF_WIDTH), HALF_WIDTH);
    double window = cos(PI * t / (2.0 * HALF_WIDTH));
    double sinc = t == 0.0 ? 1.0 : sin(PI * t) / (PI * t);
    return (float)(sinc * window * window * base / o);
}

sa2_status sa2_resample_table_create(sa2_resample_table *table, int rate_in, int rate_out,
                                     sa2_error *err)
{
    *table = (sa2_resample_table){.rate_in = rate_in, .rate_out = rate_out};
    if (rate_in < 1 || rate_in > SA2_LIMIT_SOUND_RATE_HZ || rate_out < 1 ||
        rate_out > SA2_LIMIT_SOUND_RATE_HZ)
        return sa2_fail(err, SA2_ERR_LIMIT, "resampling from %d to %d Hz: 1 to %d Hz can be done",
                        rate_in, rate_out, SA2_LIMIT_SOUND_RATE_HZ);
    int common = greatest_common_divisor(rate_in, rate_out);
    int o = rate_in / common, n = rate_out / common;
    table->o = o;
    table->n = n;
    if (o == n)
        return SA2_OK;
    double base = (o < n ? o : n) * ROLLOFF;
    int width = (int)ceil(HALF_WIDTH * o / base);
    int row = (2 * width + 2 + LANES - 1) / LANES * LANES;
    float *taps = calloc((size_t)n * (size_t)row, sizeof *taps);
    if (taps == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "resampling from %d to %d Hz: no memory for %d taps",
                        rate_in, rate_out, n * (2 * width + 2));
    for (int j = 0; j < n; j++) {
        int64_t first = (int64_t)j * o / n - width;
        /* torchaudio's rows end at W + o - 1; our last one may reach a step further, to a 0. */
        for (int c = 0; c < 2 * width + 2 && first + c < width + (int64_t)o; c++)
            taps[(size_t)j * (size_t)row + (size_t)c] = tap(first + c, j, o, n, base);
    }
    table->width = width;
    table->row = row;
    table->taps = taps;
    return SA2_OK;
}

void sa2_resample_table_destroy(sa2_resample_table *table)
{
    free(table->taps);
    *table = (sa2_resample_table){0};
}

int64_t sa2_resample_count(const sa2_resample_table *table, int64_t n_in)
{
    if (table->width == 0)
        return n_in;
    float quotient = (float)((double)table->n * (double)n_in / table->o);
    int64_t count = (int64_t)ceilf(quotient);
    int64_t available = (n_in / table->o + 1) * table->n;
    return count < available ? count : available;
}

/* ---- a stream ---- */

/* sum of taps[i] x[i], i in [0, row); row is a multiple of LANES. One order, whatever the caller. */
static float dot(const float *taps, const float *x, int row)
{
    float sums[LANES] = {0};
    for (int i = 0; i < row; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += taps[i + lane] * x[i + lane];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++)
            sums[lane] += sums[lane + half];
    return sums[0];
}

/* The W zeros before the input. */
static void start(sa2_resampler *r)
{
    r->n_in = 0;
    r->n_out = 0;
    r->kept_from = -r->table->width;
    r->n_kept = r->table->width;
    if (r->room > 0)
        memset(r->kept, 0, (size_t)r->room * sizeof *r->kept);
}

sa2_status sa2_resampler_init(sa2_resampler *r, const sa2_resample_table *table, sa2_error *err)
{
    *r = (sa2_resampler){.table = table};
    if (table->width > 0) {
        r->room = BLOCK + 2 * table->row;
        r->kept = malloc((size_t)r->room * sizeof *r->kept);
        if (r->kept == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "resampler: no memory for %d samples", r->room);
    }
    start(r);
    return SA2_OK;
}

void sa2_resampler_destroy(sa2_resampler *r)
{
    free(r->kept);
    *r = (sa2_resampler){0};
}

int64_t sa2_resampler_bound(const sa2_resampler *r, int64_t n_in)
{
    const sa2_resample_table *table = r->table;
    int64_t total = r->n_in + n_in;
    int64_t plain = (total * table->n + table->o - 1) / table->o;
    int64_t count = sa2_resample_count(table, total);
    int64_t bound = (plain > count ? plain : count) - r->n_out;
    return bound > 0 ? bound : 0;
}

/* Writes the outputs whose last tap lies in what is kept, none from `end` on; returns how many. */
static int64_t emit(sa2_resampler *r, int64_t end, float *out)
{
    const sa2_resample_table *table = r->table;
    int whole = table->o / table->n, rest = table->o % table->n;
    int64_t n = 0;
    int phase = (int)(r->n_out % table->n);
    int64_t place = r->n_out / table->n * table->o + (int64_t)phase * table->o / table->n;
    int fraction = (int)((int64_t)phase * table->o % table->n);
    int64_t known = r->kept_from + r->n_kept;
    while (place + table->width + 2 <= known && r->n_out + n < end) {
        const float *x = r->kept + (place - table->width - r->kept_from);
        out[n++] = dot(table->taps + (size_t)phase * (size_t)table->row, x, table->row);
        phase = phase + 1 == table->n ? 0 : phase + 1;
        place += whole;
        fraction += rest;
        if (fraction >= table->n) {
            fraction -= table->n;
            place++;
        }
    }
    r->n_out += n;
    /* The next output begins at place - W: what lies before it is done with. */
    int64_t done = place - table->width - r->kept_from;
    int drop = done < r->n_kept ? (int)done : r->n_kept;
    memmove(r->kept, r->kept + drop, (size_t)(r->n_kept - drop) * sizeof *r->kept);
    memset(r->kept + r->n_kept - drop, 0, (size_t)drop * sizeof *r->kept);
    r->kept_from += drop;
    r->n_kept -= drop;
    return n;
}

/* Takes n_in samples, or zeros when `in` is NULL, and stops at output `end`. */
static int64_t advance(sa2_resampler *r, const float *in, int64_t n_in, int64_t end, float *out)
{
    int64_t n = 0;
    while (n_in > 0 && r->n_out < end) {
        /* A row of taps may read beyond what is kept, to zeros: that much room stays free. */
        int64_t space = r->room - r->table->row - r->n_kept;
        int take = (int)(n_in < space ? n_in : space);
        if (in != NULL) {
            memcpy(r->kept + r->n_kept, in, (size_t)take * sizeof *in);
            in += take;
        }
        r->n_kept += take;
        n_in -= take;
        n += emit(r, end, out + n);
    }
    return n;
}

int64_t sa2_resampler_push(sa2_resampler *r, const float *in, int64_t n_in, float *out)
{
    r->n_in += n_in;
    if (r->table->width > 0)
        return advance(r, in, n_in, INT64_MAX, out);
    if (n_in > 0)
        memcpy(out, in, (size_t)n_in * sizeof *out);
    r->n_out += n_in;
    return n_in;
}

int64_t sa2_resampler_finish(sa2_resampler *r, float *out)
{
    int64_t end = sa2_resample_count(r->table, r->n_in), n = 0;
    while (r->n_out < end)
        n += advance(r, NULL, BLOCK, end, out + n);
    start(r);
    return n;
}

sa2_status sa2_resample(const sa2_resample_table *table, const float *in, int64_t n_in, float *out,
                        sa2_error *err)
{
    int64_t end = sa2_resample_count(table, n_in);
    if (table->width == 0) {
        memcpy(out, in, (size_t)end * sizeof *out);
        return SA2_OK;
    }
    sa2_resampler r;
    sa2_status st = sa2_resampler_init(&r, table, err);
    if (st != SA2_OK)
        return st;
    r.n_in = n_in;
    int64_t n = advance(&r, in, n_in, end, out);
    sa2_resampler_finish(&r, out + n);
    sa2_resampler_destroy(&r);
    return SA2_OK;
}
