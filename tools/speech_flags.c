#include "tools/speech_flags.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "runtime/token2wav/token2wav.h"
#include "tools/voice_store.h"

static const char voice_name[] = "voice"; /* the only one in the engine */

void sa2_speech_flags_init(sa2_speech_flags *f)
{
    *f = (sa2_speech_flags){.dtype = "f32"};
    const sa2_option table[] = {
        {"output", 'o', SA2_OPTION_TEXT, &f->output, "FILE",
         "speak, into .wav, .flac, .ogg, .opus, .mp3; \"-\": raw s16le, 24 kHz, mono"},
        {"voice", 0, SA2_OPTION_TEXT, &f->voice, "VOICE",
         "a name (sa2 voice list) or a recording of 1 to 17 s"},
        {"voices", 0, SA2_OPTION_TEXT, &f->store, "DIR",
         "folder of voices ($SA2_VOICES, ~/.local/share/sa2/voices)"},
        {"first-chunk", 0, SA2_OPTION_INT, &f->first_chunk, "N",
         "codes of the first piece of sound, 4 to 25: fewer are heard earlier (25)"},
        {"max-speech-seconds", 0, SA2_OPTION_INT, &f->max_seconds, "N",
         "of an answer, which ends there (60)"},
        {"speech-dtype", 0, SA2_OPTION_TEXT, &f->dtype, "TYPE",
         "products of the flow: f32 or bf16"},
        {"plot", 0, SA2_OPTION_TEXT, &f->plot, "FILE",
         "picture of the sound and of the time line of its chunks, SVG"},
        {"sound-seed", 0, SA2_OPTION_INT64, &f->seed, "N", "of the vocoder's noise (0)"},
        {"flow-seed", 0, SA2_OPTION_INT64, &f->noise_seed, "N", "of the flow's noise (0)"},
        {0},
    };
    static_assert(sizeof table <= sizeof f->table, "the table has room");
    memcpy(f->table, table, sizeof table);
}

bool sa2_speech_flags_wanted(const sa2_speech_flags *f)
{
    return f->output != NULL;
}

bool sa2_speech_flags_take_stdout(const sa2_speech_flags *f)
{
    return f->output != NULL && strcmp(f->output, "-") == 0;
}

static int read_voice(sa2_speech_flags *f, const sa2_usage_text *usage,
                      const sa2_engine_flags *engine)
{
    const sa2_engine_options *o = &engine->options;
    const sa2_backend_options device = {
        .device = o->device, .isa = o->isa, .n_threads = o->n_threads};
    const sa2_voice_wish wish = {
        .voice = f->voice, .store = f->store, .model = engine->model, .device = &device};
    sa2_voice_report report = {0};
    sa2_error err = {0};
    sa2_status st = sa2_voice_of_model(&f->made, &wish, &report, &err);
    if (st != SA2_OK)
        return sa2_report_failure(usage->name, st, &err);
    if (report.note[0] != '\0' && !engine->progress.quiet)
        fprintf(stderr, "%s: voice %s: %s\n", usage->name, f->voice, report.note);
    return EX_OK;
}

int sa2_speech_flags_prepare(sa2_speech_flags *f, const sa2_usage_text *usage,
                             sa2_engine_flags *engine)
{
    if (f->output == NULL && f->voice == NULL && f->plot == NULL)
        return EX_OK;
    if (f->output == NULL || f->voice == NULL)
        return sa2_options_refuse(usage, "--output FILE and --voice VOICE belong together");
    if (!sa2_engine_flags_expect(engine, usage))
        return EX_USAGE;
    if (strcmp(f->dtype, "f32") != 0 && strcmp(f->dtype, "bf16") != 0)
        return sa2_options_refuse(usage, "--speech-dtype: f32 or bf16 expected, \"%s\" found",
                                  f->dtype);
    bool speaks = sa2_rank_flags_rank() == 0; /* other ranks know text alone */
    int exit_code = speaks ? read_voice(f, usage, engine) : EX_OK;
    if (exit_code != EX_OK)
        return exit_code;
    enum { TOKENS_A_SECOND = 25 };
    sa2_engine_options *o = &engine->options;
    o->speech = true;
    o->speech_bf16 = strcmp(f->dtype, "bf16") == 0;
    o->max_speech_streams = 1;
    o->max_speech_seconds = f->max_seconds;
    o->max_voice_seconds = (f->made.n_tokens + TOKENS_A_SECOND - 1) / TOKENS_A_SECOND;
    o->speech_noise_seed = (uint64_t)f->noise_seed;
    return EX_OK;
}

int sa2_speech_flags_begin(sa2_speech_flags *f, const sa2_usage_text *usage, sa2_engine *engine)
{
    sa2_error err = {0};
    if (f->output == NULL)
        return EX_OK;
    sa2_status st = sa2_engine_add_voice(engine, voice_name, &f->made, &err);
    if (st != SA2_OK)
        return sa2_report_failure(usage->name, st, &err);
    st = sa2_audio_writer_create(&f->writer, f->output, SA2_SPEECH_RATE, SA2_SAMPLE_S16, &err);
    if (st == SA2_OK)
        return EX_OK;
    int exit_code = sa2_report_failure(usage->name, st, &err);
    return st == SA2_ERR_IO ? EX_CANTCREAT : exit_code;
}

void sa2_speech_flags_request(const sa2_speech_flags *f, sa2_request *request)
{
    if (f->output == NULL)
        return;
    request->speak = true;
    request->voice = voice_name;
    request->first_chunk = f->first_chunk;
    request->sound_seed = (uint64_t)f->seed;
}

void sa2_speech_flags_asked(sa2_speech_flags *f)
{
    if (f->log.started == 0.0)
        sa2_sound_log_start(&f->log);
}

sa2_status sa2_speech_flags_write(sa2_speech_flags *f, const sa2_event *event, sa2_error *err)
{
    if (event->kind != SA2_EVENT_AUDIO || f->writer == NULL)
        return SA2_OK;
    sa2_status st = SA2_OK;
    if (f->plot != NULL)
        st = sa2_sound_log_append(&f->log, event->samples, (int64_t)event->n_samples, err);
    if (st != SA2_OK)
        return st;
    return sa2_audio_writer_append(f->writer, event->samples, (int64_t)event->n_samples, err);
}

void sa2_speech_flags_show_cost(const sa2_speech_flags *f, int64_t n_samples, const sa2_timings *t)
{
    double seconds = (double)n_samples / SA2_SPEECH_RATE;
    if (f->output == NULL || n_samples == 0)
        return;
    fprintf(stderr, "%.2f s of sound, the first after %.0f ms, real-time factor %.2f\n", seconds,
            t->first_audio_ms, (t->done_ms - t->started_ms) * 1e-3 / seconds);
}

static sa2_status draw(const sa2_speech_flags *f, sa2_error *err)
{
    char title[256];
    snprintf(title, sizeof title, "%.120s, in the voice %.80s", f->output, f->voice);
    return sa2_sound_log_plot(&f->log, f->plot, title, NULL, err);
}

sa2_status sa2_speech_flags_finish(sa2_speech_flags *f, sa2_error *err)
{
    sa2_status st = f->writer != NULL ? sa2_audio_writer_finish(f->writer, err) : SA2_OK;
    return st == SA2_OK && f->log.n_samples > 0 ? draw(f, err) : st;
}

void sa2_speech_flags_free(sa2_speech_flags *f)
{
    sa2_audio_writer_destroy(f->writer);
    sa2_voice_destroy(&f->made);
    sa2_sound_log_free(&f->log);
    f->writer = NULL;
}
