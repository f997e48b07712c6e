#include "bench/decoder_bench.h"

#include <stdlib.h>

#include "bench/bench_model.h"

enum { PAGE = 64 };

static sa2_kv_cache_view view_of(const sa2_decoder_bench *b, int n_pages)
{
    const sa2_decoder_config *c = &b->model->config.decoder;
    return (sa2_kv_cache_view){.n_pages = n_pages,
                               .page_size = PAGE,
                               .kv_heads = c->kv_heads,
                               .head_dim = c->head_dim,
                               .dtype = b->kv_dtype};
}

/* The cache as a step finds it: not what some other program left on the device. */
static sa2_status clear(sa2_decoder_bench *b, void *memory, size_t bytes, sa2_error *err)
{
    enum { PIECE = 1 << 20 };
    unsigned char *zeros = calloc(1, PIECE);
    if (zeros == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "bench: no memory");
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        sa2_upload(b->stream,
                   sa2_tensor_1d((char *)memory + at, SA2_F32, (int64_t)(n / sizeof(float))),
                   zeros);
    }
    sa2_status st = sa2_stream_finish(b->stream, err);
    free(zeros);
    return st;
}

static sa2_tensor ids(sa2_decoder_bench *b, int64_t n)
{
    return sa2_tensor_1d(sa2_arena_take(&b->arena, (size_t)n * sizeof(int32_t)), SA2_I32, n);
}

static sa2_status reserve(sa2_decoder_bench *b, int64_t rows, int64_t logits_rows, int n_pages,
                          sa2_error *err)
{
    const sa2_decoder_config *c = &b->model->config.decoder;
    sa2_kv_cache_view view = view_of(b, n_pages);
    size_t layer = sa2_arena_round((size_t)n_pages * sa2_kv_page_bytes(&view));
    size_t logits = (size_t)logits_rows * (size_t)c->vocab * sizeof(float);
    size_t lists =
        (size_t)(2 * rows + logits_rows) * sizeof(int32_t) + (size_t)16 * SA2_ARENA_ALIGN;
    sa2_status st =
        sa2_backend_arena_create(b->model->backend, &b->arena,
                                 (size_t)c->layers * layer + logits + lists +
                                     sa2_decoder_work_bytes(c, true, b->dtype, rows, logits_rows),
                                 err);
    for (int i = 0; st == SA2_OK && i < c->layers; i++) {
        b->kv[i] = view;
        b->kv[i].pages = sa2_arena_take(&b->arena, layer);
        if (!sa2_backend_reads_host(b->model->backend))
            st = clear(b, b->kv[i].pages, layer, err);
    }
    return st;
}

/* Rows [context, context + rows) of n sequences, of each the last `last` with logits. */
static sa2_status fill_lists(sa2_decoder_bench *b, int n, int rows, int context, int last,
                             sa2_error *err)
{
    int32_t *id = calloc((size_t)n * (size_t)(2 * rows + last), sizeof *id);
    if (id == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "bench: no memory");
    int32_t *position = id + n * rows, *logits_row = position + n * rows;
    for (int i = 0; i < n; i++) {
        b->offsets[i + 1] = (i + 1) * rows;
        b->first[i] = context;
        for (int l = 0; l < last; l++)
            logits_row[i * last + l] = (i + 1) * rows - last + l;
        for (int r = 0; r < rows; r++) {
            id[i * rows + r] = (i * 37 + r * 11) % b->model->n_token_rows;
            position[i * rows + r] = context + r;
        }
    }
    sa2_upload(b->stream, b->batch.ids, id);
    sa2_upload(b->stream, b->batch.positions, position);
    sa2_upload(b->stream, b->batch.logits_rows, logits_row);
    sa2_status st = sa2_stream_finish(b->stream, err);
    free(id);
    return st;
}

sa2_status sa2_decoder_bench_open(sa2_decoder_bench *b, const sa2_model *model, sa2_dtype dtype,
                                  sa2_dtype kv_dtype, int n, int rows, int context, int last,
                                  sa2_error *err)
{
    const sa2_decoder_config *c = &model->config.decoder;
    int max_pages = (context + rows + PAGE - 1) / PAGE, all = n * rows;
    *b = (sa2_decoder_bench){.model = model, .dtype = dtype, .kv_dtype = kv_dtype};
    b->kv = calloc((size_t)c->layers, sizeof *b->kv);
    b->block_table = calloc((size_t)n * (size_t)max_pages, sizeof(int32_t));
    b->offsets = calloc((size_t)n + 1, sizeof(int32_t));
    b->first = calloc((size_t)n, sizeof(int32_t));
    if (b->kv == NULL || b->block_table == NULL || b->offsets == NULL || b->first == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "bench: no memory");
    sa2_status st = sa2_stream_create(
        &b->stream, model->backend,
        sa2_attention_scratch_bytes(all, c->heads, c->head_dim, context + rows), err);
    if (st == SA2_OK)
        st = reserve(b, all, n * last, n * max_pages, err);
    if (st != SA2_OK)
        return st;
    for (int i = 0; i < n * max_pages; i++)
        b->block_table[i] = i;
    b->batch = (sa2_decoder_batch){
        .ids = ids(b, all),
        .positions = ids(b, all),
        .where = {.rows = {n, b->offsets},
                  .first_position = b->first,
                  .block_table = b->block_table,
                  .max_pages = max_pages},
        .logits_rows = ids(b, n * last),
        .kv = b->kv,
    };
    b->logits = sa2_tensor_2d(NULL, SA2_F32, n * last, c->vocab);
    b->logits.data = sa2_arena_take(&b->arena, sa2_tensor_bytes(&b->logits));
    return fill_lists(b, n, rows, context, last, err);
}

void sa2_decoder_bench_close(sa2_decoder_bench *b)
{
    sa2_stream_destroy(b->stream);
    sa2_backend_arena_destroy(b->model->backend, &b->arena);
    free(b->kv);
    free(b->block_table);
    free(b->offsets);
    free(b->first);
    *b = (sa2_decoder_bench){0};
}

sa2_status sa2_decoder_bench_start(sa2_decoder_bench *b, sa2_error *err)
{
    return sa2_decoder_forward(b->stream, &b->model->decoder, b->dtype, &b->arena, b->logits,
                               (sa2_tensor){0}, &b->batch, err);
}

sa2_status sa2_decoder_bench_step(sa2_decoder_bench *b, sa2_error *err)
{
    sa2_status st = sa2_decoder_bench_start(b, err);
    sa2_status finished = sa2_stream_finish(b->stream, st == SA2_OK ? err : NULL);
    return st != SA2_OK ? st : finished;
}

/* Parameters of the products of one layer. */
static double layer_parameters(const sa2_decoder_config *c)
{
    double hidden = c->hidden, q = (double)c->heads * c->head_dim,
           kv = (double)c->kv_heads * c->head_dim;
    return hidden * (q + 2 * kv) + q * hidden + 3.0 * hidden * c->ffn;
}

double sa2_decoder_bench_bytes(const sa2_decoder_bench *b)
{
    const sa2_decoder_config *c = &b->model->config.decoder;
    double row = (double)sa2_kv_row_bytes(b->kv_dtype, c->head_dim);
    double cache = 2.0 * row * c->layers * c->kv_heads * b->first[0] * b->batch.where.rows.n;
    return sa2_bench_model_step_bytes(b->model) + cache;
}

double sa2_decoder_bench_flops(const sa2_decoder_bench *b)
{
    const sa2_decoder_config *c = &b->model->config.decoder;
    double rows = (double)b->batch.ids.shape[0], n = b->batch.where.rows.n, each = rows / n;
    double keys = b->first[0] + (each + 1) / 2; /* seen by a row, on average */
    double attention = 4.0 * c->layers * c->heads * c->head_dim * keys * rows;
    return 2.0 * rows * c->layers * layer_parameters(c) + 2.0 * n * c->vocab * c->hidden +
           attention;
}
