/* check_decoder.c - golden cases of the decoder: its pieces, and whole prompts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/check_model.h"
#include "tools/check_parts.h"

/* ---- pieces of layer 1, on rows x [n, hidden] ---- */

typedef struct piece {
    sa2_model model;
    sa2_check_device device;
    const sa2_decoder_layer *layer;
    sa2_dtype dtype;
    sa2_tensor in; /* of the case */
    sa2_tensor x;  /* the same in the dtype of activations */
} piece;

static sa2_tensor take(sa2_check_device *device, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, dtype, rows, cols);
    x.data = sa2_arena_take(&device->arena, sa2_tensor_bytes(&x));
    return x;
}

static sa2_status open_piece(piece *p, sa2_check_run *run, sa2_error *err)
{
    *p = (piece){.dtype = run->context->dtype};
    sa2_status st = sa2_check_model_open(&p->model, run, SA2_MODEL_DECODER, err);
    if (st != SA2_OK)
        return st;
    const sa2_decoder_config *c = &p->model.config.decoder;
    if (c->layers < 2)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: layer 1 of a model that has %d",
                        sa2_golden_origin(run->golden), c->layers);
    p->layer = &p->model.decoder.layers[1];
    st = sa2_golden_expect(run->golden, "x", SA2_F32, 2, (const int64_t[]){-1, c->hidden}, &p->in,
                           err);
    if (st != SA2_OK)
        return st;
    int64_t rows = p->in.shape[0];
    size_t widest =
        (size_t)(2 * c->ffn + 8 * c->hidden + 4 * c->head_dim * (c->heads + c->kv_heads));
    size_t kv = (size_t)(rows + 64) * (size_t)(4 * c->kv_heads * c->head_dim) * sizeof(float);
    st = sa2_check_device_ready(
        &p->device, run, (size_t)(rows + 16) * widest * sizeof(float) + kv + 4096,
        sa2_attention_scratch_bytes(rows, c->heads, c->head_dim, rows), err);
    if (st != SA2_OK)
        return st;
    sa2_tensor raw = take(&p->device, SA2_F32, rows, c->hidden);
    p->x = take(&p->device, p->dtype, rows, c->hidden);
    sa2_upload(p->device.stream, raw, p->in.data);
    sa2_copy(p->device.stream, p->x, raw);
    return SA2_OK;
}

static void close_piece(piece *p)
{
    sa2_check_device_close(&p->device);
    sa2_model_close(&p->model);
}

static void run_norm(sa2_stream *s, piece *p, sa2_tensor y)
{
    sa2_rms_norm(s, y, p->x, p->layer->attn_norm, p->model.config.decoder.rms_norm_eps);
}

static void run_swiglu(sa2_stream *s, piece *p, sa2_tensor y)
{
    sa2_tensor hidden = take(&p->device, p->dtype, y.shape[0], p->model.config.decoder.ffn);
    sa2_linear(s,
               (sa2_linear_args){.y = hidden, .x = p->x, .w = &p->layer->gate_up, .swiglu = true});
    sa2_linear(s, (sa2_linear_args){.y = y, .x = hidden, .w = &p->layer->down});
}

static void run_attention(sa2_stream *s, piece *p, sa2_tensor y)
{
    const sa2_decoder_config *c = &p->model.config.decoder;
    int64_t rows = y.shape[0];
    sa2_kv_cache_view kv = {.n_pages = 1,
                            .page_size = (int)((rows + 15) / 16 * 16),
                            .kv_heads = c->kv_heads,
                            .head_dim = c->head_dim,
                            .dtype = p->dtype};
    kv.pages = sa2_arena_take(&p->device.arena, sa2_kv_page_bytes(&kv));
    sa2_tensor positions = sa2_tensor_1d(
        sa2_arena_take(&p->device.arena, (size_t)rows * sizeof(int32_t)), SA2_I32, rows);
    for (int32_t i = 0; i < rows; i++)
        sa2_upload(s, sa2_tensor_rows(positions, i, 1), &i);
    const int32_t offsets[] = {0, (int32_t)rows}, zero = 0;
    const sa2_paged_rows where = {
        .rows = {1, offsets}, .first_position = &zero, .block_table = &zero, .max_pages = 1};
    sa2_tensor hidden = take(&p->device, p->dtype, rows, (int64_t)c->heads * c->head_dim);
    sa2_decoder_attention(
        s, &p->model.decoder, 1, hidden, p->x, positions, &kv, &where,
        take(&p->device, p->dtype, rows, (int64_t)(c->heads + 2 * c->kv_heads) * c->head_dim));
    sa2_linear(s, (sa2_linear_args){.y = y, .x = hidden, .w = &p->layer->out});
}

static sa2_status check_piece(sa2_check_run *run,
                              void (*forward)(sa2_stream *s, piece *p, sa2_tensor y),
                              sa2_error *err)
{
    piece p;
    sa2_status st = open_piece(&p, run, err);
    if (st == SA2_OK) {
        sa2_tensor y = take(&p.device, SA2_F32, p.in.shape[0], p.in.shape[1]);
        forward(p.device.stream, &p, y);
        st = sa2_check_judge_device(run, "y", p.dtype, p.device.stream, y, err);
    }
    close_piece(&p);
    return st;
}

static sa2_status check_rms_norm(sa2_check_run *run, sa2_error *err)
{
    return check_piece(run, run_norm, err);
}

static sa2_status check_swiglu(sa2_check_run *run, sa2_error *err)
{
    return check_piece(run, run_swiglu, err);
}

static sa2_status check_attention(sa2_check_run *run, sa2_error *err)
{
    return check_piece(run, run_attention, err);
}

static sa2_status check_rope(sa2_check_run *run, sa2_error *err)
{
    int64_t heads, dim;
    sa2_tensor in, positions;
    const char *theta = sa2_golden_text(run->golden, "theta");
    sa2_check_device device = {0};
    if (theta == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no theta", sa2_golden_origin(run->golden));
    sa2_status st = sa2_golden_number(run->golden, "heads", 1, 1024, &heads, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "head_dim", 2, 4096, &dim, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "x", SA2_F32, 2, (const int64_t[]){-1, heads * dim},
                               &in, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "positions", SA2_I32, 1, (const int64_t[]){in.shape[0]},
                               &positions, err);
    if (st == SA2_OK)
        st = sa2_check_device_ready(
            &device, run, 4 * sa2_tensor_bytes(&in) + 4096,
            sa2_attention_scratch_bytes(in.shape[0], (int)heads, (int)dim, 1), err);
    if (st == SA2_OK) {
        sa2_dtype dtype = run->context->dtype;
        sa2_tensor raw = take(&device, SA2_F32, in.shape[0], in.shape[1]);
        sa2_tensor x = take(&device, dtype, in.shape[0], in.shape[1]);
        sa2_tensor places =
            sa2_tensor_1d(sa2_arena_take(&device.arena, sa2_tensor_bytes(&positions)), SA2_I32,
                          positions.shape[0]);
        sa2_upload(device.stream, raw, in.data);
        sa2_upload(device.stream, places, positions.data);
        sa2_copy(device.stream, x, raw);
        sa2_rope(device.stream, sa2_tensor_heads(x, heads), places, strtof(theta, NULL));
        sa2_copy(device.stream, raw, x);
        st = sa2_check_judge_device(run, "y", dtype, device.stream, raw, err);
    }
    sa2_check_device_close(&device);
    return st;
}

/* ---- whole prompts ---- */

static bool inside(sa2_tensor numbers, int64_t n)
{
    const int32_t *values = numbers.data;
    for (int64_t i = 0; i < numbers.shape[0]; i++)
        if (values[i] < 0 || values[i] >= n)
            return false;
    return true;
}

/* Columns of tokens only, and the rows of `positions` among the rows that were computed, which are all. */
static void judge_rows(sa2_check_run *run, const char *name, sa2_tensor positions,
                       const float *rows, int64_t stride, int64_t cols, sa2_error *err,
                       sa2_status *st)
{
    int64_t n = positions.shape[0];
    float *found = malloc((size_t)(n * cols) * sizeof(float));
    if (found == NULL) {
        *st = sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %s", name);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(found + i * cols, rows + ((const int32_t *)positions.data)[i] * stride,
               (size_t)cols * sizeof(float));
    sa2_check_judge(run, name, run->context->dtype, sa2_tensor_2d(found, SA2_F32, n, cols));
    free(found);
}

static sa2_status check_decoder(sa2_check_run *run, sa2_error *err)
{
    sa2_model model = {0};
    sa2_check_decoder decoder = {0};
    float *logits = NULL, *hidden = NULL;
    int32_t *all = NULL;
    sa2_tensor ids, hidden_at, logits_at, rows = {0}, places = {0};
    const int64_t any[] = {-1};
    sa2_status st = sa2_check_model_open(&model, run, SA2_MODEL_DECODER, err);
    const sa2_decoder_config *c = &model.config.decoder;
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "ids", SA2_I32, 1, any, &ids, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "hidden_positions", SA2_I32, 1, any, &hidden_at, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "logits_positions", SA2_I32, 1, any, &logits_at, err);
    if (st == SA2_OK && sa2_golden_input(run->golden, "audio_rows").data != NULL) {
        st = sa2_golden_expect(run->golden, "audio_rows", SA2_F32, 2,
                               (const int64_t[]){-1, c->hidden}, &rows, err);
        if (st == SA2_OK)
            st = sa2_golden_expect(run->golden, "audio_positions", SA2_I32, 1,
                                   (const int64_t[]){rows.shape[0]}, &places, err);
    }
    if (st != SA2_OK)
        goto cleanup;
    int64_t n = ids.shape[0];
    if (n < 1 || !inside(hidden_at, n) || !inside(logits_at, n)) {
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: a position outside the prompt",
                      sa2_golden_origin(run->golden));
        goto cleanup;
    }
    logits = malloc((size_t)n * (size_t)c->vocab * sizeof(float));
    hidden = malloc((size_t)n * (size_t)c->hidden * sizeof(float));
    all = malloc((size_t)n * sizeof(int32_t));
    if (logits == NULL || hidden == NULL || all == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %lld rows of logits", (long long)n);
        goto cleanup;
    }
    for (int i = 0; i < n; i++)
        all[i] = i;
    st = sa2_check_decoder_open(&decoder, run, &model, 1, n, n, err);
    if (st == SA2_OK) {
        const sa2_check_piece prompt = {.ids = ids.data,
                                        .n = (int)n,
                                        .audio_rows = rows.data,
                                        .audio_positions = places.data,
                                        .n_audio = rows.data != NULL ? (int)rows.shape[0] : 0};
        st = sa2_check_decoder_step(&decoder, &prompt, all, (int)n, logits, hidden, err);
    }
    if (st == SA2_OK)
        judge_rows(run, "hidden", hidden_at, hidden, c->hidden, c->hidden, err, &st);
    if (st == SA2_OK)
        judge_rows(run, "logits", logits_at, logits, c->vocab, model.n_token_rows, err, &st);

cleanup:
    sa2_check_decoder_close(&decoder);
    free(all);
    free(hidden);
    free(logits);
    sa2_model_close(&model);
    return st;
}

const sa2_check_part sa2_check_decoder_parts[] = {
    {"rms_norm", check_rms_norm}, {"swiglu", check_swiglu},   {"attention", check_attention},
    {"rope", check_rope},         {"decoder", check_decoder}, {0},
};
