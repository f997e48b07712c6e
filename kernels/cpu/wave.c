/* wave.c - contracts: sa2_reflect_pad(), sa2_polar(), sa2_overlap_add(), sa2_cross_fade() in kernels/ops.h. */
#include <math.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

/* ---- padding ---- */

typedef struct reflection {
    sa2_tensor y, x;
    sa2_rows sequences;
    int before, after;
} reflection;

/* The row of x that row t of a sequence's y, counted from its padding, holds. */
static int64_t reflected(const reflection *r, int i, int64_t t)
{
    int64_t begin = r->sequences.offsets[i], last = r->sequences.offsets[i + 1] - begin - 1;
    int64_t at = t - r->before;
    at = at < 0 ? -at : at;
    at = at > last ? 2 * last - at : at;
    return begin + at;
}

static void reflect_rows(const void *context, int64_t first, int64_t end)
{
    const reflection *r = context;
    size_t row_bytes = (size_t)r->x.shape[1] * sizeof(float);
    int64_t start = 0;
    for (int i = 0; i < r->sequences.n && start < end; i++) {
        int64_t length = r->sequences.offsets[i + 1] - r->sequences.offsets[i];
        int64_t stop = start + length + r->before + r->after;
        for (int64_t row = start > first ? start : first; row < stop && row < end;) {
            int64_t t = row - start, n = 1; /* rows in one piece */
            if (t >= r->before && t < r->before + length) {
                n = r->before + length - t;
                n = n < end - row ? n : end - row;
            }
            memcpy(sa2_element(&r->y, row, 0), sa2_element(&r->x, reflected(r, i, t), 0),
                   (size_t)n * row_bytes);
            row += n;
        }
        start = stop;
    }
}

sa2_status sa2_cpu_reflect_pad(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                               int before, int after, sa2_error *err)
{
    (void)err;
    reflection r = {.y = y, .x = x, .sequences = sequences, .before = before, .after = after};
    sa2_row_loop(sa2_cpu_of(s), y.shape[0], 0.1 * (double)y.shape[1], reflect_rows, &r);
    return SA2_OK;
}

/* ---- spectra ---- */

typedef struct polar {
    const sa2_floats *floats;
    sa2_tensor y, z;
    float most;
} polar;

static void polar_rows(const void *context, int64_t first, int64_t end)
{
    const polar *p = context;
    int64_t bins = p->y.shape[1] / 2;
    for (int64_t t = first; t < end; t++)
        p->floats->polar(sa2_element(&p->y, t, 0), sa2_element(&p->y, t, bins),
                         sa2_element(&p->z, t, 0), sa2_element(&p->z, t, bins), p->most, bins);
}

sa2_status sa2_cpu_polar(sa2_stream *s, sa2_tensor y, sa2_tensor z, float most, sa2_error *err)
{
    (void)err;
    polar p = {.floats = sa2_cpu_of(s)->floats, .y = y, .z = z, .most = most};
    sa2_row_loop(sa2_cpu_of(s), y.shape[0], 3.0 * (double)y.shape[1], polar_rows, &p);
    return SA2_OK;
}

/* ---- overlap ---- */

typedef struct overlap {
    const sa2_overlap_add_args *a;
    const float *x; /* first frame of the sequence */
    float *y;
    int64_t frames;
} overlap;

/* Samples [first, end) of one sequence, frames in order. */
static void add_frames(const void *context, int64_t first, int64_t end)
{
    const overlap *o = context;
    int64_t n = o->a->x.shape[1], hop = o->a->hop;
    const float *window = o->a->window.data;
    float limit = o->a->limit;
    for (int64_t j = first; j < end; j++) {
        int64_t at = j + o->a->trim;                 /* before trimming */
        int64_t m = at < n ? 0 : (at - n) / hop + 1; /* the first frame that reaches it */
        float sum = 0.0f, energy = 0.0f;
        for (; m < o->frames && m * hop <= at; m++) {
            int64_t k = at - m * hop;
            sum += o->x[m * n + k];
            energy += window[k] * window[k];
        }
        float y = sum / energy;
        y = y > limit ? limit : y;
        o->y[j] = y < -limit ? -limit : y;
    }
}

sa2_status sa2_cpu_overlap_add(sa2_stream *s, const sa2_overlap_add_args *a, sa2_error *err)
{
    (void)err;
    overlap o = {.a = a, .x = a->x.data, .y = a->y.data};
    for (int i = 0; i < a->sequences.n; i++) {
        o.frames = a->sequences.offsets[i + 1] - a->sequences.offsets[i];
        int64_t samples = sa2_overlap_add_length(a, o.frames);
        sa2_row_loop(sa2_cpu_of(s), samples, 2.0 * (double)(a->x.shape[1] / a->hop), add_frames,
                     &o);
        o.x += o.frames * a->x.shape[1];
        o.y += samples;
    }
    return SA2_OK;
}

/* ---- cross-fade ---- */

static double hamming(int64_t i, int64_t n)
{
    static const double pi = 3.14159265358979323846;
    return 0.54 - 0.46 * cos(2.0 * pi * (double)i / (double)(n - 1));
}

typedef struct fade {
    float *y;
    const float *x, *z;
    int64_t n;
} fade;

static void fade_samples(const void *context, int64_t first, int64_t end)
{
    const fade *f = context;
    for (int64_t i = first; i < end; i++)
        f->y[i] = (float)((double)f->x[i] * hamming(i, 2 * f->n) +
                          (double)f->z[i] * hamming(f->n + i, 2 * f->n));
}

sa2_status sa2_cpu_cross_fade(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor z,
                              sa2_error *err)
{
    (void)err;
    fade f = {.y = y.data, .x = x.data, .z = z.data, .n = y.shape[0]};
    sa2_row_loop(sa2_cpu_of(s), f.n, 40.0, fade_samples, &f);
    return SA2_OK;
}
