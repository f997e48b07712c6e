#include "runtime/token2wav/voice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/work.h"

/* ---- a voice ---- */

sa2_status sa2_voice_create(sa2_voice *voice, int n_tokens, int n_speaker, int n_frames,
                            int mel_bins, sa2_error *err)
{
    sa2_voice v = {
        .n_tokens = n_tokens, .n_speaker = n_speaker, .n_frames = n_frames, .mel_bins = mel_bins};
    size_t tokens = (size_t)n_tokens * sizeof *v.tokens;
    size_t speaker = (size_t)n_speaker * sizeof *v.speaker;
    size_t mel = (size_t)n_frames * (size_t)mel_bins * sizeof *v.mel;
    sa2_status st = sa2_arena_reserve(
        &v.memory, sa2_arena_round(tokens) + sa2_arena_round(speaker) + sa2_arena_round(mel), err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "voice");
    v.tokens = sa2_arena_take(&v.memory, tokens);
    v.speaker = sa2_arena_take(&v.memory, speaker);
    v.mel = sa2_arena_take(&v.memory, mel);
    *voice = v;
    return SA2_OK;
}

void sa2_voice_destroy(sa2_voice *voice)
{
    sa2_arena_destroy(&voice->memory);
    *voice = (sa2_voice){0};
}

/* ---- lengths ---- */

sa2_voice_lengths sa2_voice_lengths_of(int64_t n_16k, int64_t n_24k, int frames_per_token)
{
    sa2_mel_config tokenizer = sa2_mel_of_speech_tokenizer(1), prompt = sa2_mel_of_prompt(1);
    sa2_voice_lengths n = {.frames = sa2_mel_frames(&tokenizer, n_16k),
                           .fbank_frames = sa2_fbank_frames(n_16k),
                           .mel_frames = sa2_mel_frames(&prompt, n_24k)};
    n.tokens = sa2_speech_tokenizer_tokens(n.frames);
    n.prompt = frames_per_token * n.tokens;
    return n;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static sa2_status judge_length(const sa2_voice_encoder *e, const sa2_audio *at_16k,
                               const sa2_audio *at_24k, sa2_error *err)
{
    /* Np = ceil(M / 4) for all that is short */
    int64_t frames = 4 * (int64_t)(e->options.least_tokens - 1) + 1;
    int64_t least = frames * e->tokenizer_mel.config.hop;
    least = larger(least, sa2_mel_least_samples(&e->tokenizer_mel.config));
    least = larger(least, SA2_FBANK_FRAME + (SA2_SPEAKER_LEAST_FRAMES - 1) * SA2_FBANK_HOP);
    int64_t least_24k = sa2_mel_least_samples(&e->prompt_mel.config);
    bool short_16k = at_16k->n_samples < least;
    if (!short_16k && at_24k->n_samples >= least_24k)
        return SA2_OK;
    const sa2_audio *found = short_16k ? at_16k : at_24k;
    return sa2_fail(err, SA2_ERR_ARG, "too short: %lld samples at %d Hz, %lld or more expected",
                    (long long)found->n_samples, found->rate,
                    (long long)(short_16k ? least : least_24k));
}

/* ---- the three paths ---- */

static sa2_status too_little_work(const sa2_voice_encoder *e, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_NOMEM, "%zu bytes of work memory are not enough", e->work.bytes);
}

/* rows [rows, cols] of the device to host memory, all of them numbers. */
static sa2_status fetch(sa2_voice_encoder *e, float *to, sa2_tensor rows, const char *what,
                        sa2_error *err)
{
    sa2_download(e->stream, to, rows);
    sa2_status st = sa2_stream_finish(e->stream, err);
    int64_t count = sa2_tensor_count(&rows);
    for (int64_t i = 0; st == SA2_OK && i < count; i++)
        if (!isfinite(to[i]))
            st = sa2_fail(err, SA2_ERR_FORMAT, "element %lld of the %s is %g, a number expected",
                          (long long)i, what, (double)to[i]);
    return st;
}

static sa2_status make_tokens(sa2_voice_encoder *e, sa2_voice *voice, const sa2_audio *audio,
                              sa2_error *err)
{
    const sa2_speech_tokenizer_dims *d = &e->tokenizer.dims;
    const float *samples = audio->samples;
    int32_t offsets[2];
    sa2_work work = {.arena = &e->work};
    sa2_tensor mel = sa2_work_take(
        &work, SA2_F32, sa2_mel_frames(&e->tokenizer_mel.config, audio->n_samples), d->mel);
    sa2_tensor out = sa2_work_take(&work, SA2_F32, voice->n_tokens, d->digits);
    float *projections = malloc(sa2_tensor_bytes(&out));
    sa2_status st = SA2_OK;
    if (work.full || projections == NULL)
        st = too_little_work(e, err);
    if (st == SA2_OK)
        st = sa2_mel_forward(e->stream, &e->tokenizer_mel, &e->work, mel,
                             (sa2_clips){1, &samples, &audio->n_samples}, offsets, err);
    if (st == SA2_OK)
        st = sa2_speech_tokenizer_forward(e->stream, &e->tokenizer, &e->work, out, mel, err);
    if (st == SA2_OK)
        st = fetch(e, projections, out, "speech tokens", err);
    if (st == SA2_OK)
        sa2_speech_tokenizer_quantise(d->digits, projections, voice->n_tokens, voice->tokens);
    free(projections);
    return st;
}

static sa2_status make_speaker(sa2_voice_encoder *e, sa2_voice *voice, const sa2_audio *audio,
                               sa2_error *err)
{
    const sa2_speaker_dims *d = &e->speaker.dims;
    sa2_work work = {.arena = &e->work};
    sa2_tensor fbank = sa2_work_take(&work, SA2_F32, sa2_fbank_frames(audio->n_samples), d->mel);
    sa2_tensor out = sa2_work_take(&work, SA2_F32, 1, d->embedding);
    if (work.full)
        return too_little_work(e, err);
    sa2_status st = sa2_fbank_forward(e->stream, &e->fbank, &e->work, fbank, audio->samples,
                                      audio->n_samples, err);
    if (st == SA2_OK)
        st = sa2_speaker_encoder_forward(e->stream, &e->speaker, e->options.partial, &e->work, out,
                                         fbank, err);
    return st == SA2_OK ? fetch(e, voice->speaker, out, "speaker vector", err) : st;
}

/* As many frames as the tokens ask for. */
static sa2_status make_mel(sa2_voice_encoder *e, sa2_voice *voice, const sa2_audio *audio,
                           sa2_error *err)
{
    const float *samples = audio->samples;
    int32_t offsets[2];
    int64_t frames = sa2_mel_frames(&e->prompt_mel.config, audio->n_samples);
    size_t row = (size_t)voice->mel_bins;
    sa2_work work = {.arena = &e->work};
    sa2_tensor mel = sa2_work_take(&work, SA2_F32, frames, voice->mel_bins);
    if (work.full)
        return too_little_work(e, err);
    sa2_status st = sa2_mel_forward(e->stream, &e->prompt_mel, &e->work, mel,
                                    (sa2_clips){1, &samples, &audio->n_samples}, offsets, err);
    if (st != SA2_OK)
        return st;
    int64_t kept = frames < voice->n_frames ? frames : voice->n_frames;
    st = fetch(e, voice->mel, sa2_tensor_rows(mel, 0, kept), "prompt mel", err);
    for (int64_t t = kept; st == SA2_OK && t < voice->n_frames; t++)
        memcpy(voice->mel + (size_t)t * row, voice->mel + (size_t)(kept - 1) * row,
               row * sizeof(float));
    return st;
}

/* ---- all of it ---- */

static sa2_status make_voice(sa2_voice_encoder *e, sa2_voice *voice, const sa2_audio *at_16k,
                             const sa2_audio *at_24k, sa2_error *err)
{
    typedef sa2_status path(sa2_voice_encoder *, sa2_voice *, const sa2_audio *, sa2_error *);
    static path *const paths[] = {make_tokens, make_speaker, make_mel};
    const sa2_audio *const audio[] = {at_16k, at_16k, at_24k};
    sa2_voice_lengths n =
        sa2_voice_lengths_of(at_16k->n_samples, at_24k->n_samples, e->options.frames_per_token);
    sa2_voice v = {0};
    sa2_status st = sa2_voice_create(&v, (int)n.tokens, e->speaker.dims.embedding, (int)n.prompt,
                                     e->options.mel_bins, err);
    if (st != SA2_OK)
        return st;
    for (size_t i = 0; st == SA2_OK && i < sizeof paths / sizeof paths[0]; i++) {
        size_t mark = sa2_arena_mark(&e->work);
        st = paths[i](e, &v, audio[i], err);
        sa2_stream_finish(e->stream, NULL); /* after a failure: nothing of it is left there */
        sa2_arena_rewind(&e->work, mark);
    }
    if (st == SA2_OK)
        *voice = v;
    else
        sa2_voice_destroy(&v);
    return st;
}

sa2_status sa2_voice_encode(sa2_voice_encoder *e, const sa2_audio_source *source, sa2_voice *voice,
                            sa2_error *err)
{
    sa2_audio at_16k = {0}, at_24k = {0};
    sa2_audio_source within = *source;
    within.max_seconds = e->options.max_seconds;
    sa2_status st = sa2_audio_read(&at_16k, &within, SA2_CHANNEL_FIRST, SA2_FBANK_RATE, err);
    if (st == SA2_OK)
        st = sa2_audio_read(&at_24k, &within, SA2_CHANNEL_MEAN, e->prompt_mel.config.rate, err);
    if (st == SA2_OK) {
        st = judge_length(e, &at_16k, &at_24k, err);
        if (st == SA2_OK)
            st = make_voice(e, voice, &at_16k, &at_24k, err);
        if (st != SA2_OK)
            st = sa2_wrap(err, st, "voice %s", source->path != NULL ? source->path : "in memory");
    }
    sa2_audio_destroy(&at_24k);
    sa2_audio_destroy(&at_16k);
    return st;
}
