#include "bench/ceilings.h"

#include <stdlib.h>
#include <string.h>

#include "bench/product_dnnl.h"
#include "kernels/cpu/threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { READ_BYTES = 1 << 30, STREAMS = 4, LINE = 64 };

/* ---- reading ---- */

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double read_avx512(const char *bytes, size_t n)
{
    __m512i sum[STREAMS];
    size_t part = n / STREAMS / LINE * LINE;
    for (int s = 0; s < STREAMS; s++)
        sum[s] = _mm512_setzero_si512();
    for (size_t o = 0; o < part; o += LINE)
        for (int s = 0; s < STREAMS; s++)
            sum[s] = _mm512_xor_si512(sum[s], _mm512_load_si512(bytes + (size_t)s * part + o));
    for (int s = 1; s < STREAMS; s++)
        sum[0] = _mm512_xor_si512(sum[0], sum[s]);
    return (double)(_mm512_reduce_or_epi64(sum[0]) & 1);
}
#endif

static double read_plain(const char *bytes, size_t n)
{
    uint64_t sum[8] = {0};
    for (size_t o = 0; o + LINE <= n; o += LINE) {
        uint64_t line[8];
        memcpy(line, bytes + o, LINE);
        for (int i = 0; i < 8; i++)
            sum[i] += line[i];
    }
    return (double)(sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7]);
}

static double read_bytes(const char *bytes, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return read_avx512(bytes, n);
#endif
    return read_plain(bytes, n);
}

/* ---- arithmetic in registers ---- */

enum { ROUNDS = 4000000, CHAINS = 10 };

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double fma_avx512(void)
{
    __m512 a = _mm512_set1_ps(0.999999f), b = _mm512_set1_ps(1e-7f), c[CHAINS];
    for (int k = 0; k < CHAINS; k++)
        c[k] = _mm512_set1_ps((float)k);
    for (int r = 0; r < ROUNDS; r++)
        for (int k = 0; k < CHAINS; k++)
            c[k] = _mm512_fmadd_ps(c[k], a, b);
    for (int k = 1; k < CHAINS; k++)
        c[0] = _mm512_add_ps(c[0], c[k]);
    return (double)_mm512_reduce_add_ps(c[0]);
}

__attribute__((target("avx2,fma"))) static double fma_avx2(void)
{
    __m256 a = _mm256_set1_ps(0.999999f), b = _mm256_set1_ps(1e-7f), c[CHAINS];
    for (int k = 0; k < CHAINS; k++)
        c[k] = _mm256_set1_ps((float)k);
    for (int r = 0; r < ROUNDS; r++)
        for (int k = 0; k < CHAINS; k++)
            c[k] = _mm256_fmadd_ps(c[k], a, b);
    float sum[8];
    for (int k = 1; k < CHAINS; k++)
        c[0] = _mm256_add_ps(c[0], c[k]);
    _mm256_storeu_ps(sum, c[0]);
    return (double)(sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7]);
}

__attribute__((target("avx512f,avx512bf16"))) static double dot_avx512bf16(void)
{
    __m512i a = _mm512_set1_epi16(0x3000), b = _mm512_set1_epi16(0x3f00);
    __m512 c[CHAINS];
    for (int k = 0; k < CHAINS; k++)
        c[k] = _mm512_setzero_ps();
    for (int r = 0; r < ROUNDS; r++)
        for (int k = 0; k < CHAINS; k++)
            c[k] = _mm512_dpbf16_ps(c[k], (__m512bh)a, (__m512bh)b);
    for (int k = 1; k < CHAINS; k++)
        c[0] = _mm512_add_ps(c[0], c[k]);
    return (double)_mm512_reduce_add_ps(c[0]);
}

enum { TILE_ROUNDS = 1000000 };

__attribute__((target("amx-tile,amx-bf16"))) static double tiles_amx(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    static const uint16_t zeros[16 * 32];
    float out[16 * 16];
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = 64;
        config.rows[t] = 16;
    }
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, zeros, 64);
    _tile_loadd(5, zeros, 64);
    _tile_loadd(6, zeros, 64);
    _tile_loadd(7, zeros, 64);
    for (int r = 0; r < TILE_ROUNDS; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, 64);
    _tile_release();
    return (double)out[0];
}
#endif

typedef struct peak {
    double (*work)(void); /* NULL: this machine has no vectors that are known here */
    double flops;         /* of one call */
} peak;

static peak peak_f32(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return (peak){fma_avx512, 2.0 * 16 * CHAINS * ROUNDS};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (peak){fma_avx2, 2.0 * 8 * CHAINS * ROUNDS};
#endif
    return (peak){0};
}

/* What the instruction set in use multiplies bf16 with. */
static peak peak_bf16(const char *isa)
{
#if defined(__x86_64__)
    if (strcmp(isa, "amx") == 0)
        return (peak){tiles_amx, 2.0 * 16 * 16 * 32 * 4 * TILE_ROUNDS};
    if (strcmp(isa, "avx512bf16") == 0)
        return (peak){dot_avx512bf16, 2.0 * 32 * CHAINS * ROUNDS};
#endif
    (void)isa;
    return peak_f32();
}

/* ---- running them ---- */

enum { MAX_THREADS = 256 };

typedef struct probe {
    sa2_threads *threads;
    const char *bytes; /* [READ_BYTES] */
    peak peak;
    double sink[MAX_THREADS]; /* keeps the compiler from dropping the work */
} probe;

static void read_part(void *context, int i, int thread)
{
    probe *p = context;
    size_t part = READ_BYTES / (size_t)sa2_threads_count(p->threads) / 4096 * 4096;
    (void)thread;
    p->sink[i] = read_bytes(p->bytes + (size_t)i * part, part);
}

static void run_peak(void *context, int i, int thread)
{
    probe *p = context;
    (void)thread;
    p->sink[i] = p->peak.work();
}

static void all_read(void *context, int turn)
{
    probe *p = context;
    (void)turn;
    sa2_threads_run(p->threads, sa2_threads_count(p->threads), read_part, p);
}

static void all_compute(void *context, int turn)
{
    probe *p = context;
    (void)turn;
    sa2_threads_run(p->threads, sa2_threads_count(p->threads), run_peak, p);
}

static sa2_status open_probe(probe *p, const sa2_bench *bench, sa2_arena *arena, sa2_error *err)
{
    *p = (probe){0};
    sa2_status st = sa2_threads_create(&p->threads, sa2_backend_threads(bench->backend), err);
    if (st == SA2_OK && arena != NULL)
        st = sa2_arena_create(arena, READ_BYTES, err);
    if (st == SA2_OK && arena != NULL) {
        memset(arena->base, 1, READ_BYTES); /* pages that exist */
        p->bytes = (const char *)arena->base;
    }
    return st;
}

static double read_of_processor(const sa2_bench *bench)
{
    probe p;
    sa2_arena arena = {0};
    double rate = 0.0;
    if (open_probe(&p, bench, &arena, NULL) == SA2_OK)
        rate = READ_BYTES / sa2_bench_time(bench, all_read, &p).p50;
    sa2_arena_destroy(&arena);
    sa2_threads_destroy(p.threads);
    return rate;
}

static void print_ceiling(const sa2_bench *bench, const char *name, double value, const char *unit)
{
    if (value > 0.0)
        sa2_bench_print(bench,
                        &(sa2_bench_row){
                            .bench = "ceiling", .name = name, .value = 1e-9 * value, .unit = unit});
}

/* ---- of a device ---- */

enum { LEAST_BYTES = 1 << 18 }; /* what a simulator still reads in a millisecond or a few */

typedef struct device_probe {
    sa2_stream *stream;
    sa2_probe what;
    void *memory;
    size_t bytes;
    double work; /* of one run */
    sa2_status status;
    sa2_error *err;
} device_probe;

static void run_device(void *context, int turn)
{
    device_probe *p = context;
    (void)turn;
    sa2_status st = sa2_stream_probe(p->stream, p->what, p->memory, p->bytes, &p->work, p->err);
    if (p->status == SA2_OK)
        p->status = st;
}

sa2_status sa2_ceilings_measure_device(sa2_bench *bench, sa2_stream *s, void *memory, size_t bytes,
                                       sa2_error *err)
{
    static const struct {
        const char *name, *unit;
    } names[] = {{"read", "GB/s"},
                 {"copy, both ways counted", "GB/s"},
                 {"f32 in registers", "GFLOP/s"},
                 {"bf16 in registers (mma.sync)", "GFLOP/s"}};
    double *const rates[] = {&bench->read_bytes, NULL, &bench->f32_flops, &bench->bf16_flops};
    sa2_bench quick = *bench;
    quick.seconds = bench->seconds < 0.3 ? bench->seconds : 0.3;
    sa2_bench_wants(bench, "ceilings"); /* always; as a filter it asks for nothing else */
    for (int i = SA2_PROBE_READ; i <= SA2_PROBE_BF16; i++) {
        device_probe p = {
            .stream = s, .what = (sa2_probe)i, .memory = memory, .bytes = bytes, .err = err};
        sa2_timing t = sa2_bench_time_ops(&quick, s, run_device, NULL, &p);
        if (p.status == SA2_OK && t.n == 0)
            p.status =
                sa2_fail(err, SA2_ERR_DEVICE, "ceiling %s: the device failed", names[i].name);
        if (p.status != SA2_OK)
            return p.status;
        if (rates[i] != NULL)
            *rates[i] = p.work / t.p50;
        print_ceiling(bench, names[i].name, p.work / t.p50, names[i].unit);
    }
    return SA2_OK;
}

/* Seconds that reading takes; 0 after a failure. */
static double time_read(const sa2_bench *bench, device_probe *p)
{
    return sa2_bench_time_ops(bench, p->stream, run_device, NULL, p).p50;
}

/* Memory with values that differ, for probes: READ_BYTES, or on a device that is slow LEAST_BYTES. The caller closes
 * it, after a failure too. */
static sa2_status open_device(device_probe *p, const sa2_bench *bench, sa2_arena *arena,
                              sa2_error *err)
{
    sa2_bench quick = *bench;
    quick.seconds = 0.0;
    *p = (device_probe){.what = SA2_PROBE_READ, .err = err};
    sa2_status st = sa2_stream_create(&p->stream, bench->backend, 0, err);
    for (size_t bytes = LEAST_BYTES; st == SA2_OK && bytes > p->bytes;) {
        sa2_backend_arena_destroy(bench->backend, arena);
        st = sa2_backend_arena_create(bench->backend, arena, bytes, err);
        if (st != SA2_OK)
            break;
        p->memory = arena->base;
        p->bytes = bytes;
        sa2_normal(p->stream, sa2_tensor_1d(p->memory, SA2_F32, (int64_t)(bytes / sizeof(float))),
                   1, 0, 0);
        st = sa2_stream_finish(p->stream, err);
        if (st == SA2_OK && time_read(&quick, p) < 1e-4)
            bytes = READ_BYTES;
        st = st == SA2_OK ? p->status : st;
    }
    return st;
}

static void close_device(device_probe *p, const sa2_bench *bench, sa2_arena *arena)
{
    sa2_stream_destroy(p->stream);
    sa2_backend_arena_destroy(bench->backend, arena);
}

static sa2_status measure_device(sa2_bench *bench, sa2_error *err)
{
    device_probe p;
    sa2_arena arena = {0};
    sa2_status st = open_device(&p, bench, &arena, err);
    if (st == SA2_OK)
        st = sa2_ceilings_measure_device(bench, p.stream, p.memory, p.bytes, err);
    close_device(&p, bench, &arena);
    return st;
}

static double read_of_device(const sa2_bench *bench)
{
    device_probe p;
    sa2_arena arena = {0};
    double seconds = 0.0;
    sa2_bench quick = *bench;
    quick.seconds = bench->seconds < 0.3 ? bench->seconds : 0.3;
    if (open_device(&p, bench, &arena, NULL) == SA2_OK)
        seconds = time_read(&quick, &p);
    close_device(&p, bench, &arena);
    return seconds > 0.0 ? p.work / seconds : 0.0;
}

double sa2_ceilings_read(const sa2_bench *bench)
{
    return sa2_backend_reads_host(bench->backend) ? read_of_processor(bench)
                                                  : read_of_device(bench);
}

static sa2_status measure_processor(sa2_bench *bench, sa2_error *err)
{
    probe p;
    sa2_bench quick = *bench;
    quick.seconds = 0.3;
    sa2_bench_wants(bench, "ceilings"); /* always; as a filter it asks for nothing else */
    bench->read_bytes = read_of_processor(&quick);
    sa2_status st = open_probe(&p, bench, NULL, err);
    if (st != SA2_OK)
        return st;
    double n = sa2_threads_count(p.threads);
    p.peak = peak_f32();
    if (p.peak.work != NULL)
        bench->f32_flops = n * p.peak.flops / sa2_bench_time(&quick, all_compute, &p).p50;
    p.peak = peak_bf16(sa2_backend_isa(bench->backend));
    if (p.peak.work != NULL)
        bench->bf16_flops = n * p.peak.flops / sa2_bench_time(&quick, all_compute, &p).p50;
    sa2_threads_destroy(p.threads);
    bench->f32_product = sa2_dnnl_product(&quick, SA2_F32);
    bench->bf16_product = sa2_dnnl_product(&quick, SA2_BF16);

    print_ceiling(bench, "read", bench->read_bytes, "GB/s");
    print_ceiling(bench, "f32 in registers", bench->f32_flops, "GFLOP/s");
    print_ceiling(bench, "bf16 in registers", bench->bf16_flops, "GFLOP/s");
    print_ceiling(bench, "oneDNN f32 product 2048^3", bench->f32_product, "GFLOP/s");
    print_ceiling(bench, "oneDNN bf16 product 2048^3", bench->bf16_product, "GFLOP/s");
    return SA2_OK;
}

sa2_status sa2_ceilings_measure(sa2_bench *bench, sa2_error *err)
{
    return sa2_backend_reads_host(bench->backend) ? measure_processor(bench, err)
                                                  : measure_device(bench, err);
}
