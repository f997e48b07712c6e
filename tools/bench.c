/* bench.c - sa2 bench: which measurement. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "bench/bench_accuracy.h"
#include "bench/bench_comm.h"
#include "bench/bench_generate.h"
#include "bench/bench_kernel.h"
#include "bench/bench_parts.h"
#include "tools/commands.h"

typedef struct measurement {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} measurement;

static const measurement measurements[] = {
    {"kernel", sa2_bench_kernel, "single operations at the model's shapes"},
    {"parts", sa2_bench_parts, "front end, encoder, prefill, decode step"},
    {"generate", sa2_bench_generate, "the whole engine: batches of requests"},
    {"comm", sa2_bench_comm, "what ranks do together, by size"},
    {"accuracy", sa2_bench_accuracy, "what rounded weights change in the logits"},
};

int sa2_command_bench(int argc, char **argv)
{
    enum { N = sizeof measurements / sizeof measurements[0] };
    for (int i = 0; argc > 1 && i < N; i++)
        if (strcmp(argv[1], measurements[i].name) == 0)
            return measurements[i].run(argc - 1, argv + 1);
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    FILE *out = help ? stdout : stderr;
    if (argc > 1 && !help)
        fprintf(out, "sa2 bench: no measurement \"%s\"\n", argv[1]);
    fprintf(out, "usage: sa2 bench kernel|parts|generate|accuracy|comm [OPTIONS]\n\n");
    for (int i = 0; i < N; i++)
        fprintf(out, "  %-10s %s\n", measurements[i].name, measurements[i].summary);
    fprintf(out, "\nExample:\n  sa2 bench parts --layers 4 --filter decode\n");
    return help ? EX_OK : EX_USAGE;
}
