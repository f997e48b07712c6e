/* chat.c - sa2 chat: one question, or a conversation on the terminal.
 *
 * The conversation keeps its turns as they were generated, id by id, so each new turn finds the
 * earlier ones in the engine's cache.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "kernels/base/limits.h"
#include "tokenizer/chat_json.h"
#include "tools/answer.h"
#include "tools/commands.h"
#include "tools/conversation.h"
#include "tools/engine_flags.h"
#include "tools/sounds.h"
#include "tools/speech_flags.h"
#include "tools/terminal.h"
#include "tools/text_file.h"

typedef struct session {
    sa2_usage_text usage;
    sa2_engine_flags engine_flags;
    sa2_sampling_flags sampling;
    sa2_speech_flags speech;
    const char *system, *text, *audio, *raw, *tools_path, *messages_path;
    bool speak, think, json, mean;

    sa2_engine *engine;
    sa2_conversation turns;
    char *tools; /* JSON */
    bool terminal;
    FILE *out; /* where text goes: stderr when sound goes to stdout */
} session;

static void show(const session *s, const sa2_event *event)
{
    FILE *out = s->out;
    if (s->json)
        return;
    switch (event->kind) {
    case SA2_EVENT_REASONING:
        fprintf(stderr, s->terminal ? "\033[2m%s\033[0m" : "%s", event->text);
        break;
    case SA2_EVENT_TEXT:
    case SA2_EVENT_SPOKEN:
        fwrite(event->text, 1, event->n_bytes, out);
        break;
    case SA2_EVENT_TOOL_CALL:
        fprintf(out, "%s[%s %s]\n", event->tool_index == 0 ? "\n" : "", event->tool_name,
                event->tool_arguments);
        break;
    default:
        return;
    }
    fflush(out);
}

/* What a turn cost, for whoever sits at the terminal. */
static void show_cost(const session *s, const sa2_answer *a)
{
    if (s->json || (!s->terminal && !s->engine_flags.verbose))
        return;
    double decoding = a->timings.done_ms - a->timings.first_token_ms;
    double rate = decoding > 0.0 ? 1e3 * (a->usage.completion_tokens - 1) / decoding : 0.0;
    fprintf(
        stderr,
        "%s%d tokens in, %d of them cached; %d out, first after %.0f ms, then %.1f a second%s\n",
        s->terminal ? "\033[2m" : "", a->usage.prompt_tokens, a->usage.cached_tokens,
        a->usage.completion_tokens, a->timings.first_token_ms, rate, s->terminal ? "\033[0m" : "");
    sa2_speech_flags_show_cost(&s->speech, a->n_samples, &a->timings);
}

/* Runs one request to its end; every answer of it is shown, the first is gathered. */
static sa2_status run_request(session *s, const sa2_request *request, sa2_answer *answers,
                              sa2_error *err)
{
    sa2_request_id id;
    sa2_speech_flags_asked(&s->speech);
    sa2_status st = sa2_engine_submit(s->engine, request, &id, err);
    bool done = st != SA2_OK;
    while (!done) {
        sa2_event *event = sa2_engine_poll(s->engine, -1);
        if (event->choice == 0)
            show(s, event);
        if (!sa2_stdout_works()) /* nobody would see the rest */
            sa2_engine_cancel(s->engine, id);
        sa2_status taken =
            sa2_answer_take(&answers[event->choice], event, sa2_engine_tokenizer(s->engine), err);
        if (st == SA2_OK)
            st = taken;
        if (st == SA2_OK)
            st = sa2_speech_flags_write(&s->speech, event, err);
        done = event->kind == SA2_EVENT_DONE;
        if (done && event->finish == SA2_FINISH_ERROR)
            st = sa2_fail(err, event->status, "%s", event->message);
        sa2_event_release(s->engine, event);
    }
    return st;
}

static void print_answers(const session *s, const sa2_answer *answers, int n)
{
    for (int i = 0; i < n; i++) {
        if (s->json) {
            json_t *object = sa2_answer_json(&answers[i]);
            if (n > 1)
                json_object_set_new(object, "choice", json_integer(i));
            json_dumpf(object, s->out, JSON_COMPACT | JSON_REAL_PRECISION(9));
            fprintf(s->out, "\n");
            json_decref(object);
        } else if (i == 0) {
            fprintf(s->out, "\n");
        } else {
            fprintf(s->out, "--- answer %d\n%s%s\n", i + 1, sa2_bytes_text(&answers[i].spoken),
                    sa2_bytes_text(&answers[i].text));
        }
    }
    fflush(s->out);
}

/* Asks with what the request holds and prints; *ids gets the first answer's, for the history. */
static sa2_status ask(session *s, sa2_request *request, sa2_ids *ids, sa2_error *err)
{
    int n = request->n > 1 ? request->n : 1;
    sa2_answer *answers = calloc((size_t)n, sizeof *answers);
    if (answers == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "chat: no memory for %d answers", n);
    request->speak = s->speak;
    request->think = s->think;
    if (s->speak)
        sa2_speech_flags_request(&s->speech, request);
    sa2_status st = run_request(s, request, answers, err);
    if (st == SA2_OK) {
        print_answers(s, answers, n);
        show_cost(s, &answers[0]);
        const sa2_ids *generated = &answers[0].ids;
        size_t length = generated->n;
        if (length > 0 &&
            sa2_special_is_stop(sa2_engine_special(s->engine), generated->data[length - 1]))
            length--;
        sa2_ids_append_all(ids, generated->data, length);
    }
    for (int i = 0; i < n; i++)
        sa2_answer_free(&answers[i]);
    free(answers);
    return st;
}

/* The next turn of the model, after what the conversation holds. */
static sa2_status answer_turn(session *s, sa2_error *err)
{
    sa2_chat chat = {.tools = s->tools};
    sa2_request request = s->sampling.request;
    sa2_conversation_view(&s->turns, &chat, &request);
    sa2_ids ids = {0};
    sa2_status st = ask(s, &request, &ids, err);
    if (st == SA2_OK)
        st = sa2_conversation_answer(&s->turns, ids.data, ids.n, s->speak, err);
    else
        sa2_conversation_drop(&s->turns, 1); /* as if the question had not been asked */
    sa2_ids_free(&ids);
    return st;
}

static sa2_status hear(session *s, const char *path, const char *text, sa2_error *err)
{
    sa2_audio audio = {0};
    sa2_status st = sa2_sound_read(&audio, path, s->raw, s->mean, err);
    if (st == SA2_OK)
        st = sa2_conversation_sound(&s->turns, &audio, text, err);
    sa2_audio_destroy(&audio);
    return st;
}

/* ---- a conversation in a file ---- */

static sa2_status answer_file(session *s, sa2_error *err)
{
    char *text = NULL;
    size_t n_bytes = 0;
    sa2_chat_document *document = NULL;
    sa2_audio *audio = NULL;
    sa2_sound *sounds = NULL;
    size_t n = 0;
    sa2_ids ids = {0};
    sa2_status st = sa2_text_file_read(&text, &n_bytes, s->messages_path, SA2_CHAT_MAX_BYTES, err);
    if (st != SA2_OK)
        goto cleanup;
    st = sa2_chat_from_json(&document, text, n_bytes, err);
    if (st != SA2_OK) {
        sa2_wrap(err, st, "%s", s->messages_path);
        goto cleanup;
    }
    n = sa2_chat_document_n_audio(document);
    audio = calloc(n + 1, sizeof *audio);
    sounds = calloc(n + 1, sizeof *sounds);
    if (audio == NULL || sounds == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "chat: no memory for %zu sounds", n);
        goto cleanup;
    }
    for (size_t i = 0; i < n && st == SA2_OK; i++) {
        st = sa2_sound_of_item(&audio[i], sa2_chat_document_audio(document, i), err);
        sounds[i] = sa2_sound_view(&audio[i]);
    }
    if (st == SA2_OK) {
        sa2_chat chat = *sa2_chat_document_chat(document);
        if (s->tools != NULL)
            chat.tools = s->tools;
        sa2_request request = s->sampling.request;
        request.chat = &chat;
        request.sounds = sounds;
        request.n_sounds = n;
        st = ask(s, &request, &ids, err);
    }

cleanup:
    for (size_t i = 0; audio != NULL && i < n; i++)
        sa2_audio_destroy(&audio[i]);
    sa2_ids_free(&ids);
    free(sounds);
    free(audio);
    sa2_chat_document_destroy(document);
    free(text);
    return st;
}

/* ---- a conversation on the terminal ---- */

static const char commands[] = "  /audio FILE [TEXT]   ask with a sound\n"
                               "  /result TEXT         the result of a tool\n"
                               "  /speak               spoken answers on or off\n"
                               "  /forget              start over\n"
                               "  /quit                or end of input\n";

/* Acts on a line that starts with a slash; *answer: a turn of the model follows. */
static sa2_status obey(session *s, char *line, bool *answer, bool *quit, sa2_error *err)
{
    char *word = strtok(line, " ");
    char *rest = strtok(NULL, "");
    if (rest != NULL && rest[strspn(rest, " ")] == '\0')
        rest = NULL;
    if (strcmp(word, "/quit") == 0) {
        *quit = true;
    } else if (strcmp(word, "/forget") == 0) {
        sa2_conversation_drop(&s->turns, s->turns.n_turns - (s->system != NULL));
    } else if (strcmp(word, "/speak") == 0) {
        s->speak = !s->speak;
    } else if (strcmp(word, "/audio") == 0 && rest != NULL) {
        char *path = strtok(rest, " ");
        *answer = true;
        return hear(s, path, strtok(NULL, ""), err);
    } else if (strcmp(word, "/result") == 0 && rest != NULL) {
        *answer = true;
        return sa2_conversation_say(&s->turns, "input", rest, err);
    } else {
        fprintf(stderr, "%s", commands);
    }
    return SA2_OK;
}

/* Acts on one line, and answers when it asks something. */
static sa2_status take_line(session *s, char *line, bool *quit, sa2_error *err)
{
    if (line[0] == '\0')
        return SA2_OK;
    bool answer = line[0] != '/';
    sa2_status st = answer ? sa2_conversation_say(&s->turns, "human", line, err)
                           : obey(s, line, &answer, quit, err);
    return st == SA2_OK && answer ? answer_turn(s, err) : st;
}

static sa2_status converse(session *s, sa2_error *err)
{
    size_t room = (size_t)sa2_engine_max_model_len(s->engine) * SA2_LIMIT_TEXT_BYTES_PER_POSITION;
    char *line = malloc(room + 1);
    bool quit = false;
    sa2_status st = SA2_OK;
    if (line == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "chat: no memory for a line of %zu bytes", room);
    if (s->terminal)
        fprintf(stderr, "Type a line, or:\n%s", commands);
    while (!quit && sa2_stdout_works()) {
        if (s->terminal)
            fprintf(stderr, "> ");
        st = sa2_text_line_read(line, room + 1, &quit, err);
        if (st == SA2_OK)
            st = take_line(s, line, &quit, err);
        if (st != SA2_OK && !s->terminal)
            break;
        if (st != SA2_OK) {
            sa2_report_failure(s->usage.name, st, err);
            *err = (sa2_error){0};
        }
    }
    free(line);
    return s->terminal ? SA2_OK : st;
}

static sa2_status run_session(session *s, sa2_error *err)
{
    size_t n;
    sa2_status st = SA2_OK;
    if (s->tools_path != NULL)
        st = sa2_text_file_read(&s->tools, &n, s->tools_path, SA2_CHAT_MAX_BYTES, err);
    if (st == SA2_OK && s->messages_path != NULL)
        return answer_file(s, err);
    if (st == SA2_OK && s->system != NULL)
        st = sa2_conversation_say(&s->turns, "system", s->system, err);
    if (st != SA2_OK)
        return st;
    if (s->audio == NULL && s->text == NULL)
        return converse(s, err);
    st = s->audio != NULL ? hear(s, s->audio, s->text, err)
                          : sa2_conversation_say(&s->turns, "human", s->text, err);
    return st == SA2_OK ? answer_turn(s, err) : st;
}

static int open_and_run(session *s, int argc, char **argv)
{
    const sa2_option own[] = {
        {"text", 0, SA2_OPTION_TEXT, &s->text, "TEXT", "the question"},
        {"audio", 0, SA2_OPTION_TEXT, &s->audio, "FILE",
         "the question as sound; \"-\": standard input"},
        {"messages", 0, SA2_OPTION_TEXT, &s->messages_path, "FILE",
         "a conversation as JSON, of the HTTP interface's form"},
        {"system", 0, SA2_OPTION_TEXT, &s->system, "TEXT", "instructions; \"\" for none"},
        {"tools", 0, SA2_OPTION_TEXT, &s->tools_path, "FILE",
         "a JSON list of functions the model may call"},
        {"speak", 0, SA2_OPTION_FLAG, &s->speak, NULL,
         "the answer is spoken: text with speech codes"},
        {"think", 0, SA2_OPTION_FLAG, &s->think, NULL, "reason before answering"},
        {"json", 0, SA2_OPTION_FLAG, &s->json, NULL, "a JSON object for each answer"},
        {"raw", 0, SA2_OPTION_TEXT, &s->raw, "FORMAT",
         "sound without header: s16le:RATE[:CHANNELS]"},
        {"mean", 0, SA2_OPTION_FLAG, &s->mean, NULL, "mean of the channels instead of the first"},
        {0},
    };
    const sa2_option_group groups[] = {{"Conversation", own},
                                       {"Speech", s->speech.table},
                                       {"Model", s->engine_flags.table},
                                       {"Sampling", s->sampling.table}};
    s->usage = (sa2_usage_text){
        .name = "sa2 chat",
        .synopsis = "-m MODEL [--text TEXT | --audio FILE | --messages FILE] [OPTIONS]",
        .summary = "Answers one question, or talks on the terminal when none is given.",
        .example = "  sa2 chat -m Step-Audio-2-mini --audio question.wav\n"
                   "  sa2 chat -m DIR --audio question.wav --voice anna.wav -o reply.wav\n"
                   "  sa2 chat -m Step-Audio-2-mini --tools tools.json",
        .groups = groups,
        .n_groups = 4,
    };
    int n, exit_code;
    if (!sa2_options_read(&s->usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (n > 0)
        return sa2_options_refuse(&s->usage, "\"%s\": no argument expected (--audio FILE?)",
                                  argv[0]);
    if (s->messages_path != NULL && (s->text != NULL || s->audio != NULL))
        return sa2_options_refuse(&s->usage, "--messages goes without --text and --audio");
    if (sa2_sound_raw_refused(&s->usage, s->raw) ||
        sa2_sampling_flags_finish(&s->sampling, &s->usage) != EX_OK)
        return EX_USAGE;
    if (sa2_speech_flags_wanted(&s->speech) && s->sampling.request.n > 1)
        return sa2_options_refuse(&s->usage, "--output: one answer expected, --n %d found",
                                  s->sampling.request.n);
    exit_code = sa2_speech_flags_prepare(&s->speech, &s->usage, &s->engine_flags);
    if (exit_code != EX_OK)
        return exit_code;
    s->speak = s->speak || sa2_speech_flags_wanted(&s->speech);
    s->out = sa2_speech_flags_take_stdout(&s->speech) ? stderr : stdout;
    if (s->system != NULL && s->system[0] == '\0')
        s->system = NULL;
    s->engine_flags.options.max_num_seqs =
        s->engine_flags.options.max_num_seqs > 0 ? s->engine_flags.options.max_num_seqs : 4;
    s->terminal = isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1;
    s->engine = sa2_engine_flags_open(&s->engine_flags, &s->usage, &exit_code);
    if (s->engine == NULL)
        return exit_code;
    exit_code = sa2_speech_flags_begin(&s->speech, &s->usage, s->engine);
    if (exit_code == EX_OK) {
        sa2_error err = {0};
        sa2_status st = run_session(s, &err);
        if (st == SA2_OK)
            st = sa2_speech_flags_finish(&s->speech, &err);
        if (st != SA2_OK)
            exit_code = sa2_report_failure(s->usage.name, st, &err);
    }
    sa2_engine_flags_close(&s->engine_flags, s->engine);
    return exit_code;
}

int sa2_command_chat(int argc, char **argv)
{
    session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return EX_OSERR;
    sa2_engine_flags_init(&s->engine_flags);
    sa2_sampling_flags_init(&s->sampling, 0.7f);
    sa2_speech_flags_init(&s->speech);
    s->sampling.request.sampling.top_p = 0.9f;
    s->sampling.request.sampling.repetition_penalty = 1.05f;
    s->system = "You are a helpful assistant.";
    int exit_code = open_and_run(s, argc, argv);
    sa2_conversation_free(&s->turns);
    sa2_speech_flags_free(&s->speech);
    free(s->tools);
    free(s);
    return exit_code;
}
