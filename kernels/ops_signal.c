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

/* ---- waves ---- */

static bool is_dense_f32(const sa2_tensor *x)
{
    return x->dtype == SA2_F32 && sa2_tensor_is_dense(x);
}

static bool is_run(const sa2_tensor *x)
{
    return x->ndim == 1 && is_dense_f32(x);
}

void sa2_reflect_pad(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int before,
                     int after)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = NULL;
    int most = before > after ? before : after;
    if (y.ndim != 2 || x.ndim != 2 || !is_dense_f32(&y) || !is_dense_f32(&x) ||
        y.shape[1] != x.shape[1] || y.data == x.data || before < 0 || after < 0)
        wrong = "y and x f32 [., c], dense and apart, and pads from 0 expected";
    else if (!are_sequences(sequences, x.shape[0]) ||
             y.shape[0] != x.shape[0] + sequences.n * ((int64_t)before + after))
        wrong = "offsets do not cover x, or y has not its rows and the padding";
    for (int i = 0; wrong == NULL && i < sequences.n; i++)
        if (sequences.offsets[i + 1] - sequences.offsets[i] <= most)
            wrong = "a sequence is not longer than its padding";
    if (wrong != NULL)
        sa2_refuse(s, "reflect_pad", wrong, 2, (sa2_named[]){{"y", &y}, {"x", &x}});
    else
        s->status = s->ops->reflect_pad(s, y, x, sequences, before, after, &s->error);
}

void sa2_polar(sa2_stream *s, sa2_tensor y, sa2_tensor z, float most)
{
    if (s->status != SA2_OK)
        return;
    if (y.ndim != 2 || !sa2_tensor_same_shape(&y, &z) || !is_dense_f32(&y) || !is_dense_f32(&z) ||
        z.shape[1] % 2 != 0)
        sa2_refuse(s, "polar", "y and z f32 [frames, 2 bins] expected", 2,
                   (sa2_named[]){{"y", &y}, {"z", &z}});
    else
        s->status = s->ops->polar(s, y, z, most, &s->error);
}

void sa2_overlap_add(sa2_stream *s, sa2_overlap_add_args a)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = NULL;
    if (!is_run(&a.y) || a.x.ndim != 2 || !is_dense_f32(&a.x) || !is_run(&a.window) ||
        a.window.shape[0] != a.x.shape[1])
        wrong = "y f32 [.], x f32 [frames, n] and window f32 [n] expected";
    else if (a.hop < 1 || a.trim < 0 || a.x.shape[1] < 1 || a.x.shape[1] % a.hop != 0 ||
             !(a.limit > 0.0f))
        wrong = "n a multiple of hop, trim from 0 and a limit above 0 expected";
    else if (!are_sequences(a.sequences, a.x.shape[0]))
        wrong = "offsets do not cover x";
    else {
        int64_t samples = 0;
        for (int i = 0; i < a.sequences.n; i++)
            samples +=
                sa2_overlap_add_length(&a, a.sequences.offsets[i + 1] - a.sequences.offsets[i]);
        if (samples != a.y.shape[0])
            wrong = "y has not as many samples as the frames give";
    }
    if (wrong != NULL)
        sa2_refuse(s, "overlap_add", wrong, 3,
                   (sa2_named[]){{"y", &a.y}, {"x", &a.x}, {"window", &a.window}});
    else
        s->status = s->ops->overlap_add(s, &a, &s->error);
}

void sa2_harmonics(sa2_stream *s, sa2_harmonics_args a)
{
    if (s->status != SA2_OK)
        return;
    const char *wrong = NULL;
    if (!is_run(&a.y) || !is_run(&a.f0) || !is_run(&a.weight) || !is_run(&a.bias) ||
        a.weight.shape[0] < 1 || a.bias.shape[0] != 1)
        wrong = "y, f0, weight [harmonics] and bias [1], all f32, expected";
    else if (a.hop < 2 || a.hop % 2 != 0 || a.y.shape[0] != a.f0.shape[0] * a.hop ||
             !(a.rate > 0.0f))
        wrong = "an even hop, as many samples for each frame and a rate above 0 expected";
    else if (!are_sequences(a.sequences, a.f0.shape[0]))
        wrong = "offsets do not cover f0";
    else if (!absent(&a.noise) &&
             (a.noise.ndim != 2 || !is_dense_f32(&a.noise) || a.noise.shape[0] != a.y.shape[0] ||
              a.noise.shape[1] != a.weight.shape[0]))
        wrong = "noise f32 [samples, harmonics] expected";
    if (wrong != NULL)
        sa2_refuse(s, "harmonics", wrong, 5,
                   (sa2_named[]){{"y", &a.y},
                                 {"f0", &a.f0},
                                 {"weight", &a.weight},
                                 {"bias", &a.bias},
                                 {"noise", &a.noise}});
    else
        s->status = s->ops->harmonics(s, &a, &s->error);
}

void sa2_normal(sa2_stream *s, sa2_tensor y, uint64_t seed, uint32_t track, int64_t first)
{
    if (s->status != SA2_OK)
        return;
    if (!is_dense_f32(&y) || first < 0)
        sa2_refuse(s, "normal", "y f32, dense, and a first number from 0 expected", 1,
                   (sa2_named[]){{"y", &y}});
    else
        s->status = s->ops->normal(s, y, seed, track, first, &s->error);
}

void sa2_cross_fade(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor z)
{
    if (s->status != SA2_OK)
        return;
    if (!is_run(&y) || !is_run(&x) || !is_run(&z) || !sa2_tensor_same_shape(&y, &x) ||
        !sa2_tensor_same_shape(&x, &z))
        sa2_refuse(s, "cross_fade", "y, x and z f32 [n] expected", 3,
                   (sa2_named[]){{"y", &y}, {"x", &x}, {"z", &z}});
    else
        s->status = s->ops->cross_fade(s, y, x, z, &s->error);
}
