#include "kernels/base/status.h"

#include <stdio.h>
#include <string.h>

sa2_status sa2_fail(sa2_error *err, sa2_status st, const char *format, ...)
{
    if (err == NULL)
        return st;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    err->status = st;
    err->n_unsaid = 0;
    return st;
}

/* After what is there; counted when it does not fit. */
static void add_line(sa2_error *err, sa2_status st, const char *line)
{
    if (err->status == SA2_OK) {
        err->status = st;
        err->message[0] = '\0';
    }
    size_t used = strlen(err->message);
    size_t room = sizeof err->message - used;
    if (strlen(line) + 2 > room)
        err->n_unsaid++;
    else
        snprintf(err->message + used, room, "%s%s", used > 0 ? "\n" : "", line);
}

sa2_status sa2_fail_also(sa2_error *err, sa2_status st, const char *format, ...)
{
    if (err == NULL)
        return st;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);

    add_line(err, st, line);
    return st;
}

sa2_status sa2_fail_merge(sa2_error *err, sa2_status st, const sa2_error *part)
{
    if (err != NULL && part->message[0] != '\0') {
        add_line(err, st, part->message);
        err->n_unsaid += part->n_unsaid;
    }
    return st;
}

sa2_status sa2_wrap(sa2_error *err, sa2_status st, const char *format, ...)
{
    if (err == NULL)
        return st;
    char prefix[512];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);

    size_t n = strlen(prefix);
    size_t old = strlen(err->message);
    size_t keep = sizeof err->message - 1 - (n + 2);
    if (old > keep)
        old = keep;
    memmove(err->message + n + 2, err->message, old);
    err->message[n + 2 + old] = '\0';
    memcpy(err->message, prefix, n);
    memcpy(err->message + n, ": ", 2);
    err->status = st;
    return st;
}

const char *sa2_status_name(sa2_status st)
{
    switch (st) {
    case SA2_OK:
        return "ok";
    case SA2_ERR_ARG:
        return "bad argument";
    case SA2_ERR_IO:
        return "file error";
    case SA2_ERR_FORMAT:
        return "bad data";
    case SA2_ERR_LIMIT:
        return "over a limit";
    case SA2_ERR_NOMEM:
        return "out of memory";
    case SA2_ERR_UNSUPPORTED:
        return "not supported";
    case SA2_ERR_DEVICE:
        return "device error";
    case SA2_ERR_CANCELLED:
        return "cancelled";
    }
    return "unknown status";
}
