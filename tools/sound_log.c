#include "tools/sound_log.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/audio/mel.h"
#include "runtime/token2wav/token2wav.h"
#include "tools/pitch.h"
#include "tools/terminal.h"

enum { BINS = 80 };

/* ---- gathering ---- */

void sa2_sound_log_start(sa2_sound_log *log)
{
    *log = (sa2_sound_log){.started = sa2_now()};
}

void sa2_sound_log_free(sa2_sound_log *log)
{
    free(log->samples);
    free(log->chunks);
    *log = (sa2_sound_log){0};
}

static sa2_status make_room(sa2_sound_log *log, int64_t n, sa2_error *err)
{
    if (n > log->sample_room - log->n_samples) {
        int64_t room = 2 * log->sample_room + n;
        float *samples = realloc(log->samples, (size_t)room * sizeof *samples);
        if (samples == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "sound: no memory for %lld samples",
                            (long long)room);
        log->samples = samples;
        log->sample_room = room;
    }
    if (log->n_chunks == log->chunk_room) {
        int room = 2 * log->chunk_room + 16;
        sa2_plot_chunk *chunks = realloc(log->chunks, (size_t)room * sizeof *chunks);
        if (chunks == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "sound: no memory for %d chunks", room);
        log->chunks = chunks;
        log->chunk_room = room;
    }
    return SA2_OK;
}

sa2_status sa2_sound_log_append(sa2_sound_log *log, const float *samples, int64_t n, sa2_error *err)
{
    if (n == 0)
        return SA2_OK;
    double ready = sa2_now() - log->started;
    sa2_status st = make_room(log, n, err);
    if (st != SA2_OK)
        return st;
    memcpy(log->samples + log->n_samples, samples, (size_t)n * sizeof *samples);
    log->chunks[log->n_chunks++] =
        (sa2_plot_chunk){.first = log->n_samples, .n = n, .ready_s = ready};
    log->n_samples += n;
    return SA2_OK;
}

/* ---- drawing ---- */

/* mel [frames, BINS] in host memory. */
static sa2_status compute_mel(const sa2_sound_log *log, const sa2_mel_config *config, float *mel,
                              sa2_backend *backend, sa2_error *err)
{
    sa2_stream *s = NULL;
    sa2_arena arena = {0};
    sa2_mel_plan plan;
    int32_t offsets[2];
    const float *samples = log->samples;
    sa2_tensor y =
        sa2_tensor_2d(NULL, SA2_F32, sa2_mel_frames(config, log->n_samples), config->bins);
    sa2_status st = sa2_stream_create(&s, backend, 0, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(backend, &arena,
                                      sa2_mel_plan_bytes(s, config) +
                                          sa2_arena_round(sa2_tensor_bytes(&y)) +
                                          sa2_mel_work_bytes(config, log->n_samples),
                                      err);
    if (st == SA2_OK)
        st = sa2_mel_plan_create(&plan, config, s, &arena, err);
    if (st == SA2_OK) {
        y.data = sa2_arena_take(&arena, sa2_tensor_bytes(&y));
        st = sa2_mel_forward(s, &plan, &arena, y, (sa2_clips){1, &samples, &log->n_samples},
                             offsets, err);
    }
    if (st == SA2_OK)
        sa2_download(s, mel, y);
    if (st == SA2_OK)
        st = sa2_stream_finish(s, err);
    sa2_stream_destroy(s);
    sa2_backend_arena_destroy(backend, &arena);
    return st;
}

sa2_status sa2_sound_log_plot(const sa2_sound_log *log, const char *path, const char *title,
                              const sa2_backend_options *device, sa2_error *err)
{
    sa2_mel_config config = sa2_mel_of_prompt(BINS);
    bool enough = log->n_samples >= sa2_mel_least_samples(&config);
    int frames = enough ? (int)sa2_mel_frames(&config, log->n_samples) : 0;
    float *mel = malloc((size_t)frames * BINS * sizeof *mel + 1);
    float *f0 = malloc((size_t)frames * sizeof *f0 + 1);
    sa2_backend *backend = NULL;
    sa2_status st = SA2_OK;
    if (mel == NULL || f0 == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "plot %s: no memory for %d frames", path, frames);
    if (st == SA2_OK && enough)
        st = sa2_backend_open(&backend, device, err);
    if (st == SA2_OK && enough)
        st = compute_mel(log, &config, mel, backend, err);
    if (st == SA2_OK) {
        sa2_pitch_track(f0, frames, config.hop, log->samples, log->n_samples, config.rate);
        const sa2_plot plot = {.title = title,
                               .samples = log->samples,
                               .n_samples = log->n_samples,
                               .rate = SA2_SPEECH_RATE,
                               .mel = mel,
                               .f0 = f0,
                               .n_frames = frames,
                               .bins = BINS,
                               .frame_s = (double)config.hop / config.rate,
                               .top_hz = config.fmax,
                               .chunks = log->chunks,
                               .n_chunks = log->n_chunks};
        st = sa2_plot_write(&plot, path, err);
    }
    sa2_backend_close(backend);
    free(f0);
    free(mel);
    return st;
}
