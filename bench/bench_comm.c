#include "bench/bench_comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bench/measure.h"
#include "kernels/backend.h"
#include "tools/rank_flags.h"
#include "tools/terminal.h"

enum { MAX_ITERATIONS = 1000000, MAX_FACTOR = 1 << 20 };

static const size_t max_bytes_possible = (size_t)1 << 30;

/* A call of comm.h, and by how much its bus carries more than its tensor (doc/PERFORMANCE.md of nccl-tests). */
typedef struct collective {
    const char *name, *redop;
    int root;
    void (*run)(sa2_comm *comm, sa2_stream *s, sa2_tensor x, sa2_tensor part, float *out);
    double (*bus)(int size);
} collective;

static void run_sum(sa2_comm *comm, sa2_stream *s, sa2_tensor x, sa2_tensor part, float *out)
{
    (void)out;
    sa2_comm_sum(comm, s, x, part, (sa2_comm_place){"the sum", -1});
}

static double bus_of_sum(int size)
{
    return 2.0 * (size - 1) / size;
}

static void run_copy(sa2_comm *comm, sa2_stream *s, sa2_tensor x, sa2_tensor part, float *out)
{
    (void)part;
    (void)out;
    sa2_comm_copy(comm, s, x, (sa2_comm_place){"the copy", -1});
}

static double bus_of_copy(int size)
{
    (void)size;
    return 1.0;
}

/* x is what all have together. */
static void run_join(sa2_comm *comm, sa2_stream *s, sa2_tensor x, sa2_tensor part, float *out)
{
    int64_t widths[SA2_MAX_RANKS], cols = x.shape[1], first = 0;
    int size = sa2_comm_size(comm);
    for (int r = 0; r < size; first += widths[r++])
        widths[r] = cols * (r + 1) / size - first;
    sa2_tensor mine = sa2_tensor_2d(part.data, SA2_F32, 1, widths[sa2_comm_rank(comm)]);
    sa2_comm_join(comm, s, out, mine, widths, (sa2_comm_place){"the join", -1});
}

static double bus_of_join(int size)
{
    return (double)(size - 1) / size;
}

static const collective collectives[] = {
    {"all_reduce", "sum", -1, run_sum, bus_of_sum},
    {"broadcast", "none", 0, run_copy, bus_of_copy},
    {"gather", "none", 0, run_join, bus_of_join},
};

typedef struct bench {
    const collective *what;
    const char *name, *device, *isa;
    size_t min_bytes, max_bytes;
    int factor, iterations, warm_up, no_check, n_threads;
    bool json;
    sa2_rank_flags ranks;
    sa2_backend *backend;
    sa2_stream *s;
    sa2_arena memory;
    float *host; /* [2, max] */
    double bus_sum;
    int n_rows;
    int64_t n_wrong;
} bench;

/* Small whole numbers: every sum of them is exact. */
static float value(int rank, int64_t i)
{
    return (float)((rank * 31 + i * 7) % 64);
}

static void fill(bench *b, sa2_tensor x, sa2_tensor part, int64_t n)
{
    int rank = sa2_comm_rank(b->ranks.comm);
    bool same = b->what->run == run_sum; /* what is summed to is the same everywhere */
    for (int64_t i = 0; i < n; i++)
        b->host[i] = value(same ? 99 : rank, i);
    sa2_upload(b->s, x, b->host);
    for (int64_t i = 0; i < n; i++)
        b->host[i] = value(rank, i);
    sa2_upload(b->s, part, b->host);
}

/* Of element i after one call; of a join on rank 0. */
static float expected(const bench *b, int64_t i, int64_t n)
{
    int size = sa2_comm_size(b->ranks.comm);
    if (b->what->run == run_copy)
        return value(0, i);
    if (b->what->run == run_join) {
        int r = 0;
        int64_t first = 0;
        while (i >= n * (r + 1) / size)
            first = n * ++r / size;
        return value(r, i - first);
    }
    float sum = value(99, i);
    for (int r = 0; r < size; r++)
        sum += value(r, i);
    return sum;
}

static int64_t count_wrong(bench *b, sa2_tensor x, int64_t n)
{
    int64_t wrong = 0;
    float *out = b->host;
    if (b->what->run == run_join) {
        if (sa2_comm_rank(b->ranks.comm) > 0)
            return 0;
        out = b->host + b->max_bytes / sizeof(float);
    } else {
        sa2_download(b->s, out, x);
    }
    if (sa2_stream_finish(b->s, NULL) != SA2_OK)
        return n;
    for (int64_t i = 0; i < n; i++)
        wrong += out[i] != expected(b, i, n);
    return wrong;
}

static void print_head(const bench *b)
{
    printf("# %s, %d ranks by %s, device %s; n %d, w %d\n#\n", b->what->name,
           sa2_comm_size(b->ranks.comm), sa2_comm_name(b->ranks.comm),
           sa2_backend_device(b->backend), b->iterations, b->warm_up);
    printf(
        "#       size         count      type   redop    root     time   algbw   busbw #wrong\n");
    printf("#        (B)    (elements)                               (us)  (GB/s)  (GB/s)\n");
}

static void print_row(bench *b, int64_t n, double seconds, int64_t wrong)
{
    double bytes = (double)n * sizeof(float), speed = bytes / seconds * 1e-9;
    double bus = speed * b->what->bus(sa2_comm_size(b->ranks.comm));
    b->bus_sum += bus;
    b->n_rows++;
    b->n_wrong += wrong;
    if (b->json) {
        printf("{\"bench\":\"comm\",\"case\":\"%s/"
               "%.0f\",\"value\":%.3f,\"unit\":\"us\",\"bytes\":%.0f,"
               "\"algbw\":%.4f,\"busbw\":%.4f,\"wrong\":%lld,\"ranks\":%d,\"link\":\"%s\"}\n",
               b->what->name, bytes, seconds * 1e6, bytes, speed, bus, (long long)wrong,
               sa2_comm_size(b->ranks.comm), sa2_comm_name(b->ranks.comm));
    } else {
        char counted[24] = "N/A";
        if (b->no_check == 0)
            snprintf(counted, sizeof counted, "%lld", (long long)wrong);
        printf("%12.0f %13lld %9s %7s %7d %8.2f %7.2f %7.2f %6s\n", bytes, (long long)n, "float",
               b->what->redop, b->what->root, seconds * 1e6, speed, bus, counted);
    }
    fflush(stdout);
}

static sa2_status measure(bench *b, int64_t n, sa2_error *err)
{
    sa2_arena_rewind(&b->memory, 0);
    sa2_tensor x = sa2_tensor_2d(NULL, SA2_F32, 1, n), part = x;
    x.data = sa2_arena_take(&b->memory, sa2_tensor_bytes(&x));
    part.data = sa2_arena_take(&b->memory, sa2_tensor_bytes(&x));
    float *out = b->host + b->max_bytes / sizeof(float);
    int64_t mine = 0, wrong[SA2_MAX_RANKS] = {0};
    fill(b, x, part, n);
    b->what->run(b->ranks.comm, b->s, x, part, out);
    if (b->no_check == 0)
        mine = count_wrong(b, x, n);
    for (int i = 0; i < b->warm_up; i++)
        b->what->run(b->ranks.comm, b->s, x, part, out);
    sa2_status st = sa2_stream_finish(b->s, err);
    if (st == SA2_OK) /* all begin together */
        st = sa2_comm_tell_all(b->ranks.comm, "the next size", &mine, wrong, sizeof mine, 0, err);
    double began = sa2_now();
    for (int i = 0; i < b->iterations; i++)
        b->what->run(b->ranks.comm, b->s, x, part, out);
    sa2_status finished = sa2_stream_finish(b->s, st == SA2_OK ? err : NULL);
    double seconds = (sa2_now() - began) / b->iterations;
    st = st == SA2_OK ? finished : st;
    for (int r = 1; r < sa2_comm_size(b->ranks.comm); r++)
        wrong[0] += wrong[r];
    if (st == SA2_OK && sa2_comm_rank(b->ranks.comm) == 0)
        print_row(b, n, seconds, wrong[0]);
    return st;
}

static sa2_status measure_all(bench *b, sa2_error *err)
{
    const sa2_backend_options options = {.device = sa2_rank_flags_device(&b->ranks, b->device),
                                         .isa = b->isa,
                                         .n_threads = b->n_threads};
    int64_t most = (int64_t)(b->max_bytes / sizeof(float));
    b->host = calloc(2, b->max_bytes);
    if (b->host == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "bench: no memory for %zu bytes twice", b->max_bytes);
    sa2_status st = sa2_backend_open(&b->backend, &options, err);
    if (st == SA2_OK)
        st = sa2_stream_create(&b->s, b->backend, 0, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(b->backend, &b->memory,
                                      2 * sa2_arena_round(b->max_bytes) + SA2_ARENA_ALIGN, err);
    if (st == SA2_OK)
        st = sa2_comm_reserve(b->ranks.comm, most, most, err);
    if (st == SA2_OK)
        st = sa2_comm_use_device(b->ranks.comm, b->backend, b->s, err);
    if (st == SA2_OK && sa2_comm_rank(b->ranks.comm) == 0 && !b->json)
        print_head(b);
    for (size_t bytes = b->min_bytes; st == SA2_OK && bytes <= b->max_bytes;
         bytes *= (size_t)b->factor)
        st = measure(b, (int64_t)(bytes / sizeof(float)), err);
    return st;
}

static void close_bench(bench *b)
{
    sa2_comm_leave_device(b->ranks.comm);
    if (b->backend != NULL)
        sa2_backend_arena_destroy(b->backend, &b->memory);
    sa2_stream_destroy(b->s);
    sa2_backend_close(b->backend);
    sa2_rank_flags_close(&b->ranks);
    free(b->host);
}

static bool judge(bench *b, const sa2_usage_text *usage)
{
    for (size_t i = 0; i < sizeof collectives / sizeof collectives[0]; i++)
        if (strcmp(b->name, collectives[i].name) == 0)
            b->what = &collectives[i];
    if (b->what == NULL)
        sa2_options_refuse(
            usage, "--collective: all_reduce, broadcast or gather expected, \"%s\" found", b->name);
    else if (b->min_bytes < 4 || b->max_bytes < b->min_bytes || b->max_bytes > max_bytes_possible)
        sa2_options_refuse(usage, "-b, -e: 4 <= b <= e <= %zu expected, %zu and %zu found",
                           max_bytes_possible, b->min_bytes, b->max_bytes);
    else if (b->factor < 2 || b->factor > MAX_FACTOR)
        sa2_options_refuse(usage, "-f: 2 to %d expected, %d found", MAX_FACTOR, b->factor);
    else if (b->iterations < 1 || b->iterations > MAX_ITERATIONS || b->warm_up < 0 ||
             b->warm_up > MAX_ITERATIONS)
        sa2_options_refuse(usage, "-n, -w: 1 to %d expected, %d and %d found", MAX_ITERATIONS,
                           b->iterations, b->warm_up);
    else
        return true;
    return false;
}

int sa2_bench_comm(int argc, char **argv)
{
    bench b = {.name = "all_reduce",
               .min_bytes = 1024,
               .max_bytes = (size_t)8 << 20,
               .factor = 2,
               .iterations = 20,
               .warm_up = 5};
    int check = 1;
    const sa2_option own[] = {
        {"collective", 0, SA2_OPTION_TEXT, &b.name, "NAME",
         "all_reduce, broadcast or gather (all_reduce)"},
        {"minbytes", 'b', SA2_OPTION_BYTES, &b.min_bytes, "SIZE", "the first size (1K)"},
        {"maxbytes", 'e', SA2_OPTION_BYTES, &b.max_bytes, "SIZE", "the last size (8M)"},
        {"stepfactor", 'f', SA2_OPTION_INT, &b.factor, "N", "from one size to the next (2)"},
        {"iters", 'n', SA2_OPTION_INT, &b.iterations, "N",
         "calls of each size that are timed (20)"},
        {"warmup_iters", 'w', SA2_OPTION_INT, &b.warm_up, "N", "calls before those (5)"},
        {"check", 'c', SA2_OPTION_INT, &check, "0|1", "count wrong elements (1)"},
        {"device", 0, SA2_OPTION_TEXT, &b.device, "NAME", "auto or cpu"},
        {"isa", 0, SA2_OPTION_TEXT, &b.isa, "NAME", "of the CPU backend"},
        {"threads", 't', SA2_OPTION_INT, &b.n_threads, "N", "threads (this rank's share)"},
        SA2_RANK_OPTION(&b.ranks),
        {"json", 0, SA2_OPTION_FLAG, &b.json, NULL, "a JSON object a line"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 bench comm",
        .synopsis = "[OPTIONS]",
        .summary =
            "Times what ranks do together, with the letters and columns of NVIDIA's nccl-tests: "
            "time of a call,\n"
            "bytes over time, and the bytes that the bus carries, whatever the number of ranks.",
        .example = "  mpirun -n 4 sa2 bench comm -b 8 -e 64M -f 4",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code = EX_OK;
    if (!sa2_options_read(&usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (n > 0)
        return sa2_options_refuse(&usage, "\"%s\": no argument expected", argv[0]);
    b.no_check = check == 0;
    if (!judge(&b, &usage))
        return EX_USAGE;
    if (!sa2_rank_flags_open(&b.ranks, &b.n_threads, &usage, &exit_code))
        return exit_code;
    sa2_error err = {0};
    sa2_status st = measure_all(&b, &err);
    if (st != SA2_OK)
        exit_code = sa2_report_failure(usage.name, st, &err);
    else if (sa2_comm_rank(b.ranks.comm) == 0 && !b.json)
        printf("# Out of bounds values : %lld %s\n# Avg bus bandwidth    : %.4f\n",
               (long long)b.n_wrong, b.n_wrong == 0 ? "OK" : "FAILED",
               b.n_rows > 0 ? b.bus_sum / b.n_rows : 0.0);
    close_bench(&b);
    return exit_code == EX_OK && b.n_wrong > 0 ? EX_SOFTWARE : exit_code;
}
