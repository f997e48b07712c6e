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
    sa2_tensor src; /* of the host */
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
    p->src = sa2_kernel_values(b, c->dtype, n, k).host;
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
        sa2_kernel_report(b, name, run_product, p, bytes, 2.0 * (double)n * (double)k * rows,
                          c->dtype == SA2_BF16);
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
}
