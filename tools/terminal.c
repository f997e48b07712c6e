#include "tools/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

int sa2_exit_code(sa2_status st)
{
    switch (st) {
    case SA2_OK:
        return EX_OK;
    case SA2_ERR_ARG:
        return EX_USAGE;
    case SA2_ERR_IO:
        return EX_NOINPUT;
    case SA2_ERR_FORMAT:
    case SA2_ERR_LIMIT:
        return EX_DATAERR;
    case SA2_ERR_NOMEM:
        return EX_OSERR;
    case SA2_ERR_UNSUPPORTED:
    case SA2_ERR_DEVICE:
        return EX_UNAVAILABLE;
    case SA2_ERR_CANCELLED:
        return EX_TEMPFAIL;
    }
    return EX_SOFTWARE;
}

int sa2_exit_code_of_output(sa2_status st, const sa2_error *err, const char *output)
{
    bool written = strncmp(err->message, output, strlen(output)) == 0;
    return st == SA2_ERR_IO && written ? EX_CANTCREAT : sa2_exit_code(st);
}

int sa2_report_failure(const char *command, sa2_status st, const sa2_error *err)
{
    fprintf(stderr, "%s: %s\n", command,
            err->message[0] != '\0' ? err->message : sa2_status_name(st));
    if (err->n_unsaid > 0)
        fprintf(stderr, "... and %d more\n", err->n_unsaid);
    return sa2_exit_code(st);
}

void sa2_stdio_begin(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) /* open(2) gives the lowest free number: this one */
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

bool sa2_stdout_works(void)
{
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}

/* Of a pipe: the failed write may lie far back, where errno no longer tells. */
static bool reader_has_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

int sa2_stdio_end(int exit_code)
{
    errno = 0;
    if (sa2_stdout_works())
        return exit_code;
    int why = errno;
    if (!reader_has_left())
        fprintf(stderr, "sa2: standard output: %s\n",
                why != 0 ? strerror(why) : "not all could be written");
    return exit_code != EX_OK ? exit_code : EX_IOERR;
}

double sa2_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_amount(char *text, size_t bytes, double amount, const char *unit)
{
    if (strcmp(unit, "B") != 0)
        snprintf(text, bytes, "%.0f %s", amount, unit);
    else if (amount >= 1e9)
        snprintf(text, bytes, "%.1f GB", amount * 1e-9);
    else
        snprintf(text, bytes, "%.0f MB", amount * 1e-6);
}

void sa2_progress_show(sa2_progress *p, double done, double total)
{
    if (p->quiet || total <= 0.0)
        return;
    bool terminal = isatty(STDERR_FILENO) == 1;
    double now = sa2_now();
    if (p->started == 0.0)
        p->started = p->shown = now;
    bool end = done >= total;
    double passed = now - p->started;
    if (!end && now - p->shown < (terminal ? 0.1 : 10.0))
        return;
    if (end && passed < 1.0 && p->shown == p->started) /* too short for anybody to have wondered */
        return;
    p->shown = now;

    char amount[32], whole[32], rate[32];
    print_amount(amount, sizeof amount, done, p->unit);
    print_amount(whole, sizeof whole, total, p->unit);
    print_amount(rate, sizeof rate, passed > 0.0 ? done / passed : 0.0, p->unit);
    double left = done > 0.0 ? passed * (total - done) / done : 0.0;
    if (!terminal) {
        fprintf(stderr, "%s: %s of %s, %s/s, %.0f s left\n", p->what, amount, whole, rate, left);
        return;
    }
    enum { WIDTH = 24 };
    char bar[WIDTH + 1];
    int full = (int)(WIDTH * done / total);
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)(full < WIDTH ? full : WIDTH));
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %s of %s, %s/s, %.0f s left \033[K%s", p->what, bar, amount, whole,
            rate, left, end ? "\r\033[K" : "");
    fflush(stderr);
}
