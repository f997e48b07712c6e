/* tokenize_audio.c - sa2 tokenize-audio: recordings to speech tokens, 25 a second. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "kernels/base/limits.h"
#include "runtime/token2wav/token2wav_files.h"
#include "runtime/token2wav/voice.h"
#include "tools/commands.h"
#include "tools/json_text.h"
#include "tools/model_flags.h"
#include "tools/sounds.h"
#include "tools/terminal.h"
#include "tools/text_file.h"

/* One recording. */
typedef struct recording {
    const char *name;
    sa2_audio_source source;
    char *bytes; /* of standard input */
    sa2_sound_facts facts;
    sa2_status status;
    sa2_error err;
} recording;

typedef struct run {
    sa2_usage_text usage;
    sa2_model_flags flags;
    const char *raw;
    bool json;
    recording *recordings;
    int n;
    sa2_progress progress;
} run;

/* Finds its length, for which memory is planned. */
static sa2_status measure(run *r, recording *one)
{
    size_t n = 0;
    sa2_status st = sa2_sound_raw(&one->source, r->raw, &one->err);
    if (st == SA2_OK && strcmp(one->name, "-") == 0) {
        st = sa2_text_file_read(&one->bytes, &n, "-", SA2_LIMIT_SOUND_PIPE_BYTES, &one->err);
        one->source.bytes = one->bytes;
        one->source.n_bytes = n;
    }
    if (st == SA2_OK)
        st = sa2_sound_measure(&one->facts, &one->source, &one->err);
    if (st == SA2_OK && one->facts.seconds > SA2_LIMIT_VOICE_SECONDS)
        st = sa2_fail(&one->err, SA2_ERR_LIMIT, "%s: %.1f s, at most %d s expected", one->name,
                      one->facts.seconds, SA2_LIMIT_VOICE_SECONDS);
    return st;
}

static sa2_status open_encoder(sa2_voice_encoder *encoder, sa2_backend *backend, const run *r,
                               double seconds, sa2_error *err)
{
    char place[4096];
    sa2_flow_config flow;
    sa2_status st = sa2_token2wav_look(&flow, place, sizeof place, r->flags.model, err);
    if (st != SA2_OK)
        return st;
    const sa2_voice_options options = {.mel_bins = flow.mel,
                                       .frames_per_token = flow.up_stride,
                                       .max_seconds = (int)seconds + 1 < SA2_LIMIT_VOICE_SECONDS
                                                          ? (int)seconds + 1
                                                          : SA2_LIMIT_VOICE_SECONDS};
    return sa2_voice_encoder_open(encoder, backend, place, &options, err);
}

static void print_tokens(const run *r, const recording *one, const sa2_voice *voice)
{
    if (r->json) {
        json_t *tokens = json_array();
        for (int i = 0; i < voice->n_tokens; i++)
            json_array_append_new(tokens, json_integer(voice->tokens[i]));
        json_t *object = json_pack("{s:o, s:f, s:o}", "file", sa2_json_text(one->name), "seconds",
                                   one->facts.seconds, "tokens", tokens);
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        json_decref(object);
    } else {
        if (r->n > 1)
            printf("%s: ", one->name);
        for (int i = 0; i < voice->n_tokens; i++)
            printf("%s%d", i > 0 ? " " : "", voice->tokens[i]);
    }
    printf("\n");
    fflush(stdout);
}

/* What is wrong with one recording does not stop the others. */
static sa2_status tokenize(run *r, sa2_voice_encoder *encoder)
{
    sa2_status first = SA2_OK;
    for (int i = 0; i < r->n; i++) {
        recording *one = &r->recordings[i];
        sa2_voice voice = {0};
        if (one->status == SA2_OK)
            one->status = sa2_voice_encode(encoder, &one->source, &voice, &one->err);
        if (one->status == SA2_OK)
            print_tokens(r, one, &voice);
        else
            sa2_report_failure(r->usage.name, one->status, &one->err);
        sa2_voice_destroy(&voice);
        if (first == SA2_OK)
            first = one->status;
        sa2_progress_show(&r->progress, i + 1, r->n);
    }
    return first;
}

static int run_all(run *r)
{
    sa2_backend *backend = NULL;
    sa2_voice_encoder encoder = {0};
    sa2_error err = {0};
    double longest = 0.0;
    bool any = false;
    for (int i = 0; i < r->n; i++) {
        recording *one = &r->recordings[i];
        one->status = measure(r, one);
        any = any || one->status == SA2_OK;
        if (one->status == SA2_OK && one->facts.seconds > longest)
            longest = one->facts.seconds;
    }
    sa2_status st = any ? sa2_backend_open(&backend, &r->flags.device, &err) : SA2_OK;
    if (st == SA2_OK && any)
        st = open_encoder(&encoder, backend, r, longest, &err);
    int exit_code = st == SA2_OK ? sa2_exit_code(tokenize(r, &encoder))
                                 : sa2_report_failure(r->usage.name, st, &err);
    sa2_voice_encoder_close(&encoder);
    sa2_backend_close(backend);
    return exit_code;
}

static int read_options_and_run(run *r, int argc, char **argv)
{
    const sa2_option own[] = {
        {"json", 0, SA2_OPTION_FLAG, &r->json, NULL, "a JSON object a line"},
        {"raw", 0, SA2_OPTION_TEXT, &r->raw, "FORMAT",
         "sound without header: s16le:RATE[:CHANNELS]"},
        {0},
    };
    const sa2_option_group groups[] = {{"Input and output", own}, {"Model", r->flags.table}};
    r->usage = (sa2_usage_text){
        .name = "sa2 tokenize-audio",
        .synopsis = "-m MODEL FILE... [OPTIONS]",
        .summary = "Says a recording in speech tokens, 25 a second: what the model is given of a "
                   "voice, and what\n"
                   "it speaks in. \"-\" is standard input.",
        .example = "  sa2 tokenize-audio -m Step-Audio-2-mini talk.wav\n"
                   "  sa2 tokenize-audio -m DIR talk.wav | sa2 vocode -m DIR --voice anna -o "
                   "as-anna.wav -",
        .groups = groups,
        .n_groups = 2,
    };
    int exit_code;
    if (!sa2_options_read(&r->usage, argc, argv, &r->n, &exit_code))
        return exit_code;
    if (r->n == 0)
        return sa2_options_refuse(&r->usage,
                                  "a sound file expected (\"-\" for standard input), none given");
    if (sa2_model_flags_expect(&r->flags, &r->usage) != EX_OK ||
        sa2_sound_raw_refused(&r->usage, r->raw))
        return EX_USAGE;
    r->recordings = calloc((size_t)r->n, sizeof *r->recordings);
    if (r->recordings == NULL)
        return EX_OSERR;
    for (int i = 0; i < r->n; i++)
        r->recordings[i] = (recording){.name = argv[i], .source = {.path = argv[i]}};
    r->progress =
        (sa2_progress){.what = "files", .unit = "files", .quiet = r->n == 1 || r->flags.quiet};
    exit_code = run_all(r);
    for (int i = 0; i < r->n; i++)
        free(r->recordings[i].bytes);
    free(r->recordings);
    return exit_code;
}

int sa2_command_tokenize_audio(int argc, char **argv)
{
    run *r = calloc(1, sizeof *r);
    if (r == NULL)
        return EX_OSERR;
    sa2_model_flags_init(&r->flags);
    int exit_code = read_options_and_run(r, argc, argv);
    free(r);
    return exit_code;
}
