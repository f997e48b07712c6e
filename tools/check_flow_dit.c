/* check_flow_dit.c - golden cases of the flow's DiT. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/check_flow.h"
#include "tools/check_parts.h"

static void load_dit(sa2_check_flow_part *part, const sa2_check_flow *b, sa2_weights *w)
{
    sa2_flow_dit_load(&part->dit, &b->config, part->t, part->n_steps, w);
}

/* in.t [n] as timesteps of the DiT, and the DiT. The caller frees *t. */
static sa2_status load_timesteps(sa2_check_flow *b, sa2_check_flow_part *part, double **t,
                                 int64_t n, sa2_error *err)
{
    sa2_tensor in;
    sa2_status st = sa2_check_flow_vector(b, "t", SA2_F32, n, SA2_FLOW_MAX_STEPS, &in, err);
    if (st != SA2_OK)
        return st;
    int count = (int)in.shape[0];
    *t = malloc((size_t)count * sizeof **t);
    if (*t == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d timesteps", count);
    for (int i = 0; i < count; i++)
        (*t)[i] = ((const float *)in.data)[i];
    *part = (sa2_check_flow_part){.load = load_dit, .t = *t, .n_steps = count};
    return sa2_check_flow_load(b, part, err);
}

static sa2_status judge_time(sa2_check_flow *b, const sa2_check_flow_part *part, sa2_error *err)
{
    int n = part->n_steps;
    double grid[SA2_FLOW_MAX_STEPS + 1];
    float tau[SA2_FLOW_MAX_STEPS + 1];
    float features[SA2_FLOW_MAX_STEPS * SA2_FLOW_TIME_INPUTS];
    sa2_flow_time_grid(grid, n);
    for (int k = 0; k <= n; k++)
        tau[k] = (float)grid[k];
    for (int k = 0; k < n; k++)
        sa2_flow_time_features(features + k * SA2_FLOW_TIME_INPUTS, part->t[k]);
    sa2_check_judge(b->run, "tau", SA2_F32, sa2_tensor_1d(tau, SA2_F32, n + 1));
    sa2_check_judge(b->run, "frequencies", SA2_F32,
                    sa2_tensor_2d(features, SA2_F32, n, SA2_FLOW_TIME_INPUTS));
    return sa2_check_flow_judge(b, "embedding", part->dit.time, err);
}

static sa2_status run_time_embedding(sa2_check_flow *b, sa2_error *err)
{
    double *t = NULL;
    sa2_check_flow_part part;
    sa2_status st = load_timesteps(b, &part, &t, -1, err);
    if (st == SA2_OK)
        st = sa2_check_flow_room(b, (sa2_flow_room_bytes){0}, 0, 0, err);
    if (st == SA2_OK)
        st = judge_time(b, &part, err);
    free(t);
    return st;
}

static sa2_status judge_block(sa2_check_flow *b, const sa2_check_flow_part *part, sa2_tensor in,
                              sa2_error *err)
{
    int64_t rows = in.shape[0], width = b->config.dit_width;
    sa2_status st = sa2_check_flow_room(b, sa2_flow_dit_room_bytes(&b->config, b->dtype, rows, 1),
                                        4 * rows * width, 0, err);
    if (st != SA2_OK)
        return st;
    sa2_tensor x = sa2_check_flow_upload(b, in);
    const sa2_flow_dit_stages stages = {.attention = sa2_check_flow_take(b, rows, width),
                                        .conv = sa2_check_flow_take(b, rows, width),
                                        .mlp = sa2_check_flow_take(b, rows, width)};
    st = sa2_flow_dit_block_forward(b->device.stream, &part->dit, SA2_CHECK_FLOW_LAYER, &b->room, x,
                                    0, &stages, err);
    if (st == SA2_OK)
        st = sa2_check_flow_judge_vector(b, "modulation",
                                         part->dit.blocks[SA2_CHECK_FLOW_LAYER].modulation, err);
    const struct {
        const char *name;
        sa2_tensor found;
    } outputs[] = {
        {"attention", stages.attention}, {"conv", stages.conv}, {"mlp", stages.mlp}, {"x", x}};
    for (size_t i = 0; st == SA2_OK && i < sizeof outputs / sizeof outputs[0]; i++)
        st = sa2_check_flow_judge(b, outputs[i].name, outputs[i].found, err);
    return st;
}

static sa2_status run_dit_block(sa2_check_flow *b, sa2_error *err)
{
    double *t = NULL;
    sa2_tensor in;
    sa2_check_flow_part part;
    sa2_status st = sa2_check_flow_rows(b, "x", -1, b->config.dit_width, &in, err);
    if (st == SA2_OK && b->config.dit_blocks <= SA2_CHECK_FLOW_LAYER)
        st =
            sa2_fail(err, SA2_ERR_FORMAT, "%s: block %d of a DiT that has %d",
                     sa2_golden_origin(b->run->golden), SA2_CHECK_FLOW_LAYER, b->config.dit_blocks);
    if (st == SA2_OK)
        st = load_timesteps(b, &part, &t, 1, err);
    if (st == SA2_OK)
        st = judge_block(b, &part, in, err);
    free(t);
    return st;
}

/* ---- evaluations ---- */

/* The inputs of chunk i, or of the only one (i < 0). */
typedef struct inputs {
    sa2_tensor x, mu, cond, speaker;
} inputs;

static sa2_status expect_inputs(const sa2_check_flow *b, inputs *in, int i, sa2_error *err)
{
    int64_t mel = b->config.mel;
    char names[3][32];
    static const char *const kinds[] = {"x", "mu", "cond"};
    for (int k = 0; k < 3; k++) {
        if (i < 0)
            snprintf(names[k], sizeof names[k], "%s", kinds[k]);
        else
            snprintf(names[k], sizeof names[k], "%s.%d", kinds[k], i);
    }
    sa2_status st = sa2_check_flow_rows(b, names[0], -1, mel, &in->x, err);
    if (st == SA2_OK)
        st = sa2_check_flow_rows(b, names[1], in->x.shape[0], mel, &in->mu, err);
    if (st == SA2_OK)
        st = sa2_check_flow_rows(b, names[2], in->x.shape[0], mel, &in->cond, err);
    return st == SA2_OK ? sa2_check_flow_vector(b, "spk", SA2_F32, mel, mel, &in->speaker, err)
                        : st;
}

/* [x | mu | speaker | cond] in host memory. */
static void join_inputs(float *joined, const inputs *in)
{
    int64_t mel = in->x.shape[1];
    for (int64_t r = 0; r < in->x.shape[0]; r++)
        for (int64_t c = 0; c < mel; c++) {
            float *row = joined + r * 4 * mel + c;
            row[0] = ((const float *)in->x.data)[r * mel + c];
            row[mel] = ((const float *)in->mu.data)[r * mel + c];
            row[2 * mel] = ((const float *)in->speaker.data)[c];
            row[3 * mel] = ((const float *)in->cond.data)[r * mel + c];
        }
}

/* One evaluation, judged as `name`. */
static sa2_status evaluate(sa2_check_flow *b, const sa2_flow_dit *dit,
                           const sa2_flow_dit_cache *cache, const sa2_flow_dit_sequence *sequence,
                           const inputs *in, const char *name, sa2_error *err)
{
    int64_t rows = in->x.shape[0], mel = b->config.mel;
    float *joined = malloc((size_t)(rows * 4 * mel) * sizeof *joined);
    if (joined == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %lld frames", (long long)rows);
    join_inputs(joined, in);
    size_t mark = sa2_arena_mark(&b->device.arena);
    sa2_tensor x = sa2_check_flow_upload(b, sa2_tensor_2d(joined, SA2_F32, rows, 4 * mel));
    sa2_tensor v = sa2_check_flow_take(b, rows, mel);
    sa2_status st =
        sa2_flow_dit_forward(b->device.stream, dit, cache, &b->room, v, x, sequence, 1, err);
    if (st == SA2_OK)
        st = sa2_check_flow_judge(b, name, v, err);
    sa2_arena_rewind(&b->device.arena, mark);
    free(joined);
    return st;
}

static sa2_status run_flow_dit(sa2_check_flow *b, sa2_error *err)
{
    double *t = NULL;
    inputs in;
    sa2_check_flow_part part;
    sa2_status st = expect_inputs(b, &in, -1, err);
    if (st == SA2_OK)
        st = load_timesteps(b, &part, &t, 1, err);
    if (st == SA2_OK)
        st = sa2_check_flow_room(b, sa2_flow_dit_room_bytes(&b->config, b->dtype, in.x.shape[0], 1),
                                 in.x.shape[0] * 5 * b->config.mel, 0, err);
    if (st == SA2_OK) {
        const sa2_flow_dit_sequence whole = {.rows = (int)in.x.shape[0]};
        st = evaluate(b, &part.dit, NULL, &whole, &in, "v", err);
    }
    free(t);
    return st;
}

/* How many chunks there are, and their frames: all of them and the most of one. */
static sa2_status count_frames(const sa2_check_flow *b, int *n_chunks, int *frames, int *most,
                               sa2_error *err)
{
    *n_chunks = *frames = *most = 0;
    for (char name[32]; *n_chunks < SA2_CHECK_FLOW_CHUNKS; (*n_chunks)++) {
        inputs in;
        snprintf(name, sizeof name, "x.%d", *n_chunks);
        if (*n_chunks > 0 && sa2_golden_input(b->run->golden, name).data == NULL)
            break;
        sa2_status st = expect_inputs(b, &in, *n_chunks, err);
        if (st != SA2_OK)
            return st;
        int rows = (int)in.x.shape[0];
        *frames += rows;
        *most = rows > *most ? rows : *most;
    }
    return SA2_OK;
}

static sa2_status evaluate_chunks(sa2_check_flow *b, const sa2_flow_dit *dit, int n_chunks,
                                  int frames, sa2_error *err)
{
    sa2_flow_dit_cache cache;
    sa2_flow_kept kept = {.tail = frames}; /* nothing is dropped */
    sa2_status st =
        sa2_flow_dit_cache_init(b->device.stream, &cache, dit, 1, frames, &b->device.arena, err);
    for (int i = 0; st == SA2_OK && i < n_chunks; i++) {
        inputs in;
        char name[32];
        snprintf(name, sizeof name, "v.%d", i);
        st = expect_inputs(b, &in, i, err);
        if (st != SA2_OK)
            break;
        const sa2_flow_dit_sequence chunk = {
            .rows = (int)in.x.shape[0], .fresh = i == 0, .last = i + 1 == n_chunks, .kept = &kept};
        st = evaluate(b, dit, &cache, &chunk, &in, name, err);
        kept.frames += chunk.rows;
    }
    return st;
}

static sa2_status run_flow_dit_stream(sa2_check_flow *b, sa2_error *err)
{
    double *t = NULL;
    int n_chunks, frames, most;
    sa2_check_flow_part part;
    sa2_status st = count_frames(b, &n_chunks, &frames, &most, err);
    if (st == SA2_OK)
        st = load_timesteps(b, &part, &t, 1, err);
    if (st == SA2_OK)
        st = sa2_check_flow_room(b, sa2_flow_dit_room_bytes(&b->config, b->dtype, most, 1),
                                 (int64_t)most * 5 * b->config.mel,
                                 sa2_flow_dit_cache_bytes(&b->config, b->dtype, 1, frames), err);
    if (st == SA2_OK)
        st = evaluate_chunks(b, &part.dit, n_chunks, frames, err);
    free(t);
    return st;
}

static sa2_status check_time_embedding(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_time_embedding, err);
}

static sa2_status check_dit_block(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_dit_block, err);
}

static sa2_status check_flow_dit(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_flow_dit, err);
}

static sa2_status check_flow_dit_stream(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_flow_dit_stream, err);
}

const sa2_check_part sa2_check_flow_dit_parts[] = {
    {"time_embedding", check_time_embedding},
    {"dit_block", check_dit_block},
    {"flow_dit", check_flow_dit},
    {"flow_dit_stream", check_flow_dit_stream},
    {0},
};
