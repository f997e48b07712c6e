/* status.h - how every part of sa2 reports a failure that data, files, memory or devices cause.
 *
 * A function that can fail returns a sa2_status and writes one message into the caller's
 * sa2_error; the message names the thing, what was expected and what was found.
 */
#ifndef SA2_KERNELS_BASE_STATUS_H
#define SA2_KERNELS_BASE_STATUS_H

#include <stdarg.h>

typedef enum sa2_status {
    SA2_OK = 0,
    SA2_ERR_ARG,         /* the caller asked for something that makes no sense */
    SA2_ERR_IO,          /* a file or a pipe could not be opened, read or written */
    SA2_ERR_FORMAT,      /* bytes from outside are not what they should be */
    SA2_ERR_LIMIT,       /* right in form, but above a limit of design or memory plan */
    SA2_ERR_NOMEM,       /* memory of host or device ran out */
    SA2_ERR_UNSUPPORTED, /* understood, but this build or device cannot do it */
    SA2_ERR_DEVICE,      /* a device reported an error */
    SA2_ERR_CANCELLED,   /* given up on request */
} sa2_status;

enum { SA2_ERROR_BYTES = 8192 };

/* A message, possibly of several lines. Zero-initialise it: (sa2_error){0}. */
typedef struct sa2_error {
    sa2_status status;             /* of the first failure */
    int n_unsaid;                  /* further lines that did not fit */
    char message[SA2_ERROR_BYTES]; /* no newline at the end */
} sa2_error;

/* Each returns `st`; `err` may be NULL. Threads: one error belongs to one thread at a time. */

/* Replaces the message. */
sa2_status sa2_fail(sa2_error *err, sa2_status st, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a line and keeps the status of the first one: for reports that name every mistake at once. */
sa2_status sa2_fail_also(sa2_error *err, sa2_status st, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds the lines of another report, if it has any. */
sa2_status sa2_fail_merge(sa2_error *err, sa2_status st, const sa2_error *part);

/* Puts "prefix: " before the message, for a caller that knows more. */
sa2_status sa2_wrap(sa2_error *err, sa2_status st, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "bad argument", "file error", ...: for logs where there is no message. */
const char *sa2_status_name(sa2_status st);

#endif
