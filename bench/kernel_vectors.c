/* kernel_vectors.c - what is done to each row: norms and sums of the residual stream. */
#include <math.h>
#include <stdio.h>

#include "bench/kernel_bench.h"

typedef struct vectors_run {
    sa2_kernel_bench *bench;
    sa2_kernel_pair y, x, weight;
} vectors_run;

static const float eps = 1e-6f;

static void run_norm(void *context, int turn)
{
    vectors_run *r = context;
    sa2_tensor weight = sa2_tensor_1d(r->weight.device.data, SA2_F32, r->x.device.shape[1]);
    (void)turn;
    sa2_rms_norm(r->bench->stream, r->y.device, r->x.device, weight, eps);
}

static void run_add(void *context, int turn)
{
    vectors_run *r = context;
    (void)turn;
    sa2_add(r->bench->stream, r->y.device, r->x.device, r->x.device);
}

static double norm_of(const vectors_run *r, int64_t row, int64_t col)
{
    int64_t n = r->x.host.shape[1];
    double squares = 0.0;
    for (int64_t i = 0; i < n; i++)
        squares += pow(sa2_kernel_element(&r->x.host, row, i), 2.0);
    return sa2_kernel_element(&r->x.host, row, col) / sqrt(squares / (double)n + (double)eps) *
           sa2_kernel_element(&r->weight.host, 0, col);
}

static double sum_of(const vectors_run *r, int64_t row, int64_t col)
{
    return 2.0 * sa2_kernel_element(&r->x.host, row, col);
}

static void bench_vectors(sa2_kernel_bench *b, const char *op, int rows, sa2_bench_run run,
                          double (*expected)(const vectors_run *, int64_t, int64_t), double moved)
{
    char name[64];
    snprintf(name, sizeof name, "%s/%d", op, rows);
    if (b->status != SA2_OK || !sa2_bench_wants(&b->bench, name))
        return;
    size_t device = sa2_arena_mark(&b->device), host = sa2_arena_mark(&b->host);
    int64_t n = sa2_kernel_size(b, 3584, 8);
    vectors_run r = {.bench = b,
                     .y = sa2_kernel_result(b, SA2_BF16, rows, n),
                     .x = sa2_kernel_values(b, SA2_BF16, rows, n),
                     .weight = sa2_kernel_values(b, SA2_F32, 1, n)};
    if (b->status == SA2_OK) {
        run(&r, 0);
        sa2_kernel_fetch(b, &r.y);
        for (int i = 0; i < 4; i++) { /* a rounding to bf16 is 2^-9 of the value at most */
            int64_t row = (int64_t)(rows - 1) * i / 3, col = (n - 1) * i / 3;
            double want = expected(&r, row, col);
            sa2_kernel_expect(b, name, sa2_kernel_element(&r.y.host, row, col), want,
                              0x1p-8 * fabs(want) + 1e-6);
        }
        sa2_kernel_report(b, name, run, &r, moved * (double)sa2_tensor_bytes(&r.x.host), 0.0, true);
    }
    sa2_arena_rewind(&b->device, device);
    sa2_arena_rewind(&b->host, host);
}

void sa2_kernel_vectors(sa2_kernel_bench *b)
{
    static const int own[] = {1, 128, 2048, 0};
    const int *rows = b->n_rows > 0 ? b->rows : own;
    for (int i = 0; rows[i] > 0; i++) {
        bench_vectors(b, "rms_norm", rows[i], run_norm, norm_of, 2.0);
        bench_vectors(b, "add", rows[i], run_add, sum_of, 2.0);
    }
}
