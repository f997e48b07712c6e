/* kernel_attention.c - attention of the encoder, of a prompt, and of decoding over pages. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/kernel_bench.h"

/* A weight is rounded to bf16 where tensor cores multiply values, and so is the result: 2^-8 of at most 1. */
static const double allowed = 0x1p-7;

/* One query (row, head) over keys [0, n) of kv head `kv`, its first output. Keys and values in columns of [rows, .]. */
static double definition(const sa2_tensor *q, const sa2_tensor *k, const sa2_tensor *v, int64_t row,
                         int64_t head, int64_t kv, int64_t n, int64_t d, double scale)
{
    double most = -INFINITY, sum = 0.0, y = 0.0;
    double *score = malloc((size_t)n * sizeof *score);
    if (score == NULL)
        return NAN;
    for (int64_t j = 0; j < n; j++) {
        score[j] = 0.0;
        for (int64_t e = 0; e < d; e++)
            score[j] += sa2_kernel_element(q, row, head * d + e) *
                        sa2_kernel_element(k, j, kv * d + e) * scale;
        most = fmax(most, score[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        double weight = exp(score[j] - most);
        sum += weight;
        y += weight * sa2_kernel_element(v, j, kv * d);
    }
    free(score);
    return y / sum;
}

/* ---- one sequence of rows ---- */

typedef struct attention_run {
    sa2_kernel_bench *bench;
    sa2_attention_args args;
} attention_run;

static void run_attention(void *context, int turn)
{
    attention_run *a = context;
    (void)turn;
    sa2_attention(a->bench->stream, a->args);
}

static void bench_attention(sa2_kernel_bench *b, sa2_dtype dtype, const char *name, int release,
                            int heads, int dim)
{
    if (b->status != SA2_OK || !sa2_bench_wants(&b->bench, name))
        return;
    size_t device = sa2_arena_mark(&b->device), host = sa2_arena_mark(&b->host);
    int32_t rows = (int32_t)sa2_kernel_size(b, release, 1);
    heads = b->shrink > 1 ? 2 : heads;
    int64_t width = (int64_t)heads * dim;
    const int32_t offsets[] = {0, rows};
    sa2_kernel_pair qkv = sa2_kernel_values(b, dtype, rows, 3 * width);
    sa2_kernel_pair y = sa2_kernel_result(b, dtype, rows, width);
    sa2_kernel_pair q = sa2_kernel_cols(qkv, 0, width), k = sa2_kernel_cols(qkv, width, width),
                    v = sa2_kernel_cols(qkv, 2 * width, width);
    float scale = 1.0f / sqrtf((float)dim);
    attention_run a = {.bench = b,
                       .args = {.y = sa2_tensor_heads(y.device, heads),
                                .q = sa2_tensor_heads(q.device, heads),
                                .k = sa2_tensor_heads(k.device, heads),
                                .v = sa2_tensor_heads(v.device, heads),
                                .queries = {1, offsets},
                                .keys = {1, offsets},
                                .scale = scale}};
    if (b->status == SA2_OK) {
        run_attention(&a, 0);
        sa2_kernel_fetch(b, &y);
        for (int i = 0; i < 3 && b->status == SA2_OK; i++) {
            int64_t row = (int64_t)(rows - 1) * i / 2, head = (heads - 1) * i / 2;
            sa2_kernel_expect(
                b, name, sa2_kernel_element(&y.host, row, head * dim),
                definition(&q.host, &k.host, &v.host, row, head, head, rows, dim, (double)scale),
                allowed);
        }
        sa2_kernel_report(b, name, run_attention, &a, 4.0 * (double)sa2_tensor_bytes(&y.host),
                          4.0 * (double)rows * rows * (double)width, dtype == SA2_BF16);
    }
    sa2_arena_rewind(&b->device, device);
    sa2_arena_rewind(&b->host, host);
}

/* ---- pages: `batch` sequences of `keys`, the last `rows` of each ask ---- */

enum { HEADS = 28, KV_HEADS = 4, HEAD_DIM = 128, PAGE = 64 };

typedef struct paged_run {
    sa2_kernel_bench *bench;
    sa2_kv_cache_view cache;
    sa2_paged_rows where;
    sa2_tensor y, q;
    float scale;
} paged_run;

static void run_paged(void *context, int turn)
{
    paged_run *p = context;
    (void)turn;
    sa2_attention_paged(p->bench->stream, p->y, p->q, &p->cache, &p->where, p->scale);
}

/* Every sequence has pages of its own and the same keys and values; lists are the host's. */
static bool fill_pages(paged_run *p, const sa2_kernel_pair *k, const sa2_kernel_pair *v, int batch,
                       int keys, int rows, int32_t *lists)
{
    sa2_kernel_bench *b = p->bench;
    int pages = (keys + PAGE - 1) / PAGE;
    int32_t *offsets = lists, *first = offsets + batch + 1, *table = first + batch;
    for (int i = 0; i < batch; i++) {
        const int32_t all[] = {0, keys}, none = 0;
        for (int j = 0; j < pages; j++)
            table[i * pages + j] = i * pages + j;
        sa2_paged_rows one = {.rows = {1, all},
                              .first_position = &none,
                              .block_table = table + (ptrdiff_t)i * pages,
                              .max_pages = pages};
        sa2_kv_store(b->stream, &p->cache, sa2_tensor_heads(k->device, KV_HEADS),
                     sa2_tensor_heads(v->device, KV_HEADS), &one);
        b->status = sa2_stream_finish(b->stream, &b->err);
        if (b->status != SA2_OK)
            return false;
        offsets[i + 1] = offsets[i] + rows;
        first[i] = keys - rows;
    }
    p->where = (sa2_paged_rows){.rows = {batch, offsets},
                                .first_position = first,
                                .block_table = table,
                                .max_pages = pages};
    return true;
}

static void bench_paged(sa2_kernel_bench *b, sa2_dtype cached, const char *name, int batch,
                        int release, int rows)
{
    if (b->status != SA2_OK || !sa2_bench_wants(&b->bench, name))
        return;
    size_t device = sa2_arena_mark(&b->device), host = sa2_arena_mark(&b->host);
    int keys = (int)sa2_kernel_size(b, release, 16);
    batch = (int)sa2_kernel_size(b, batch, 1);
    rows = rows == 1 ? 1 : keys;
    int pages = (keys + PAGE - 1) / PAGE;
    paged_run p = {.bench = b,
                   .cache = {.n_pages = batch * pages,
                             .page_size = PAGE,
                             .kv_heads = KV_HEADS,
                             .head_dim = HEAD_DIM,
                             .dtype = cached},
                   .scale = 1.0f / sqrtf(HEAD_DIM)};
    sa2_kernel_pair k = sa2_kernel_values(b, SA2_BF16, keys, KV_HEADS * HEAD_DIM);
    sa2_kernel_pair v = sa2_kernel_values(b, SA2_BF16, keys, KV_HEADS * HEAD_DIM);
    sa2_kernel_pair q = sa2_kernel_values(b, SA2_BF16, (int64_t)batch * rows, HEADS * HEAD_DIM);
    sa2_kernel_pair y = sa2_kernel_result(b, SA2_BF16, (int64_t)batch * rows, HEADS * HEAD_DIM);
    size_t page_bytes = sa2_kv_page_bytes(&p.cache);
    p.cache.pages = sa2_arena_take(&b->device, page_bytes * (size_t)p.cache.n_pages);
    int32_t *lists = calloc((size_t)batch * (size_t)(pages + 2) + 1, sizeof *lists);
    if ((p.cache.pages == NULL || lists == NULL) && b->status == SA2_OK)
        b->status = sa2_fail(&b->err, SA2_ERR_NOMEM, "%s: no room for its pages", name);
    p.q = sa2_tensor_heads(q.device, HEADS);
    p.y = sa2_tensor_heads(y.device, HEADS);
    if (b->status == SA2_OK && fill_pages(&p, &k, &v, batch, keys, rows, lists)) {
        run_paged(&p, 0);
        sa2_kernel_fetch(b, &y);
        for (int i = 0; i < 3 && b->status == SA2_OK; i++) {
            int64_t row = ((int64_t)batch * rows - 1) * i / 2, head = (HEADS - 1) * i / 2;
            int64_t seen = keys - rows + row % rows + 1;
            sa2_kernel_expect(b, name, sa2_kernel_element(&y.host, row, head * HEAD_DIM),
                              definition(&q.host, &k.host, &v.host, row, head,
                                         head / (HEADS / KV_HEADS), seen, HEAD_DIM,
                                         (double)p.scale),
                              allowed);
        }
        double seen = rows == 1 ? (double)keys : (double)rows * ((double)rows + 1.0) / 2.0;
        double bytes =
            (double)batch * 2.0 * keys * KV_HEADS * (double)sa2_kv_row_bytes(cached, HEAD_DIM) +
            2.0 * (double)sa2_tensor_bytes(&y.host);
        sa2_kernel_report(b, name, run_paged, &p, bytes,
                          4.0 * (double)batch * seen * HEADS * HEAD_DIM, true);
    }
    free(lists);
    sa2_arena_rewind(&b->device, device);
    sa2_arena_rewind(&b->host, host);
}

/* The cache in 8 bits beside the same in bf16. */
static void bench_long_caches(sa2_kernel_bench *b)
{
    static const struct {
        int batch, keys, rows;
    } cases[] = {{1, 4096, 1}, {8, 4096, 1}, {1, 16384, 1}, {8, 16384, 1}, {1, 2048, 2048}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int rounded = 0; rounded < 2; rounded++) {
            char name[64];
            snprintf(name, sizeof name, "attention_paged/%s_%dx%d%s",
                     cases[i].rows == 1 ? "decode" : "prompt", cases[i].batch, cases[i].keys,
                     rounded ? "_int8" : "");
            bench_paged(b, rounded ? SA2_I8 : SA2_BF16, name, cases[i].batch, cases[i].keys,
                        cases[i].rows);
        }
}

void sa2_kernel_attention(sa2_kernel_bench *b)
{
    bench_paged(b, SA2_BF16, "attention_paged/decode_1x2048", 1, 2048, 1);
    bench_paged(b, SA2_BF16, "attention_paged/decode_32x1024", 32, 1024, 1);
    bench_paged(b, SA2_BF16, "attention_paged/decode_128x1024", 128, 1024, 1);
    bench_paged(b, SA2_BF16, "attention_paged/prompt_353", 1, 353, 353);
    bench_long_caches(b);
    bench_attention(b, SA2_BF16, "attention/encoder_25s", 1251, 20, 64);
    bench_attention(b, SA2_F32, "attention/encoder_25s_f32", 1251, 20, 64);
}
