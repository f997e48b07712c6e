#include "tools/check_flow.h"

#include <stdio.h>

#include "loader/token2wav_tensors.h"
#include "tools/check_parts.h"
#include "tools/check_token2wav.h"

/* ---- opening ---- */

sa2_status sa2_check_flow_run(sa2_check_run *run,
                              sa2_status (*part)(sa2_check_flow *b, sa2_error *err), sa2_error *err)
{
    sa2_check_flow b = {.run = run, .dtype = run->context->dtype};
    sa2_status st = sa2_check_token2wav_map(&b.map, run, SA2_FLOW_FILE, err);
    if (st == SA2_OK)
        st = sa2_check_flow_config(&b.config, run, err);
    if (st == SA2_OK)
        st = part(&b, err);
    sa2_backend_arena_destroy(run->context->backend, &b.weights);
    sa2_arena_destroy(&b.layers);
    sa2_arena_destroy(&b.host);
    sa2_check_device_close(&b.device);
    sa2_tensor_map_destroy(b.map);
    return st;
}

sa2_status sa2_check_flow_load(sa2_check_flow *b, sa2_check_flow_part *part, sa2_error *err)
{
    sa2_stream *stream;
    sa2_status st = sa2_stream_create(&stream, b->run->context->backend, 0, err);
    if (st != SA2_OK)
        return st;
    sa2_weights measure = {.stream = stream, .dtype = b->dtype, .err = err};
    part->load(part, b, &measure);
    st = sa2_backend_arena_create(b->run->context->backend, &b->weights, measure.bytes, err);
    if (st == SA2_OK)
        st = sa2_arena_reserve(&b->layers, measure.host_bytes, err);
    if (st == SA2_OK) {
        sa2_error report = {0};
        sa2_weights w = {.stream = stream,
                         .map = b->map,
                         .arena = &b->weights,
                         .host = &b->layers,
                         .dtype = b->dtype,
                         .err = &report};
        part->load(part, b, &w);
        st = w.status == SA2_OK ? sa2_stream_finish(stream, &report) : w.status;
        if (st != SA2_OK)
            sa2_fail(err, st, "%s", report.message);
    }
    sa2_stream_destroy(stream);
    return st;
}

sa2_status sa2_check_flow_room(sa2_check_flow *b, sa2_flow_room_bytes need, int64_t floats,
                               size_t bytes, sa2_error *err)
{
    sa2_status st = sa2_arena_create(&b->host, need.host, err);
    if (st == SA2_OK)
        st = sa2_check_device_ready(&b->device, b->run,
                                    need.work + bytes + (size_t)floats * sizeof(float) +
                                        32 * SA2_ARENA_ALIGN,
                                    need.scratch, err);
    b->room = (sa2_flow_room){.work = &b->device.arena, .host = &b->host};
    return st;
}

/* ---- tensors ---- */

sa2_tensor sa2_check_flow_take(sa2_check_flow *b, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, SA2_F32, rows, cols);
    x.data = sa2_arena_take(&b->device.arena, sa2_tensor_bytes(&x));
    return x;
}

sa2_tensor sa2_check_flow_upload(sa2_check_flow *b, sa2_tensor host)
{
    sa2_tensor x =
        sa2_check_flow_take(b, host.ndim == 1 ? 1 : host.shape[0], host.shape[host.ndim - 1]);
    sa2_upload(b->device.stream, x, host.data);
    return x;
}

sa2_status sa2_check_flow_judge(sa2_check_flow *b, const char *name, sa2_tensor found,
                                sa2_error *err)
{
    return sa2_check_judge_device(b->run, name, b->dtype, b->device.stream, found, err);
}

sa2_status sa2_check_flow_judge_vector(sa2_check_flow *b, const char *name, sa2_tensor found,
                                       sa2_error *err)
{
    int64_t n = sa2_tensor_count(&found);
    return sa2_check_flow_judge(b, name, sa2_tensor_1d(found.data, found.dtype, n), err);
}

sa2_status sa2_check_flow_rows(const sa2_check_flow *b, const char *name, int64_t rows,
                               int64_t cols, sa2_tensor *x, sa2_error *err)
{
    sa2_status st =
        sa2_golden_expect(b->run->golden, name, SA2_F32, 2, (const int64_t[]){rows, cols}, x, err);
    if (st == SA2_OK && (x->shape[0] < 1 || x->shape[0] > 2 * SA2_CHECK_FLOW_TOKENS))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: in.%s has %lld rows, 1 to %d expected",
                      sa2_golden_origin(b->run->golden), name, (long long)x->shape[0],
                      2 * SA2_CHECK_FLOW_TOKENS);
    return st;
}

sa2_status sa2_check_flow_vector(const sa2_check_flow *b, const char *name, sa2_dtype dtype,
                                 int64_t n, int64_t most, sa2_tensor *x, sa2_error *err)
{
    sa2_status st = sa2_golden_expect(b->run->golden, name, dtype, 1, (const int64_t[]){n}, x, err);
    if (st == SA2_OK && (x->shape[0] < 1 || x->shape[0] > most))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: in.%s has %lld values, 1 to %lld expected",
                      sa2_golden_origin(b->run->golden), name, (long long)x->shape[0],
                      (long long)most);
    return st;
}

sa2_status sa2_check_flow_chunks(const sa2_check_flow *b, sa2_check_flow_cut *c, sa2_error *err)
{
    sa2_tensor tokens, chunks;
    sa2_status st =
        sa2_check_flow_vector(b, "tokens", SA2_I32, -1, SA2_CHECK_FLOW_TOKENS, &tokens, err);
    if (st == SA2_OK)
        st = sa2_check_flow_vector(b, "chunks", SA2_I32, -1, SA2_CHECK_FLOW_CHUNKS, &chunks, err);
    if (st != SA2_OK)
        return st;
    *c = (sa2_check_flow_cut){.tokens = tokens.data,
                              .chunks = chunks.data,
                              .n_tokens = (int)tokens.shape[0],
                              .n_chunks = (int)chunks.shape[0]};
    int64_t sum = 0;
    for (int i = 0; i < c->n_chunks; i++) {
        int least = i + 1 < c->n_chunks ? b->config.lookahead : 0; /* of what follows */
        if (c->chunks[i] < 1 || c->chunks[i] > c->n_tokens - sum - least)
            return sa2_fail(err, SA2_ERR_FORMAT, "%s: chunk %d of %d tokens does not fit",
                            sa2_golden_origin(b->run->golden), i, (int)c->chunks[i]);
        sum += c->chunks[i];
    }
    if (sum != c->n_tokens)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: chunks of %lld tokens, there are %d",
                        sa2_golden_origin(b->run->golden), (long long)sum, c->n_tokens);
    return SA2_OK;
}
