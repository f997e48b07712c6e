#include "bench/measure.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sa2_timing timing_of(double *samples, int n)
{
    qsort(samples, (size_t)n, sizeof samples[0], by_size);
    return (sa2_timing){.n = n,
                        .p5 = samples[n * 5 / 100],
                        .p50 = samples[n / 2],
                        .p95 = samples[(n * 95 + 99) / 100 - 1]};
}

sa2_timing sa2_bench_time_ops(const sa2_bench *bench, sa2_stream *s, sa2_bench_run run,
                              sa2_bench_run evict, void *context)
{
    enum { FEWEST = 3 };
    double samples[SA2_BENCH_MAX_SAMPLES];
    run(context, 0);
    if (sa2_stream_finish(s, NULL) != SA2_OK)
        return (sa2_timing){0};
    double begin = now();
    int n = 0;
    while (n < SA2_BENCH_MAX_SAMPLES && (n < FEWEST || now() - begin < bench->seconds)) {
        if (evict != NULL)
            evict(context, n + 1);
        sa2_stream_mark(s, 0);
        run(context, n + 1);
        sa2_stream_mark(s, 1);
        if (sa2_stream_between_marks(s, &samples[n++], NULL) != SA2_OK)
            return (sa2_timing){0};
    }
    return timing_of(samples, n);
}

sa2_timing sa2_bench_time(const sa2_bench *bench, sa2_bench_run run, void *context)
{
    enum { FEWEST = 3 };
    double samples[SA2_BENCH_MAX_SAMPLES];
    run(context, 0);
    double begin = now();
    int n = 0;
    while (n < SA2_BENCH_MAX_SAMPLES && (n < FEWEST || now() - begin < bench->seconds)) {
        double start = now();
        run(context, n + 1);
        samples[n++] = now() - start;
    }
    return timing_of(samples, n);
}

bool sa2_bench_wants(sa2_bench *bench, const char *name)
{
    bool wanted = bench->filter == NULL || strstr(name, bench->filter) != NULL;
    bench->n_wanted += wanted;
    return wanted;
}

static void print_json(const sa2_bench *bench, const sa2_bench_row *r)
{
    json_t *o =
        json_pack("{s:s, s:s, s:f, s:s, s:f, s:f, s:f, s:i}", "bench", r->bench, "case", r->name,
                  "value", r->value, "unit", r->unit, "p5", 1e3 * r->timing.p5, "p50",
                  1e3 * r->timing.p50, "p95", 1e3 * r->timing.p95, "samples", r->timing.n);
    if (r->bytes > 0.0)
        json_object_set_new(o, "bytes", json_real(r->bytes));
    if (r->flops > 0.0)
        json_object_set_new(o, "flops", json_real(r->flops));
    if (r->share > 0.0) {
        json_object_set_new(o, "share_of_ceiling", json_real(r->share));
        json_object_set_new(o, "ceiling", json_string(r->ceiling));
    }
    json_object_set_new(o, "device", json_string(sa2_backend_device(bench->backend)));
    json_object_set_new(o, "isa", json_string(sa2_backend_isa(bench->backend)));
    json_object_set_new(o, "threads", json_integer(sa2_backend_threads(bench->backend)));
    json_object_set_new(o, "commit", json_string(SA2_COMMIT));
    json_dumpf(o, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(o);
}

void sa2_bench_print_head(const sa2_bench *bench)
{
    if (bench->csv)
        printf("case,value,unit,p5_ms,p50_ms,p95_ms,samples,bytes,flops,share,ceiling,device\n");
    else if (bench->markdown)
        printf("| case | value | unit | p50 ms | p5 – p95 | share |\n"
               "| --- | ---: | --- | ---: | --- | --- |\n");
}

static void print_csv(const sa2_bench *bench, const sa2_bench_row *r)
{
    printf("%s,%.6g,%s,%.6g,%.6g,%.6g,%d,%.0f,%.0f,%.4f,%s,%s\n", r->name, r->value, r->unit,
           1e3 * r->timing.p5, 1e3 * r->timing.p50, 1e3 * r->timing.p95, r->timing.n, r->bytes,
           r->flops, r->share, r->ceiling != NULL ? r->ceiling : "",
           sa2_backend_device(bench->backend));
}

static void print_markdown(const sa2_bench_row *r)
{
    printf("| %s | %.4g | %s | %.4f | %.4f – %.4f | ", r->name, r->value, r->unit,
           1e3 * r->timing.p50, 1e3 * r->timing.p5, 1e3 * r->timing.p95);
    if (r->share > 0.0)
        printf("%.0f %% of %s", 100.0 * r->share, r->ceiling);
    printf(" |\n");
}

void sa2_bench_print(const sa2_bench *bench, const sa2_bench_row *r)
{
    if (bench->json) {
        print_json(bench, r);
    } else if (bench->csv) {
        print_csv(bench, r);
    } else if (bench->markdown) {
        print_markdown(r);
    } else {
        printf("%-34s %10.4g %-9s", r->name, r->value, r->unit);
        if (r->timing.n > 0)
            printf(" %9.3f ms [%.3f, %.3f] n=%d", 1e3 * r->timing.p50, 1e3 * r->timing.p5,
                   1e3 * r->timing.p95, r->timing.n);
        if (r->bytes > 0.0 && r->timing.n > 0)
            printf("  %.1f GB/s", r->bytes / r->timing.p50 * 1e-9);
        if (r->flops > 0.0 && r->timing.n > 0)
            printf("  %.1f GFLOP/s", r->flops / r->timing.p50 * 1e-9);
        if (r->share > 0.0)
            printf("  %.0f %% of %s", 100.0 * r->share, r->ceiling);
        printf("\n");
    }
    fflush(stdout);
}

bool sa2_bench_ready(const sa2_bench *bench, const sa2_usage_text *usage, int n_arguments)
{
    if (n_arguments > 0)
        sa2_options_refuse(usage, "no argument expected, %d given", n_arguments);
    else if (bench->seconds < 0.0)
        sa2_options_refuse(usage, "--seconds: 0 or more expected, %g found", bench->seconds);
    else
        return true;
    return false;
}

bool sa2_bench_numbers(const char *text, int most, int *numbers, int max_n, int *n)
{
    *n = 0;
    while (*text != '\0') {
        char *end;
        long number = strtol(text, &end, 10);
        if (end == text || number < 1 || number > most || *n == max_n)
            return false;
        numbers[(*n)++] = (int)number;
        if (*end != ',' && *end != '\0')
            return false;
        text = *end == ',' ? end + 1 : end;
    }
    return *n > 0;
}

int sa2_bench_end(const sa2_bench *bench, const sa2_usage_text *usage)
{
    if (bench->filter == NULL || bench->n_wanted > 0)
        return EX_OK;
    return sa2_options_refuse(usage, "--filter: no case has \"%s\" in its name", bench->filter);
}

double sa2_bench_compute_ceiling(const sa2_bench *bench, bool bf16, const char **name)
{
    double product = bf16 ? bench->bf16_product : bench->f32_product;
    *name = product > 0.0 ? "oneDNN product" : "registers";
    if (product > 0.0)
        return product;
    return bf16 ? bench->bf16_flops : bench->f32_flops;
}

void sa2_bench_print_speed(const sa2_bench *bench, const char *name, sa2_timing t, double seconds,
                           double flops, bool bf16)
{
    sa2_bench_row row = {.bench = "parts",
                         .name = name,
                         .value = t.p50 / seconds,
                         .unit = "RTF",
                         .timing = t,
                         .flops = flops};
    double ceiling = sa2_bench_compute_ceiling(bench, bf16, &row.ceiling);
    row.share = ceiling > 0.0 ? flops / t.p50 / ceiling : 0.0;
    sa2_bench_print(bench, &row);
}
