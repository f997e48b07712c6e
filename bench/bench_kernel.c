#include "bench/bench_kernel.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bench/ceilings.h"
#include "bench/kernel_bench.h"
#include "kernels/cuda/cublaslt.h"
#include "tools/options.h"
#include "tools/terminal.h"

enum { SMALL = 64 }; /* what sizes are divided by for a simulator */

/* Ceilings, on a device with memory that is later read between two runs. */
static sa2_status measure_ceilings(sa2_kernel_bench *b)
{
    if (sa2_backend_reads_host(b->bench.backend))
        return sa2_ceilings_measure(&b->bench, &b->err);
    b->evicted_bytes = (size_t)(1 << 30) / (size_t)(b->shrink * b->shrink);
    sa2_tensor memory = sa2_tensor_1d(sa2_arena_take(&b->device, b->evicted_bytes), SA2_F32,
                                      (int64_t)(b->evicted_bytes / sizeof(float)));
    void *zeros = calloc(1, b->evicted_bytes);
    if (memory.data == NULL || zeros == NULL) {
        free(zeros);
        return sa2_fail(&b->err, SA2_ERR_NOMEM, "ceilings: no memory for %zu bytes",
                        b->evicted_bytes);
    }
    sa2_upload(b->stream, memory, zeros);
    sa2_status st = sa2_stream_finish(b->stream, &b->err);
    free(zeros);
    b->evicted = memory.data;
    if (st == SA2_OK)
        st = sa2_ceilings_measure_device(&b->bench, b->stream, b->evicted, b->evicted_bytes,
                                         &b->err);
    b->evicted_bytes /= 4; /* more than three times any second-level cache */
    return st;
}

/* On a GPU; the simulated one has no memory that the library could use. */
static const char *const *names_of_cublaslt(const sa2_backend *backend)
{
    const char *device = sa2_backend_device(backend);
    return strncmp(device, "cuda", strcspn(device, ":")) == 0 ? sa2_cublaslt_names : NULL;
}

static sa2_status run_all(sa2_kernel_bench *b)
{
    const size_t room = ((size_t)6 << 30) / (size_t)b->shrink, scratch = (size_t)512 << 20;
    sa2_status st =
        sa2_stream_create(&b->stream, b->bench.backend, scratch / (size_t)b->shrink, &b->err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(b->bench.backend, &b->device, room, &b->err);
    if (st == SA2_OK)
        st = sa2_arena_reserve(&b->host, room, &b->err);
    if (st != SA2_OK)
        return st;
    sa2_bench_print_head(&b->bench);
    b->status = measure_ceilings(b);
    b->cublaslt_names = names_of_cublaslt(b->bench.backend);
    b->large_products = b->cublaslt_names != NULL ? "cublaslt,rows=256" : NULL;
    b->large_rows =
        256; /* well below where the engine would take it, so that one sees from where it is faster */
    sa2_kernel_products(b);
    sa2_kernel_attention(b);
    sa2_kernel_vectors(b);
    sa2_kernel_sample(b);
    return b->status;
}

/* What does not go together. */
static bool is_ready(sa2_kernel_bench *b, const sa2_usage_text *usage, const char *rows, bool small,
                     int n_arguments)
{
    if (!sa2_bench_ready(&b->bench, usage, n_arguments))
        return false;
    b->shrink = small ? SMALL : 1;
    if (b->bench.json + b->bench.csv + b->bench.markdown > 1)
        sa2_options_refuse(usage, "one of --json, --csv and --markdown expected");
    else if (rows != NULL &&
             !sa2_bench_numbers(rows, 65536, b->rows, SA2_KERNEL_MAX_ROWS - 1, &b->n_rows))
        sa2_options_refuse(
            usage, "--rows: numbers from 1 to 65536 as 1,8,32 expected, \"%s\" found", rows);
    else
        return true;
    return false;
}

int sa2_bench_kernel(int argc, char **argv)
{
    float spend = 1.0f;
    bool small = false;
    const char *rows = NULL;
    sa2_backend_options backend = {0};
    sa2_kernel_bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return EX_OSERR;
    const sa2_option own[] = {
        {"filter", 'f', SA2_OPTION_TEXT, &b->bench.filter, "TEXT",
         "only cases whose name holds it"},
        {"seconds", 's', SA2_OPTION_FLOAT, &spend, "X", "for each case (1)"},
        {"rows", 0, SA2_OPTION_TEXT, &rows, "N,N,...", "rows of x instead of each case's own"},
        {"device", 0, SA2_OPTION_TEXT, &backend.device, "NAME", "auto, cpu, cuda or cuda:1"},
        SA2_LARGE_PRODUCTS_OPTION(&backend.large_products),
        {"threads", 't', SA2_OPTION_INT, &backend.n_threads, "N", "threads (all processors)"},
        {"isa", 0, SA2_OPTION_TEXT, &backend.isa, "NAME", "auto, c, avx2, avx512, avx512bf16, amx"},
        {"small", 0, SA2_OPTION_FLAG, &small, NULL, "sizes of a 64th, to try the bench itself"},
        {"json", 0, SA2_OPTION_FLAG, &b->bench.json, NULL, "a JSON object a line"},
        {"csv", 0, SA2_OPTION_FLAG, &b->bench.csv, NULL, "comma-separated values"},
        {"markdown", 0, SA2_OPTION_FLAG, &b->bench.markdown, NULL, "a table"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 bench kernel",
        .synopsis = "[OPTIONS]",
        .summary = "Times single operations at the model's shapes. Weights rotate over copies so "
                   "that no cache holds\n"
                   "them, and on a device its caches are filled with something else before each "
                   "run; a result is\n"
                   "checked before its time is printed. On a GPU with cuBLASLt, the library's own "
                   "products in bf16\n"
                   "stand beside ours, and from 256 rows on ours as an engine with "
                   "--large-products cublaslt "
                   "has them.\n"
                   "Takes 6 GB.",
        .example = "  sa2 bench kernel --filter gate_up --rows 1,2,4",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code = EX_OK;
    bool go = sa2_options_read(&usage, argc, argv, &n, &exit_code);
    b->bench.seconds = (double)spend;
    if (go && !is_ready(b, &usage, rows, small, n)) {
        exit_code = EX_USAGE;
    } else if (go) {
        sa2_status st = sa2_backend_open(&b->bench.backend, &backend, &b->err);
        if (st == SA2_OK)
            st = run_all(b);
        exit_code = st == SA2_OK ? sa2_bench_end(&b->bench, &usage)
                                 : sa2_report_failure(usage.name, st, &b->err);
        sa2_stream_destroy(b->stream);
        if (b->bench.backend != NULL)
            sa2_backend_arena_destroy(b->bench.backend, &b->device);
        sa2_arena_destroy(&b->host);
        sa2_backend_close(b->bench.backend);
    }
    free(b);
    return exit_code;
}
