#include "tools/plot_mel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "runtime/audio/mel.h"

/* mel [*frames, bins] of the sound, malloc'ed. */
static sa2_status compute_mel(float **mel, int64_t *frames, const float *samples, int64_t n,
                              sa2_error *err)
{
    const sa2_mel_config config = sa2_mel_of_prompt(SA2_PLOT_BINS);
    sa2_backend *backend = NULL;
    sa2_stream *s = NULL;
    sa2_arena model = {0}, work = {0};
    sa2_mel_plan plan;
    int32_t offsets[2];
    *frames = sa2_mel_frames(&config, n);
    *mel = malloc((size_t)*frames * SA2_PLOT_BINS * sizeof **mel);
    sa2_status st = *mel != NULL ? SA2_OK : sa2_fail(err, SA2_ERR_NOMEM, "picture: no memory");
    if (st == SA2_OK)
        st = sa2_backend_open(&backend, &(sa2_backend_options){.device = "cpu", .n_threads = 1},
                              err);
    if (st == SA2_OK)
        st = sa2_stream_create(&s, backend, 0, err);
    if (st == SA2_OK)
        st = sa2_arena_create(&model, sa2_mel_plan_bytes(s, &config), err);
    if (st == SA2_OK)
        st = sa2_mel_plan_create(&plan, &config, s, &model, err);
    if (st == SA2_OK)
        st = sa2_arena_create(&work, sa2_mel_work_bytes(&config, n), err);
    if (st == SA2_OK)
        st = sa2_mel_forward(s, &plan, &work, sa2_tensor_2d(*mel, SA2_F32, *frames, SA2_PLOT_BINS),
                             (sa2_clips){1, &samples, &n}, offsets, err);
    if (st == SA2_OK)
        st = sa2_stream_finish(s, err);
    sa2_arena_destroy(&work);
    sa2_arena_destroy(&model);
    sa2_stream_destroy(s);
    sa2_backend_close(backend);
    return st;
}

static void quantise(uint8_t *levels, int columns, const float *mel, int64_t frames)
{
    const float range = 9.2f; /* nepers of magnitude: 80 dB */
    float loudest = -1e30f;
    for (int64_t i = 0; i < frames * SA2_PLOT_BINS; i++)
        loudest = fmaxf(loudest, mel[i]);
    for (int c = 0; c < columns; c++) {
        int64_t from = c * frames / columns, to = (c + 1) * frames / columns;
        to = to > from ? to : from + 1;
        for (int b = 0; b < SA2_PLOT_BINS; b++) {
            float most = -1e30f;
            for (int64_t f = from; f < to; f++)
                most = fmaxf(most, mel[f * SA2_PLOT_BINS + b]);
            float level = SA2_PLOT_LEVELS * (1.0f - (loudest - most) / range);
            levels[b * columns + c] =
                (uint8_t)fmaxf(0.0f, fminf(floorf(level), (float)SA2_PLOT_LEVELS - 1.0f));
        }
    }
}

sa2_status sa2_plot_mel(uint8_t *levels, int columns, const float *samples, int64_t n,
                        sa2_error *err)
{
    const sa2_mel_config config = sa2_mel_of_prompt(SA2_PLOT_BINS);
    float *mel = NULL;
    int64_t frames = 0;
    sa2_status st = SA2_OK;
    memset(levels, 0, (size_t)columns * SA2_PLOT_BINS);
    if (n >= sa2_mel_least_samples(&config))
        st = compute_mel(&mel, &frames, samples, n, err);
    if (st == SA2_OK && frames > 0)
        quantise(levels, columns, mel, frames);
    free(mel);
    return st;
}
