/* check_hearing.c - golden cases of encoder and adaptor, stage by stage. */
#include <stdlib.h>
#include <string.h>

#include "runtime/audio/audio_length.h"
#include "tools/check_model.h"
#include "tools/check_parts.h"

/* Input `name` [., cols] f32 with at least one row. */
static sa2_status expect_rows(const sa2_check_run *run, const char *name, int64_t cols,
                              sa2_tensor *x, sa2_error *err)
{
    sa2_status st =
        sa2_golden_expect(run->golden, name, SA2_F32, 2, (const int64_t[]){-1, cols}, x, err);
    if (st == SA2_OK && x->shape[0] < 1)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: in.%s has no rows", sa2_golden_origin(run->golden),
                      name);
    return st;
}

static sa2_tensor take(sa2_check_device *device, int64_t rows, int64_t cols)
{
    return sa2_tensor_2d(sa2_arena_take(&device->arena, (size_t)(rows * cols) * sizeof(float)),
                         SA2_F32, rows, cols);
}

/* Runs the mel of one chunk and judges every stage that the case has. */
static sa2_status judge_chunk(sa2_check_run *run, const sa2_model *model, sa2_check_device *device,
                              sa2_tensor mel, bool see_all, sa2_error *err)
{
    const sa2_encoder_config *c = &model->config.encoder;
    int32_t frames = (int32_t)mel.shape[0];
    int64_t rows = (frames + 1) / 2, pooled = rows / 2;
    int64_t adapted = sa2_adaptor_rows(&model->config.adaptor, pooled);
    sa2_tensor expected = sa2_golden_output(run->golden, "adaptor");
    int64_t kept =
        expected.data != NULL && expected.shape[0] < adapted ? expected.shape[0] : adapted;
    sa2_tensor x = take(device, frames, c->mel_bins), conv = take(device, rows, c->width);
    sa2_tensor block0 = take(device, rows, c->width), encoded = take(device, pooled, c->width);
    sa2_tensor out = take(device, adapted, model->config.decoder.hidden);
    const int32_t mel_offsets[] = {0, frames}, pooled_offsets[] = {0, (int32_t)pooled};
    const sa2_audio_clips clips = {.n = 1, .mel_offsets = mel_offsets, .see_all = see_all};
    const sa2_audio_encoder_stages stages = {.conv = conv, .block0 = block0};

    sa2_upload(device->stream, x, mel.data);
    sa2_status st = sa2_audio_encoder_forward(device->stream, &model->encoder, run->context->dtype,
                                              &device->arena, encoded, x, &clips, &stages, err);
    if (st == SA2_OK)
        st = sa2_adaptor_forward(device->stream, &model->adaptor, run->context->dtype,
                                 &device->arena, out, encoded, (sa2_rows){1, pooled_offsets}, err);
    const struct {
        const char *name;
        sa2_tensor found;
    } outputs[] = {{"conv", conv},
                   {"block0", block0},
                   {"encoder", encoded},
                   {"adaptor", sa2_tensor_rows(out, 0, kept)}};
    for (size_t i = 0; st == SA2_OK && i < sizeof outputs / sizeof outputs[0]; i++)
        if (sa2_golden_output(run->golden, outputs[i].name).data != NULL)
            st = sa2_check_judge_device(run, outputs[i].name, run->context->dtype, device->stream,
                                        outputs[i].found, err);
    return st;
}

static sa2_status check_audio_encoder(sa2_check_run *run, sa2_error *err)
{
    sa2_model model = {0};
    sa2_check_device device = {0};
    sa2_tensor mel;
    const char *rule = sa2_golden_text(run->golden, "length_rule");
    bool see_all = rule != NULL && strcmp(rule, "vllm") == 0;
    sa2_status st = sa2_check_model_open(&model, run, SA2_MODEL_HEARING, err);
    if (st == SA2_OK)
        st = expect_rows(run, "mel", model.config.encoder.mel_bins, &mel, err);
    if (st == SA2_OK) {
        const sa2_encoder_config *c = &model.config.encoder;
        int64_t frames = mel.shape[0];
        size_t width = (size_t)c->width + (size_t)c->mel_bins + (size_t)model.config.decoder.hidden;
        size_t stages = (size_t)(frames + 8) * 2 * width * sizeof(float);
        size_t bytes = stages + sa2_audio_encoder_work_bytes(c, run->context->dtype, frames, 1) +
                       sa2_adaptor_work_bytes(&model.config, run->context->dtype, frames, 1);
        st = sa2_check_device_ready(
            &device, run, bytes,
            sa2_audio_encoder_scratch_bytes(c, run->context->dtype, frames, 1) +
                sa2_adaptor_scratch_bytes(&model.config, run->context->dtype, frames, 1),
            err);
    }
    if (st == SA2_OK)
        st = judge_chunk(run, &model, &device, mel, see_all, err);
    sa2_check_device_close(&device);
    sa2_model_close(&model);
    return st;
}

static sa2_status check_encoder_block(sa2_check_run *run, sa2_error *err)
{
    sa2_model model = {0};
    sa2_check_device device = {0};
    sa2_tensor in;
    int64_t keys;
    sa2_status st = sa2_check_model_open(&model, run, SA2_MODEL_HEARING, err);
    if (st == SA2_OK)
        st = expect_rows(run, "x", model.config.encoder.width, &in, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "keys", 0, in.shape[0], &keys, err);
    if (st == SA2_OK && model.config.encoder.blocks < 2)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: block 1 of a model that has %d",
                      sa2_golden_origin(run->golden), model.config.encoder.blocks);
    if (st == SA2_OK) {
        const sa2_encoder_config *c = &model.config.encoder;
        int64_t frames = 2 * in.shape[0];
        st = sa2_check_device_ready(
            &device, run,
            sa2_audio_encoder_work_bytes(c, run->context->dtype, frames, 1) +
                sa2_tensor_bytes(&in) + 64,
            sa2_audio_encoder_scratch_bytes(c, run->context->dtype, frames, 1), err);
    }
    if (st == SA2_OK) {
        sa2_tensor x = take(&device, in.shape[0], in.shape[1]);
        sa2_upload(device.stream, x, in.data);
        st = sa2_audio_encoder_block_forward(device.stream, &model.encoder, 1, run->context->dtype,
                                             &device.arena, x, (int32_t)keys, err);
        if (st == SA2_OK)
            st = sa2_check_judge_device(run, "y", run->context->dtype, device.stream, x, err);
    }
    sa2_check_device_close(&device);
    sa2_model_close(&model);
    return st;
}

static sa2_status check_adaptor(sa2_check_run *run, sa2_error *err)
{
    sa2_model model = {0};
    sa2_check_device device = {0};
    sa2_tensor in;
    sa2_status st = sa2_check_model_open(&model, run, SA2_MODEL_HEARING, err);
    if (st == SA2_OK)
        st = expect_rows(run, "x", model.config.encoder.width, &in, err);
    if (st == SA2_OK) {
        int64_t rows = in.shape[0], hidden = model.config.decoder.hidden;
        size_t room = (size_t)(rows * (in.shape[1] + hidden)) * sizeof(float) + 256;
        st = sa2_check_device_ready(
            &device, run,
            room + sa2_adaptor_work_bytes(&model.config, run->context->dtype, rows, 1),
            sa2_adaptor_scratch_bytes(&model.config, run->context->dtype, rows, 1), err);
    }
    if (st == SA2_OK) {
        const int32_t offsets[] = {0, (int32_t)in.shape[0]};
        sa2_tensor x = take(&device, in.shape[0], in.shape[1]);
        sa2_tensor y = take(&device, sa2_adaptor_rows(&model.config.adaptor, in.shape[0]),
                            model.config.decoder.hidden);
        sa2_upload(device.stream, x, in.data);
        st = sa2_adaptor_forward(device.stream, &model.adaptor, run->context->dtype, &device.arena,
                                 y, x, (sa2_rows){1, offsets}, err);
        if (st == SA2_OK)
            st = sa2_check_judge_device(run, "y", run->context->dtype, device.stream, y, err);
    }
    sa2_check_device_close(&device);
    sa2_model_close(&model);
    return st;
}

const sa2_check_part sa2_check_hearing_parts[] = {
    {"audio_encoder", check_audio_encoder},
    {"encoder_block", check_encoder_block},
    {"adaptor", check_adaptor},
    {0},
};
