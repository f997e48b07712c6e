/* measure.h - times a piece of work fairly and prints what it means.
 *
 * A row says how long one run took (median, 5th and 95th percentile), what it moved and computed, and
 * its share of the ceiling that binds it, measured in the same process (ceilings.h).
 */
#ifndef SA2_BENCH_MEASURE_H
#define SA2_BENCH_MEASURE_H

#include <stdbool.h>

#include "kernels/backend.h"
#include "tools/options.h"

typedef struct sa2_bench {
    bool json;          /* a JSON object a line instead of aligned text */
    bool csv, markdown; /* a table of rows */
    const char *filter; /* only cases whose name contains it; NULL: all */
    double seconds;     /* to spend on each case, at least three runs */
    int n_wanted;       /* cases so far whose name holds the filter */
    sa2_backend *backend;
    double read_bytes;   /* a second: ceilings, 0 until measured */
    double f32_flops;    /* a second, in registers */
    double bf16_flops;   /* a second, in registers */
    double bf16_product; /* a second, oneDNN 2048^3; 0 when it was not found at build time */
    double f32_product;
} sa2_bench;

enum { SA2_BENCH_MAX_SAMPLES = 1000 };

typedef struct sa2_timing {
    int n;
    double p5, p50, p95; /* seconds a run */
} sa2_timing;

/* One run, `turn` counts from 0 (the first is a warm-up, not timed): a case that reads weights rotates over copies
 * by it, so that no cache holds them. */
typedef void (*sa2_bench_run)(void *context, int turn);

sa2_timing sa2_bench_time(const sa2_bench *bench, sa2_bench_run run, void *context);

/* The same on the clock of s's device, which run() starts ops on. evict() comes before each run, untimed: it keeps the
 * device busy until the run has been submitted, and leaves nothing of it in a cache. NULL: nothing does. */
sa2_timing sa2_bench_time_ops(const sa2_bench *bench, sa2_stream *s, sa2_bench_run run,
                              sa2_bench_run evict, void *context);

typedef struct sa2_bench_row {
    const char *bench;   /* "kernel", "parts", "generate" */
    const char *name;    /* "linear/gate_up/1" */
    double value;        /* in `unit`; the better the larger, or a time */
    const char *unit;    /* "ms", "tokens/s", "GB/s" */
    sa2_timing timing;   /* of one run */
    double bytes, flops; /* of one run; 0: not said */
    double share;        /* of the ceiling named; 0: not said */
    const char *ceiling; /* "read", "bf16 product" */
} sa2_bench_row;

/* Counts what is wanted. */
bool sa2_bench_wants(sa2_bench *bench, const char *name);
/* Judges what all benches take on the command line, before: no argument, seconds from 0. False after a complaint. */
bool sa2_bench_ready(const sa2_bench *bench, const sa2_usage_text *usage, int n_arguments);

/* "1,8,32" after an option: numbers from 1 to `most`, up to max_n of them. False when the text is something else. */
bool sa2_bench_numbers(const char *text, int most, int *numbers, int max_n, int *n);

/* The exit code of a bench that ran: a filter that no case has in its name is a mistake. */
int sa2_bench_end(const sa2_bench *bench, const sa2_usage_text *usage);

/* The head of a table, where one was asked for. */
void sa2_bench_print_head(const sa2_bench *bench);
void sa2_bench_print(const sa2_bench *bench, const sa2_bench_row *row);

/* The ceiling of what computes, operations a second: oneDNN's product, or the registers where that is not there. */
double sa2_bench_compute_ceiling(const sa2_bench *bench, bool bf16, const char **name);

/* A row of `parts` that makes or reads `seconds` of sound: seconds of work for one of sound, the less the better. */
void sa2_bench_print_speed(const sa2_bench *bench, const char *name, sa2_timing t, double seconds,
                           double flops, bool bf16);

#endif
