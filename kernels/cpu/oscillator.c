/* oscillator.c - contract: sa2_harmonics() in kernels/ops.h.
 *
 * Between two middles of frames, hop samples, the phase of each harmonic is a line. So samples are
 * made in half frames: one line and one answer to "voiced?" each.
 */
#include <math.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { PIECE = 256 }; /* samples at a time */

size_t sa2_harmonics_scratch_bytes(int64_t frames, int64_t harmonics)
{
    return sa2_arena_round((size_t)(2 * frames * harmonics) * sizeof(double)) +
           sa2_arena_round((size_t)frames);
}

/* Which edge of its sequence a frame is at. */
enum { FIRST = 1, LAST = 2 };

typedef struct oscillator {
    const sa2_harmonics_args *a;
    const sa2_floats *floats;
    double *phase; /* [frames, harmonics] turns at the middle of a frame, reduced to [-1/2, 1/2] */
    double *advance; /* [frames, harmonics] turns a sample, up to the middle of that frame */
    int8_t *edges;   /* [frames] */
} oscillator;

/* Exact for |x| below 2^51: beyond 2^52 a double has no fraction. */
static inline double nearest(double x)
{
    return x + 0x1.8p52 - 0x1.8p52;
}

static void find_phases(oscillator *o)
{
    const sa2_harmonics_args *a = o->a;
    int64_t harmonics = a->weight.shape[0];
    const float *f0 = a->f0.data;
    for (int i = 0; i < a->sequences.n; i++) {
        int32_t begin = a->sequences.offsets[i], end = a->sequences.offsets[i + 1];
        for (int32_t t = begin; t < end; t++) {
            o->edges[t] = (int8_t)((t == begin ? FIRST : 0) | (t == end - 1 ? LAST : 0));
            for (int64_t h = 0; h < harmonics; h++) {
                double turns = (double)(h + 1) * (double)f0[t] / (double)a->rate;
                double advance = turns - floor(turns);
                double before = t == begin ? 0.0 : o->phase[(t - 1) * harmonics + h];
                double phase = before + (double)a->hop * advance;
                o->advance[t * harmonics + h] = advance;
                o->phase[t * harmonics + h] = phase - nearest(phase);
            }
        }
    }
}

/* The line of a harmonic: its phase, in turns, half a sample before the half frame and its advance. */
static void find_line(const oscillator *o, int64_t t, bool second, int64_t h, double *phase,
                      double *advance)
{
    int64_t harmonics = o->a->weight.shape[0], at = t * harmonics + h;
    bool flat = (o->edges[t] & (second ? LAST : FIRST)) != 0;
    *phase = o->phase[at];
    *advance = 0.0;
    if (flat)
        return;
    *advance = o->advance[second ? at + harmonics : at];
    if (!second)
        *phase = o->phase[at - harmonics] + *advance * (o->a->hop / 2);
}

/* sums[j] += factor sin(phase of sample from + j) */
static void add_sines(const oscillator *o, float *sums, int64_t from, int64_t n, double phase,
                      double advance, float factor)
{
    static const double two_pi = 6.28318530717958647692;
    float angles[PIECE];
    for (int64_t j = 0; j < n; j++) {
        double turns = phase + advance * ((double)(from + j) + 0.5);
        angles[j] = (float)((turns - nearest(turns)) * two_pi);
    }
    o->floats->sine(angles, angles, n);
    o->floats->add_scaled(sums, angles, factor, n);
}

/* sums[j] += factor sum over h of weight[h] noise[j, h] */
static void add_noise(const oscillator *o, float *sums, int64_t sample, int64_t n, float factor)
{
    int64_t harmonics = o->a->weight.shape[0];
    const float *weight = o->a->weight.data;
    const float *noise = (const float *)o->a->noise.data + sample * harmonics;
    for (int64_t j = 0; j < n; j++, noise += harmonics) {
        float sum = 0.0f;
        for (int64_t h = 0; h < harmonics; h++)
            sum += weight[h] * noise[h];
        sums[j] += factor * sum;
    }
}

static void run_half(const oscillator *o, int64_t half)
{
    const sa2_harmonics_args *a = o->a;
    int64_t t = half / 2, length = a->hop / 2;
    bool voiced = ((const float *)a->f0.data)[t] > a->threshold;
    for (int64_t from = 0; from < length; from += PIECE) {
        int64_t n = length - from < PIECE ? length - from : PIECE;
        int64_t sample = half * length + from;
        float *y = (float *)a->y.data + sample;
        for (int64_t j = 0; j < n; j++)
            y[j] = *(const float *)a->bias.data;
        for (int64_t h = 0; voiced && h < a->weight.shape[0]; h++) {
            double phase, advance;
            find_line(o, t, half % 2 == 1, h, &phase, &advance);
            add_sines(o, y, from, n, phase, advance,
                      a->amplitude * ((const float *)a->weight.data)[h]);
        }
        if (a->noise.data != NULL)
            add_noise(o, y, sample, n, voiced ? a->voiced_noise : a->other_noise);
        o->floats->tanh(y, y, n);
    }
}

static void run_halves(const void *context, int64_t first, int64_t end)
{
    for (int64_t half = first; half < end; half++)
        run_half(context, half);
}

sa2_status sa2_cpu_harmonics(sa2_stream *s, const sa2_harmonics_args *a, sa2_error *err)
{
    int64_t frames = a->f0.shape[0], harmonics = a->weight.shape[0];
    size_t need = sa2_harmonics_scratch_bytes(frames, harmonics);
    if (need > s->scratch.bytes - s->scratch.used)
        return sa2_fail(err, SA2_ERR_NOMEM, "harmonics: %zu bytes of scratch needed, %zu left",
                        need, s->scratch.bytes - s->scratch.used);
    size_t mark = sa2_arena_mark(&s->scratch);
    size_t table = (size_t)(frames * harmonics) * sizeof(double);
    oscillator o = {.a = a, .floats = sa2_cpu_of(s)->floats};
    o.phase = sa2_arena_take(&s->scratch, 2 * table);
    o.advance = o.phase + frames * harmonics;
    o.edges = sa2_arena_take(&s->scratch, (size_t)frames);
    find_phases(&o);
    sa2_row_loop(sa2_cpu_of(s), 2 * frames, 2.0 * (double)(a->hop * harmonics), run_halves, &o);
    sa2_arena_rewind(&s->scratch, mark);
    return SA2_OK;
}
