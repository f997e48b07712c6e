/* make_checkpoint.c - sa2 make-checkpoint: a release folder with synthetic weights. */
#include <stdio.h>

#include "loader/checkpoint_writer.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/terminal.h"

static void show(void *context, int64_t done, int64_t total)
{
    sa2_progress_show(context, (double)done, (double)total);
}

int sa2_command_make_checkpoint(int argc, char **argv)
{
    const char *preset_name = "tiny";
    int64_t seed = 0;
    bool quiet = false;
    sa2_checkpoint_options options = {.n_threads = 1};
    const sa2_option own[] = {
        {"preset", 0, SA2_OPTION_TEXT, &preset_name, "NAME",
         "tiny (55 MB), or mini: the release's shape (18 GB)"},
        {"seed", 0, SA2_OPTION_INT64, &seed, "N", "another seed, other weights (0)"},
        {"tokenizer", 0, SA2_OPTION_TEXT, &options.tokenizer, "DIR",
         "copy the tokenizer files of this folder"},
        {"threads", 't', SA2_OPTION_INT, &options.n_threads, "N", "threads that make values (1)"},
        {"quiet", 'q', SA2_OPTION_FLAG, &quiet, NULL, "no progress"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 make-checkpoint",
        .synopsis = "[OPTIONS] DIR",
        .summary = "Writes a checkpoint with every tensor that the real one has. Its values follow "
                   "from the tensors'\n"
                   "names, so what it says means nothing.",
        .example = "  sa2 make-checkpoint --preset tiny /tmp/tiny && sa2 info /tmp/tiny",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code;
    if (!sa2_options_read(&usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (n != 1)
        return sa2_options_refuse(&usage, "one folder expected, %d given", n);
    sa2_preset preset;
    sa2_error err = {0};
    sa2_progress progress = {.what = "writing", .unit = "B", .quiet = quiet};
    options.seed = (uint64_t)seed;
    options.progress = show;
    options.context = &progress;
    sa2_status st = sa2_preset_find(&preset, preset_name, &err);
    if (st == SA2_OK)
        st = sa2_checkpoint_write(argv[0], &preset, &options, &err);
    if (st != SA2_OK)
        sa2_report_failure(usage.name, st, &err);
    return sa2_exit_code_of_output(st, &err, argv[0]);
}
