/* voice.c - sa2 voice: the folder of voices, and what a model makes of one. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <xxhash.h>

#include "loader/mapped_file.h"
#include "runtime/audio/audio_file.h"
#include "runtime/token2wav/token2wav.h"
#include "tools/commands.h"
#include "tools/json_text.h"
#include "tools/model_flags.h"
#include "tools/sound_log.h"
#include "tools/sounds.h"
#include "tools/terminal.h"
#include "tools/voice_store.h"

typedef struct run {
    sa2_usage_text usage;
    sa2_model_flags flags;
    const char *folder, *plot;
    bool replace, json;
    sa2_voice_store store;
} run;

/* What is known of a voice without a model. */
typedef struct recording {
    const char *name;
    char path[SA2_STORE_PATH];
    sa2_sound_facts facts;
    char hash[2 * sizeof(XXH128_canonical_t) + 1];
} recording;

static sa2_status hash_file(recording *one, sa2_error *err)
{
    sa2_mapped_file file;
    sa2_status st = sa2_mapped_file_open(&file, one->path, err);
    if (st != SA2_OK)
        return st;
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(file.data, file.bytes));
    for (size_t i = 0; i < sizeof hash.digest; i++)
        snprintf(one->hash + 2 * i, 3, "%02x", hash.digest[i]);
    sa2_mapped_file_close(&file);
    return SA2_OK;
}

static sa2_status look_at(const run *r, const char *name, recording *one, sa2_error *err)
{
    *one = (recording){.name = name};
    sa2_status st = sa2_voice_store_find(&r->store, r->flags.model, name, one->path, err);
    const sa2_audio_source source = {.path = one->path};
    if (st == SA2_OK)
        st = sa2_sound_measure(&one->facts, &source, err);
    return st == SA2_OK ? hash_file(one, err) : st;
}

static json_t *json_of(const recording *one)
{
    return json_pack("{s:o, s:o, s:f, s:i, s:i, s:s}", "name", sa2_json_text(one->name), "file",
                     sa2_json_text(one->path), "seconds", one->facts.seconds, "rate",
                     one->facts.rate, "channels", one->facts.channels, "xxh3", one->hash);
}

static void print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(object);
}

/* ---- with a model ---- */

static sa2_status encode(const run *r, const char *name, sa2_voice *voice, sa2_voice_report *report,
                         sa2_error *err)
{
    const sa2_voice_wish wish = {
        .voice = name, .store = r->folder, .model = r->flags.model, .device = &r->flags.device};
    sa2_status st = sa2_voice_of_model(voice, &wish, report, err);
    if (st == SA2_OK && report->note[0] != '\0' && !r->flags.quiet)
        fprintf(stderr, "%s: voice %s: %s\n", r->usage.name, name, report->note);
    return st;
}

static double norm_of(const sa2_voice *voice)
{
    double sum = 0.0;
    for (int i = 0; i < voice->n_speaker; i++)
        sum += (double)voice->speaker[i] * (double)voice->speaker[i];
    return sqrt(sum);
}

static void print_voice(const sa2_voice *voice, const sa2_voice_report *report)
{
    printf("tokens    %d\n", voice->n_tokens);
    printf("mel       %d frames of %d bins\n", voice->n_frames, voice->mel_bins);
    printf("vector    %d values, norm %.4f\n", voice->n_speaker, norm_of(voice));
    printf("encoded   %s\n", report->origin == SA2_VOICE_ENCODED ? "now" : "before");
}

/* ---- the three actions ---- */

static sa2_status list(run *r, sa2_error *err)
{
    char **names = NULL;
    size_t n = 0;
    sa2_status first = sa2_voice_store_list(&r->store, &names, &n, err);
    if (!r->json && n > 0)
        printf("%-20s %9s %8s %9s  %s\n", "NAME", "SECONDS", "RATE", "CHANNELS", "FILE");
    else if (!r->json && first == SA2_OK)
        fprintf(stderr, "%s: none in %s\n", r->usage.name, r->store.folder);
    for (size_t i = 0; i < n; i++) {
        recording one;
        sa2_error why = {0};
        sa2_status st = look_at(r, names[i], &one, &why);
        if (st != SA2_OK)
            first = sa2_fail_merge(err, st, &why);
        else if (r->json)
            print_json(json_of(&one));
        else
            printf("%-20s %9.2f %8d %9d  %s\n", one.name, one.facts.seconds, one.facts.rate,
                   one.facts.channels, one.path);
    }
    sa2_voice_store_free_list(names, n);
    return first;
}

static sa2_status draw(const run *r, const recording *one, sa2_error *err)
{
    sa2_audio audio = {0};
    sa2_sound_log log = {0};
    const sa2_audio_source source = {.path = one->path};
    sa2_status st = sa2_audio_read(&audio, &source, SA2_CHANNEL_MEAN, SA2_SPEECH_RATE, err);
    log.samples = audio.samples;
    log.n_samples = audio.n_samples;
    if (st == SA2_OK)
        st = sa2_sound_log_plot(&log, r->plot, one->name, &r->flags.device, err);
    sa2_audio_destroy(&audio);
    return st;
}

static sa2_status show(run *r, const char *name, sa2_error *err)
{
    recording one;
    sa2_voice voice = {0};
    sa2_voice_report report = {0};
    sa2_status st = look_at(r, name, &one, err);
    bool encoded = st == SA2_OK && r->flags.model != NULL;
    if (st == SA2_OK && r->plot != NULL)
        st = draw(r, &one, err);
    if (encoded && st == SA2_OK)
        st = encode(r, name, &voice, &report, err);
    if (st == SA2_OK && r->json) {
        json_t *object = json_of(&one);
        if (encoded)
            json_object_update_new(object, json_pack("{s:i, s:i, s:i, s:i, s:f}", "tokens",
                                                     voice.n_tokens, "mel_frames", voice.n_frames,
                                                     "mel_bins", voice.mel_bins, "vector",
                                                     voice.n_speaker, "norm", norm_of(&voice)));
        print_json(object);
    } else if (st == SA2_OK) {
        printf("name      %s\nfile      %s\n", one.name, one.path);
        printf("sound     %.2f s, %d Hz, %d channel%s\n", one.facts.seconds, one.facts.rate,
               one.facts.channels, one.facts.channels == 1 ? "" : "s");
        printf("xxh3      %s\n", one.hash);
        if (encoded)
            print_voice(&voice, &report);
        else
            printf("          (-m MODEL tells what a model makes of it)\n");
    }
    sa2_voice_destroy(&voice);
    return st;
}

/* With a model, only what the model can use is taken. */
static sa2_status add(run *r, const char *name, const char *path, sa2_error *err)
{
    sa2_voice voice = {0};
    sa2_voice_report report = {0};
    sa2_sound_facts facts;
    const sa2_audio_source source = {.path = path};
    sa2_status st = sa2_voice_store_judge_name(name, err);
    if (st == SA2_OK)
        st = sa2_sound_measure(&facts, &source, err);
    if (st == SA2_OK && r->flags.model != NULL)
        st = encode(r, path, &voice, &report, err);
    if (st == SA2_OK)
        st = sa2_voice_store_add(&r->store, name, path, r->replace, err);
    if (st == SA2_OK && !r->flags.quiet)
        fprintf(stderr, "%s: %s, %.2f s, is in %s\n", r->usage.name, name, facts.seconds,
                r->store.folder);
    sa2_voice_destroy(&voice);
    return st;
}

static int act(run *r, int n, char **argv)
{
    sa2_error err = {0};
    sa2_status st = sa2_voice_store_open(&r->store, r->folder, &err);
    if (st != SA2_OK)
        return sa2_report_failure(r->usage.name, st, &err);
    if (n == 3 && strcmp(argv[0], "add") == 0)
        st = add(r, argv[1], argv[2], &err);
    else if (n == 2 && strcmp(argv[0], "show") == 0)
        st = show(r, argv[1], &err);
    else if (n == 1 && strcmp(argv[0], "list") == 0)
        st = list(r, &err);
    else
        return sa2_options_refuse(&r->usage, "add NAME FILE, list or show NAME expected");
    return st == SA2_OK ? EX_OK : sa2_report_failure(r->usage.name, st, &err);
}

int sa2_command_voice(int argc, char **argv)
{
    run r = {0};
    sa2_model_flags_init(&r.flags);
    const sa2_option own[] = {
        {"voices", 0, SA2_OPTION_TEXT, &r.folder, "DIR",
         "folder of voices ($SA2_VOICES, ~/.local/share/sa2/voices)"},
        {"replace", 0, SA2_OPTION_FLAG, &r.replace, NULL, "add in the place of the voice there"},
        {"plot", 0, SA2_OPTION_TEXT, &r.plot, "FILE",
         "of show: a picture (SVG) of the recording: samples, log-mel, pitch"},
        {"json", 0, SA2_OPTION_FLAG, &r.json, NULL, "a JSON object a line"},
        {0},
    };
    const sa2_option_group groups[] = {{"Voices", own}, {"Model", r.flags.table}};
    r.usage = (sa2_usage_text){
        .name = "sa2 voice",
        .synopsis = "add NAME FILE | list | show NAME [OPTIONS]",
        .summary = "Keeps recordings of people under names, for speech that sounds like them. With "
                   "a model, add\n"
                   "makes its form of the voice at once and show tells what it is. A path to a "
                   "recording is good\n"
                   "wherever a name is.",
        .example = "  sa2 voice add anna anna.wav -m Step-Audio-2-mini\n"
                   "  sa2 speak -m Step-Audio-2-mini --voice anna -o hello.wav \"Good morning.\"",
        .groups = groups,
        .n_groups = 2,
    };
    int n, exit_code;
    if (!sa2_options_read(&r.usage, argc, argv, &n, &exit_code))
        return exit_code;
    r.flags.model = sa2_model_place(r.flags.place, r.flags.model);
    return act(&r, n, argv);
}
