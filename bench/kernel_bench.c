#include "bench/kernel_bench.h"

#include <math.h>

static sa2_kernel_pair take(sa2_kernel_bench *b, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, dtype, rows, cols);
    sa2_kernel_pair pair = {x, x};
    pair.host.data = sa2_arena_take(&b->host, sa2_tensor_bytes(&x));
    pair.device.data = sa2_arena_take(&b->device, sa2_tensor_bytes(&x));
    if ((pair.host.data == NULL || pair.device.data == NULL) && b->status == SA2_OK)
        b->status = sa2_fail(&b->err, SA2_ERR_NOMEM, "[%lld, %lld]: no room for it",
                             (long long)rows, (long long)cols);
    return pair;
}

sa2_kernel_pair sa2_kernel_values(sa2_kernel_bench *b, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_kernel_pair x = take(b, dtype, rows, cols);
    if (b->status != SA2_OK)
        return x;
    for (int64_t i = 0; i < rows * cols; i++) {
        float value = (float)((i * 2654435761u >> 8) % 2001) * 1e-3f - 1.0f;
        if (dtype == SA2_F32)
            ((float *)x.host.data)[i] = value;
        else
            ((uint16_t *)x.host.data)[i] = sa2_f32_to_bf16(value);
    }
    sa2_upload(b->stream, x.device, x.host.data);
    return x;
}

sa2_kernel_pair sa2_kernel_result(sa2_kernel_bench *b, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    return take(b, dtype, rows, cols);
}

sa2_kernel_pair sa2_kernel_cols(sa2_kernel_pair x, int64_t first, int64_t n)
{
    return (sa2_kernel_pair){sa2_tensor_cols(x.host, first, n),
                             sa2_tensor_cols(x.device, first, n)};
}

void sa2_kernel_fetch(sa2_kernel_bench *b, const sa2_kernel_pair *x)
{
    if (b->status != SA2_OK)
        return;
    sa2_download(b->stream, x->host.data, x->device);
    b->status = sa2_stream_finish(b->stream, &b->err);
}

double sa2_kernel_element(const sa2_tensor *x, int64_t row, int64_t col)
{
    int64_t i = row * x->stride + col;
    return x->dtype == SA2_F32 ? (double)((const float *)x->data)[i]
                               : (double)sa2_bf16_to_f32(((const uint16_t *)x->data)[i]);
}

int64_t sa2_kernel_size(const sa2_kernel_bench *b, int64_t size, int64_t unit)
{
    int64_t smaller = size / b->shrink / unit * unit;
    return smaller > 0 ? smaller : unit;
}

void sa2_kernel_expect(sa2_kernel_bench *b, const char *name, double found, double expected,
                       double allowed)
{
    if (b->status == SA2_OK && !(fabs(found - expected) <= allowed))
        b->status = sa2_fail(&b->err, SA2_ERR_DEVICE,
                             "%s: %g computed, %g expected: no time for a wrong result", name,
                             found, expected);
}

typedef struct timed {
    sa2_kernel_bench *bench;
    sa2_bench_run run;
    void *context;
} timed;

static void run_case(void *context, int turn)
{
    timed *t = context;
    t->run(t->context, turn);
}

/* Reading three times what the second-level cache of any device holds. */
static void evict(void *context, int turn)
{
    const timed *t = context;
    double work;
    (void)turn;
    sa2_status st = sa2_stream_probe(t->bench->stream, SA2_PROBE_READ, t->bench->evicted,
                                     t->bench->evicted_bytes, &work, &t->bench->err);
    if (t->bench->status == SA2_OK)
        t->bench->status = st;
}

void sa2_kernel_report(sa2_kernel_bench *b, const char *name, sa2_bench_run run, void *context,
                       double bytes, double flops, bool bf16)
{
    if (b->status != SA2_OK)
        return;
    timed t = {b, run, context};
    sa2_timing timing =
        sa2_bench_time_ops(&b->bench, b->stream, run_case, b->evicted != NULL ? evict : NULL, &t);
    if (timing.n == 0 && b->status == SA2_OK)
        b->status = sa2_fail(&b->err, SA2_ERR_DEVICE, "%s: the device failed", name);
    if (b->status != SA2_OK)
        return;
    double memory = b->bench.read_bytes > 0.0 ? bytes / b->bench.read_bytes : 0.0;
    double ceiling = bf16 ? b->bench.bf16_flops : b->bench.f32_flops;
    double compute = ceiling > 0.0 ? flops / ceiling : 0.0;
    bool by_memory = memory > compute;
    sa2_bench_print(&b->bench,
                    &(sa2_bench_row){.bench = "kernel",
                                     .name = name,
                                     .value = 1e-9 * (by_memory ? bytes : flops) / timing.p50,
                                     .unit = by_memory ? "GB/s" : "GFLOP/s",
                                     .timing = timing,
                                     .bytes = bytes,
                                     .flops = flops,
                                     .share = (by_memory ? memory : compute) / timing.p50,
                                     .ceiling = by_memory ? "read" : "registers"});
}
