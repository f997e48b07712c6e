/* convert.c - sa2 convert: a release folder to a native file, and back to safetensors. */
#define _XOPEN_SOURCE 700 /* SIGXFSZ */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "runtime/native_file.h"
#include "tools/commands.h"
#include "tools/model_place.h"
#include "tools/options.h"
#include "tools/quant_flags.h"
#include "tools/terminal.h"

typedef struct convert_command {
    const char *to, *device;
    int n_threads;
    sa2_quant_flags quant;
    sa2_quant_options rounding;
    bool quiet;
    sa2_progress progress;
} convert_command;

static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
enum { N_ENDS = sizeof ends / sizeof ends[0] };

/* Signals that ask for an end wait until the work looks at them, so that what is unfinished can be removed. Those
 * that the caller wants ignored (nohup) stay so. */
static void hold_signals(sigset_t *signals)
{
    sigemptyset(signals);
    for (int i = 0; i < N_ENDS; i++) {
        struct sigaction action;
        if (sigaction(ends[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(signals, ends[i]);
    }
    sigprocmask(SIG_BLOCK, signals, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write */
}

static bool asked_to_end(void)
{
    sigset_t pending;
    bool asked = false;
    if (sigpending(&pending) == 0)
        for (int i = 0; i < N_ENDS; i++)
            asked = asked || sigismember(&pending, ends[i]) == 1;
    return asked;
}

static bool go_on(void *context, int64_t done, int64_t total)
{
    convert_command *c = context;
    sa2_progress_show(&c->progress, (double)done, (double)total);
    return !asked_to_end();
}

static sa2_status convert(convert_command *c, const char *from, const char *to, sa2_error *err)
{
    const sa2_backend_options device = {.device = c->device, .n_threads = c->n_threads};
    sa2_native_options options = {.quant = c->rounding, .go_on = go_on, .context = c};
    sa2_backend *backend = NULL;
    sa2_status st = sa2_backend_open(&backend, &device, err);
    if (st != SA2_OK)
        return st;
    options.n_threads = sa2_backend_threads(backend);
    st = strcmp(c->to, "native") == 0 ? sa2_native_write(from, to, backend, &options, err)
                                      : sa2_native_unpack(from, to, &options, err);
    sa2_backend_close(backend);
    return st;
}

int sa2_command_convert(int argc, char **argv)
{
    convert_command c = {.to = "native", .progress = {.what = "converting", .unit = "B"}};
    const sa2_option own[] = {
        {"to", 0, SA2_OPTION_TEXT, &c.to, "KIND",
         "native (the default): one file for -m; safetensors: a folder again"},
        {"device", 0, SA2_OPTION_TEXT, &c.device, "NAME",
         "that will read the file: auto, cpu, cuda or cuda:1"},
        SA2_QUANT_OPTIONS(&c.quant),
        {"threads", 't', SA2_OPTION_INT, &c.n_threads, "N", "threads (all processors)"},
        {"quiet", 'q', SA2_OPTION_FLAG, &c.quiet, NULL, "no progress"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 convert",
        .synopsis = "FOLDER OUT.sa2 | --to safetensors OUT.sa2 FOLDER",
        .summary =
            "Makes one file of a release folder: weights in the order in which the device reads "
            "them,\n"
            "checksums, configuration and tokenizer. It is mapped, not loaded. Back to "
            "safetensors, every\n"
            "tensor is what it was, unless it was rounded to fewer bits.",
        .example = "  sa2 convert Step-Audio-2-mini mini.sa2 && sa2 transcribe -m mini.sa2 a.wav",
        .groups = groups,
        .n_groups = 1,
    };
    char place[SA2_MODEL_PLACE];
    int n, exit_code;
    sigset_t held;
    sa2_error err = {0};
    if (!sa2_options_read(&usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (strcmp(c.to, "native") != 0 && strcmp(c.to, "safetensors") != 0)
        return sa2_options_refuse(&usage, "--to: native or safetensors expected, \"%s\" found",
                                  c.to);
    if (n != 2)
        return sa2_options_refuse(&usage, "what to read and what to write expected, %d names given",
                                  n);
    if (!sa2_quant_flags_finish(&c.quant, &usage, &c.rounding))
        return EX_USAGE;
    c.progress.quiet = c.quiet;
    hold_signals(&held); /* before there are threads, which inherit it */
    sa2_status st = convert(&c, sa2_model_place(place, argv[0]), argv[1], &err);
    if (st != SA2_OK)
        sa2_report_failure(usage.name, st, &err);
    sigprocmask(SIG_UNBLOCK, &held, NULL); /* who was asked to end ends here, as if at once */
    return sa2_exit_code_of_output(st, &err, argv[1]);
}
