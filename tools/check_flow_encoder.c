/* check_flow_encoder.c - golden cases of the flow's encoder. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/check_flow.h"
#include "tools/check_parts.h"

static void load_encoder(sa2_check_flow_part *part, const sa2_check_flow *b, sa2_weights *w)
{
    sa2_flow_encoder_load(&part->encoder, &b->config, part->max_tokens, w);
}

static sa2_status run_embed(sa2_check_flow *b, sa2_error *err)
{
    sa2_tensor tokens;
    sa2_check_flow_part part = {.load = load_encoder};
    b->config.layers = b->config.up_layers = 0; /* the upsampling follows the look-ahead at once */
    sa2_status st =
        sa2_check_flow_vector(b, "tokens", SA2_I32, -1, SA2_CHECK_FLOW_TOKENS, &tokens, err);
    if (st != SA2_OK)
        return st;
    int n = (int)tokens.shape[0], width = b->config.width, stride = b->config.up_stride;
    part.max_tokens = n;
    st = sa2_check_flow_load(b, &part, err);
    if (st == SA2_OK)
        st = sa2_check_flow_room(b, sa2_flow_encoder_room_bytes(&b->config, b->dtype, n, 1),
                                 (int64_t)n * ((2 + stride) * width + stride * b->config.mel) +
                                     (2 * (int64_t)n - 1) * width,
                                 0, err);
    if (st != SA2_OK)
        return st;
    const sa2_flow_encoder_stages stages = {.embed = sa2_check_flow_take(b, n, width),
                                            .ahead = sa2_check_flow_take(b, n, width),
                                            .upsample =
                                                sa2_check_flow_take(b, (int64_t)n * stride, width)};
    const sa2_flow_encoder_chunk chunk = {.tokens = tokens.data, .n = n, .last = true};
    sa2_tensor mu = sa2_check_flow_take(b, (int64_t)n * stride, b->config.mel);
    sa2_tensor positions = sa2_check_flow_take(b, 2 * (int64_t)n - 1, width);
    float *row = malloc((size_t)width * sizeof *row);
    if (row == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for a row");
    for (int p = 0; p < 2 * n - 1; p++) {
        sa2_flow_distance_rows(row, 1, width, n - 1 - p);
        sa2_upload(b->device.stream, sa2_tensor_rows(positions, p, 1), row);
    }
    st = sa2_flow_encoder_forward(b->device.stream, &part.encoder, NULL, &b->room, mu, &chunk, 1,
                                  &stages, err);
    if (st == SA2_OK)
        st = sa2_check_flow_judge(b, "embed", stages.embed, err);
    free(row);
    if (st == SA2_OK)
        st = sa2_check_flow_judge(b, "lookahead", stages.ahead, err);
    if (st == SA2_OK)
        st = sa2_check_flow_judge(b, "upsample", stages.upsample, err);
    return st == SA2_OK ? sa2_check_flow_judge(b, "positions", positions, err) : st;
}

static sa2_status run_conformer_layer(sa2_check_flow *b, sa2_error *err)
{
    sa2_tensor in;
    sa2_check_flow_part part = {.load = load_encoder};
    sa2_flow_encoder_cache cache;
    int64_t cached, width = b->config.width;
    sa2_status st = sa2_check_flow_rows(b, "x", -1, width, &in, err);
    if (st == SA2_OK)
        st = sa2_golden_number(b->run->golden, "cached", 0, in.shape[0] - 1, &cached, err);
    if (st == SA2_OK && b->config.layers <= SA2_CHECK_FLOW_LAYER)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: layer %d of an encoder that has %d",
                      sa2_golden_origin(b->run->golden), SA2_CHECK_FLOW_LAYER, b->config.layers);
    if (st != SA2_OK)
        return st;
    int n = (int)in.shape[0];
    part.max_tokens = n;
    st = sa2_check_flow_load(b, &part, err);
    if (st == SA2_OK)
        st = sa2_check_flow_room(b, sa2_flow_encoder_room_bytes(&b->config, b->dtype, n, 1),
                                 2 * n * width,
                                 sa2_flow_encoder_cache_bytes(&b->config, b->dtype, 1, n), err);
    if (st == SA2_OK)
        st = sa2_flow_encoder_cache_init(b->device.stream, &cache, &part.encoder, 1, n,
                                         &b->device.arena, err);
    if (st != SA2_OK)
        return st;
    sa2_tensor x = sa2_check_flow_upload(b, in), own = sa2_tensor_rows(x, cached, n - cached);
    sa2_tensor attention = sa2_check_flow_take(b, n - cached, width);
    if (cached > 0)
        st = sa2_flow_encoder_layer_forward(b->device.stream, &part.encoder, SA2_CHECK_FLOW_LAYER,
                                            &cache, &b->room, sa2_tensor_rows(x, 0, cached), 0,
                                            (sa2_tensor){0}, err);
    if (st == SA2_OK)
        st = sa2_flow_encoder_layer_forward(b->device.stream, &part.encoder, SA2_CHECK_FLOW_LAYER,
                                            &cache, &b->room, own, (int)cached, attention, err);
    if (st == SA2_OK)
        st = sa2_check_flow_judge(b, "attention", attention, err);
    return st == SA2_OK ? sa2_check_flow_judge(b, "x", own, err) : st;
}

static sa2_status run_flow_encoder(sa2_check_flow *b, sa2_error *err)
{
    sa2_tensor tokens;
    sa2_check_flow_part part = {.load = load_encoder};
    sa2_status st =
        sa2_check_flow_vector(b, "tokens", SA2_I32, -1, SA2_CHECK_FLOW_TOKENS, &tokens, err);
    if (st != SA2_OK)
        return st;
    int n = (int)tokens.shape[0], frames = n * b->config.up_stride;
    part.max_tokens = n;
    st = sa2_check_flow_load(b, &part, err);
    if (st == SA2_OK)
        st = sa2_check_flow_room(b, sa2_flow_encoder_room_bytes(&b->config, b->dtype, n, 1),
                                 (int64_t)frames * (b->config.width + b->config.mel), 0, err);
    if (st != SA2_OK)
        return st;
    const sa2_flow_encoder_stages stages = {.hidden =
                                                sa2_check_flow_take(b, frames, b->config.width)};
    const sa2_flow_encoder_chunk chunk = {.tokens = tokens.data, .n = n, .last = true};
    sa2_tensor mu = sa2_check_flow_take(b, frames, b->config.mel);
    st = sa2_flow_encoder_forward(b->device.stream, &part.encoder, NULL, &b->room, mu, &chunk, 1,
                                  &stages, err);
    if (st == SA2_OK)
        st = sa2_check_flow_judge(b, "hidden", stages.hidden, err);
    return st == SA2_OK ? sa2_check_flow_judge(b, "mu", mu, err) : st;
}

static sa2_status run_flow_encoder_stream(sa2_check_flow *b, sa2_error *err)
{
    sa2_check_flow_cut c;
    sa2_check_flow_part part = {.load = load_encoder};
    sa2_flow_encoder_cache cache;
    sa2_status st = sa2_check_flow_chunks(b, &c, err);
    part.max_tokens = c.n_tokens;
    if (st == SA2_OK)
        st = sa2_check_flow_load(b, &part, err);
    if (st == SA2_OK)
        st = sa2_check_flow_room(
            b, sa2_flow_encoder_room_bytes(&b->config, b->dtype, c.n_tokens, 1),
            (int64_t)c.n_tokens * b->config.up_stride * b->config.mel,
            sa2_flow_encoder_cache_bytes(&b->config, b->dtype, 1, c.n_tokens), err);
    if (st == SA2_OK)
        st = sa2_flow_encoder_cache_init(b->device.stream, &cache, &part.encoder, 1, c.n_tokens,
                                         &b->device.arena, err);
    for (int i = 0, first = 0; st == SA2_OK && i < c.n_chunks; first += c.chunks[i++]) {
        char name[32];
        snprintf(name, sizeof name, "mu.%d", i);
        const sa2_flow_encoder_chunk chunk = {.tokens = c.tokens + first,
                                              .n = c.chunks[i],
                                              .last = i + 1 == c.n_chunks,
                                              .first = first};
        size_t mark = sa2_arena_mark(&b->device.arena);
        sa2_tensor mu =
            sa2_check_flow_take(b, (int64_t)chunk.n * b->config.up_stride, b->config.mel);
        st = sa2_flow_encoder_forward(b->device.stream, &part.encoder, &cache, &b->room, mu, &chunk,
                                      1, NULL, err);
        if (st == SA2_OK)
            st = sa2_check_flow_judge(b, name, mu, err);
        sa2_arena_rewind(&b->device.arena, mark);
    }
    return st;
}

static sa2_status check_embed(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_embed, err);
}

static sa2_status check_conformer_layer(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_conformer_layer, err);
}

static sa2_status check_flow_encoder(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_flow_encoder, err);
}

static sa2_status check_flow_encoder_stream(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_flow_encoder_stream, err);
}

const sa2_check_part sa2_check_flow_encoder_parts[] = {
    {"embed", check_embed},
    {"conformer_layer", check_conformer_layer},
    {"flow_encoder", check_flow_encoder},
    {"flow_encoder_stream", check_flow_encoder_stream},
    {0},
};
