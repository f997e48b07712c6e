/* stft.c - contracts: sa2_spectrum(), sa2_log_floor(), sa2_clamp_to_range() in kernels/ops.h. */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

typedef struct spectrum {
    const sa2_floats *floats;
    sa2_tensor y, z;
    bool magnitude;
    float eps;
} spectrum;

static void spectrum_rows(const void *context, int64_t first, int64_t end)
{
    const spectrum *a = context;
    int64_t bins = a->y.shape[1];
    for (int64_t t = first; t < end; t++)
        a->floats->power(sa2_element(&a->y, t, 0), sa2_element(&a->z, t, 0),
                         sa2_element(&a->z, t, bins), a->magnitude, a->eps, bins);
}

sa2_status sa2_cpu_spectrum(sa2_stream *s, sa2_tensor y, sa2_tensor z, bool magnitude, float eps,
                            sa2_error *err)
{
    (void)err;
    spectrum a = {
        .floats = sa2_cpu_of(s)->floats, .y = y, .z = z, .magnitude = magnitude, .eps = eps};
    sa2_row_loop(sa2_cpu_of(s), y.shape[0], 0.4 * (double)y.shape[1], spectrum_rows, &a);
    return SA2_OK;
}

typedef struct logarithm {
    const sa2_floats *floats;
    sa2_tensor y;
    sa2_log_kind kind;
    float floor;
} logarithm;

static void log_rows(const void *context, int64_t first, int64_t end)
{
    const logarithm *a = context;
    for (int64_t t = first; t < end; t++)
        a->floats->log_floor(sa2_element(&a->y, t, 0), a->kind, a->floor, a->y.shape[1]);
}

sa2_status sa2_cpu_log_floor(sa2_stream *s, sa2_tensor y, sa2_log_kind kind, float floor,
                             sa2_error *err)
{
    (void)err;
    logarithm a = {.floats = sa2_cpu_of(s)->floats, .y = y, .kind = kind, .floor = floor};
    sa2_row_loop(sa2_cpu_of(s), y.shape[0], 1.0 * (double)y.shape[1], log_rows, &a);
    return SA2_OK;
}

typedef struct range {
    const sa2_floats *floats;
    sa2_tensor y;
    float low, shift, scale;
} range;

static void clamp_rows(const void *context, int64_t first, int64_t end)
{
    const range *a = context;
    for (int64_t t = first; t < end; t++)
        a->floats->clamp(sa2_element(&a->y, t, 0), a->low, a->shift, a->scale, a->y.shape[1]);
}

sa2_status sa2_cpu_clamp_to_range(sa2_stream *s, sa2_tensor y, sa2_rows sequences, float width,
                                  float shift, float scale, sa2_error *err)
{
    (void)err;
    const sa2_floats *floats = sa2_cpu_of(s)->floats;
    int64_t bins = y.shape[1];
    for (int i = 0; i < sequences.n && bins > 0; i++) {
        int64_t begin = sequences.offsets[i], n = sequences.offsets[i + 1] - begin;
        if (n == 0)
            continue;
        float most = floats->max(sa2_element(&y, begin, 0), bins);
        for (int64_t t = 1; t < n; t++) {
            float here = floats->max(sa2_element(&y, begin + t, 0), bins);
            most = here > most ? here : most;
        }
        range a = {.floats = floats,
                   .y = sa2_tensor_rows(y, begin, n),
                   .low = most - width,
                   .shift = shift,
                   .scale = scale};
        sa2_row_loop(sa2_cpu_of(s), n, 0.2 * (double)bins, clamp_rows, &a);
    }
    return SA2_OK;
}
