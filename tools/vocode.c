/* vocode.c - sa2 vocode: speech tokens, or a mel, to sound. */
#include "tools/vocode.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "runtime/token2wav/speech.h"
#include "tools/commands.h"

/* ---- what both halves use ---- */

sa2_status sa2_vocoding_begin(sa2_vocoding *v, sa2_error *err)
{
    sa2_status st = SA2_OK;
    if (v->output != NULL)
        st = sa2_audio_writer_create(&v->writer, v->output, SA2_SPEECH_RATE,
                                     v->float_samples ? SA2_SAMPLE_F32 : SA2_SAMPLE_S16, err);
    if (st == SA2_ERR_IO)
        v->output_code = EX_CANTCREAT;
    sa2_sound_log_start(&v->log);
    return st;
}

sa2_status sa2_vocoding_emit(sa2_vocoding *v, const float *samples, int64_t n, int done,
                             sa2_error *err)
{
    sa2_status st = sa2_sound_log_append(&v->log, samples, n, err);
    if (st == SA2_OK && v->writer != NULL) {
        st = sa2_audio_writer_append(v->writer, samples, n, err);
        if (st != SA2_OK)
            v->output_code = EX_IOERR;
    }
    v->wall_s = sa2_now() - v->log.started;
    sa2_progress_show(&v->progress, done, v->n_tokens);
    return st;
}

static sa2_status finish_output(sa2_vocoding *v, sa2_error *err)
{
    sa2_status st = v->writer != NULL ? sa2_audio_writer_finish(v->writer, err) : SA2_OK;
    if (st != SA2_OK)
        v->output_code = EX_IOERR;
    return st;
}

/* ---- figures ---- */

static double seconds_of(const sa2_vocoding *v)
{
    return (double)v->log.n_samples / SA2_SPEECH_RATE;
}

static json_t *json_of(const sa2_vocoding *v)
{
    json_t *chunks = json_array();
    for (int i = 0; i < v->log.n_chunks; i++) {
        const sa2_plot_chunk *c = &v->log.chunks[i];
        json_array_append_new(
            chunks, json_pack("{s:I, s:I, s:f, s:f}", "first", (json_int_t)c->first, "samples",
                              (json_int_t)c->n, "ready_s", c->ready_s, "late_s",
                              sa2_plot_chunk_late(v->log.chunks, i, SA2_SPEECH_RATE)));
    }
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:o}", "tokens", v->n_tokens, "seconds",
                     seconds_of(v), "wall_s", v->wall_s, "first_audio_s", v->log.chunks[0].ready_s,
                     "real_time_factor", v->wall_s / seconds_of(v), "chunks", chunks);
}

static void report(const sa2_vocoding *v)
{
    if (v->json) {
        json_t *object = json_of(v);
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        printf("\n");
        json_decref(object);
    } else if (!v->flags.quiet) {
        fprintf(
            stderr, "%.2f s of sound in %.2f s, the first after %.0f ms, real-time factor %.2f\n",
            seconds_of(v), v->wall_s, 1e3 * v->log.chunks[0].ready_s, v->wall_s / seconds_of(v));
    }
}

static sa2_status draw(const sa2_vocoding *v, sa2_error *err)
{
    char title[256];
    const char *input = v->mel != NULL ? v->mel : strcmp(v->input, "-") == 0 ? "tokens" : v->input;
    const char *slash = strrchr(input, '/');
    snprintf(title, sizeof title, "%.120s%s%.80s", slash != NULL ? slash + 1 : input,
             v->voice != NULL ? " in the voice of " : "", v->voice != NULL ? v->voice : "");
    return sa2_sound_log_plot(&v->log, v->plot, title, &v->flags.device, err);
}

/* ---- the command ---- */

static int run(sa2_vocoding *v)
{
    sa2_error err = {0};
    v->progress =
        (sa2_progress){.what = "vocoding", .unit = "tokens", .quiet = v->flags.quiet || !v->stream};
    sa2_status st = v->mel != NULL ? sa2_vocode_mel(v, &err) : sa2_vocode_tokens(v, &err);
    if (st == SA2_OK)
        st = finish_output(v, &err);
    if (st == SA2_OK)
        report(v);
    if (st == SA2_OK && v->plot != NULL) {
        st = draw(v, &err);
        if (st == SA2_ERR_IO)
            v->output_code = EX_CANTCREAT;
    }
    if (st == SA2_OK)
        return EX_OK;
    int exit_code = sa2_report_failure(v->usage.name, st, &err);
    return v->output_code != EX_OK ? v->output_code : exit_code;
}

static int judge_options(sa2_vocoding *v, int n, char **argv)
{
    const sa2_usage_text *usage = &v->usage;
    if (v->mel != NULL && (n > 0 || v->voice != NULL || v->noise != NULL))
        return sa2_options_refuse(usage, "--mel goes without tokens, --voice and --noise");
    if (v->mel == NULL && n != 1)
        return sa2_options_refuse(usage,
                                  "one file of tokens expected (\"-\": standard input), %d "
                                  "given",
                                  n);
    if (v->mel == NULL && v->voice == NULL)
        return sa2_options_refuse(usage, "--voice VOICE expected");
    if (v->output == NULL && v->plot == NULL)
        return sa2_options_refuse(usage, "--output FILE or --plot FILE expected");
    if (v->json && v->output != NULL && strcmp(v->output, "-") == 0)
        return sa2_options_refuse(usage, "--json and the sound cannot both go to \"-\"");
    if (strcmp(v->dtype, "f32") != 0 && strcmp(v->dtype, "bf16") != 0)
        return sa2_options_refuse(usage, "--dtype: f32 or bf16 expected, \"%s\" found", v->dtype);
    if ((v->chunk != 0 || v->first_chunk != 0) && !v->stream)
        return sa2_options_refuse(usage, "--chunk and --first-chunk belong to --stream");
    const int least = SA2_SPEECH_FIRST_LEAST, most = 2 * SA2_SPEECH_CHUNK;
    if (v->chunk != 0 && (v->chunk < least || v->chunk > most))
        return sa2_options_refuse(usage, "--chunk: %d to %d tokens expected, %d found", least, most,
                                  v->chunk);
    if (v->first_chunk != 0 && (v->first_chunk < least || v->first_chunk > most))
        return sa2_options_refuse(usage, "--first-chunk: %d to %d tokens expected, %d found", least,
                                  most, v->first_chunk);
    v->input = n > 0 ? argv[0] : NULL;
    return sa2_model_flags_expect(&v->flags, usage);
}

static int read_options_and_run(sa2_vocoding *v, int argc, char **argv)
{
    const sa2_option own[] = {
        {"voice", 0, SA2_OPTION_TEXT, &v->voice, "VOICE",
         "a name (sa2 voice list), a recording, or .safetensors: prompt_tokens, prompt_mel, xvec"},
        {"voices", 0, SA2_OPTION_TEXT, &v->store, "DIR",
         "folder of voices ($SA2_VOICES, ~/.local/share/sa2/voices)"},
        {"mel", 0, SA2_OPTION_TEXT, &v->mel, "FILE",
         "instead of tokens: tensor mel [frames, bins] of a .safetensors file"},
        {"output", 'o', SA2_OPTION_TEXT, &v->output, "FILE",
         ".wav, .flac, .ogg, .opus, .mp3; \"-\": raw s16le, 24 kHz, mono"},
        {"float", 0, SA2_OPTION_FLAG, &v->float_samples, NULL, "samples are f32: .wav or raw"},
        {"stream", 0, SA2_OPTION_FLAG, &v->stream, NULL,
         "in chunks, which see what was before them only"},
        {"chunk", 0, SA2_OPTION_INT, &v->chunk, "N", "tokens of a chunk, 4 to 50 (25)"},
        {"first-chunk", 0, SA2_OPTION_INT, &v->first_chunk, "N",
         "tokens of the first chunk: fewer are heard earlier"},
        {"plot", 0, SA2_OPTION_TEXT, &v->plot, "FILE", "draw the sound and its chunks, as SVG"},
        {"json", 0, SA2_OPTION_FLAG, &v->json, NULL, "figures as a JSON object on stdout"},
        {"dtype", 0, SA2_OPTION_TEXT, &v->dtype, "TYPE", "products of the flow: f32 or bf16"},
        {"seed", 0, SA2_OPTION_INT64, &v->seed, "N", "of the vocoder's noise (0)"},
        {"flow-seed", 0, SA2_OPTION_INT64, &v->flow_seed, "N", "of the flow's noise (0)"},
        {"noise", 0, SA2_OPTION_TEXT, &v->noise, "FILE",
         "of the flow: tensor noise [frames, bins] of a .safetensors file"},
        {"no-source-noise", 0, SA2_OPTION_FLAG, &v->no_source_noise, NULL,
         "none in the vocoder, for comparisons"},
        {0},
    };
    const sa2_option_group groups[] = {{"Sound", own}, {"Model", v->flags.table}};
    v->usage = (sa2_usage_text){
        .name = "sa2 vocode",
        .synopsis = "-m MODEL --voice VOICE -o FILE TOKENS [OPTIONS]",
        .summary = "Turns speech tokens into sound, in the voice of a recording. TOKENS is a text "
                   "file of numbers,\n"
                   "a JSON list, a .safetensors file with a tensor \"tokens\", or \"-\" for "
                   "standard input.",
        .example =
            "  sa2 vocode -m Step-Audio-2-mini --voice anna -o anna.wav --plot anna.svg "
            "tokens.txt\n"
            "  sa2 vocode -m DIR --voice anna.wav --stream -o - - <tokens.txt | aplay -f S16_LE "
            "-r 24000",
        .groups = groups,
        .n_groups = 2,
    };
    int n, exit_code;
    if (!sa2_options_read(&v->usage, argc, argv, &n, &exit_code))
        return exit_code;
    exit_code = judge_options(v, n, argv);
    return exit_code == EX_OK ? run(v) : exit_code;
}

int sa2_command_vocode(int argc, char **argv)
{
    sa2_vocoding *v = calloc(1, sizeof *v);
    if (v == NULL)
        return EX_OSERR;
    sa2_model_flags_init(&v->flags);
    v->dtype = "f32";
    int exit_code = read_options_and_run(v, argc, argv);
    sa2_audio_writer_destroy(v->writer);
    sa2_sound_log_free(&v->log);
    sa2_backend_close(v->backend);
    free(v);
    return exit_code;
}
