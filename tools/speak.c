/* speak.c - sa2 speak: a text, read aloud word for word.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tools/answer.h"
#include "tools/commands.h"
#include "tools/speech_flags.h"
#include "tools/text_file.h"

enum { MAX_TEXT_BYTES = 1 << 20 };

typedef struct reading {
    sa2_usage_text usage;
    sa2_engine_flags engine_flags;
    sa2_sampling_flags sampling;
    sa2_speech_flags speech;
    const char *style;
    bool base, free_wording, json, quiet;
    sa2_engine *engine;
} reading;

/* The prompt of a chat model; that of a base model is text alone. */
typedef struct reading_prompt {
    sa2_chat_item style, text, start;
    sa2_chat_message messages[2];
    sa2_chat chat;
    sa2_chat_item pieces[3];
} reading_prompt;

static sa2_chat_item text_item(const char *text)
{
    return (sa2_chat_item){.kind = SA2_CHAT_TEXT, .text = text, .n_bytes = strlen(text)};
}

static void make_prompt(const reading *r, const char *text, reading_prompt *p, sa2_request *request)
{
    p->style = text_item(r->style);
    p->text = text_item(text);
    if (r->base) {
        p->pieces[0] = p->style;
        p->pieces[1] = text_item("\n");
        p->pieces[2] = p->text;
        request->pieces = p->pieces;
        request->n_pieces = 3;
        return;
    }
    p->messages[0] = (sa2_chat_message){
        .role = "system", .content = SA2_CONTENT_STRING, .items = &p->style, .n_items = 1};
    p->messages[1] = (sa2_chat_message){
        .role = "human", .content = SA2_CONTENT_STRING, .items = &p->text, .n_items = 1};
    p->chat =
        (sa2_chat){.messages = p->messages, .n_messages = 2, .add_generation_prompt = SA2_FLAG_YES};
    request->chat = &p->chat;
}

static void report(const reading *r, const sa2_answer *a)
{
    if (r->json) {
        json_t *object = sa2_answer_json(a);
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        printf("\n");
        json_decref(object);
    } else if (!r->quiet) {
        sa2_speech_flags_show_cost(&r->speech, a->n_samples, &a->timings);
    }
}

static sa2_status read_aloud(reading *r, const char *text, sa2_error *err)
{
    reading_prompt prompt;
    sa2_answer answer = {0};
    sa2_request_id id;
    sa2_request request = r->sampling.request;
    make_prompt(r, text, &prompt, &request);
    sa2_speech_flags_request(&r->speech, &request);
    request.speak = true;
    if (!r->free_wording)
        request.say = text;
    sa2_speech_flags_asked(&r->speech);
    sa2_status st = sa2_engine_submit(r->engine, &request, &id, err);
    while (st == SA2_OK && !answer.done) {
        sa2_event *event = sa2_engine_poll(r->engine, -1);
        st = sa2_answer_take(&answer, event, sa2_engine_tokenizer(r->engine), err);
        if (st == SA2_OK)
            st = sa2_speech_flags_write(&r->speech, event, err);
        if (event->kind == SA2_EVENT_DONE && event->finish == SA2_FINISH_ERROR)
            st = sa2_fail(err, event->status, "%s", event->message);
        sa2_event_release(r->engine, event);
    }
    if (st == SA2_OK)
        report(r, &answer);
    sa2_answer_free(&answer);
    return st;
}

/* Every line that is not empty is read by itself, with a request of its own. */
static sa2_status read_lines(reading *r, char *text, sa2_error *err)
{
    sa2_status st = SA2_OK;
    char *rest = NULL;
    int n = 0;
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL && st == SA2_OK;
         line = strtok_r(NULL, "\r\n", &rest))
        if (line[strspn(line, " \t")] != '\0') {
            st = read_aloud(r, line, err);
            n++;
        }
    return st == SA2_OK && n == 0 ? sa2_fail(err, SA2_ERR_ARG, "text: it is empty") : st;
}

/* The arguments with blanks between, or standard input. The caller frees it. */
static sa2_status gather_text(char **text, int argc, char **argv, sa2_error *err)
{
    size_t n = 0;
    *text = NULL;
    if (argc == 1 && strcmp(argv[0], "-") == 0)
        return sa2_text_file_read(text, &n, "-", MAX_TEXT_BYTES, err);
    for (int i = 0; i < argc; i++)
        n += strlen(argv[i]) + 1;
    *text = calloc(n + 1, 1);
    if (*text == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "text: no memory for %zu bytes", n);
    for (int i = 0; i < argc; i++) {
        strcat(*text, i > 0 ? " " : "");
        strcat(*text, argv[i]);
    }
    return SA2_OK;
}

static int run(reading *r, int argc, char **argv)
{
    int exit_code = sa2_speech_flags_prepare(&r->speech, &r->usage, &r->engine_flags);
    if (exit_code != EX_OK)
        return exit_code;
    r->engine = sa2_engine_flags_open(&r->engine_flags, &r->usage, &exit_code);
    if (r->engine == NULL)
        return exit_code;
    exit_code = sa2_speech_flags_begin(&r->speech, &r->usage, r->engine);
    if (exit_code == EX_OK) {
        char *text = NULL;
        sa2_error err = {0};
        sa2_status st = gather_text(&text, argc, argv, &err);
        if (st == SA2_OK)
            st = read_lines(r, text, &err);
        if (st == SA2_OK)
            st = sa2_speech_flags_finish(&r->speech, &err);
        if (st != SA2_OK)
            exit_code = sa2_report_failure(r->usage.name, st, &err);
        free(text);
    }
    sa2_engine_flags_close(&r->engine_flags, r->engine);
    return exit_code;
}

static int read_options_and_run(reading *r, int argc, char **argv)
{
    const sa2_option own[] = {
        {"style", 0, SA2_OPTION_TEXT, &r->style, "TEXT",
         "how to read, an instruction to the model"},
        {"free", 0, SA2_OPTION_FLAG, &r->free_wording, NULL,
         "the model may answer instead of reading word for word"},
        {"base", 0, SA2_OPTION_FLAG, &r->base, NULL,
         "prompt of a base model, which knows no turns"},
        {"json", 0, SA2_OPTION_FLAG, &r->json, NULL, "a JSON object for each line"},
        {"quiet", 'q', SA2_OPTION_FLAG, &r->quiet, NULL, "no progress, no figures"},
        {0},
    };
    const sa2_option_group groups[] = {{"Reading", own},
                                       {"Speech", r->speech.table},
                                       {"Model", r->engine_flags.table},
                                       {"Sampling", r->sampling.table}};
    r->usage = (sa2_usage_text){
        .name = "sa2 speak",
        .synopsis = "-m MODEL --voice VOICE -o FILE TEXT... [OPTIONS]",
        .summary =
            "Reads a text aloud, word for word, in the voice of a recording. \"-\" is standard\n"
            "input; every line is read by itself.",
        .example =
            "  sa2 speak -m Step-Audio-2-mini --voice anna.wav -o hello.wav \"Good morning.\"\n"
            "  fortune | sa2 speak -m DIR --voice anna -o - - | aplay -f S16_LE -r 24000",
        .groups = groups,
        .n_groups = 4,
    };
    int n, exit_code;
    if (!sa2_options_read(&r->usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (n == 0)
        return sa2_options_refuse(&r->usage, "a text expected (\"-\" for standard input)");
    if (r->speech.output == NULL || r->speech.voice == NULL)
        return sa2_options_refuse(&r->usage, "--output FILE and --voice VOICE expected");
    if (r->json && sa2_speech_flags_take_stdout(&r->speech))
        return sa2_options_refuse(&r->usage, "--json and the sound cannot both go to \"-\"");
    if (sa2_sampling_flags_finish(&r->sampling, &r->usage) != EX_OK)
        return EX_USAGE;
    if (r->sampling.request.n > 1)
        return sa2_options_refuse(&r->usage, "--n: one reading expected, %d found",
                                  r->sampling.request.n);
    r->engine_flags.progress.quiet = r->quiet;
    if (r->engine_flags.options.max_num_seqs == 0)
        r->engine_flags.options.max_num_seqs = 1;
    return run(r, n, argv);
}

int sa2_command_speak(int argc, char **argv)
{
    reading *r = calloc(1, sizeof *r);
    if (r == NULL)
        return EX_OSERR;
    sa2_engine_flags_init(&r->engine_flags);
    sa2_sampling_flags_init(&r->sampling, 0.7f);
    sa2_speech_flags_init(&r->speech);
    r->style = "Read this paragraph at a natural pace.";
    int exit_code = read_options_and_run(r, argc, argv);
    sa2_speech_flags_free(&r->speech);
    free(r);
    return exit_code;
}
