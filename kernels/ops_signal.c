/* Signals: shapes of the ops of spectra, padding and oscillators. */
#include <float.h>

#include "kernels/ops_check.h"

/* ---- spectra ---- */

void sa2_spectrum(sa2_stream *s, sa2_tensor y, sa2_tensor z, bool magnitude, float eps)
{
    if (s->status != SA2_OK)
        return;
    if (y.ndim != 2 || z.ndim != 2 || y.dtype != SA2_F32 || z.dtype != SA2_F32 ||
        y.shape[0] != z.shape[0] || z.shape[1] != 2 * y.shape[1])
        sa2_refuse(s, "spectrum", "y f32 [frames, bins], z f32 [frames, 2 bins] expected", 2,
                   (sa2_named[]){{"y", &y}, {"z", &z}});
    else
        s->status = s->ops->spectrum(s, y, z, magnitude, eps, &s->error);
}

void sa2_log_floor(sa2_stream *s, sa2_tensor y, sa2_log_kind kind, float floor)
{
    if (s->status != SA2_OK)
        return;
    if (y.dtype != SA2_F32 || y.ndim != 2 || !(floor >= FLT_MIN))
        sa2_refuse(s, "log_floor", "y f32 [frames, bins] and a normal floor above 0 expected", 1,
                   (sa2_named[]){{"y", &y}});
    else
        s->status = s->ops->log_floor(s, y, kind, floor, &s->error);
}

void sa2_clamp_to_range(sa2_stream *s, sa2_tensor y, sa2_rows sequences, float range, float shift,
                        float scale)
{
    if (s->status != SA2_OK)
        return;
    if (y.dtype != SA2_F32 || y.ndim != 2 || !are_sequences(sequences, y.shape[0]))
        sa2_refuse(s, "clamp_to_range", "y f32 [frames, bins], covered by offsets, expected", 1,
                   (sa2_named[]){{"y", &y}});
    else
        s->status = s->ops->clamp_to_range(s, y, sequences, range, shift, scale, &s->error);
}
