#include "runtime/audio/mel.h"

#include <math.h>
#include <stdlib.h>

static const double PI = 3.14159265358979323846;

/* Whisper's scaling of log10 values: (max(v, largest - 8) + 4) / 4. */
static const float RANGE = 8.0f, SHIFT = 4.0f, SCALE = 0.25f;

/* ---- the three kinds ---- */

sa2_mel_config sa2_mel_of_encoder(int bins)
{
    return (sa2_mel_config){
        .rate = 16000,
        .n_fft = 400,
        .hop = 160,
        .bins = bins,
        .fmax = 8000.0,
        .zeros = 479,
        .mirror = 200,
        .drop_last = true,
        .log = SA2_LOG_10,
        .floor = 1e-10f,
        .clamp = true,
    };
}

sa2_mel_config sa2_mel_of_speech_tokenizer(int bins)
{
    sa2_mel_config config = sa2_mel_of_encoder(bins);
    config.zeros = 0;
    return config;
}

sa2_mel_config sa2_mel_of_prompt(int bins)
{
    return (sa2_mel_config){
        .rate = 24000,
        .n_fft = 1920,
        .hop = 480,
        .bins = bins,
        .fmax = 8000.0,
        .mirror = 720, /* (n_fft - hop) / 2: as many frames as hops */
        .magnitude = true,
        .eps = 1e-9f,
        .log = SA2_LOG_E,
        .floor = 1e-5f,
    };
}

/* ---- lengths ---- */

int64_t sa2_mel_least_samples(const sa2_mel_config *config)
{
    int64_t least =
        config->mirror + 1 - config->zeros; /* the mirror needs a sample beside the edge */
    return least > 1 ? least : 1;
}

static int64_t padded_length(const sa2_mel_config *config, int64_t n_samples)
{
    return n_samples + config->zeros + 2 * config->mirror;
}

int64_t sa2_mel_frames(const sa2_mel_config *config, int64_t n_samples)
{
    int64_t rest = padded_length(config, n_samples) - config->n_fft;
    int64_t frames = rest < 0 ? 0 : rest / config->hop + 1;
    return config->drop_last && frames > 0 ? frames - 1 : frames;
}

/* ---- the plan ---- */

/* Slaney's mel scale: linear below 1000 Hz, logarithmic above (librosa.hz_to_mel, htk=False). */
static double mel_of_hz(double hz)
{
    return hz < 1000.0 ? 3.0 * hz / 200.0 : 15.0 + 27.0 * log(hz / 1000.0) / log(6.4);
}

static double hz_of_mel(double mel)
{
    return mel < 15.0 ? 200.0 * mel / 3.0 : 1000.0 * exp((mel - 15.0) * log(6.4) / 27.0);
}

int sa2_mel_spectrum_bins(const sa2_mel_config *config)
{
    int below = (int)ceil(config->fmax * config->n_fft / config->rate); /* a filter is 0 at fmax */
    int all = config->n_fft / 2 + 1;
    return below < all ? below : all;
}

void sa2_mel_filters(const sa2_mel_config *config, float *filters)
{
    int n = sa2_mel_spectrum_bins(config);
    double step = mel_of_hz(config->fmax) / (config->bins + 1);
    for (int b = 0; b < config->bins; b++) {
        double left = hz_of_mel(b * step), centre = hz_of_mel((b + 1) * step);
        double right = hz_of_mel((b + 2) * step);
        for (int k = 0; k < n; k++) {
            double hz = (double)k * config->rate / config->n_fft;
            double rise = (hz - left) / (centre - left), fall = (right - hz) / (right - centre);
            double weight = fmax(0.0, fmin(rise, fall)) * 2.0 / (right - left);
            filters[(size_t)b * (size_t)n + (size_t)k] = (float)weight;
        }
    }
}

/* [2 bins, n_fft]: the transform of a frame under a periodic Hann window. row, window [n_fft]. */
static void fill_basis(const sa2_mel_config *config, float *basis, double *row, double *window)
{
    int bins = sa2_mel_spectrum_bins(config), n_fft = config->n_fft;
    for (int i = 0; i < n_fft; i++)
        window[i] = 0.5 - 0.5 * cos(2.0 * PI * i / n_fft);
    for (int k = 0; k < 2 * bins; k++) {
        sa2_fourier_row(row, n_fft, k % bins, k >= bins, window, n_fft);
        for (int i = 0; i < n_fft; i++)
            basis[(size_t)k * (size_t)n_fft + (size_t)i] = (float)row[i];
    }
}

static sa2_filterbank bank_of(const sa2_mel_config *config)
{
    return (sa2_filterbank){
        .length = config->n_fft,
        .hop = config->hop,
        .spectrum_bins = sa2_mel_spectrum_bins(config),
        .bins = config->bins,
        .magnitude = config->magnitude,
        .eps = config->eps,
        .log = config->log,
        .floor = config->floor,
    };
}

size_t sa2_mel_plan_bytes(const sa2_stream *s, const sa2_mel_config *config)
{
    sa2_filterbank bank = bank_of(config);
    return sa2_filterbank_bytes(s, &bank);
}

sa2_status sa2_mel_plan_create(sa2_mel_plan *plan, const sa2_mel_config *config, sa2_stream *s,
                               sa2_arena *model, sa2_error *err)
{
    sa2_filterbank bank = bank_of(config);
    size_t n_fft = (size_t)config->n_fft, bins = (size_t)bank.spectrum_bins;
    float *basis = malloc(2 * bins * n_fft * sizeof *basis);
    float *filters = malloc((size_t)config->bins * bins * sizeof *filters);
    double *rows = malloc(2 * n_fft * sizeof *rows);
    sa2_status st = SA2_OK;
    if (basis == NULL || filters == NULL || rows == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "mel of %d points: no memory for its basis",
                      config->n_fft);
        goto cleanup;
    }
    fill_basis(config, basis, rows, rows + n_fft);
    sa2_mel_filters(config, filters);
    st = sa2_filterbank_load(&bank, basis, filters, s, model, err);
    if (st == SA2_OK)
        st = sa2_stream_finish(s, err);
    if (st == SA2_OK)
        *plan = (sa2_mel_plan){.config = *config, .bank = bank};

cleanup:
    free(rows);
    free(filters);
    free(basis);
    return st;
}

/* ---- forward ---- */

/* Sample i of the padded clip: the mirror, the clip, the zeros, the mirror. */
static float padded_sample(const sa2_mel_config *config, const float *samples, int64_t n_samples,
                           int64_t i)
{
    int64_t length = n_samples + config->zeros;
    i -= config->mirror;
    if (i < 0)
        i = -i;
    if (i >= length)
        i = 2 * (length - 1) - i;
    return i < n_samples ? samples[i] : 0.0f;
}

/* Samples [first, end) of the padded clip to their places in `padded`, by way of the stack. */
static void upload_edge(sa2_stream *s, const sa2_mel_config *config, sa2_tensor padded,
                        const float *samples, int64_t n_samples, int64_t first, int64_t end)
{
    float piece[256];
    while (first < end) {
        int n = 0;
        while (n < (int)(sizeof piece / sizeof piece[0]) && first + n < end) {
            piece[n] = padded_sample(config, samples, n_samples, first + n);
            n++;
        }
        sa2_upload(s, sa2_tensor_rows(padded, first, n), piece);
        first += n;
    }
}

static sa2_status forward_clip(sa2_stream *s, const sa2_mel_plan *plan, sa2_arena *work,
                               sa2_tensor y, const float *samples, int64_t n_samples,
                               sa2_error *err)
{
    const sa2_mel_config *config = &plan->config;
    int64_t length = padded_length(config, n_samples), body = config->mirror;
    size_t mark = sa2_arena_mark(work);
    sa2_tensor padded = sa2_tensor_1d(NULL, SA2_F32, length);
    padded.data = sa2_arena_take(work, sa2_tensor_bytes(&padded));
    if (padded.data == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "mel of %lld samples: work has %zu bytes left",
                        (long long)n_samples, work->bytes - work->used);
    upload_edge(s, config, padded, samples, n_samples, 0, body);
    sa2_upload(s, sa2_tensor_rows(padded, body, n_samples), samples);
    upload_edge(s, config, padded, samples, n_samples, body + n_samples, length);
    sa2_status st = sa2_filterbank_forward(s, &plan->bank, work, y, padded, err);
    sa2_arena_rewind(work, mark);
    return st;
}

size_t sa2_mel_work_bytes(const sa2_mel_config *config, int64_t longest)
{
    sa2_filterbank bank = bank_of(config);
    return sa2_arena_round((size_t)padded_length(config, longest) * sizeof(float)) +
           sa2_filterbank_work_bytes(&bank, sa2_mel_frames(config, longest));
}

sa2_status sa2_mel_forward(sa2_stream *s, const sa2_mel_plan *plan, sa2_arena *work, sa2_tensor y,
                           sa2_clips clips, int32_t *frame_offsets, sa2_error *err)
{
    const sa2_mel_config *config = &plan->config;
    frame_offsets[0] = 0;
    for (int i = 0; i < clips.n; i++) {
        int64_t n = clips.n_samples[i], least = sa2_mel_least_samples(config);
        if (n < least)
            return sa2_fail(err, SA2_ERR_ARG,
                            "mel: clip %d has %lld samples, %lld or more expected", i, (long long)n,
                            (long long)least);
        frame_offsets[i + 1] = frame_offsets[i] + (int32_t)sa2_mel_frames(config, n);
    }
    if (y.ndim != 2 || y.shape[0] != frame_offsets[clips.n] || y.shape[1] != config->bins) {
        char text[96];
        return sa2_fail(err, SA2_ERR_ARG, "mel: y is %s, f32 [%d, %d] expected",
                        sa2_tensor_describe(&y, text, sizeof text), frame_offsets[clips.n],
                        config->bins);
    }
    for (int i = 0; i < clips.n; i++) {
        sa2_tensor rows =
            sa2_tensor_rows(y, frame_offsets[i], frame_offsets[i + 1] - frame_offsets[i]);
        sa2_status st =
            forward_clip(s, plan, work, rows, clips.samples[i], clips.n_samples[i], err);
        if (st != SA2_OK)
            return st;
    }
    if (config->clamp)
        sa2_clamp_to_range(s, y, (sa2_rows){clips.n, frame_offsets}, RANGE, SHIFT, SCALE);
    return SA2_OK;
}
