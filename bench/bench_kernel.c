#include "bench/bench_kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bench/ceilings.h"
#include "tools/options.h"
#include "tools/terminal.h"

enum { MAX_COPIES = 16, CACHE_BYTES = 600 << 20 /* more than any cache here holds */ };

typedef struct kernel_bench {
    sa2_bench bench;
    sa2_stream *stream;
    sa2_arena arena;
    sa2_status status;
    sa2_error err;
} kernel_bench;

static sa2_tensor take(kernel_bench *b, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, dtype, rows, cols);
    x.data = sa2_arena_take(&b->arena, sa2_tensor_bytes(&x));
    return x;
}

/* Small values, none the same as its neighbours. */
static void fill(sa2_tensor x)
{
    for (int64_t i = 0; i < sa2_tensor_count(&x); i++) {
        float value = (float)((i * 2654435761u >> 8) % 2001) * 1e-3f - 1.0f;
        if (x.dtype == SA2_F32)
            ((float *)x.data)[i] = value;
        else
            ((uint16_t *)x.data)[i] = sa2_f32_to_bf16(value);
    }
}

static double element(sa2_tensor x, int64_t row, int64_t col)
{
    int64_t i = row * x.stride + col;
    return x.dtype == SA2_F32 ? (double)((const float *)x.data)[i]
                              : (double)sa2_bf16_to_f32(((const uint16_t *)x.data)[i]);
}

static void fail(kernel_bench *b, const char *name, double found, double expected)
{
    if (b->status == SA2_OK)
        b->status = sa2_fail(&b->err, SA2_ERR_DEVICE,
                             "%s: %g computed, %g expected: no time for a wrong result", name,
                             found, expected);
}

/* ---- products ---- */

typedef struct product_case {
    const char *name;
    int64_t n, k;
    sa2_dtype dtype;
    bool swiglu;
    const int *rows; /* ends with 0 */
} product_case;

typedef struct product_run {
    kernel_bench *bench;
    sa2_matrix w[MAX_COPIES];
    int n_copies;
    sa2_tensor src, x, y;
    bool swiglu;
} product_run;

static void run_product(void *context, int turn)
{
    product_run *p = context;
    sa2_linear(p->bench->stream,
               (sa2_linear_args){
                   .y = p->y, .x = p->x, .w = &p->w[turn % p->n_copies], .swiglu = p->swiglu});
}

/* The last row's first and last outputs against plain sums. */
static void judge_product(const product_run *p, const char *name)
{
    int64_t n = p->y.shape[1], k = p->x.shape[1], row = p->y.shape[0] - 1;
    for (int64_t col = 0; col < n; col += n - 1) {
        double a = 0.0, up = 0.0, size = 0.0, up_size = 0.0;
        for (int64_t i = 0; i < k; i++) {
            a += element(p->x, row, i) * element(p->src, col, i);
            size += fabs(element(p->x, row, i) * element(p->src, col, i));
            if (p->swiglu) {
                up += element(p->x, row, i) * element(p->src, n + col, i);
                up_size += fabs(element(p->x, row, i) * element(p->src, n + col, i));
            }
        }
        double gate = a / (1.0 + exp(-a)), want = p->swiglu ? gate * up : a;
        /* Of a product of two sums: the error of each times the other. |silu'| stays below 1.1. */
        double scale = p->swiglu ? 1.1 * size * fabs(up) + fabs(gate) * up_size : size;
        double tolerance = scale * (p->y.dtype == SA2_BF16 ? 1e-2 : 1e-5) + 1e-3;
        if (!(fabs(element(p->y, row, col) - want) <= tolerance))
            fail(p->bench, name, element(p->y, row, col), want);
    }
}

static void print_product(kernel_bench *b, const char *name, sa2_timing t, double bytes,
                          double flops, bool bf16)
{
    double memory = b->bench.read_bytes > 0.0 ? bytes / b->bench.read_bytes : 0.0;
    double ceiling = bf16 ? b->bench.bf16_flops : b->bench.f32_flops;
    double compute = ceiling > 0.0 ? flops / ceiling : 0.0;
    bool bound_by_memory = memory > compute;
    sa2_bench_print(
        &b->bench,
        &(sa2_bench_row){.bench = "kernel",
                         .name = name,
                         .value = bound_by_memory ? 1e-9 * bytes / t.p50 : 1e-9 * flops / t.p50,
                         .unit = bound_by_memory ? "GB/s" : "GFLOP/s",
                         .timing = t,
                         .bytes = bytes,
                         .flops = flops,
                         .share = (bound_by_memory ? memory : compute) / t.p50,
                         .ceiling = bound_by_memory ? "read" : "registers"});
}

static void bench_product(kernel_bench *b, const product_case *c)
{
    size_t mark = sa2_arena_mark(&b->arena);
    size_t bytes = sa2_matrix_bytes(b->stream, c->dtype, c->n, c->k);
    product_run p = {.bench = b, .swiglu = c->swiglu, .n_copies = (int)(CACHE_BYTES / bytes) + 1};
    p.n_copies = p.n_copies > MAX_COPIES ? MAX_COPIES : p.n_copies;
    bool made = false;
    for (int i = 0; c->rows[i] > 0 && b->status == SA2_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "linear/%s/%d", c->name, c->rows[i]);
        if (!sa2_bench_wants(&b->bench, name))
            continue;
        if (!made) {
            p.src = take(b, c->dtype, c->n, c->k);
            fill(p.src);
            for (int k = 0; k < p.n_copies; k++) {
                p.w[k] = (sa2_matrix){sa2_arena_take(&b->arena, bytes), c->dtype, c->n, c->k};
                if (c->swiglu)
                    sa2_matrix_write_swiglu(b->stream, &p.w[k], sa2_tensor_rows(p.src, 0, c->n / 2),
                                            sa2_tensor_rows(p.src, c->n / 2, c->n / 2));
                else
                    sa2_matrix_write(b->stream, &p.w[k], 0, p.src);
            }
            made = true;
        }
        size_t rows_mark = sa2_arena_mark(&b->arena);
        p.x = take(b, c->dtype, c->rows[i], c->k);
        p.y = take(b, c->dtype, c->rows[i], c->swiglu ? c->n / 2 : c->n);
        fill(p.x);
        run_product(&p, 0);
        b->status = sa2_stream_finish(b->stream, &b->err);
        if (b->status == SA2_OK)
            judge_product(&p, name);
        if (b->status == SA2_OK) {
            sa2_timing t = sa2_bench_time(&b->bench, run_product, &p);
            double moved =
                (double)bytes + (double)sa2_tensor_bytes(&p.x) + (double)sa2_tensor_bytes(&p.y);
            print_product(b, name, t, moved, 2.0 * (double)c->n * (double)c->k * c->rows[i],
                          c->dtype == SA2_BF16);
        }
        sa2_arena_rewind(&b->arena, rows_mark);
    }
    sa2_arena_rewind(&b->arena, mark);
}

/* ---- attention of the encoder ---- */

typedef struct attention_run {
    kernel_bench *bench;
    sa2_attention_args args;
} attention_run;

static void run_attention(void *context, int turn)
{
    attention_run *a = context;
    (void)turn;
    sa2_attention(a->bench->stream, a->args);
}

static void bench_attention(kernel_bench *b, sa2_dtype dtype, const char *name, int32_t rows,
                            int heads, int dim)
{
    if (!sa2_bench_wants(&b->bench, name) || b->status != SA2_OK)
        return;
    size_t mark = sa2_arena_mark(&b->arena);
    sa2_tensor qkv = take(b, dtype, rows, 3 * (int64_t)heads * dim),
               y = take(b, dtype, rows, (int64_t)heads * dim);
    const int32_t offsets[] = {0, rows};
    int64_t width = (int64_t)heads * dim;
    fill(qkv);
    attention_run a = {
        .bench = b,
        .args = {.y = sa2_tensor_heads(y, heads),
                 .q = sa2_tensor_heads(sa2_tensor_cols(qkv, 0, width), heads),
                 .k = sa2_tensor_heads(sa2_tensor_cols(qkv, width, width), heads),
                 .v = sa2_tensor_heads(sa2_tensor_cols(qkv, 2 * width, width), heads),
                 .queries = {1, offsets},
                 .keys = {1, offsets},
                 .scale = 1.0f / sqrtf((float)dim)},
    };
    sa2_timing t = sa2_bench_time(&b->bench, run_attention, &a);
    b->status = sa2_stream_finish(b->stream, &b->err);
    if (b->status == SA2_OK)
        print_product(b, name, t, 0.0, 4.0 * (double)rows * rows * (double)width,
                      dtype == SA2_BF16);
    sa2_arena_rewind(&b->arena, mark);
}

static sa2_status run_all(kernel_bench *b)
{
    static const int decoder_rows[] = {1, 8, 32, 128, 512, 0}, head_rows[] = {1, 32, 0};
    static const int encoder_rows[] = {1251, 0}, flow_rows[] = {100, 0};
    static const product_case cases[] = {
        {"qkv", 4608, 3584, SA2_BF16, false, decoder_rows},
        {"out", 3584, 3584, SA2_BF16, false, decoder_rows},
        {"gate_up", 37888, 3584, SA2_BF16, true, decoder_rows},
        {"down", 3584, 18944, SA2_BF16, false, decoder_rows},
        {"head", 158720, 3584, SA2_BF16, false, head_rows},
        {"encoder_qkv", 3840, 1280, SA2_BF16, false, encoder_rows},
        {"encoder_up", 5120, 1280, SA2_BF16, false, encoder_rows},
        {"encoder_down", 1280, 5120, SA2_BF16, false, encoder_rows},
        {"flow_qkv_f32", 1536, 512, SA2_F32, false, flow_rows},
        {"flow_up_f32", 2048, 512, SA2_F32, false, flow_rows},
        {"flow_down_f32", 512, 2048, SA2_F32, false, flow_rows},
    };
    enum { GIB = 1 << 30, SCRATCH = 512 << 20 };
    sa2_status st = sa2_ceilings_measure(&b->bench, &b->err);
    if (st == SA2_OK)
        st = sa2_stream_create(&b->stream, b->bench.backend, SCRATCH, &b->err);
    if (st == SA2_OK)
        st = sa2_arena_create(&b->arena, (size_t)GIB * 5, &b->err);
    if (st != SA2_OK)
        return st;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        bench_product(b, &cases[i]);
    bench_attention(b, SA2_BF16, "attention/encoder_25s", 1251, 20, 64);
    bench_attention(b, SA2_F32, "attention/encoder_25s_f32", 1251, 20, 64);
    return b->status;
}

int sa2_bench_kernel(int argc, char **argv)
{
    float spend = 1.0f;
    sa2_backend_options backend = {0};
    kernel_bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return EX_OSERR;
    const sa2_option own[] = {
        {"filter", 'f', SA2_OPTION_TEXT, &b->bench.filter, "TEXT",
         "only cases whose name holds it"},
        {"seconds", 's', SA2_OPTION_FLOAT, &spend, "X", "for each case (1)"},
        {"threads", 't', SA2_OPTION_INT, &backend.n_threads, "N", "threads (all processors)"},
        {"isa", 0, SA2_OPTION_TEXT, &backend.isa, "NAME", "auto, c, avx2, avx512, avx512bf16, amx"},
        {"json", 0, SA2_OPTION_FLAG, &b->bench.json, NULL, "a JSON object a line"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    const sa2_usage_text usage = {
        .name = "sa2 bench kernel",
        .synopsis = "[OPTIONS]",
        .summary = "Times single operations at the model's shapes. Weights rotate over copies so "
                   "that no cache holds\n"
                   "them; a result is checked before its time is printed. Takes 5 GB.",
        .example = "  sa2 bench kernel --filter gate_up",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code = EX_OK;
    bool go = sa2_options_read(&usage, argc, argv, &n, &exit_code);
    b->bench.seconds = (double)spend;
    if (go && !sa2_bench_ready(&b->bench, &usage, n)) {
        exit_code = EX_USAGE;
    } else if (go) {
        sa2_status st = sa2_backend_open(&b->bench.backend, &backend, &b->err);
        if (st == SA2_OK)
            st = run_all(b);
        exit_code = st == SA2_OK ? sa2_bench_end(&b->bench, &usage)
                                 : sa2_report_failure(usage.name, st, &b->err);
        sa2_stream_destroy(b->stream);
        sa2_arena_destroy(&b->arena);
        sa2_backend_close(b->bench.backend);
    }
    free(b);
    return exit_code;
}
