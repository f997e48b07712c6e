#include "tools/check_sound.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/audio/audio_file.h"
#include "runtime/audio/audio_length.h"
#include "runtime/audio/mel.h"

void sa2_check_sound_free(sa2_check_sound *sound)
{
    free(sound->rows);
    *sound = (sa2_check_sound){0};
}

/* Makes room for n more rows and returns where they go. */
static float *grow(sa2_check_sound *sound, int64_t n, int64_t hidden)
{
    float *rows = realloc(sound->rows, (size_t)((sound->n_rows + n) * hidden) * sizeof(float));
    if (rows == NULL)
        return NULL;
    sound->rows = rows;
    sound->n_rows += n;
    return rows + (sound->n_rows - n) * hidden;
}

enum { MEL_ROOM = 32 << 20 }; /* more than the work memory of a log-mel of 25 s */

static size_t encoder_bytes(const sa2_model *model, sa2_dtype dtype, int64_t frames)
{
    const sa2_encoder_config *c = &model->config.encoder;
    size_t rows = (size_t)frames * (size_t)(c->mel_bins + c->width + model->config.decoder.hidden) *
                  sizeof(float);
    return rows + sa2_audio_encoder_work_bytes(c, dtype, frames, 1) +
           sa2_adaptor_work_bytes(&model->config, dtype, frames, 1) + 4096;
}

/* One chunk of samples to the rows that the prompt keeps of it. */
static sa2_status encode_chunk(sa2_check_sound *sound, const sa2_check_run *run,
                               const sa2_model *model, const float *samples, int64_t n_samples,
                               sa2_error *err)
{
    sa2_audio_lengths lengths = sa2_audio_lengths_of(n_samples, SA2_LENGTH_HF);
    if (lengths.tokens == 0)
        return SA2_OK;
    sa2_dtype dtype = run->context->dtype;
    sa2_mel_config mel_config = sa2_mel_of_encoder(model->config.encoder.mel_bins);
    sa2_clips clips = {1, &samples, &n_samples};
    sa2_mel_plan plan = {0};
    sa2_check_device device = {0};
    int64_t hidden = model->config.decoder.hidden;
    int64_t adapted = sa2_adaptor_rows(&model->config.adaptor, lengths.pooled);
    float *rows = grow(sound, lengths.tokens, hidden);
    if (rows == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %lld rows of sound",
                        (long long)lengths.tokens);

    sa2_status st = sa2_check_device_open(
        &device, run,
        sa2_audio_encoder_scratch_bytes(&model->config.encoder, dtype, lengths.frames, 1) +
            sa2_adaptor_scratch_bytes(&model->config, dtype, lengths.frames, 1),
        err);
    if (st == SA2_OK)
        st = sa2_check_device_reserve(&device,
                                      encoder_bytes(model, dtype, lengths.frames) +
                                          sa2_mel_plan_bytes(device.stream, &mel_config) + MEL_ROOM,
                                      err);
    if (st == SA2_OK)
        st = sa2_mel_plan_create(&plan, &mel_config, device.stream, &device.arena, err);
    if (st == SA2_OK) {
        sa2_tensor mel =
            sa2_tensor_2d(NULL, SA2_F32, lengths.frames, model->config.encoder.mel_bins);
        sa2_tensor encoded =
            sa2_tensor_2d(NULL, SA2_F32, lengths.pooled, model->config.encoder.width);
        sa2_tensor out = sa2_tensor_2d(NULL, SA2_F32, adapted, hidden);
        mel.data = sa2_arena_take(&device.arena, sa2_tensor_bytes(&mel));
        encoded.data = sa2_arena_take(&device.arena, sa2_tensor_bytes(&encoded));
        out.data = sa2_arena_take(&device.arena, sa2_tensor_bytes(&out));
        int32_t mel_offsets[2], pooled_offsets[] = {0, (int32_t)lengths.pooled};
        const sa2_audio_clips one = {.n = 1, .mel_offsets = mel_offsets};
        st = sa2_mel_forward(device.stream, &plan, &device.arena, mel, clips, mel_offsets, err);
        if (st == SA2_OK)
            st = sa2_audio_encoder_forward(device.stream, &model->encoder, dtype, &device.arena,
                                           encoded, mel, &one, NULL, err);
        if (st == SA2_OK)
            st = sa2_adaptor_forward(device.stream, &model->adaptor, dtype, &device.arena, out,
                                     encoded, (sa2_rows){1, pooled_offsets}, err);
        sa2_download(device.stream, rows, sa2_tensor_rows(out, 0, lengths.tokens));
        sa2_status finished = sa2_stream_finish(device.stream, st == SA2_OK ? err : NULL);
        st = st != SA2_OK ? st : finished;
    }
    sa2_check_device_close(&device);
    return st;
}

/* Where a recording lies: in the folder of the context, or in ../../audio/ beside the case. */
static void put_path(char *path, size_t bytes, const sa2_check_run *run, const char *name)
{
    const char *origin = sa2_golden_origin(run->golden);
    const char *slash = strrchr(origin, '/');
    if (run->context->sounds != NULL)
        snprintf(path, bytes, "%s/%s", run->context->sounds, name);
    else
        snprintf(path, bytes, "%.*s../../audio/%s", slash != NULL ? (int)(slash - origin) + 1 : 0,
                 origin, name);
}

static sa2_status encode_file(sa2_check_sound *sound, const sa2_check_run *run,
                              const sa2_model *model, const char *name, sa2_error *err)
{
    char path[4096];
    put_path(path, sizeof path, run, name);
    const sa2_audio_source source = {.path = path};
    sa2_audio audio = {0};
    sa2_status st = sa2_audio_read(&audio, &source, SA2_CHANNEL_FIRST, SA2_AUDIO_RATE, err);
    for (int64_t i = 0; st == SA2_OK && i < sa2_audio_chunks(audio.n_samples); i++)
        st = encode_chunk(sound, run, model, audio.samples + i * SA2_AUDIO_CHUNK,
                          sa2_audio_chunk_samples(audio.n_samples, i), err);
    sa2_audio_destroy(&audio);
    return st;
}

sa2_status sa2_check_sound_encode(sa2_check_sound *sound, const sa2_check_run *run,
                                  const sa2_model *model, sa2_error *err)
{
    const char *text = sa2_golden_text(run->golden, "messages");
    json_t *messages = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (!json_is_array(messages)) {
        json_decref(messages);
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: messages as a JSON list expected",
                        sa2_golden_origin(run->golden));
    }
    sa2_status st = SA2_OK;
    size_t i, k;
    json_t *message, *item;
    json_array_foreach(messages, i, message)
    {
        json_array_foreach(json_object_get(message, "content"), k, item)
        {
            const char *name = json_string_value(json_object_get(item, "audio"));
            if (st == SA2_OK && name != NULL)
                st = encode_file(sound, run, model, name, err);
        }
    }
    json_decref(messages);
    return st;
}
