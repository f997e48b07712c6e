/* kernel_products.c - the linear layers of the model, by rows of x. */
#include <math.h>
#include <stdio.h>

#include "bench/kernel_bench.h"

/* Weights rotate over copies, more than any cache of a processor holds. */
enum { MAX_COPIES = 16, COPIES_BYTES = 600 << 20 };

typedef struct product_case {
    const char *name;
    int64_t n, k;
    sa2_dtype dtype;
    bool swiglu;
    const int *rows; /* ends with 0 */
} product_case;

typedef struct product_run {
    sa2_kernel_bench *bench;
    sa2_matrix w[MAX_COPIES];
    int n_copies;
    sa2_tensor src;   /* of the host */
    sa2_tensor plain; /* the same on the device, for cuBLASLt; only where that is open */
    sa2_kernel_pair x, y;
    bool swiglu;
} product_run;

static void run_product(void *context, int turn)
{
    product_run *p = context;
    sa2_linear(p->bench->stream, (sa2_linear_args){.y = p->y.device,
                                                   .x = p->x.device,
                                                   .w = &p->w[turn % p->n_copies],
                                                   .swiglu = p->swiglu});
}

/* One output against plain sums. */
static void judge_output(const product_run *p, const char *name, int64_t row, int64_t col)
{
    int64_t n = p->y.host.shape[1], k = p->x.host.shape[1];
    double a = 0.0, up = 0.0, size = 0.0, up_size = 0.0;
    for (int64_t i = 0; i < k; i++) {
        double x = sa2_kernel_element(&p->x.host, row, i);
        double w = sa2_kernel_element(&p->src, col, i);
        a += x * w;
        size += fabs(x * w);
        if (p->swiglu) {
            w = sa2_kernel_element(&p->src, n + col, i);
            up += x * w;
            up_size += fabs(x * w);
        }
    }
    double gate = a / (1.0 + exp(-a)), want = p->swiglu ? gate * up : a;
    /* Of a product of two sums: the error of each times the other. |silu'| stays below 1.1. */
    double scale = p->swiglu ? 1.1 * size * fabs(up) + fabs(gate) * up_size : size;
    double allowed = scale * (p->y.host.dtype == SA2_BF16 ? 1e-2 : 1e-5) + 1e-3;
    sa2_kernel_expect(p->bench, name, sa2_kernel_element(&p->y.host, row, col), want, allowed);
}

/* First and last outputs of first and last row, and some between. */
static void judge(const product_run *p, const char *name)
{
    enum { PARTS = 3 };
    int64_t rows = p->y.host.shape[0], n = p->y.host.shape[1];
    for (int i = 0; i <= PARTS; i++)
        for (int j = 0; j <= PARTS; j++)
            judge_output(p, name, (rows - 1) * i / PARTS, (n - 1) * j / PARTS);
}

static void make_weights(product_run *p, const product_case *c, int64_t n, int64_t k)
{
    sa2_kernel_bench *b = p->bench;
    size_t bytes = sa2_matrix_bytes(b->stream, c->dtype, n, k);
    size_t copies = (size_t)COPIES_BYTES / (size_t)b->shrink / bytes + 1;
    p->n_copies = copies < MAX_COPIES ? (int)copies : MAX_COPIES;
    size_t mark = sa2_arena_mark(&b->device);
    sa2_kernel_pair src = sa2_kernel_values(b, c->dtype, n, k);
    p->src = src.host;
    p->plain = src.device;
    if (b->cublaslt == NULL || c->dtype != SA2_BF16)
        sa2_arena_rewind(&b->device, mark); /* only the host's is needed */
    for (int i = 0; i < p->n_copies && b->status == SA2_OK; i++) {
        p->w[i] = (sa2_matrix){sa2_arena_take(&b->device, bytes), c->dtype, n, k};
        if (p->w[i].data == NULL)
            b->status =
                sa2_fail(&b->err, SA2_ERR_NOMEM, "%s: %zu bytes do not fit", c->name, bytes);
        else if (c->swiglu)
            sa2_matrix_write_swiglu(b->stream, &p->w[i], sa2_tensor_rows(p->src, 0, n / 2),
                                    sa2_tensor_rows(p->src, n / 2, n / 2));
        else
            sa2_matrix_write(b->stream, &p->w[i], 0, p->src);
    }
}

/* ---- cuBLASLt beside ours ---- */

/* The whole product: of gate and up it has both, where ours leaves silu(gate) * up. */
typedef struct reference_run {
    product_run *product;
    char name[80];
    sa2_kernel_pair y;
    bool failed;
} reference_run;

/* Says why there is no row, and the bench goes on. */
static void do_without(sa2_kernel_bench *b)
{
    fprintf(stderr, "sa2 bench kernel: cuBLASLt is not beside ours: %s\n", b->err.message);
    b->err = (sa2_error){0};
    b->status = SA2_OK;
}

static void open_reference(sa2_kernel_bench *b)
{
    if (b->cublaslt != NULL || b->cublaslt_names == NULL)
        return;
    b->status = sa2_product_cublaslt_open(&b->cublaslt, b->cublaslt_names, b->stream, &b->err);
    b->cublaslt_names = NULL; /* one line is enough */
    if (b->status != SA2_OK)
        do_without(b);
}

static void run_reference(void *context, int turn)
{
    reference_run *r = context;
    sa2_kernel_bench *b = r->product->bench;
    (void)turn; /* its weights are read by nobody else, and caches are emptied before */
    if (b->status != SA2_OK)
        return;
    b->status = sa2_product_cublaslt_run(b->cublaslt, r->y.device, r->product->x.device,
                                         r->product->plain, &b->err);
    r->failed = b->status != SA2_OK;
    if (r->failed)
        sa2_wrap(&b->err, b->status, "%s", r->name);
}

/* All of our results against the reference's. */
static void compare(reference_run *r)
{
    product_run *p = r->product;
    int64_t rows = p->y.host.shape[0], n = p->y.host.shape[1];
    double rounding = 0x1p-8;                        /* of one result in bf16 */
    double sums = 1e-5 * (double)p->x.host.shape[1]; /* in f32, of terms that are 1 at most */
    if (p->bench->status != SA2_OK)
        return;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++) {
            double ours = sa2_kernel_element(&p->y.host, i, j);
            double theirs = sa2_kernel_element(&r->y.host, i, j);
            double allowed = 2.0 * rounding * fabs(ours) + sums;
            if (p->swiglu) { /* |silu'| stays below 1.1 */
                double gate = theirs, up = sa2_kernel_element(&r->y.host, i, n + j);
                theirs = gate / (1.0 + exp(-gate)) * up;
                allowed = 3.1 * rounding * fabs(gate * up) + 1.1 * sums * (fabs(gate) + fabs(up));
            }
            sa2_kernel_expect(p->bench, r->name, theirs, ours, allowed);
        }
    r->failed = p->bench->status != SA2_OK;
}

static void bench_reference(product_run *p, const char *ours)
{
    sa2_kernel_bench *b = p->bench;
    int64_t rows = p->x.host.shape[0];
    reference_run r = {.product = p, .y = sa2_kernel_result(b, SA2_BF16, rows, p->src.shape[0])};
    snprintf(r.name, sizeof r.name, "%s/cublaslt", ours);
    run_reference(&r, 0);
    sa2_kernel_fetch(b, &r.y);
    compare(&r);
    double bytes = (double)sa2_tensor_bytes(&p->src) + (double)sa2_tensor_bytes(&p->x.host) +
                   (double)sa2_tensor_bytes(&r.y.host);
    double flops = 2.0 * (double)sa2_tensor_count(&p->src) * (double)rows;
    sa2_kernel_report(b, r.name, run_reference, &r, bytes, flops, true);
    if (r.failed)
        do_without(b);
}

/* ---- the same product in an engine whose large products are cuBLASLt's ---- */

static void close_large(sa2_kernel_bench *b)
{
    sa2_stream_destroy(b->large_stream);
    sa2_backend_close(b->large_backend);
    b->large_stream = NULL;
    b->large_backend = NULL;
}

static void open_large(sa2_kernel_bench *b)
{
    if (b->large_stream != NULL || b->large_products == NULL || b->status != SA2_OK)
        return;
    const sa2_backend_options options = {.device = sa2_backend_device(b->bench.backend),
                                         .n_threads = 1,
                                         .large_products = b->large_products};
    b->status = sa2_backend_open(&b->large_backend, &options, &b->err);
    if (b->status == SA2_OK)
        b->status = sa2_stream_create(&b->large_stream, b->large_backend, 0, &b->err);
    b->large_products = NULL;
    if (b->status != SA2_OK) {
        close_large(b);
        do_without(b);
    }
}

/* Weights as the engine has them, and y as it wants it: unpacking and all. */
static void bench_large(product_run *p, const char *ours, double bytes, double flops)
{
    sa2_kernel_bench *b = p->bench;
    sa2_stream *own = b->stream;
    char name[80];
    snprintf(name, sizeof name, "%s/engine_cublaslt", ours);
    b->status = sa2_stream_finish(own, &b->err); /* weights are there */
    if (b->status != SA2_OK)
        return;
    b->stream = b->large_stream;
    run_product(p, 0);
    sa2_kernel_fetch(b, &p->y);
    if (b->status != SA2_OK)
        sa2_wrap(&b->err, b->status, "%s", name);
    judge(p, name);
    sa2_kernel_report(b, name, run_product, p, bytes, flops, true);
    b->stream = own;
    if (b->status != SA2_OK)
        do_without(b);
}

/* ---- cases ---- */

static void bench_rows(product_run *p, const product_case *c, const char *name, int rows)
{
    sa2_kernel_bench *b = p->bench;
    int64_t n = p->src.shape[0], k = p->src.shape[1];
    size_t device = sa2_arena_mark(&b->device), host = sa2_arena_mark(&b->host);
    p->x = sa2_kernel_values(b, c->dtype, rows, k);
    p->y = sa2_kernel_result(b, c->dtype, rows, c->swiglu ? n / 2 : n);
    if (b->status == SA2_OK) {
        run_product(p, 0);
        sa2_kernel_fetch(b, &p->y);
        judge(p, name);
        double bytes = (double)sa2_matrix_bytes(b->stream, c->dtype, n, k) +
                       (double)sa2_tensor_bytes(&p->x.host) + (double)sa2_tensor_bytes(&p->y.host);
        double flops = 2.0 * (double)n * (double)k * rows;
        sa2_kernel_report(b, name, run_product, p, bytes, flops, c->dtype == SA2_BF16);
        if (b->cublaslt != NULL && c->dtype == SA2_BF16 && b->status == SA2_OK)
            bench_reference(p, name);
        if (b->large_stream != NULL && c->dtype == SA2_BF16 && rows >= b->large_rows &&
            b->status == SA2_OK)
            bench_large(p, name, bytes, flops);
    }
    sa2_arena_rewind(&b->device, device);
    sa2_arena_rewind(&b->host, host);
}

static void bench_product(sa2_kernel_bench *b, const product_case *c)
{
    size_t device = sa2_arena_mark(&b->device), host = sa2_arena_mark(&b->host);
    const int *rows = b->n_rows > 0 ? b->rows : c->rows;
    product_run p = {.bench = b, .swiglu = c->swiglu};
    for (int i = 0; rows[i] > 0 && b->status == SA2_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "linear/%s/%d", c->name, rows[i]);
        if (!sa2_bench_wants(&b->bench, name))
            continue;
        if (c->dtype == SA2_BF16)
            open_reference(b);
        if (b->cublaslt != NULL)
            open_large(b);
        if (p.n_copies == 0)
            make_weights(&p, c, sa2_kernel_size(b, c->n, 32), sa2_kernel_size(b, c->k, 32));
        bench_rows(&p, c, name, rows[i]);
    }
    sa2_arena_rewind(&b->device, device);
    sa2_arena_rewind(&b->host, host);
}

void sa2_kernel_products(sa2_kernel_bench *b)
{
    static const int decoder_rows[] = {1, 8, 32, 128, 512, 0}, head_rows[] = {1, 32, 0};
    static const int encoder_rows[] = {1251, 0}, flow_rows[] = {100, 0};
    static const product_case cases[] = {
        {"gate_up", 37888, 3584, SA2_BF16, true, decoder_rows},
        {"down", 3584, 18944, SA2_BF16, false, decoder_rows},
        {"qkv", 4608, 3584, SA2_BF16, false, decoder_rows},
        {"out", 3584, 3584, SA2_BF16, false, decoder_rows},
        {"head", 158720, 3584, SA2_BF16, false, head_rows},
        {"encoder_qkv", 3840, 1280, SA2_BF16, false, encoder_rows},
        {"encoder_up", 5120, 1280, SA2_BF16, false, encoder_rows},
        {"encoder_down", 1280, 5120, SA2_BF16, false, encoder_rows},
        {"flow_qkv_f32", 1536, 512, SA2_F32, false, flow_rows},
        {"flow_up_f32", 2048, 512, SA2_F32, false, flow_rows},
        {"flow_down_f32", 512, 2048, SA2_F32, false, flow_rows},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        bench_product(b, &cases[i]);
    close_large(b);
    sa2_product_cublaslt_close(b->cublaslt);
    b->cublaslt = NULL;
}
