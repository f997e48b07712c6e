#include "runtime/token2wav/flow_dit.h"

#include <assert.h>
#include <math.h>

#include "runtime/token2wav/flow_dit_cache.h"

static const float plain_eps = 1e-6f; /* of the norms without parameters */
static const float norm_eps = 1e-5f;  /* of those with */

enum {
    MAX_SEGMENTS = SA2_FLOW_KEPT_RUNS + 1
}; /* of a sequence's keys: what is kept, and its own */

/* ---- the rows of a forward ---- */

typedef struct layout {
    const sa2_flow_dit_sequence *sequences;
    int n;
    int32_t *offsets;         /* [n + 1] */
    int32_t *segment_offsets; /* [n + 1] */
    sa2_key_segment *segments;
    sa2_row_list steps;              /* [rows]: the row of a table */
    sa2_row_list kept_from, kept_to; /* [at most rows]: frames whose keys are kept, and where */
    int64_t n_kept;
    sa2_row_list conv_from;          /* [n]: where the rows before a chunk are */
    sa2_row_list last_from, last_to; /* [at most n]: a chunk's last rows, and where they are kept */
    int64_t n_last;
} layout;

static layout take_layout(sa2_flow_taking *t, int64_t rows, int n)
{
    return (layout){
        .n = n,
        .offsets = sa2_work_take(&t->host, SA2_I32, 1, n + 1).data,
        .segment_offsets = sa2_work_take(&t->host, SA2_I32, 1, n + 1).data,
        .segments = sa2_work_take(&t->host, SA2_U8, (int64_t)n * MAX_SEGMENTS,
                                  (int64_t)sizeof(sa2_key_segment))
                        .data,
        .steps = sa2_row_list_take(t, rows),
        .kept_from = sa2_row_list_take(t, rows),
        .kept_to = sa2_row_list_take(t, rows),
        .conv_from = sa2_row_list_take(t, n),
        .last_from = sa2_row_list_take(t, n),
        .last_to = sa2_row_list_take(t, n),
    };
}

/* What of sequence i is kept, and where. */
static void lay_out_kept(layout *l, const sa2_flow_dit_cache *cache, int i)
{
    const sa2_flow_dit_sequence *q = &l->sequences[i];
    int32_t first = l->offsets[i];
    sa2_flow_copy copies[SA2_FLOW_KEPT_COPIES];
    int n_copies = sa2_flow_kept_copies(q->kept, q->rows, copies);
    for (int c = 0; c < n_copies; c++)
        for (int r = 0; r < copies[c].n; r++) {
            l->kept_from.rows[l->n_kept] = first + copies[c].from + r;
            l->kept_to.rows[l->n_kept++] = q->place * cache->rows + copies[c].to + r;
        }
    l->last_from.rows[l->n_last] = first + q->rows - SA2_FLOW_DIT_BEFORE;
    l->last_to.rows[l->n_last++] = q->place;
}

static void lay_out(layout *l, const sa2_flow_dit_cache *cache,
                    const sa2_flow_dit_sequence *sequences)
{
    l->sequences = sequences;
    l->offsets[0] = 0;
    for (int i = 0; i < l->n; i++) {
        const sa2_flow_dit_sequence *q = &sequences[i];
        l->offsets[i + 1] = l->offsets[i] + q->rows;
        for (int r = 0; r < q->rows; r++)
            l->steps.rows[l->offsets[i] + r] = q->step;
        if (cache == NULL)
            continue;
        l->conv_from.rows[i] = q->fresh ? cache->places : q->place;
        if (!q->last)
            lay_out_kept(l, cache, i);
    }
}

static void upload_layout(sa2_stream *s, layout *l, bool cached)
{
    sa2_row_list_upload(s, &l->steps);
    if (!cached)
        return;
    sa2_row_list *lists[] = {&l->kept_from, &l->kept_to, &l->last_from, &l->last_to};
    for (int i = 0; i < 4; i++) {
        int64_t n = i < 2 ? l->n_kept : l->n_last;
        lists[i]->on_device = sa2_tensor_rows(lists[i]->on_device, 0, n);
        sa2_row_list_upload(s, lists[i]);
    }
    sa2_row_list_upload(s, &l->conv_from);
}

/* ---- blocks ---- */

typedef struct activations {
    sa2_tensor hidden;  /* f32 [rows, width]: the residual stream */
    sa2_tensor normed;  /* [rows, width] */
    sa2_tensor qkv;     /* [rows, 3 width] */
    sa2_tensor attn;    /* [rows, width], of convolutions too */
    sa2_tensor inner;   /* [rows, ffn] */
    sa2_tensor history; /* f32 [n, 2 width] */
} activations;

static activations take_activations(sa2_flow_taking *t, const sa2_flow_config *c, sa2_dtype dtype,
                                    int64_t rows, int n)
{
    int64_t width = c->dit_width;
    return (activations){
        .hidden = sa2_work_take(&t->work, SA2_F32, rows, width),
        .normed = sa2_work_take(&t->work, dtype, rows, width),
        .qkv = sa2_work_take(&t->work, dtype, rows, 3 * width),
        .attn = sa2_work_take(&t->work, dtype, rows, width),
        .inner = sa2_work_take(&t->work, dtype, rows, c->dit_ffn),
        .history = sa2_work_take(&t->work, SA2_F32, n, SA2_FLOW_DIT_BEFORE * width),
    };
}

sa2_flow_room_bytes sa2_flow_dit_room_bytes(const sa2_flow_config *c, sa2_dtype dtype, int64_t rows,
                                            int n_sequences)
{
    sa2_flow_taking t = {0};
    take_layout(&t, rows, n_sequences);
    take_activations(&t, c, dtype, rows, n_sequences);
    return (sa2_flow_room_bytes){
        .work = t.work.bytes,
        .host = t.host.bytes,
        .scratch = sa2_conv1d_scratch_bytes(dtype, rows, c->dit_width, n_sequences,
                                            SA2_FLOW_DIT_BEFORE, 0),
    };
}

typedef struct block_run {
    sa2_stream *s;
    const sa2_flow_dit *dit;
    const sa2_flow_dit_block *block;
    int index; /* of the block */
    const sa2_flow_dit_cache *cache;
    const layout *l;
    const activations *a;
    const sa2_flow_dit_stages *stages;
} block_run;

static sa2_tensor modulation(const block_run *run, sa2_flow_modulation kind)
{
    int64_t width = run->dit->config.dit_width;
    return sa2_tensor_cols(run->block->modulation, kind * width, width);
}

/* a->normed from a->hidden: a norm without parameters, then the step's shift and scale. */
static void modulated_norm(const block_run *run, sa2_flow_modulation shift,
                           sa2_flow_modulation scale)
{
    sa2_layer_norm(run->s, (sa2_layer_norm_args){.y = run->a->normed,
                                                 .x = run->a->hidden,
                                                 .eps = plain_eps,
                                                 .scale = modulation(run, scale),
                                                 .shift = modulation(run, shift),
                                                 .table_rows = run->l->steps.on_device});
}

/* hidden += gate * (x w^T + bias); `stage` takes it without the gate. */
static void gated_linear(const block_run *run, sa2_tensor x, const sa2_matrix *w, sa2_tensor bias,
                         sa2_flow_modulation gate, sa2_tensor stage)
{
    if (stage.data != NULL)
        sa2_linear(run->s, (sa2_linear_args){.y = stage, .x = x, .w = w, .bias = bias});
    sa2_linear(run->s, (sa2_linear_args){.y = run->a->hidden,
                                         .x = x,
                                         .w = w,
                                         .bias = bias,
                                         .accumulate = true,
                                         .gate = modulation(run, gate),
                                         .gate_rows = run->l->steps.on_device});
}

static sa2_key_segment segment(sa2_tensor kv, int64_t first, int64_t n, int64_t heads)
{
    int64_t width = kv.shape[1] / 2;
    sa2_tensor rows = sa2_tensor_rows(kv, first, n);
    return (sa2_key_segment){.k = sa2_tensor_heads(sa2_tensor_cols(rows, 0, width), heads),
                             .v = sa2_tensor_heads(sa2_tensor_cols(rows, width, width), heads)};
}

/* The keys of every sequence: its own, which are in kv, and what is kept, where it lies. */
static void find_keys(const block_run *run, sa2_tensor kv)
{
    const layout *l = run->l;
    int64_t heads = run->dit->config.dit_heads;
    int n = 0;
    for (int i = 0; i < l->n; i++) {
        const sa2_flow_dit_sequence *q = &l->sequences[i];
        l->segment_offsets[i] = n;
        l->segments[n++] = segment(kv, l->offsets[i], q->rows, heads);
        sa2_flow_run runs[SA2_FLOW_KEPT_RUNS];
        int n_runs = run->cache != NULL ? sa2_flow_kept_runs(q->kept, runs) : 0;
        for (int r = 0; r < n_runs; r++) {
            const sa2_flow_dit_cache *from = runs[r].prompt ? q->prompt : run->cache;
            int64_t place = runs[r].prompt ? q->prompt_place : q->place;
            l->segments[n++] = segment(sa2_flow_dit_kv(from, run->index),
                                       place * from->rows + runs[r].first, runs[r].n, heads);
        }
    }
    l->segment_offsets[l->n] = n;
}

static void head_norm(const block_run *run, sa2_tensor x, sa2_tensor weight, sa2_tensor bias)
{
    sa2_tensor heads = sa2_tensor_heads(x, run->dit->config.dit_heads);
    sa2_layer_norm(run->s,
                   (sa2_layer_norm_args){
                       .y = heads, .x = heads, .weight = weight, .bias = bias, .eps = norm_eps});
}

static void run_attention(const block_run *run)
{
    const sa2_flow_config *c = &run->dit->config;
    const sa2_flow_dit_block *b = run->block;
    const activations *a = run->a;
    const layout *l = run->l;
    int64_t width = c->dit_width, heads = c->dit_heads;
    sa2_tensor q = sa2_tensor_cols(a->qkv, 0, width), k = sa2_tensor_cols(a->qkv, width, width);
    sa2_tensor kv = sa2_tensor_cols(a->qkv, width, 2 * width);
    modulated_norm(run, SA2_FLOW_ATTN_SHIFT, SA2_FLOW_ATTN_SCALE);
    sa2_linear(run->s,
               (sa2_linear_args){.y = a->qkv, .x = a->normed, .w = &b->qkv, .bias = b->qkv_bias});
    head_norm(run, q, b->q_norm_weight, b->q_norm_bias);
    head_norm(run, k, b->k_norm_weight, b->k_norm_bias);
    find_keys(run, kv);
    sa2_attention(run->s, (sa2_attention_args){.y = sa2_tensor_heads(a->attn, heads),
                                               .q = sa2_tensor_heads(q, heads),
                                               .segments = l->segments,
                                               .queries = {l->n, l->offsets},
                                               .keys = {l->n, l->segment_offsets},
                                               .scale = 1.0f / sqrtf((float)c->dit_head_dim)});
    assert(l->n_kept == 0 || run->cache != NULL);
    if (l->n_kept > 0) /* after attention: it may still have seen what is overwritten */
        sa2_copy_rows(run->s, sa2_flow_dit_kv(run->cache, run->index), l->kept_to.on_device, kv,
                      l->kept_from.on_device);
    gated_linear(run, a->attn, &b->proj, b->proj_bias, SA2_FLOW_ATTN_GATE, run->stages->attention);
}

/* The rows before each chunk of x, [n, 2, width]; then its last ones take their place. */
static sa2_tensor swap_history(const block_run *run, sa2_tensor x, int conv)
{
    const layout *l = run->l;
    sa2_tensor history = run->a->history, none = {0};
    if (run->cache == NULL)
        return none;
    sa2_tensor kept = sa2_flow_dit_conv(run->cache, run->index, conv);
    sa2_embedding(run->s, history, kept, l->conv_from.on_device);
    if (l->n_last > 0) {
        sa2_tensor pairs =
            sa2_tensor_2d(x.data, x.dtype, x.shape[0] - SA2_FLOW_DIT_BEFORE + 1, kept.shape[1]);
        pairs.stride = x.stride; /* every two neighbouring rows as one */
        sa2_copy_rows(run->s, kept, l->last_to.on_device, pairs, l->last_from.on_device);
    }
    return sa2_tensor_3d(history.data, SA2_F32, l->n, SA2_FLOW_DIT_BEFORE, x.shape[1]);
}

static sa2_conv1d_args causal_conv(const block_run *run, sa2_tensor y, sa2_tensor x,
                                   const sa2_matrix *w, sa2_tensor bias, sa2_tensor history)
{
    return (sa2_conv1d_args){.y = y,
                             .x = x,
                             .sequences = {run->l->n, run->l->offsets},
                             .w = w,
                             .bias = bias,
                             .kernel = SA2_FLOW_DIT_KERNEL,
                             .stride = 1,
                             .dilation = 1,
                             .pad_left = SA2_FLOW_DIT_BEFORE,
                             .history = history};
}

static void run_convolutions(const block_run *run)
{
    const sa2_flow_dit_block *b = run->block;
    const activations *a = run->a;
    modulated_norm(run, SA2_FLOW_CONV_SHIFT, SA2_FLOW_CONV_SCALE);
    sa2_tensor history = swap_history(run, a->normed, 0);
    sa2_conv1d(run->s, causal_conv(run, a->attn, a->normed, &b->conv1, b->conv1_bias, history));
    sa2_layer_norm(run->s, (sa2_layer_norm_args){.y = a->attn,
                                                 .x = a->attn,
                                                 .weight = b->conv_norm_weight,
                                                 .bias = b->conv_norm_bias,
                                                 .eps = norm_eps,
                                                 .activation = SA2_ACT_MISH});
    history = swap_history(run, a->attn, 1);
    if (run->stages->conv.data != NULL)
        sa2_conv1d(run->s,
                   causal_conv(run, run->stages->conv, a->attn, &b->conv2, b->conv2_bias, history));
    sa2_conv1d_args second =
        causal_conv(run, a->hidden, a->attn, &b->conv2, b->conv2_bias, history);
    second.accumulate = true;
    second.gate = modulation(run, SA2_FLOW_CONV_GATE);
    second.gate_rows = run->l->steps.on_device;
    sa2_conv1d(run->s, second);
}

static void run_mlp(const block_run *run)
{
    const sa2_flow_dit_block *b = run->block;
    const activations *a = run->a;
    modulated_norm(run, SA2_FLOW_MLP_SHIFT, SA2_FLOW_MLP_SCALE);
    sa2_linear(run->s, (sa2_linear_args){.y = a->inner,
                                         .x = a->normed,
                                         .w = &b->up,
                                         .bias = b->up_bias,
                                         .activation = SA2_ACT_GELU_TANH});
    gated_linear(run, a->inner, &b->down, b->down_bias, SA2_FLOW_MLP_GATE, run->stages->mlp);
}

static void run_block(sa2_stream *s, const sa2_flow_dit *dit, int index,
                      const sa2_flow_dit_cache *cache, const layout *l, const activations *a,
                      const sa2_flow_dit_stages *stages)
{
    block_run run = {.s = s,
                     .dit = dit,
                     .block = &dit->blocks[index],
                     .index = index,
                     .cache = cache,
                     .l = l,
                     .a = a,
                     .stages = stages};
    run_attention(&run);
    run_convolutions(&run);
    run_mlp(&run);
}

/* ---- forward ---- */

static sa2_status judge_sequence(const sa2_flow_dit *dit, const sa2_flow_dit_cache *cache,
                                 const sa2_flow_dit_sequence *q, sa2_error *err)
{
    if (q->step < 0 || q->step >= dit->n_steps)
        return sa2_fail(err, SA2_ERR_ARG, "flow: step %d of %d", q->step, dit->n_steps);
    int least = cache != NULL && !q->last ? SA2_FLOW_DIT_BEFORE : 1;
    if (q->rows < least)
        return sa2_fail(err, SA2_ERR_ARG, "flow: a chunk of %d frames, %d or more expected",
                        q->rows, least);
    if (cache == NULL)
        return SA2_OK;
    if (q->place < 0 || q->place >= cache->places || sa2_flow_kept_rows(q->kept) > cache->rows)
        return sa2_fail(err, SA2_ERR_ARG, "flow: place %d with %d frames, there are %d with %d",
                        q->place, sa2_flow_kept_rows(q->kept), cache->places, cache->rows);
    if (q->kept->prompt > 0 &&
        (q->prompt == NULL || q->prompt_place < 0 || q->prompt_place >= q->prompt->places ||
         q->kept->prompt > q->prompt->rows))
        return sa2_fail(err, SA2_ERR_ARG, "flow: a voice prompt of %d frames is not there",
                        q->kept->prompt);
    return SA2_OK;
}

sa2_status sa2_flow_dit_forward(sa2_stream *s, const sa2_flow_dit *dit,
                                const sa2_flow_dit_cache *cache, const sa2_flow_room *room,
                                sa2_tensor velocity, sa2_tensor in,
                                const sa2_flow_dit_sequence *sequences, int n_sequences,
                                sa2_error *err)
{
    static const sa2_flow_dit_stages no_stages = {0};
    int64_t rows = in.shape[0], width = dit->config.dit_width;
    for (int i = 0; i < n_sequences; i++) {
        sa2_status st = judge_sequence(dit, cache, &sequences[i], err);
        if (st != SA2_OK)
            return st;
    }
    sa2_flow_taking t = sa2_flow_room_open(room);
    layout l = take_layout(&t, rows, n_sequences);
    activations a = take_activations(&t, &dit->config, dit->dtype, rows, n_sequences);
    sa2_status st = sa2_flow_room_judge(&t, "flow", err);
    if (st != SA2_OK)
        return st;
    lay_out(&l, cache, sequences);
    upload_layout(s, &l, cache != NULL);

    sa2_stream_group_begin(s, "a step of the flow");
    sa2_linear(s, (sa2_linear_args){.y = a.hidden, .x = in, .w = &dit->in, .bias = dit->in_bias});
    for (int i = 0; i < dit->config.dit_blocks; i++)
        run_block(s, dit, i, cache, &l, &a, &no_stages);
    sa2_layer_norm(
        s, (sa2_layer_norm_args){.y = a.hidden,
                                 .x = a.hidden,
                                 .eps = plain_eps,
                                 .shift = sa2_tensor_cols(dit->final_modulation, 0, width),
                                 .scale = sa2_tensor_cols(dit->final_modulation, width, width),
                                 .table_rows = l.steps.on_device});
    sa2_linear(
        s, (sa2_linear_args){.y = velocity, .x = a.hidden, .w = &dit->out, .bias = dit->out_bias});
    sa2_stream_group_end(s);
    sa2_flow_room_close(&t);
    return SA2_OK;
}

sa2_status sa2_flow_dit_block_forward(sa2_stream *s, const sa2_flow_dit *dit, int block,
                                      const sa2_flow_room *room, sa2_tensor hidden, int step,
                                      const sa2_flow_dit_stages *stages, sa2_error *err)
{
    int64_t rows = hidden.shape[0];
    sa2_flow_dit_sequence whole = {.rows = (int)rows, .step = step};
    sa2_flow_taking t = sa2_flow_room_open(room);
    layout l = take_layout(&t, rows, 1);
    activations a = take_activations(&t, &dit->config, dit->dtype, rows, 1);
    sa2_status st = sa2_flow_room_judge(&t, "flow", err);
    if (st != SA2_OK)
        return st;
    lay_out(&l, NULL, &whole);
    upload_layout(s, &l, false);
    a.hidden = hidden;
    run_block(s, dit, block, NULL, &l, &a, stages);
    sa2_flow_room_close(&t);
    return SA2_OK;
}
