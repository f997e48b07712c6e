/* understand.c - sa2 transcribe, translate, caption: one question about each of many sounds.
 *
 * All files run at once through one engine; results come in the order of the files. The prompts are
 * those of the examples of stepfun-ai/Step-Audio2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "runtime/audio/audio_length.h"
#include "tools/answer.h"
#include "tools/commands.h"
#include "tools/engine_flags.h"
#include "tools/json_text.h"
#include "tools/sounds.h"
#include "tools/terminal.h"

/* Recordings longer than this are transcribed piece by piece: memory and context stay bounded. */
enum { PIECEWISE_SECONDS = 120, MAX_IN_FLIGHT = 256 };

/* One file. A long sound becomes several questions, whose answers follow one another. */
typedef struct job {
    const char *path;
    sa2_audio audio;
    int n_pieces, n_asked, n_answered;
    sa2_answer *answers; /* [n_pieces] */
    sa2_status status;
    sa2_error err;
} job;

typedef struct question {
    sa2_request_id id;
    job *job;
    int piece;
} question;

typedef struct run {
    sa2_usage_text usage;
    const char *system; /* the instruction */
    bool piecewise;     /* pieces of a long sound may be asked about one by one */

    sa2_engine_flags engine_flags;
    sa2_sampling_flags sampling;
    bool json, mean, quiet, detailed;
    const char *raw, *to, *prompt;

    sa2_engine *engine;
    job *jobs;
    int n_jobs;
    int opening;  /* the first job that has not asked all its questions */
    int printing; /* the first job whose result is not printed */
    question asked[MAX_IN_FLIGHT];
    int n_asked;
    bool live; /* a lone answer is shown as it comes */
    sa2_progress progress;
} run;

static void open_job(run *r, job *j)
{
    j->status = sa2_sound_read(&j->audio, j->path, r->raw, r->mean, &j->err);
    if (j->status != SA2_OK)
        return;
    bool pieces = r->piecewise && j->audio.n_samples > (int64_t)PIECEWISE_SECONDS * SA2_AUDIO_RATE;
    j->n_pieces = pieces ? (int)sa2_audio_chunks(j->audio.n_samples) : 1;
    j->answers = calloc((size_t)j->n_pieces, sizeof *j->answers);
    if (j->answers == NULL)
        j->status = sa2_fail(&j->err, SA2_ERR_NOMEM, "%s: no memory", j->path);
}

static void close_job(job *j)
{
    for (int i = 0; j->answers != NULL && i < j->n_pieces; i++)
        sa2_answer_free(&j->answers[i]);
    free(j->answers);
    j->answers = NULL;
    sa2_audio_destroy(&j->audio);
}

/* The next question about a job. */
static void ask(run *r, job *j)
{
    sa2_sound sound = sa2_sound_view(&j->audio);
    if (j->n_pieces > 1) {
        sound.samples += (int64_t)j->n_asked * SA2_AUDIO_CHUNK;
        sound.n_samples = sa2_audio_chunk_samples(j->audio.n_samples, j->n_asked);
    }
    const sa2_chat_item system = {
        .kind = SA2_CHAT_TEXT, .text = r->system, .n_bytes = strlen(r->system)};
    const sa2_chat_item audio = {.kind = SA2_CHAT_AUDIO};
    const sa2_chat_message messages[] = {
        {.role = "system", .content = SA2_CONTENT_STRING, .items = &system, .n_items = 1},
        {.role = "human", .content = SA2_CONTENT_LIST, .items = &audio, .n_items = 1},
    };
    const sa2_chat chat = {
        .messages = messages, .n_messages = 2, .add_generation_prompt = SA2_FLAG_YES};
    sa2_request request = r->sampling.request;
    request.chat = &chat;
    request.sounds = &sound;
    request.n_sounds = 1;
    question q = {.job = j, .piece = j->n_asked};
    j->status = sa2_engine_submit(r->engine, &request, &q.id, &j->err);
    if (j->status != SA2_OK) {
        sa2_wrap(&j->err, j->status, "%s", j->path);
        return;
    }
    j->n_asked++;
    r->asked[r->n_asked++] = q;
}

static void ask_what_fits(run *r)
{
    while (r->opening < r->n_jobs && r->n_asked < MAX_IN_FLIGHT) {
        job *j = &r->jobs[r->opening];
        if (j->answers == NULL && j->status == SA2_OK)
            open_job(r, j);
        if (j->status == SA2_OK)
            ask(r, j);
        if (j->status != SA2_OK || j->n_asked == j->n_pieces)
            r->opening++;
    }
}

static void take(run *r, const sa2_event *event)
{
    int i = 0;
    while (i < r->n_asked && r->asked[i].id != event->request)
        i++;
    if (i == r->n_asked)
        return;
    question q = r->asked[i];
    sa2_status st = sa2_answer_take(&q.job->answers[q.piece], event,
                                    sa2_engine_tokenizer(r->engine), &q.job->err);
    if (r->live && event->kind == SA2_EVENT_TEXT && event->choice == 0 && q.job->n_pieces == 1) {
        fwrite(event->text, 1, event->n_bytes, stdout);
        fflush(stdout);
    }
    if (event->kind == SA2_EVENT_DONE) {
        r->asked[i] = r->asked[--r->n_asked];
        q.job->n_answered++;
        if (event->finish == SA2_FINISH_ERROR)
            st = sa2_fail(&q.job->err, event->status, "%s: %s", q.job->path, event->message);
    }
    if (q.job->status == SA2_OK)
        q.job->status = st;
}

static void print_json(const job *j)
{
    for (int i = 0; i < j->n_pieces; i++) {
        json_t *object = sa2_answer_json(&j->answers[i]);
        json_object_set_new(object, "file", sa2_json_text(j->path));
        if (j->n_pieces > 1)
            json_object_set_new(object, "start_s",
                                json_real((double)i * SA2_AUDIO_CHUNK / SA2_AUDIO_RATE));
        json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        printf("\n");
        json_decref(object);
    }
}

static void print_job(const run *r, const job *j)
{
    if (j->status != SA2_OK) {
        fprintf(stderr, "%s: %s\n", r->usage.name, j->err.message);
    } else if (r->json) {
        print_json(j);
    } else if (r->live && j->n_pieces == 1) {
        printf("\n");
    } else {
        if (r->n_jobs > 1)
            printf("%s: ", j->path);
        for (int i = 0; i < j->n_pieces; i++)
            printf("%s%s", i > 0 ? " " : "", sa2_bytes_text(&j->answers[i].text));
        printf("\n");
    }
    fflush(stdout);
}

/* Asks about all files; prints results in their order as soon as that can be, and stops when they cannot be written. */
static sa2_status run_jobs(run *r)
{
    sa2_status first = SA2_OK;
    while (r->printing < r->n_jobs && sa2_stdout_works()) {
        ask_what_fits(r);
        while (r->printing < r->opening &&
               r->jobs[r->printing].n_answered == r->jobs[r->printing].n_asked) {
            job *j = &r->jobs[r->printing++];
            print_job(r, j);
            if (first == SA2_OK)
                first = j->status;
            close_job(j);
            sa2_progress_show(&r->progress, r->printing, r->n_jobs);
        }
        if (r->n_asked > 0) {
            sa2_event *event = sa2_engine_poll(r->engine, -1);
            take(r, event);
            sa2_event_release(r->engine, event);
        }
    }
    return first;
}

/* ---- the three commands ---- */

static const sa2_option *no_options(void)
{
    static const sa2_option none[] = {{0}};
    return none;
}

static int run_command(run *r, const sa2_option *own, int argc, char **argv,
                       bool (*choose)(run *r, int *exit_code))
{
    const sa2_option common[] = {
        {"json", 0, SA2_OPTION_FLAG, &r->json, NULL, "a JSON object a line"},
        {"prompt", 0, SA2_OPTION_TEXT, &r->prompt, "TEXT",
         "another instruction than the usual one"},
        {"raw", 0, SA2_OPTION_TEXT, &r->raw, "FORMAT",
         "sound without header: s16le:RATE[:CHANNELS]"},
        {"mean", 0, SA2_OPTION_FLAG, &r->mean, NULL, "mean of the channels instead of the first"},
        {"quiet", 'q', SA2_OPTION_FLAG, &r->quiet, NULL, "no progress"},
        {0},
    };
    const sa2_option_group groups[] = {{"Task", own},
                                       {"Input and output", common},
                                       {"Model", r->engine_flags.table},
                                       {"Sampling", r->sampling.table}};
    bool any = own->name != NULL;
    r->usage.groups = any ? groups : groups + 1;
    r->usage.n_groups = any ? 4 : 3;
    int exit_code;
    if (!sa2_options_read(&r->usage, argc, argv, &r->n_jobs, &exit_code))
        return exit_code;
    if (r->n_jobs == 0)
        return sa2_options_refuse(&r->usage,
                                  "a sound file expected (\"-\" for standard input), none given");
    if (choose != NULL && !choose(r, &exit_code))
        return exit_code;
    if (r->prompt != NULL)
        r->system = r->prompt;
    if (sa2_sound_raw_refused(&r->usage, r->raw) ||
        sa2_sampling_flags_finish(&r->sampling, &r->usage) != EX_OK)
        return EX_USAGE;
    if (r->sampling.request.n > 1)
        return sa2_options_refuse(&r->usage, "--n: one answer to each sound expected, %d found",
                                  r->sampling.request.n);
    r->jobs = calloc((size_t)r->n_jobs, sizeof *r->jobs);
    if (r->jobs == NULL)
        return EX_OSERR;
    for (int i = 0; i < r->n_jobs; i++)
        r->jobs[i].path = argv[i];
    r->live = r->n_jobs == 1 && !r->json;
    r->progress =
        (sa2_progress){.what = "files", .unit = "files", .quiet = r->n_jobs == 1 || r->quiet};
    r->engine_flags.progress.quiet = r->quiet;
    r->engine = sa2_engine_flags_open(&r->engine_flags, &r->usage, &exit_code);
    if (r->engine != NULL)
        exit_code = sa2_exit_code(run_jobs(r));
    sa2_engine_flags_close(&r->engine_flags, r->engine);
    for (int i = r->printing; i < r->n_jobs; i++)
        close_job(&r->jobs[i]);
    free(r->jobs);
    return exit_code;
}

static run *new_run(const char *name, const char *summary, const char *example, float temperature)
{
    run *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->usage = (sa2_usage_text){.name = name,
                                .synopsis = "-m MODEL FILE... [OPTIONS]",
                                .summary = summary,
                                .example = example};
    sa2_engine_flags_init(&r->engine_flags);
    sa2_sampling_flags_init(&r->sampling, temperature);
    return r;
}

int sa2_command_transcribe(int argc, char **argv)
{
    run *r = new_run(
        "sa2 transcribe",
        "Writes down what is said. Several files run as one batch; a recording of more than two\n"
        "minutes is heard in pieces of 25 s.",
        "  sa2 transcribe -m Step-Audio-2-mini talk.wav\n"
        "  arecord -f S16_LE -r 16000 -d 10 -t raw | sa2 transcribe -m DIR --raw s16le:16000 -",
        0.0f);
    if (r == NULL)
        return EX_OSERR;
    r->system = "请记录下你所听到的语音内容。";
    r->piecewise = true;
    int exit_code = run_command(r, no_options(), argc, argv, NULL);
    free(r);
    return exit_code;
}

static bool choose_language(run *r, int *exit_code)
{
    static const struct {
        const char *code, *instruction;
    } targets[] = {
        {"zh",
         "Please listen carefully to this audio and then translate its content into Chinese."},
        {"en",
         "Please listen carefully to this audio and then translate its content into English."},
        {"ja",
         "Please listen carefully to this audio and then translate its content into Japanese."},
    };
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (strcmp(r->to, targets[i].code) == 0) {
            r->system = targets[i].instruction;
            return true;
        }
    *exit_code = sa2_options_refuse(
        &r->usage, "--to: zh, en or ja expected, \"%s\" found (--prompt takes any wording)", r->to);
    return false;
}

int sa2_command_translate(int argc, char **argv)
{
    run *r = new_run("sa2 translate", "Translates what is said into text of another language.",
                     "  sa2 translate -m Step-Audio-2-mini --to zh talk.flac", 0.1f);
    if (r == NULL)
        return EX_OSERR;
    r->to = "zh";
    r->piecewise = true;
    const sa2_option own[] = {
        {"to", 0, SA2_OPTION_TEXT, &r->to, "LANG", "zh, en or ja (zh)"},
        {0},
    };
    int exit_code = run_command(r, own, argc, argv, choose_language);
    free(r);
    return exit_code;
}

static bool choose_caption(run *r, int *exit_code)
{
    (void)exit_code;
    r->system =
        r->detailed
            ? "You are an experienced audio analyst. Listen to the whole recording and describe it "
              "in "
              "detail: who speaks and how, what else is to be heard, the place and the mood."
            : "Please briefly explain the important events involved in this audio clip.";
    return true;
}

int sa2_command_caption(int argc, char **argv)
{
    run *r = new_run("sa2 caption", "Describes what is to be heard.",
                     "  sa2 caption -m Step-Audio-2-mini street.ogg", 0.1f);
    if (r == NULL)
        return EX_OSERR;
    const sa2_option own[] = {
        {"detailed", 0, SA2_OPTION_FLAG, &r->detailed, NULL, "a long description"},
        {0},
    };
    int exit_code = run_command(r, own, argc, argv, choose_caption);
    free(r);
    return exit_code;
}
