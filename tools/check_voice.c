/* check_voice.c - golden cases of voice preparation: speech tokenizer, speaker encoder, whole prompts. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/base/limits.h"
#include "runtime/token2wav/voice.h"
#include "tools/check_parts.h"
#include "tools/check_token2wav.h"

/* ---- weights ---- */

/* One of the two parts with a device of its own. */
typedef struct part {
    sa2_check_device device;
    sa2_tensor_map *map;
    sa2_speech_tokenizer tokenizer;
    sa2_speaker_encoder speaker;
    sa2_arena layers; /* host: where the weights of each layer are */
} part;

static void close_part(part *p)
{
    sa2_check_device_close(&p->device);
    sa2_arena_destroy(&p->layers);
    sa2_tensor_map_destroy(p->map);
}

/* Measures into w.bytes, or loads; max_frames is of the speaker encoder. */
static void load(part *p, bool speaker, int64_t max_frames, sa2_weights *w)
{
    if (speaker)
        sa2_speaker_encoder_load(&p->speaker, &p->speaker.dims, max_frames, w);
    else
        sa2_speech_tokenizer_load(&p->tokenizer, &p->tokenizer.dims, w);
}

/* `room` is for the inputs and outputs of the case. */
static sa2_status fill_part(part *p, const sa2_check_run *run, bool speaker, int64_t max_frames,
                            size_t work, size_t scratch, size_t room, sa2_error *err)
{
    sa2_status st = sa2_check_device_open(&p->device, run, scratch, err);
    if (st != SA2_OK)
        return st;
    sa2_weights w = {.stream = p->device.stream, .dtype = SA2_F32, .err = err};
    load(p, speaker, max_frames, &w);
    st = sa2_check_device_reserve(&p->device, w.bytes + work + room, err);
    if (st == SA2_OK)
        st = sa2_arena_reserve(&p->layers, w.host_bytes, err);
    if (st == SA2_OK && speaker)
        st = sa2_speaker_encoder_fold(p->map, err);
    if (st != SA2_OK)
        return st;
    w.arena = &p->device.arena;
    w.host = &p->layers;
    w.map = p->map;
    load(p, speaker, max_frames, &w);
    return w.status;
}

/* First the sizes, then, when the caller knows its own, the weights. */
static sa2_status find_tokenizer(part *p, const sa2_check_run *run, sa2_error *err)
{
    sa2_status st = sa2_check_token2wav_map(&p->map, run, SA2_SPEECH_TOKENIZER_FILE, err);
    return st == SA2_OK ? sa2_speech_tokenizer_dims_find(&p->tokenizer.dims, p->map, err) : st;
}

static sa2_status fill_tokenizer(part *p, const sa2_check_run *run, int64_t frames, size_t room,
                                 sa2_error *err)
{
    const sa2_speech_tokenizer_dims *d = &p->tokenizer.dims;
    return fill_part(p, run, false, 0, sa2_speech_tokenizer_work_bytes(d, frames),
                     sa2_speech_tokenizer_scratch_bytes(d, frames), room, err);
}

static sa2_status find_speaker(part *p, const sa2_check_run *run, sa2_error *err)
{
    sa2_status st = sa2_check_token2wav_map(&p->map, run, SA2_SPEAKER_FILE, err);
    return st == SA2_OK ? sa2_speaker_dims_find(&p->speaker.dims, p->map, err) : st;
}

static sa2_status fill_speaker(part *p, const sa2_check_run *run, int64_t frames, size_t room,
                               sa2_error *err)
{
    const sa2_speaker_dims *d = &p->speaker.dims;
    return fill_part(p, run, true, frames, sa2_speaker_encoder_work_bytes(d, frames),
                     sa2_speaker_encoder_scratch_bytes(d, frames), room, err);
}

/* Of a tensor that take() gives. */
static size_t room_of(int64_t rows, int64_t cols)
{
    return sa2_arena_round((size_t)(rows * cols) * sizeof(float));
}

static sa2_tensor take(part *p, int64_t rows, int64_t cols)
{
    return sa2_tensor_2d(sa2_arena_take(&p->device.arena, (size_t)(rows * cols) * sizeof(float)),
                         SA2_F32, rows, cols);
}

static sa2_tensor uploaded(part *p, sa2_tensor host)
{
    sa2_tensor x = take(p, host.shape[0], host.shape[1]);
    sa2_upload(p->device.stream, x, host.data);
    return x;
}

/* Input `name` [., .] f32 with at least one row; its columns are judged when the weights are known. */
static sa2_status expect_rows(const sa2_check_run *run, const char *name, sa2_tensor *x,
                              sa2_error *err)
{
    sa2_status st =
        sa2_golden_expect(run->golden, name, SA2_F32, 2, (const int64_t[]){-1, -1}, x, err);
    if (st == SA2_OK && (x->shape[0] < 1 || x->shape[1] < 1))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: in.%s is empty", sa2_golden_origin(run->golden),
                      name);
    return st;
}

static sa2_status expect_cols(const sa2_check_run *run, const char *name, sa2_tensor x,
                              int64_t cols, sa2_error *err)
{
    if (x.shape[1] == cols)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_FORMAT, "%s: in.%s has %lld columns, %lld expected",
                    sa2_golden_origin(run->golden), name, (long long)x.shape[1], (long long)cols);
}

static sa2_status judge(sa2_check_run *run, const char *name, part *p, sa2_tensor found,
                        sa2_error *err)
{
    if (sa2_golden_output(run->golden, name).data == NULL)
        return SA2_OK;
    return sa2_check_judge_device(run, name, SA2_F32, p->device.stream, found, err);
}

/* ---- speech tokenizer ---- */

static sa2_status judge_tokens(sa2_check_run *run, part *p, sa2_tensor projections, sa2_error *err)
{
    int64_t n = projections.shape[0];
    float *values = malloc(sa2_tensor_bytes(&projections) + 1);
    int32_t *ids = malloc((size_t)n * sizeof *ids + 1);
    sa2_status st = SA2_OK;
    if (values == NULL || ids == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "no memory for %lld tokens", (long long)n);
    if (st == SA2_OK) {
        sa2_download(p->device.stream, values, projections);
        st = sa2_stream_finish(p->device.stream, err);
    }
    if (st == SA2_OK) {
        sa2_speech_tokenizer_quantise(p->tokenizer.dims.digits, values, n, ids);
        sa2_check_judge(run, "ids", SA2_F32, sa2_tensor_1d(ids, SA2_I32, n));
    }
    free(ids);
    free(values);
    return st;
}

static sa2_status check_speech_tokenizer(sa2_check_run *run, sa2_error *err)
{
    part p = {0};
    sa2_tensor mel;
    sa2_status st = expect_rows(run, "mel", &mel, err);
    int64_t n = st == SA2_OK ? sa2_speech_tokenizer_tokens(mel.shape[0]) : 0;
    if (st == SA2_OK)
        st = find_tokenizer(&p, run, err);
    if (st == SA2_OK)
        st = expect_cols(run, "mel", mel, p.tokenizer.dims.mel, err);
    if (st == SA2_OK)
        st = fill_tokenizer(
            &p, run, mel.shape[0],
            room_of(mel.shape[0], mel.shape[1]) + room_of(n, p.tokenizer.dims.digits), err);
    if (st == SA2_OK) {
        sa2_tensor x = uploaded(&p, mel), projections = take(&p, n, p.tokenizer.dims.digits);
        st = sa2_speech_tokenizer_forward(p.device.stream, &p.tokenizer, &p.device.arena,
                                          projections, x, err);
        if (st == SA2_OK)
            st = judge(run, "project_down", &p, projections, err);
        if (st == SA2_OK)
            st = judge_tokens(run, &p, projections, err);
    }
    close_part(&p);
    return st;
}

static sa2_status check_s3_block(sa2_check_run *run, sa2_error *err)
{
    enum { LONGEST = SA2_SPEECH_TOKENIZER_WINDOW / 4 };
    part p = {0};
    sa2_tensor in;
    sa2_status st = expect_rows(run, "x", &in, err);
    if (st == SA2_OK)
        st = find_tokenizer(&p, run, err);
    if (st == SA2_OK)
        st = expect_cols(run, "x", in, p.tokenizer.dims.width, err);
    if (st == SA2_OK && (p.tokenizer.dims.blocks < 2 || in.shape[0] > LONGEST))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: block 1 of %lld rows in a model of %d and %d",
                      sa2_golden_origin(run->golden), (long long)in.shape[0],
                      p.tokenizer.dims.blocks, (int)LONGEST);
    if (st == SA2_OK)
        st = fill_tokenizer(&p, run, 4 * in.shape[0], 3 * room_of(in.shape[0], in.shape[1]), err);
    if (st == SA2_OK) {
        sa2_tensor x = uploaded(&p, in);
        const sa2_speech_tokenizer_stages stages = {.memory = take(&p, in.shape[0], in.shape[1]),
                                                    .attention =
                                                        take(&p, in.shape[0], in.shape[1])};
        st = sa2_speech_tokenizer_block_forward(p.device.stream, &p.tokenizer, 1, &p.device.arena,
                                                x, &stages, err);
        if (st == SA2_OK)
            st = judge(run, "fsmn", &p, stages.memory, err);
        if (st == SA2_OK)
            st = judge(run, "attention", &p, stages.attention, err);
        if (st == SA2_OK)
            st = judge(run, "x", &p, x, err);
    }
    close_part(&p);
    return st;
}

/* ---- speaker encoder ---- */

/* The rules under which a case has its outputs. */
static const struct {
    sa2_partial_rule partial;
    const char *xvec, *y;
} rules[] = {
    {SA2_PARTIAL_TRUE, "xvec_true_mean", "y_true_mean"},
    {SA2_PARTIAL_KERNEL, "xvec_kernel_divisor", "y_kernel_divisor"},
};

enum { RULES = sizeof rules / sizeof rules[0] };

static int64_t head_cols(const sa2_speaker_dims *d)
{
    return (int64_t)d->head_channels * d->mel / SA2_SPEAKER_HEAD_REDUCTION;
}

static sa2_status open_fbank_case(part *p, sa2_check_run *run, sa2_tensor *fbank, sa2_error *err)
{
    const sa2_speaker_dims *d = &p->speaker.dims;
    sa2_status st = expect_rows(run, "fbank", fbank, err);
    if (st == SA2_OK)
        st = find_speaker(p, run, err);
    if (st == SA2_OK)
        st = expect_cols(run, "fbank", *fbank, d->mel, err);
    if (st == SA2_OK)
        st = fill_speaker(p, run, fbank->shape[0],
                          room_of(fbank->shape[0], d->mel) +
                              room_of(fbank->shape[0], head_cols(d)) + room_of(1, d->embedding),
                          err);
    return st;
}

static sa2_status check_speaker(sa2_check_run *run, sa2_error *err)
{
    part p = {0};
    sa2_tensor fbank;
    sa2_status st = open_fbank_case(&p, run, &fbank, err);
    if (st == SA2_OK) {
        sa2_tensor x = uploaded(&p, fbank), out = take(&p, 1, p.speaker.dims.embedding);
        for (int i = 0; st == SA2_OK && i < RULES; i++) {
            st = sa2_speaker_encoder_forward(p.device.stream, &p.speaker, rules[i].partial,
                                             &p.device.arena, out, x, err);
            if (st == SA2_OK)
                st = judge(run, rules[i].xvec, &p,
                           sa2_tensor_1d(out.data, SA2_F32, p.speaker.dims.embedding), err);
        }
    }
    close_part(&p);
    return st;
}

/* Channels of the case are map by map. */
static sa2_status judge_head(sa2_check_run *run, part *p, sa2_tensor head, sa2_error *err)
{
    int64_t maps = p->speaker.dims.head_channels, bins = head.shape[1] / maps;
    float *values = malloc(sa2_tensor_bytes(&head) + 1);
    float *ordered = malloc(sa2_tensor_bytes(&head) + 1);
    sa2_status st = SA2_OK;
    if (values == NULL || ordered == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "no memory for out.head");
    if (st == SA2_OK) {
        sa2_download(p->device.stream, values, head);
        st = sa2_stream_finish(p->device.stream, err);
    }
    if (st == SA2_OK) {
        for (int64_t t = 0; t < head.shape[0]; t++)
            for (int64_t b = 0; b < bins; b++)
                for (int64_t m = 0; m < maps; m++)
                    ordered[(t * maps + m) * bins + b] = values[(t * bins + b) * maps + m];
        sa2_check_judge(run, "head", SA2_F32,
                        sa2_tensor_2d(ordered, SA2_F32, head.shape[0], head.shape[1]));
    }
    free(ordered);
    free(values);
    return st;
}

static sa2_status check_speaker_head(sa2_check_run *run, sa2_error *err)
{
    part p = {0};
    sa2_tensor fbank;
    sa2_status st = open_fbank_case(&p, run, &fbank, err);
    if (st == SA2_OK) {
        sa2_tensor x = uploaded(&p, fbank);
        sa2_tensor head = take(&p, x.shape[0], head_cols(&p.speaker.dims));
        st = sa2_speaker_encoder_head_forward(p.device.stream, &p.speaker, &p.device.arena, head, x,
                                              err);
        if (st == SA2_OK)
            st = judge_head(run, &p, head, err);
    }
    close_part(&p);
    return st;
}

/* Layer 4 of block 1, counted from 0: xvector.block2.tdnnd5. */
static sa2_status check_cam_dense(sa2_check_run *run, sa2_error *err)
{
    enum { BLOCK = 1, LAYER = 4 };
    part p = {0};
    sa2_tensor in;
    sa2_status st = expect_rows(run, "x", &in, err);
    if (st == SA2_OK)
        st = find_speaker(&p, run, err);
    if (st == SA2_OK && p.speaker.dims.layers[BLOCK] <= LAYER)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: layer %d of a block of %d",
                      sa2_golden_origin(run->golden), LAYER, p.speaker.dims.layers[BLOCK]);
    if (st == SA2_OK)
        st = expect_cols(run, "x", in, sa2_speaker_encoder_channels(&p.speaker.dims, BLOCK, LAYER),
                         err);
    if (st == SA2_OK)
        st = fill_speaker(
            &p, run, 2 * in.shape[0],
            room_of(in.shape[0], in.shape[1]) + room_of(in.shape[0], p.speaker.dims.growth), err);
    if (st == SA2_OK) {
        sa2_tensor x = uploaded(&p, in), y = take(&p, x.shape[0], p.speaker.dims.growth);
        for (int i = 0; st == SA2_OK && i < RULES; i++) {
            st = sa2_speaker_encoder_layer_forward(p.device.stream, &p.speaker, BLOCK, LAYER,
                                                   rules[i].partial, &p.device.arena, y, x, err);
            if (st == SA2_OK)
                st = judge(run, rules[i].y, &p, y, err);
        }
    }
    close_part(&p);
    return st;
}

/* ---- voice prompts ---- */

/* What the flow says of the prompt: its mel bands and frames for each token. */
static sa2_status find_prompt_form(sa2_voice_options *options, const sa2_check_run *run,
                                   sa2_error *err)
{
    sa2_flow_config flow = {0};
    sa2_status st = sa2_check_flow_config(&flow, run, err);
    options->mel_bins = flow.mel;
    options->frames_per_token = flow.up_stride;
    return st;
}

static sa2_status judge_voice(sa2_check_run *run, sa2_voice_encoder *encoder,
                              const sa2_audio_source *source, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; st == SA2_OK && i < RULES; i++) {
        if (sa2_golden_output(run->golden, rules[i].xvec).data == NULL)
            continue;
        sa2_voice voice = {0};
        encoder->options.partial = rules[i].partial;
        st = sa2_voice_encode(encoder, source, &voice, err);
        if (st == SA2_OK)
            sa2_check_judge(run, rules[i].xvec, SA2_F32,
                            sa2_tensor_1d(voice.speaker, SA2_F32, voice.n_speaker));
        if (st == SA2_OK && i == 0) {
            sa2_check_judge(run, "tokens", SA2_F32,
                            sa2_tensor_1d(voice.tokens, SA2_I32, voice.n_tokens));
            sa2_check_judge(run, "mel", SA2_F32,
                            sa2_tensor_2d(voice.mel, SA2_F32, voice.n_frames, voice.mel_bins));
        }
        sa2_voice_destroy(&voice);
    }
    return st;
}

static sa2_status check_voice_prompt(sa2_check_run *run, sa2_error *err)
{
    sa2_tensor_map *tokenizer = NULL, *speaker = NULL;
    sa2_voice_encoder encoder = {0};
    sa2_voice_options options = {0};
    sa2_tensor samples;
    int64_t rate;
    sa2_status st = expect_rows(run, "samples", &samples, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "rate_in", SA2_LIMIT_SOUND_RATE_LEAST_HZ,
                               SA2_LIMIT_SOUND_RATE_HZ, &rate, err);
    if (st == SA2_OK)
        st = find_prompt_form(&options, run, err);
    if (st == SA2_OK)
        st = sa2_check_token2wav_map(&tokenizer, run, SA2_SPEECH_TOKENIZER_FILE, err);
    if (st == SA2_OK)
        st = sa2_check_token2wav_map(&speaker, run, SA2_SPEAKER_FILE, err);
    if (st == SA2_OK) {
        int64_t seconds = samples.shape[0] / rate + 1;
        options.max_seconds =
            seconds < SA2_LIMIT_VOICE_SECONDS ? (int)seconds : SA2_LIMIT_VOICE_SECONDS;
        st = sa2_voice_encoder_from_maps(&encoder, run->context->backend, tokenizer, speaker,
                                         &options, err);
    }
    if (st == SA2_OK) {
        const sa2_audio_source source = {.path = "in.samples",
                                         .bytes = samples.data,
                                         .n_bytes = sa2_tensor_bytes(&samples),
                                         .pcm = SA2_PCM_F32LE,
                                         .pcm_rate = (int)rate,
                                         .pcm_channels = (int)samples.shape[1]};
        st = judge_voice(run, &encoder, &source, err);
    }
    sa2_voice_encoder_close(&encoder);
    sa2_tensor_map_destroy(speaker);
    sa2_tensor_map_destroy(tokenizer);
    return st;
}

const sa2_check_part sa2_check_voice_parts[] = {
    {"speech_tokenizer", check_speech_tokenizer},
    {"s3_block", check_s3_block},
    {"speaker", check_speaker},
    {"speaker_head", check_speaker_head},
    {"cam_dense", check_cam_dense},
    {"voice_prompt", check_voice_prompt},
    {0},
};
