#include "runtime/token2wav/hift_spectrum.h"

#include <math.h>

#include "runtime/token2wav/vocoder_rows.h"
#include "runtime/work.h"

enum { N = SA2_VOCODER_N_FFT, HOP = SA2_VOCODER_HOP, BINS = SA2_HIFT_BINS, PARTS = SA2_HIFT_PARTS };

static const double two_pi = 6.28318530717958647692;

static double hann(int n)
{
    return 0.5 * (1.0 - cos(two_pi * n / N));
}

/* Row k has cosines, row BINS + k sines, of sum w[n] x[n] e^(-2 pi i k n / N). */
static void fill_analysis(float basis[PARTS][N])
{
    for (int k = 0; k < BINS; k++)
        for (int n = 0; n < N; n++) {
            basis[k][n] = (float)(hann(n) * cos(two_pi * k * n / N));
            basis[BINS + k][n] = (float)(-hann(n) * sin(two_pi * k * n / N));
        }
}

/* The real signal of half a spectrum: bins between the first and the last one stand for two. The
 * imaginary parts of those two are ignored, as torch.istft does. */
static void fill_synthesis(float basis[N][PARTS])
{
    for (int n = 0; n < N; n++)
        for (int k = 0; k < BINS; k++) {
            bool single = k == 0 || k == BINS - 1;
            double scale = (single ? 1.0 : 2.0) / N * hann(n);
            basis[n][k] = (float)(scale * cos(two_pi * k * n / N));
            basis[n][BINS + k] = single ? 0.0f : (float)(-scale * sin(two_pi * k * n / N));
        }
}

/* A matrix of the part's own values, which die with the caller. */
static sa2_matrix compute_matrix(sa2_weights *w, int64_t rows, int64_t cols, float *values)
{
    size_t bytes = sa2_matrix_bytes(w->stream, SA2_F32, rows, cols);
    sa2_tensor room = sa2_weights_room(w, SA2_U8, 1, (int64_t)bytes);
    sa2_matrix matrix = {.data = room.data, .dtype = SA2_F32, .rows = rows, .cols = cols};
    if (sa2_weights_computes(w)) {
        sa2_matrix_write(w->stream, &matrix, 0, sa2_tensor_2d(values, SA2_F32, rows, cols));
        w->status = sa2_stream_finish(w->stream, w->err);
    }
    return matrix;
}

void sa2_hift_spectrum_load(sa2_hift_spectrum *spectrum, sa2_weights *w)
{
    float analysis[PARTS][N], synthesis[N][PARTS], window[N];
    fill_analysis(analysis);
    fill_synthesis(synthesis);
    for (int n = 0; n < N; n++)
        window[n] = (float)hann(n);
    sa2_hift_spectrum made = {.analysis = compute_matrix(w, PARTS, N, &analysis[0][0]),
                              .synthesis = compute_matrix(w, N, PARTS, &synthesis[0][0])};
    made.window = sa2_tensor_1d(sa2_weights_room(w, SA2_F32, 1, N).data, SA2_F32, N);
    if (sa2_weights_computes(w)) {
        sa2_upload(w->stream, made.window, window);
        w->status = sa2_stream_finish(w->stream, w->err);
    }
    *spectrum = made;
}

/* ---- forward and back ---- */

static sa2_status no_memory(const sa2_work *work, size_t mark, sa2_error *err)
{
    sa2_arena_rewind(work->arena, mark);
    return sa2_fail(err, SA2_ERR_NOMEM, "hift spectrum: %zu bytes of work memory needed, %zu left",
                    work->bytes, work->arena->bytes - mark);
}

/* The samples with half a window mirrored at either end; the frames before they are added. */
static sa2_tensor take_padded(sa2_work *work, int64_t samples, int n)
{
    return sa2_work_take(work, SA2_F32, samples + n * (int64_t)N, 1);
}

static sa2_tensor take_frames(sa2_work *work, int64_t frames)
{
    return sa2_work_take(work, SA2_F32, frames, N);
}

size_t sa2_hift_spectrum_work_bytes(int64_t samples, int n)
{
    sa2_work forward = {0}, inverse = {0};
    take_padded(&forward, samples, n);
    take_frames(&inverse, samples / HOP + n);
    return forward.bytes > inverse.bytes ? forward.bytes : inverse.bytes;
}

size_t sa2_hift_spectrum_scratch_bytes(int64_t samples, int n)
{
    return sa2_conv1d_scratch_bytes(SA2_F32, samples + n * (int64_t)N, 1, n, 0, 0);
}

sa2_status sa2_hift_spectrum_forward(sa2_stream *s, const sa2_hift_spectrum *spectrum,
                                     sa2_arena *arena, sa2_tensor parts, sa2_tensor samples,
                                     sa2_rows sounds, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    sa2_tensor padded = take_padded(&work, samples.shape[0], sounds.n);
    if (work.full)
        return no_memory(&work, mark, err);
    sa2_vocoder_rows room;
    sa2_reflect_pad(s, padded, sa2_tensor_2d(samples.data, SA2_F32, samples.shape[0], 1), sounds,
                    N / 2, N / 2);
    sa2_conv1d(s, (sa2_conv1d_args){.y = parts,
                                    .x = padded,
                                    .sequences = sa2_rows_scale(&room, sounds, 1, N),
                                    .w = &spectrum->analysis,
                                    .kernel = N,
                                    .stride = HOP,
                                    .dilation = 1});
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}

sa2_status sa2_hift_spectrum_inverse(sa2_stream *s, const sa2_hift_spectrum *spectrum,
                                     sa2_arena *arena, sa2_tensor samples, sa2_tensor parts,
                                     sa2_rows frames, float limit, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    sa2_tensor added = take_frames(&work, parts.shape[0]);
    if (work.full)
        return no_memory(&work, mark, err);
    sa2_linear(s, (sa2_linear_args){.y = added, .x = parts, .w = &spectrum->synthesis});
    sa2_overlap_add(s, (sa2_overlap_add_args){.y = samples,
                                              .x = added,
                                              .sequences = frames,
                                              .window = spectrum->window,
                                              .hop = HOP,
                                              .trim = N / 2,
                                              .limit = limit});
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}
