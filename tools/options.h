/* options.h - the command line of one subcommand: tables of options, --help made from them.
 *
 *   --name VALUE, --name=VALUE, -n VALUE; a flag takes no value; "--" ends the options.
 */
#ifndef SA2_TOOLS_OPTIONS_H
#define SA2_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

typedef enum sa2_option_kind {
    SA2_OPTION_FLAG = 0, /* bool: set to true */
    SA2_OPTION_INT,      /* int */
    SA2_OPTION_INT64,    /* int64_t */
    SA2_OPTION_BYTES,    /* size_t: 4096, 512M, 8G */
    SA2_OPTION_FLOAT,    /* float */
    SA2_OPTION_TEXT,     /* const char *: the last one given */
    SA2_OPTION_LIST,     /* sa2_option_list: every one given */
} sa2_option_kind;

typedef struct sa2_option {
    const char *name; /* without dashes; NULL ends a table */
    char letter;      /* 0: none */
    sa2_option_kind kind;
    void *to;
    const char *value; /* what stands for the value in --help: "N"; NULL for a flag */
    const char *help;
} sa2_option;

/* A line of a table for what sa2_backend_options and sa2_engine_options have of it. */
#define SA2_LARGE_PRODUCTS_OPTION(text)                                                            \
    {                                                                                              \
        "large-products", 0, SA2_OPTION_TEXT, text, "HOW",                                         \
            "products of many rows on a GPU: own[,cluster=auto], or from 1024 rows on cublaslt"    \
            "[,file=PATH][,rows=N][,piece=N], whose results depend on the rows beside them"        \
    }

enum { SA2_OPTION_LIST_MAX = 256 };

typedef struct sa2_option_list {
    const char *values[SA2_OPTION_LIST_MAX];
    int n;
} sa2_option_list;

typedef struct sa2_option_group {
    const char *title; /* "Sampling" */
    const sa2_option *options;
} sa2_option_group;

typedef struct sa2_usage_text {
    const char *name;     /* "sa2 transcribe" */
    const char *synopsis; /* "-m MODEL FILE..." */
    const char *summary;
    const char *example; /* whole lines */
    const sa2_option_group *groups;
    int n_groups;
} sa2_usage_text;

/* Reads argv[1..) into the tables' targets and moves the positional arguments to argv[0..*n).
 * Returns true when the command should go on; false when it should return *exit_code: after --help (0) or a mistake,
 * which it has explained on stderr (EX_USAGE). */
bool sa2_options_read(const sa2_usage_text *usage, int argc, char **argv, int *n, int *exit_code);

/* For a mistake found later: "sa2 chat: <message>" and a hint; returns EX_USAGE. */
int sa2_options_refuse(const sa2_usage_text *usage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
