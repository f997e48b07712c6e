/* Cases of the audio front end: resample, mel128, s3_mel, prompt_mel, fbank. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "runtime/audio/audio_file.h"
#include "runtime/audio/fbank.h"
#include "runtime/audio/mel.h"
#include "runtime/audio/resample.h"
#include "tools/check_case.h"

/* ---- recordings ---- */

/* The recording that metadata `wav` names, channel 0 at 16 kHz. */
static sa2_status read_recording(const sa2_check_run *run, const char *wav, sa2_audio *audio,
                                 sa2_error *err)
{
    const char *origin = sa2_golden_origin(run->golden), *slash = strrchr(origin, '/');
    char path[4096];
    if (strchr(wav, '/') != NULL || wav[0] == '.')
        return sa2_fail(err, SA2_ERR_FORMAT, "wav \"%.60s\": a file name expected", wav);
    if (run->context->sounds != NULL)
        snprintf(path, sizeof path, "%s/%s", run->context->sounds, wav);
    else if (slash != NULL)
        snprintf(path, sizeof path, "%.*s/../../audio/%s", (int)(slash - origin), origin, wav);
    else
        snprintf(path, sizeof path, "../../audio/%s", wav);
    return sa2_audio_read(audio, &(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, 16000, err);
}

/* in.samples, or the recording; owned says that *audio is to be destroyed. */
static sa2_status read_samples(const sa2_check_run *run, sa2_audio *audio, bool *owned,
                               sa2_error *err)
{
    const char *wav = sa2_golden_text(run->golden, "wav");
    *owned = wav != NULL;
    if (wav != NULL)
        return read_recording(run, wav, audio, err);
    sa2_tensor samples;
    sa2_status st = sa2_golden_expect(run->golden, "samples", SA2_F32, 1, NULL, &samples, err);
    if (st == SA2_OK)
        *audio = (sa2_audio){.samples = samples.data, .n_samples = samples.shape[0]};
    return st;
}

/* ---- resample ---- */

static sa2_status resample_samples(sa2_check_run *run, sa2_error *err)
{
    const sa2_golden_case *golden = run->golden;
    bool pair = sa2_golden_text(golden, "rate_in") != NULL;
    int64_t rate_in, rate_out = 16000;
    sa2_tensor samples;
    sa2_status st = sa2_golden_number(golden, pair ? "rate_in" : "rate", 1, SA2_LIMIT_SOUND_RATE_HZ,
                                      &rate_in, err);
    if (st == SA2_OK && pair)
        st = sa2_golden_number(golden, "rate_out", 1, SA2_LIMIT_SOUND_RATE_HZ, &rate_out, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(golden, "samples", SA2_F32, 1, NULL, &samples, err);
    if (st != SA2_OK)
        return st;
    sa2_resample_table table;
    st = sa2_resample_table_create(&table, (int)rate_in, (int)rate_out, err);
    if (st != SA2_OK)
        return st;
    int64_t n = sa2_resample_count(&table, samples.shape[0]);
    float *found = malloc((size_t)n * sizeof *found + 1);
    if (found == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "no memory for %lld samples", (long long)n);
    else
        st = sa2_resample(&table, samples.data, samples.shape[0], found, err);
    if (st == SA2_OK)
        sa2_check_judge(run, "samples", SA2_F32, sa2_tensor_1d(found, SA2_F32, n));
    free(found);
    sa2_resample_table_destroy(&table);
    return st;
}

/* A whole recording: `count` samples of it, and the case has the first and last ones. */
static sa2_status resample_recording(sa2_check_run *run, const char *wav, sa2_error *err)
{
    sa2_audio audio = {0};
    int64_t count, kept = sa2_golden_output(run->golden, "samples").shape[0];
    sa2_status st = sa2_golden_number(run->golden, "count", 1, INT32_MAX, &count, err);
    if (st == SA2_OK)
        st = read_recording(run, wav, &audio, err);
    if (st == SA2_OK && audio.n_samples != count)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s has %lld samples at 16 kHz, the case says %lld", wav,
                      (long long)audio.n_samples, (long long)count);
    if (st == SA2_OK && kept < count)
        memmove(audio.samples + kept / 2, audio.samples + count - (kept - kept / 2),
                (size_t)(kept - kept / 2) * sizeof *audio.samples);
    if (st == SA2_OK)
        sa2_check_judge(run, "samples", SA2_F32,
                        sa2_tensor_1d(audio.samples, SA2_F32, kept < count ? kept : count));
    sa2_audio_destroy(&audio);
    return st;
}

static sa2_status run_resample(sa2_check_run *run, sa2_error *err)
{
    const char *wav = sa2_golden_text(run->golden, "wav");
    return wav != NULL ? resample_recording(run, wav, err) : resample_samples(run, err);
}

/* ---- log-mels ---- */

/* Bands of an output [frames, bands]. */
static sa2_status bands_of(const sa2_check_run *run, const char *output, int *bands, sa2_error *err)
{
    sa2_tensor y = sa2_golden_output(run->golden, output);
    if (y.data == NULL || y.ndim != 2 || y.shape[1] < 1 || y.shape[1] > SA2_LIMIT_MEL_BINS)
        return sa2_fail(err, SA2_ERR_FORMAT, "no out.%s [frames, 1 to %d bands]", output,
                        SA2_LIMIT_MEL_BINS);
    *bands = (int)y.shape[1];
    return SA2_OK;
}

static sa2_status judge_mel(sa2_check_run *run, const sa2_mel_config *config,
                            const sa2_audio *audio, sa2_error *err)
{
    sa2_check_device device = {0};
    sa2_mel_plan plan;
    const float *samples = audio->samples;
    int64_t frames = sa2_mel_frames(config, audio->n_samples);
    sa2_tensor y = sa2_tensor_2d(NULL, SA2_F32, frames, config->bins);
    int32_t offsets[2];
    sa2_status st = sa2_check_device_open(&device, run, 0, err);
    if (st != SA2_OK)
        goto cleanup;
    size_t bytes = sa2_mel_plan_bytes(device.stream, config) +
                   sa2_arena_round(sa2_tensor_bytes(&y)) +
                   sa2_mel_work_bytes(config, audio->n_samples);
    st = sa2_check_device_reserve(&device, bytes, err);
    if (st == SA2_OK)
        st = sa2_mel_plan_create(&plan, config, device.stream, &device.arena, err);
    if (st != SA2_OK)
        goto cleanup;
    y.data = sa2_arena_take(&device.arena, sa2_tensor_bytes(&y));
    st = sa2_mel_forward(device.stream, &plan, &device.arena, y,
                         (sa2_clips){1, &samples, &audio->n_samples}, offsets, err);
    if (st == SA2_OK)
        st = sa2_check_judge_device(run, "mel", SA2_F32, device.stream, y, err);

cleanup:
    sa2_check_device_close(&device);
    return st;
}

static sa2_status run_mel(sa2_check_run *run, sa2_mel_config (*kind)(int bins), sa2_error *err)
{
    sa2_audio audio = {0};
    bool owned = false;
    int bands = 0;
    sa2_status st = bands_of(run, "mel", &bands, err);
    if (st == SA2_OK)
        st = read_samples(run, &audio, &owned, err);
    if (st == SA2_OK && owned)
        sa2_check_judge(run, "samples", SA2_F32,
                        sa2_tensor_1d(audio.samples, SA2_F32, audio.n_samples));
    if (st == SA2_OK) {
        sa2_mel_config config = kind(bands);
        st = judge_mel(run, &config, &audio, err);
    }
    if (owned)
        sa2_audio_destroy(&audio);
    return st;
}

static sa2_status run_encoder_mel(sa2_check_run *run, sa2_error *err)
{
    return run_mel(run, sa2_mel_of_encoder, err);
}

static sa2_status run_tokenizer_mel(sa2_check_run *run, sa2_error *err)
{
    return run_mel(run, sa2_mel_of_speech_tokenizer, err);
}

static sa2_status run_prompt_mel(sa2_check_run *run, sa2_error *err)
{
    return run_mel(run, sa2_mel_of_prompt, err);
}

/* ---- fbank ---- */

static sa2_status run_fbank(sa2_check_run *run, sa2_error *err)
{
    sa2_check_device device = {0};
    sa2_fbank_plan plan;
    sa2_tensor samples;
    int bands = 0;
    sa2_status st = bands_of(run, "fbank", &bands, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "samples", SA2_F32, 1, NULL, &samples, err);
    if (st == SA2_OK)
        st = sa2_check_device_open(&device, run, 0, err);
    if (st != SA2_OK)
        goto cleanup;
    int64_t n = samples.shape[0];
    sa2_tensor y = sa2_tensor_2d(NULL, SA2_F32, sa2_fbank_frames(n), bands);
    size_t bytes = sa2_fbank_plan_bytes(device.stream, bands) +
                   sa2_arena_round(sa2_tensor_bytes(&y)) + sa2_fbank_work_bytes(bands, n);
    st = sa2_check_device_reserve(&device, bytes, err);
    if (st == SA2_OK)
        st = sa2_fbank_plan_create(&plan, bands, device.stream, &device.arena, err);
    if (st != SA2_OK)
        goto cleanup;
    y.data = sa2_arena_take(&device.arena, sa2_tensor_bytes(&y));
    st = sa2_fbank_forward(device.stream, &plan, &device.arena, y, samples.data, n, err);
    if (st == SA2_OK)
        st = sa2_check_judge_device(run, "fbank", SA2_F32, device.stream, y, err);

cleanup:
    sa2_check_device_close(&device);
    return st;
}

const sa2_check_part sa2_check_audio_parts[] = {
    {"resample", run_resample},     {"mel128", run_encoder_mel}, {"s3_mel", run_tokenizer_mel},
    {"prompt_mel", run_prompt_mel}, {"fbank", run_fbank},        {NULL, NULL},
};
