/* terminal.h - what the subcommands say beside their result: failures and progress, on stderr; and
 * whether the result itself arrived.
 */
#ifndef SA2_TOOLS_TERMINAL_H
#define SA2_TOOLS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/status.h"

/* The exit code of sysexits.h that a failure becomes. */
int sa2_exit_code(sa2_status st);

/* The same of a command that makes `output`: what cannot be written is another mistake (EX_CANTCREAT) than what cannot
 * be read, and the message of the first begins with the output's name. */
int sa2_exit_code_of_output(sa2_status st, const sa2_error *err, const char *output);

/* Prints "sa2 info: <message>", and how many lines did not fit; returns the exit code. */
int sa2_report_failure(const char *command, sa2_status st, const sa2_error *err);

/* Standard streams that were closed by the caller become ones on which every read and write fails, so that no file
 * opened later takes their place. Once, before anything is opened. */
void sa2_stdio_begin(void);

/* Whether all that was printed could be written; commands that print for long ask in between. */
bool sa2_stdout_works(void);

/* The exit code of a command that returns `exit_code`: EX_IOERR when its result could not be written, which stderr
 * says unless the reader has left. */
int sa2_stdio_end(int exit_code);

/* Seconds on a clock that only goes forward. */
double sa2_now(void);

/* A bar with rate and time left on a terminal, rewritten in place; elsewhere a plain line each ten
 * seconds. Zero-initialise it; done == total ends it. */
typedef struct sa2_progress {
    const char *what;
    const char *unit; /* "B": shown in MB and GB */
    double started, shown;
    bool quiet;
} sa2_progress;

void sa2_progress_show(sa2_progress *progress, double done, double total);

#endif
