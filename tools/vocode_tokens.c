/* vocode_tokens.c - sa2 vocode: speech tokens in a voice, whole or as a stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "runtime/token2wav/speech.h"
#include "runtime/token2wav/token2wav_files.h"
#include "tools/tensor_file.h"
#include "tools/text_file.h"
#include "tools/token_list.h"
#include "tools/vocode.h"
#include "tools/voice_store.h"

enum { TOKENS_A_SECOND = 25, MOST_TEXT_BYTES = 4 << 20 };

typedef struct speaking {
    sa2_vocoding *v;
    char place[4096]; /* of the model's token2wav */
    sa2_flow_config flow;
    int32_t *tokens; /* [n] */
    int n;
    sa2_voice voice;
    sa2_token2wav t;
} speaking;

/* ---- what comes in ---- */

static int seconds_of(int tokens)
{
    return (tokens + TOKENS_A_SECOND - 1) / TOKENS_A_SECOND;
}

/* From a tensor file, whose numbers are judged like those of a text. */
static sa2_status read_token_tensor(speaking *s, int most, sa2_error *err)
{
    const char *path = s->v->input;
    void *values;
    sa2_tensor form = sa2_tensor_1d(NULL, SA2_I32, -1);
    sa2_status st = sa2_tensor_file_read(path, "tokens", &form, &values, err);
    if (st != SA2_OK)
        return st;
    s->tokens = values;
    if (form.shape[0] > most)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: no more than %d tokens expected, %lld found", path,
                        most, (long long)form.shape[0]);
    s->n = (int)form.shape[0];
    for (int i = 0; i < s->n; i++)
        if (s->tokens[i] < 0 || s->tokens[i] >= s->flow.vocab)
            return sa2_fail(err, SA2_ERR_FORMAT,
                            "%s: element %d: a token from 0 to %d expected, %d found", path, i,
                            s->flow.vocab - 1, s->tokens[i]);
    return SA2_OK;
}

static sa2_status read_tokens(speaking *s, sa2_error *err)
{
    const char *path = s->v->input;
    const int most = SA2_LIMIT_SOUND_SECONDS * TOKENS_A_SECOND;
    char *text;
    size_t bytes;
    if (sa2_is_tensor_file(path))
        return read_token_tensor(s, most, err);
    sa2_status st = sa2_text_file_read(&text, &bytes, path, MOST_TEXT_BYTES, err);
    if (st != SA2_OK)
        return st;
    const char *origin = strcmp(path, "-") == 0 ? "standard input" : path;
    st = sa2_token_list_parse(&s->tokens, &s->n, text, bytes, origin, s->flow.vocab, most, err);
    free(text);
    return st;
}

static sa2_status read_voice(speaking *s, sa2_error *err)
{
    sa2_vocoding *v = s->v;
    if (sa2_is_tensor_file(v->voice))
        return sa2_tensor_file_voice(v->voice, s->flow.up_stride, &s->voice, err);
    const sa2_voice_wish wish = {
        .voice = v->voice, .store = v->store, .model = v->flags.model, .device = &v->flags.device};
    sa2_voice_report report = {0};
    sa2_status st = sa2_voice_of_model(&s->voice, &wish, &report, err);
    if (st == SA2_OK && report.note[0] != '\0' && !v->flags.quiet)
        fprintf(stderr, "%s: voice %s: %s\n", v->usage.name, v->voice, report.note);
    return st;
}

/* ---- both models ---- */

static sa2_status set_noise(speaking *s, sa2_error *err)
{
    void *values;
    sa2_tensor form = sa2_tensor_2d(NULL, SA2_F32, -1, s->flow.mel);
    sa2_status st = sa2_tensor_file_read(s->v->noise, "noise", &form, &values, err);
    if (st == SA2_OK)
        st = sa2_flow_set_noise(s->t.stream, &s->t.flow, values, form.shape[0], err);
    sa2_status finished = sa2_stream_finish(s->t.stream, st == SA2_OK ? err : NULL);
    free(values);
    return st != SA2_OK ? st : finished;
}

static sa2_status open_models(speaking *s, sa2_error *err)
{
    const sa2_vocoding *v = s->v;
    const sa2_token2wav_options options = {.bf16 = strcmp(v->dtype, "bf16") == 0,
                                           .max_voice_seconds = seconds_of(s->voice.n_tokens),
                                           .max_seconds = seconds_of(s->n),
                                           .noise_seed = (uint64_t)v->flow_seed,
                                           .no_source_noise = v->no_source_noise};
    sa2_status st = sa2_token2wav_open(&s->t, v->backend, s->place, &options, err);
    return st == SA2_OK && v->noise != NULL ? set_noise(s, err) : st;
}

/* ---- sound ---- */

static sa2_status make_whole(speaking *s, sa2_error *err)
{
    int64_t n = sa2_speech_samples(&s->t, s->n);
    float *samples = malloc((size_t)n * sizeof *samples);
    if (samples == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "sound: no memory for %lld samples", (long long)n);
    sa2_status st = sa2_vocoding_begin(s->v, err);
    if (st == SA2_OK)
        st = sa2_token2wav_whole(&s->t, &s->voice, s->tokens, s->n, (uint64_t)s->v->seed, NULL,
                                 samples, err);
    if (st == SA2_OK)
        st = sa2_vocoding_emit(s->v, samples, n, s->n, err);
    free(samples);
    return st;
}

/* Where samples of a step go: a sink has no way to fail. */
typedef struct sinking {
    sa2_vocoding *v;
    const sa2_speech *speech;
    sa2_status status;
    sa2_error *err;
} sinking;

static void take_samples(void *context, int i, const float *samples, int64_t n)
{
    sinking *sink = context;
    (void)i;
    if (sink->status == SA2_OK)
        sink->status = sa2_vocoding_emit(sink->v, samples, n, sink->speech->n_done, sink->err);
}

static sa2_status run_stream(speaking *s, sa2_speech *speech, sa2_error *err)
{
    sinking sink = {.v = s->v, .speech = speech, .err = err};
    sa2_status st = sa2_vocoding_begin(s->v, err);
    if (st == SA2_OK)
        st = sa2_speech_start(&s->t, speech, (uint64_t)s->v->seed, err);
    if (st == SA2_OK)
        st = sa2_speech_push(speech, s->tokens, s->n, err);
    sa2_speech_end(speech);
    while (st == SA2_OK && !sa2_speech_complete(speech)) {
        int n_chunks;
        st = sa2_speech_step(&s->t, &speech, 1, take_samples, &sink, &n_chunks, err);
        if (st == SA2_OK)
            st = sink.status;
    }
    sa2_speech_drop(&s->t, speech);
    return st;
}

static sa2_status make_stream(speaking *s, sa2_error *err)
{
    const sa2_vocoding *v = s->v;
    int chunk = v->chunk > 0 ? v->chunk : SA2_SPEECH_CHUNK;
    const sa2_speech_ladder ladder = {
        .n = 2, .codes = {v->first_chunk > 0 ? v->first_chunk : chunk, chunk}};
    sa2_speech speech;
    sa2_speech_voice voice;
    sa2_status st = sa2_speech_voice_init(&s->t, &voice, &s->voice, err);
    int32_t *codes = malloc((size_t)s->n * sizeof *codes);
    if (st == SA2_OK && codes == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "sound: no memory for %d tokens", s->n);
    if (st == SA2_OK)
        st = sa2_speech_init(&s->t, &speech, &voice, &ladder, codes, s->n, err);
    if (st == SA2_OK)
        st = run_stream(s, &speech, err);
    free(codes);
    sa2_speech_voice_destroy(&voice);
    return st;
}

sa2_status sa2_vocode_tokens(sa2_vocoding *v, sa2_error *err)
{
    speaking s = {.v = v};
    sa2_status st = sa2_token2wav_look(&s.flow, s.place, sizeof s.place, v->flags.model, err);
    if (st == SA2_OK)
        st = read_tokens(&s, err);
    if (st == SA2_OK)
        st = read_voice(&s, err);
    v->n_tokens = s.n;
    if (st == SA2_OK)
        st = sa2_backend_open(&v->backend, &v->flags.device, err);
    if (st == SA2_OK)
        st = open_models(&s, err);
    if (st == SA2_OK)
        st = v->stream ? make_stream(&s, err) : make_whole(&s, err);
    sa2_token2wav_close(&s.t);
    sa2_voice_destroy(&s.voice);
    free(s.tokens);
    return st;
}
