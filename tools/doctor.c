/* doctor.c - sa2 doctor: what this machine can do for sa2, and the limits of what it takes. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "kernels/base/limits.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/terminal.h"

static void print_limits(void)
{
    size_t n;
    const sa2_limit *limits = sa2_limits(&n);
    for (size_t i = 0; i < n; i++)
        printf("%-40s %14" PRId64 " %s\n", limits[i].name, limits[i].value, limits[i].unit);
}

/* The line of a file under /proc or /sys that begins with `key` ("" the first), without the key. */
static bool read_line(const char *path, const char *key, char *value, size_t bytes)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    bool found = false;
    char line[256];
    while (!found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        found = true;
        const char *from =
            strchr(line, ':') != NULL && key[0] != '\0' ? strchr(line, ':') + 1 : line;
        while (*from == ' ' || *from == '\t')
            from++;
        snprintf(value, bytes, "%s", from);
        value[strcspn(value, "\n")] = '\0';
    }
    fclose(file);
    return found;
}

static void print_machine(void)
{
    char text[256];
    if (read_line("/proc/cpuinfo", "model name", text, sizeof text))
        printf("processor      %s\n", text);
    printf("processors     %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
    double total = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    double free_now = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    printf("memory         %.1f GB, %.1f GB free now\n", total * 1e-9, free_now * 1e-9);
    if (read_line("/sys/kernel/mm/transparent_hugepage/enabled", "", text, sizeof text))
        printf("large pages    %s%s\n", text,
               strstr(text, "[never]") != NULL
                   ? " (decoding is slower without: echo madvise to that file)"
                   : "");
}

static int print_backends(const sa2_backend_options *options)
{
    static const char *const sets[] = {"c", "avx2", "avx512", "avx512bf16", "amx"};
    printf("instructions  ");
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        sa2_backend *backend;
        const sa2_backend_options one = {.device = "cpu", .n_threads = 1, .isa = sets[i]};
        if (sa2_backend_open(&backend, &one, NULL) == SA2_OK) {
            printf(" %s", sets[i]);
            sa2_backend_close(backend);
        }
    }
    sa2_backend *backend;
    sa2_error err = {0};
    sa2_status st = sa2_backend_open(&backend, options, &err);
    if (st != SA2_OK) {
        printf("\n");
        return sa2_report_failure("sa2 doctor", st, &err);
    }
    int all, n = sa2_backend_ops(backend, &all);
    printf("\nchosen         device %s, %s, %d threads, %d of %d ops\n",
           sa2_backend_device(backend), sa2_backend_isa(backend), sa2_backend_threads(backend), n,
           all);
    sa2_backend_close(backend);
    return EX_OK;
}

int sa2_command_doctor(int argc, char **argv)
{
    bool limits = false;
    sa2_backend_options options = {0};
    const sa2_option own[] = {
        {"limits", 0, SA2_OPTION_FLAG, &limits, NULL,
         "print how much of anything from outside is taken"},
        {"device", 0, SA2_OPTION_TEXT, &options.device, "NAME",
         "auto, cpu, cuda, or cuda:1 for another GPU than the first"},
        {"isa", 0, SA2_OPTION_TEXT, &options.isa, "NAME", "auto, c, avx2, avx512, avx512bf16, amx"},
        {"threads", 't', SA2_OPTION_INT, &options.n_threads, "N", "threads (all processors)"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 doctor",
        .synopsis = "[OPTIONS]",
        .summary = "Says what this machine can do for sa2.",
        .example = "  sa2 doctor --limits",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code;
    if (!sa2_options_read(&usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (n > 0)
        return sa2_options_refuse(&usage, "\"%s\": no argument expected", argv[0]);
    if (limits) {
        print_limits();
        return EX_OK;
    }
    print_machine();
    return print_backends(&options);
}
