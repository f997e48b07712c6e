/* kernel_sample.c - choosing tokens where the logits are. Bytes are those of the rows, read once: what nobody can beat. */
#include <stdio.h>

#include "bench/kernel_bench.h"
#include "runtime/decoder/sampler.h"

enum { VOCAB = 158720 };

typedef struct sample_run {
    sa2_kernel_bench *bench;
    sa2_tensor logits, results; /* of the device */
    float *host;                /* the logits */
    sa2_sampled *found;         /* [rows] */
    sa2_sample_row *rows;
    sa2_sample_draw *draws;
    int n_rows, n;
} sample_run;

static void run(void *context, int turn)
{
    sample_run *r = context;
    (void)turn;
    sa2_sample(r->bench->stream, (sa2_sample_args){.results = r->results,
                                                   .logits = r->logits,
                                                   .n_tokens = r->n,
                                                   .rows = r->rows,
                                                   .draws = r->draws,
                                                   .n_rows = r->n_rows,
                                                   .n_draws = r->n_rows});
}

/* Sums of four uniform numbers: a bell of deviation 3, with a few tokens above it. */
static void fill(float *logits, int64_t n)
{
    uint32_t random = 1;
    for (int64_t i = 0; i < n; i++) {
        float sum = -2.0f;
        for (int k = 0; k < 4; k++) {
            random = random * 1664525u + 1013904223u;
            sum += (float)(random >> 8) * 0x1p-24f;
        }
        logits[i] = sum * 5.2f + (i % 9973 == 0 ? 6.0f : 0.0f);
    }
}

/* False: there is no room. */
static bool make(sample_run *r, const sa2_sampling_params *params)
{
    sa2_kernel_bench *b = r->bench;
    size_t n = (size_t)r->n_rows;
    r->host = sa2_arena_take(&b->host, n * (size_t)r->n * sizeof(float));
    r->found = sa2_arena_take(&b->host, n * sizeof *r->found);
    r->rows = sa2_arena_take(&b->host, n * sizeof *r->rows);
    r->draws = sa2_arena_take(&b->host, n * sizeof *r->draws);
    r->logits = sa2_tensor_2d(sa2_arena_take(&b->device, n * (size_t)r->n * sizeof(float)), SA2_F32,
                              r->n_rows, r->n);
    r->results = sa2_tensor_2d(sa2_arena_take(&b->device, n * sizeof *r->found), SA2_U8, r->n_rows,
                               sizeof *r->found);
    if (r->host == NULL || r->found == NULL || r->rows == NULL || r->draws == NULL ||
        r->logits.data == NULL || r->results.data == NULL)
        return false;
    fill(r->host, (int64_t)r->n_rows * r->n);
    sa2_upload(b->stream, r->logits, r->host);
    for (int i = 0; i < r->n_rows; i++) {
        r->rows[i] = (sa2_sample_row){.rule = sa2_sampler_rule(params),
                                      .row = i,
                                      .slot = -1,
                                      .first_draw = i,
                                      .n_draws = 1,
                                      .wants_mass = params->n_logprobs >= 0};
        sa2_sampler sampler = {.params = params, .seed = 1, .choice = (uint32_t)i};
        r->draws[i] = (sa2_sample_draw){sa2_sampler_uniform(&sampler), -1};
    }
    return true;
}

/* The first row and the last against the host's sampler. */
static void check(sample_run *r, const char *name, const sa2_sampling_params *params)
{
    sa2_kernel_bench *b = r->bench;
    sa2_sampler_work work;
    void *memory = sa2_arena_take(&b->host, sa2_sampler_bytes(r->n));
    b->status = sa2_sampler_work_init(&work, r->n, &b->host, &b->err);
    if (b->status == SA2_OK && memory == NULL)
        b->status = sa2_fail(&b->err, SA2_ERR_NOMEM, "%s: no memory", name);
    run(r, 0);
    sa2_download(b->stream, r->found, r->results);
    if (b->status == SA2_OK)
        b->status = sa2_stream_finish(b->stream, &b->err);
    for (int i = 0; i < r->n_rows && b->status == SA2_OK; i += r->n_rows > 1 ? r->n_rows - 1 : 1) {
        sa2_sampler sampler;
        int32_t want = -1;
        sa2_sampler_init(&sampler, memory, params, 1, (uint32_t)i, r->n, NULL, 0);
        b->status = sa2_sampler_next(&sampler, r->host + (int64_t)i * r->n, &work, &want, &b->err);
        if (b->status == SA2_OK)
            sa2_kernel_expect(b, name, r->found[i].token, want, 0.0);
    }
}

static void bench_sample(sa2_kernel_bench *b, const char *what, int rows,
                         const sa2_sampling_params *params)
{
    char name[64];
    snprintf(name, sizeof name, "sample/%s/%d", what, rows);
    if (b->status != SA2_OK || !sa2_bench_wants(&b->bench, name))
        return;
    size_t device = sa2_arena_mark(&b->device), host = sa2_arena_mark(&b->host);
    sample_run r = {.bench = b, .n_rows = rows, .n = (int)sa2_kernel_size(b, VOCAB, 64)};
    if (!make(&r, params))
        b->status = sa2_fail(&b->err, SA2_ERR_NOMEM, "%s: no memory", name);
    if (b->status == SA2_OK)
        check(&r, name, params);
    sa2_kernel_report(b, name, run, &r, (double)rows * r.n * sizeof(float), 0.0, false);
    sa2_arena_rewind(&b->device, device);
    sa2_arena_rewind(&b->host, host);
}

void sa2_kernel_sample(sa2_kernel_bench *b)
{
    static const int own[] = {1, 128, 0};
    const int *rows = b->n_rows > 0 ? b->rows : own;
    sa2_sampling_params greedy = sa2_sampling_defaults(SA2_SAMPLING_VLLM), top_k = greedy,
                        top_p = greedy, plain = greedy;
    greedy.temperature = 0.0f;
    top_k.top_k = 50;
    top_p.top_p = 0.9f;
    plain.n_logprobs = 0;
    if (sa2_backend_reads_host(b->bench.backend))
        return; /* the processor has no such op */
    for (int i = 0; rows[i] > 0; i++) {
        bench_sample(b, "greedy", rows[i], &greedy);
        bench_sample(b, "top_k", rows[i], &top_k);
        bench_sample(b, "top_p", rows[i], &top_p);
        bench_sample(b, "plain_logprob", rows[i], &plain);
    }
}
