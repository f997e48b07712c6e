/* check_speech.c - golden cases of token2wav as a whole: codes to sound, at once and in streams. */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/audio/audio_writer.h"
#include "runtime/token2wav/speech.h"
#include "tools/check_parts.h"
#include "tools/check_token2wav.h"

enum { MOST_CODES = 15000 }; /* of a case: ten minutes */

typedef struct speech_case {
    sa2_check_run *run;
    sa2_token2wav t;
    sa2_voice voice; /* views of the case */
    sa2_tensor tokens;
} speech_case;

static int seconds_of(int64_t codes)
{
    return (int)((codes + 24) / 25);
}

static sa2_status expect_voice(speech_case *c, const sa2_flow_config *config, sa2_error *err)
{
    const sa2_golden_case *golden = c->run->golden;
    sa2_tensor tokens, mel, speaker;
    sa2_status st =
        sa2_golden_expect(golden, "prompt_tokens", SA2_I32, 1, (const int64_t[]){-1}, &tokens, err);
    if (st == SA2_OK && (tokens.shape[0] < 1 || tokens.shape[0] > MOST_CODES))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: %lld prompt tokens", sa2_golden_origin(golden),
                      (long long)tokens.shape[0]);
    if (st == SA2_OK)
        st = sa2_golden_expect(golden, "prompt_mel", SA2_F32, 2,
                               (const int64_t[]){tokens.shape[0] * config->up_stride, config->mel},
                               &mel, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(golden, "xvec", SA2_F32, 1, (const int64_t[]){config->speaker},
                               &speaker, err);
    if (st == SA2_OK)
        st =
            sa2_golden_expect(golden, "tokens", SA2_I32, 1, (const int64_t[]){-1}, &c->tokens, err);
    if (st == SA2_OK && (c->tokens.shape[0] < 1 || c->tokens.shape[0] > MOST_CODES))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: %lld tokens", sa2_golden_origin(golden),
                      (long long)c->tokens.shape[0]);
    if (st == SA2_OK)
        c->voice = (sa2_voice){.tokens = tokens.data,
                               .speaker = speaker.data,
                               .mel = mel.data,
                               .n_tokens = (int)tokens.shape[0],
                               .n_speaker = config->speaker,
                               .n_frames = (int)mel.shape[0],
                               .mel_bins = config->mel};
    return st;
}

/* Both models with the case's weights, its noise, and no noise in the source. */
static sa2_status open_case(speech_case *c, sa2_check_run *run, sa2_error *err)
{
    *c = (speech_case){.run = run};
    sa2_flow_config config;
    sa2_tensor_map *flow = NULL, *vocoder = NULL;
    sa2_tensor noise;
    sa2_status st = sa2_check_flow_config(&config, run, err);
    if (st == SA2_OK)
        st = expect_voice(c, &config, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "noise", SA2_F32, 2, (const int64_t[]){-1, config.mel},
                               &noise, err);
    if (st == SA2_OK)
        st = sa2_check_token2wav_map(&flow, run, SA2_FLOW_FILE, err);
    if (st == SA2_OK)
        st = sa2_check_token2wav_map(&vocoder, run, SA2_VOCODER_FILE, err);
    if (st == SA2_OK) {
        const sa2_token2wav_options options = {.bf16 = run->context->dtype == SA2_BF16,
                                               .max_voice_seconds = seconds_of(c->voice.n_tokens),
                                               .max_seconds = seconds_of(c->tokens.shape[0]),
                                               .no_source_noise = true};
        st = sa2_token2wav_from_maps(&c->t, run->context->backend, &config, flow, vocoder, &options,
                                     err);
    }
    if (st == SA2_OK)
        st = sa2_flow_set_noise(c->t.stream, &c->t.flow, noise.data, noise.shape[0], err);
    sa2_tensor_map_destroy(flow);
    sa2_tensor_map_destroy(vocoder);
    return st;
}

static sa2_status check_whole(sa2_check_run *run, sa2_error *err)
{
    speech_case c;
    sa2_status st = open_case(&c, run, err);
    if (st == SA2_OK) {
        int n = (int)c.tokens.shape[0];
        int64_t frames = (int64_t)n * c.t.flow.config.up_stride,
                samples = sa2_speech_samples(&c.t, n);
        float *mel = malloc((size_t)(frames * c.voice.mel_bins) * sizeof *mel);
        float *wav = malloc((size_t)samples * sizeof *wav);
        st = mel != NULL && wav != NULL
                 ? sa2_token2wav_whole(&c.t, &c.voice, c.tokens.data, n, 0, mel, wav, err)
                 : sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %lld samples",
                            (long long)samples);
        if (st == SA2_OK) {
            sa2_check_judge(run, "mel", run->context->dtype,
                            sa2_tensor_2d(mel, SA2_F32, frames, c.voice.mel_bins));
            sa2_check_judge(run, "wav", run->context->dtype, sa2_tensor_1d(wav, SA2_F32, samples));
        }
        free(wav);
        free(mel);
    }
    sa2_token2wav_close(&c.t);
    return st;
}

/* ---- streams ---- */

typedef struct judging {
    sa2_check_run *run;
    int chunk;
    bool heard; /* the chunk gave samples */
} judging;

static void judge_samples(void *context, int i, const float *samples, int64_t n)
{
    judging *j = context;
    (void)i;
    char name[32];
    float *found = malloc((size_t)n * sizeof *found + 1);
    int16_t *pcm = malloc((size_t)n * sizeof *pcm + 1);
    int32_t *wide = malloc((size_t)n * sizeof *wide + 1);
    if (found != NULL && pcm != NULL && wide != NULL) {
        sa2_audio_to_s16(pcm, samples, n);
        for (int64_t k = 0; k < n; k++) {
            found[k] = samples[k];
            wide[k] = pcm[k];
        }
        snprintf(name, sizeof name, "samples.%d", j->chunk);
        sa2_check_judge(j->run, name, j->run->context->dtype, sa2_tensor_1d(found, SA2_F32, n));
        snprintf(name, sizeof name, "pcm.%d", j->chunk);
        sa2_check_judge(j->run, name, j->run->context->dtype, sa2_tensor_1d(wide, SA2_I32, n));
    }
    j->heard = true;
    free(wide);
    free(pcm);
    free(found);
}

static sa2_status run_stream(speech_case *c, const sa2_speech_voice *voice,
                             const sa2_speech_ladder *ladder, sa2_error *err)
{
    sa2_speech speech, *one = &speech;
    int n = (int)c->tokens.shape[0], n_chunks;
    int32_t *codes = malloc((size_t)n * sizeof *codes);
    if (codes == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d codes", n);
    judging j = {.run = c->run};
    sa2_status st = sa2_speech_init(&c->t, &speech, voice, ladder, codes, n, err);
    if (st == SA2_OK)
        st = sa2_speech_start(&c->t, &speech, 0, err);
    if (st == SA2_OK)
        st = sa2_speech_push(&speech, c->tokens.data, n, err);
    sa2_speech_end(&speech);
    for (; st == SA2_OK && !sa2_speech_complete(&speech); j.chunk++) {
        j.heard = false;
        st = sa2_speech_step(&c->t, &one, 1, judge_samples, &j, &n_chunks, err);
        if (st == SA2_OK && !j.heard)
            judge_samples(&j, 0, NULL, 0);
    }
    sa2_speech_drop(&c->t, &speech);
    free(codes);
    return st;
}

static sa2_status check_stream(sa2_check_run *run, sa2_error *err)
{
    speech_case c;
    sa2_speech_voice voice = {0};
    sa2_speech_ladder ladder = {0};
    sa2_tensor chunks;
    sa2_status st =
        sa2_golden_expect(run->golden, "chunks", SA2_I32, 1, (const int64_t[]){-1}, &chunks, err);
    if (st == SA2_OK && (chunks.shape[0] < 1 || chunks.shape[0] > SA2_SPEECH_LADDER))
        st =
            sa2_fail(err, SA2_ERR_FORMAT, "%s: %lld chunks, 1 to %d expected",
                     sa2_golden_origin(run->golden), (long long)chunks.shape[0], SA2_SPEECH_LADDER);
    if (st != SA2_OK)
        return st;
    for (int i = 0; i < chunks.shape[0] - 1; i++) /* the last chunk is what is left */
        ladder.codes[ladder.n++] = ((const int32_t *)chunks.data)[i];
    st = open_case(&c, run, err);
    if (st == SA2_OK)
        st = sa2_speech_voice_init(&c.t, &voice, &c.voice, err);
    if (st == SA2_OK)
        st = run_stream(&c, &voice, &ladder, err);
    sa2_speech_voice_destroy(&voice);
    sa2_token2wav_close(&c.t);
    return st;
}

const sa2_check_part sa2_check_speech_parts[] = {
    {"token2wav", check_whole},
    {"token2wav_stream", check_stream},
    {0},
};
