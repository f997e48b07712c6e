#include "runtime/token2wav/speech_tokenizer.h"

#include <math.h>

#include "kernels/backend.h"
#include "runtime/work.h"

enum {
    KERNEL = 3, /* of both convolutions */
    PAD = 1,
    STRIDE = 2,
    SHARED = (SA2_SPEECH_TOKENIZER_WINDOW - SA2_SPEECH_TOKENIZER_STEP) / (STRIDE * STRIDE),
    MARGIN = SHARED / 2, /* tokens that a window gives up at each end where another one is */
};

static const float attn_norm_eps = 1e-6f, mlp_norm_eps = 1e-5f;
static const float rope_theta = 10000.0f;

static void load_block(sa2_speech_tokenizer_block *block, const sa2_speech_tokenizer_dims *d, int i,
                       sa2_weights *w)
{
    sa2_speech_tokenizer_block b = {.shared = sa2_encoder_block_load(w, d->width, d->ffn, i)};
    b.memory = sa2_weights_depthwise(w, d->width, d->memory,
                                     "encoder.blocks.%d.attn.fsmn_block.weight", i);
    if (block != NULL)
        *block = b;
}

void sa2_speech_tokenizer_load(sa2_speech_tokenizer *tokenizer, const sa2_speech_tokenizer_dims *d,
                               sa2_weights *w)
{
    sa2_speech_tokenizer t = {.dims = *d};
    t.blocks = sa2_weights_host(w, (size_t)d->blocks * sizeof *t.blocks);
    t.conv1 = sa2_weights_conv1d(w, d->width, d->mel, KERNEL, "encoder.conv1.weight");
    t.conv1_bias = sa2_weights_vector(w, d->width, "encoder.conv1.bias");
    t.conv2 = sa2_weights_conv1d(w, d->width, d->width, KERNEL, "encoder.conv2.weight");
    t.conv2_bias = sa2_weights_vector(w, d->width, "encoder.conv2.bias");
    t.positions = sa2_weights_index(w, SA2_SPEECH_TOKENIZER_WINDOW / (STRIDE * STRIDE), 1);
    for (int i = 0; i < d->blocks; i++) {
        load_block(t.blocks != NULL ? &t.blocks[i] : NULL, d, i, w);
        sa2_weights_release(w);
    }
    t.project =
        sa2_weights_matrix(w, d->digits, d->width, "quantizer._codebook.project_down.weight");
    t.project_bias = sa2_weights_vector(w, d->digits, "quantizer._codebook.project_down.bias");
    sa2_weights_release(w);
    *tokenizer = t;
}

/* ---- windows ---- */

static int64_t halved(int64_t n)
{
    return (n + STRIDE - 1) / STRIDE;
}

typedef struct window {
    int64_t first, frames;      /* of the mel */
    int64_t halves, rows;       /* after each convolution */
    int64_t first_kept, n_kept; /* of the rows */
} window;

/* The window that begins at frame `first` < frames. */
static window window_at(int64_t first, int64_t frames)
{
    bool alone = frames <= SA2_SPEECH_TOKENIZER_WINDOW;
    bool last = alone || first + SA2_SPEECH_TOKENIZER_STEP >= frames;
    int64_t left = frames - first;
    window v = {.first = first};
    v.frames = left < SA2_SPEECH_TOKENIZER_WINDOW ? left : SA2_SPEECH_TOKENIZER_WINDOW;
    v.halves = halved(v.frames);
    v.rows = halved(v.halves);
    v.first_kept = first > 0 ? MARGIN : 0;
    v.n_kept = v.rows - v.first_kept - (last ? 0 : MARGIN);
    if (v.n_kept < 0)
        v.n_kept = 0;
    return v;
}

/* Where the window after v begins; `frames` when v is the last. */
static int64_t next_first(const window *v, int64_t frames)
{
    if (frames <= SA2_SPEECH_TOKENIZER_WINDOW)
        return frames;
    return v->first + SA2_SPEECH_TOKENIZER_STEP;
}

int64_t sa2_speech_tokenizer_tokens(int64_t frames)
{
    int64_t n = 0;
    window v;
    for (int64_t first = 0; first < frames; first = next_first(&v, frames)) {
        v = window_at(first, frames);
        n += v.n_kept;
    }
    return n;
}

/* ---- forward ---- */

typedef struct activations {
    sa2_tensor conv1;  /* [halves, width] */
    sa2_tensor x;      /* [rows, width]: the residual stream */
    sa2_tensor normed; /* [rows, width] */
    sa2_tensor qkv;    /* [rows, 3 width] */
    sa2_tensor attn;   /* [rows, width] */
    sa2_tensor memory; /* [rows, width] */
    sa2_tensor hidden; /* [rows, ffn] */
} activations;

static activations take_activations(sa2_work *work, const sa2_speech_tokenizer_dims *d,
                                    int64_t halves, int64_t rows)
{
    return (activations){
        .conv1 = sa2_work_take(work, SA2_F32, halves, d->width),
        .x = sa2_work_take(work, SA2_F32, rows, d->width),
        .normed = sa2_work_take(work, SA2_F32, rows, d->width),
        .qkv = sa2_work_take(work, SA2_F32, rows, 3 * (int64_t)d->width),
        .attn = sa2_work_take(work, SA2_F32, rows, d->width),
        .memory = sa2_work_take(work, SA2_F32, rows, d->width),
        .hidden = sa2_work_take(work, SA2_F32, rows, d->ffn),
    };
}

size_t sa2_speech_tokenizer_work_bytes(const sa2_speech_tokenizer_dims *dims, int64_t frames)
{
    sa2_work work = {0};
    window largest = window_at(0, frames);
    take_activations(&work, dims, largest.halves, largest.rows);
    return work.bytes;
}

size_t sa2_speech_tokenizer_scratch_bytes(const sa2_speech_tokenizer_dims *dims, int64_t frames)
{
    window largest = window_at(0, frames);
    int64_t in = dims->width > dims->mel ? dims->width : dims->mel;
    size_t conv = sa2_conv1d_scratch_bytes(SA2_F32, largest.frames, in, 1, PAD, PAD);
    size_t attention =
        sa2_attention_scratch_bytes(largest.rows, dims->width / SA2_SPEECH_TOKENIZER_HEAD_DIM,
                                    SA2_SPEECH_TOKENIZER_HEAD_DIM, largest.rows);
    return conv > attention ? conv : attention;
}

static void run_conv(sa2_stream *s, sa2_tensor y, sa2_tensor x, const sa2_matrix *w,
                     sa2_tensor bias)
{
    const int32_t offsets[] = {0, (int32_t)x.shape[0]};
    sa2_conv1d(s, (sa2_conv1d_args){.y = y,
                                    .x = x,
                                    .sequences = {1, offsets},
                                    .w = w,
                                    .bias = bias,
                                    .kernel = KERNEL,
                                    .stride = STRIDE,
                                    .dilation = 1,
                                    .pad_left = PAD,
                                    .pad_right = PAD,
                                    .activation = SA2_ACT_GELU});
}

static void keep(sa2_stream *s, sa2_tensor stage, sa2_tensor x)
{
    if (stage.data != NULL)
        sa2_copy(s, stage, x);
}

/* The memory looks at the values as they are: before heads, without positions. */
static void run_attention(sa2_stream *s, const sa2_speech_tokenizer *t,
                          const sa2_speech_tokenizer_block *b, const activations *a,
                          const sa2_speech_tokenizer_stages *stages)
{
    int64_t width = t->dims.width, heads = width / SA2_SPEECH_TOKENIZER_HEAD_DIM;
    const int32_t offsets[] = {0, (int32_t)a->x.shape[0]};
    sa2_rows rows = {1, offsets};
    sa2_tensor positions = sa2_tensor_rows(t->positions, 0, a->x.shape[0]);
    sa2_tensor q = sa2_tensor_heads(sa2_tensor_cols(a->qkv, 0, width), heads);
    sa2_tensor k = sa2_tensor_heads(sa2_tensor_cols(a->qkv, width, width), heads);
    sa2_tensor v = sa2_tensor_cols(a->qkv, 2 * width, width);

    sa2_encoder_block_qkv(s, &b->shared, a->qkv, a->normed, a->x, attn_norm_eps);
    sa2_depthwise_memory(s, a->memory, v, b->memory, rows, t->dims.memory / 2);
    keep(s, stages->memory, a->memory);
    sa2_tensor both = sa2_tensor_heads(sa2_tensor_cols(a->qkv, 0, 2 * width), 2 * heads);
    sa2_rope(s, both, positions, rope_theta); /* q and k, side by side */
    sa2_attention(s, (sa2_attention_args){.y = sa2_tensor_heads(a->attn, heads),
                                          .q = q,
                                          .k = k,
                                          .v = sa2_tensor_heads(v, heads),
                                          .queries = rows,
                                          .keys = rows,
                                          .scale = 1.0f / sqrtf(SA2_SPEECH_TOKENIZER_HEAD_DIM)});
    sa2_encoder_block_out(s, &b->shared, a->memory, a->attn);
    keep(s, stages->attention, a->memory);
    sa2_add(s, a->x, a->x, a->memory);
}

static void run_block(sa2_stream *s, const sa2_speech_tokenizer *t, int block, const activations *a,
                      const sa2_speech_tokenizer_stages *stages)
{
    const sa2_speech_tokenizer_block *b = &t->blocks[block];
    run_attention(s, t, b, a, stages);
    sa2_encoder_block_mlp(s, &b->shared, a->x, a->normed, a->hidden, mlp_norm_eps);
}

static sa2_status too_little_work(sa2_arena *arena, size_t mark, size_t bytes, sa2_error *err)
{
    sa2_arena_rewind(arena, mark);
    return sa2_fail(err, SA2_ERR_NOMEM,
                    "speech tokenizer: %zu bytes of work memory needed, %zu left", bytes,
                    arena->bytes - mark);
}

/* Projections of the rows that window v keeps, to `out`. */
static sa2_status run_window(sa2_stream *s, const sa2_speech_tokenizer *t, sa2_arena *arena,
                             const window *v, sa2_tensor out, sa2_tensor mel, sa2_error *err)
{
    const sa2_speech_tokenizer_stages none = {0};
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, &t->dims, v->halves, v->rows);
    if (work.full)
        return too_little_work(arena, mark, work.bytes, err);
    run_conv(s, a.conv1, sa2_tensor_rows(mel, v->first, v->frames), &t->conv1, t->conv1_bias);
    run_conv(s, a.x, a.conv1, &t->conv2, t->conv2_bias);
    for (int i = 0; i < t->dims.blocks; i++)
        run_block(s, t, i, &a, &none);
    sa2_linear(s, (sa2_linear_args){.y = out,
                                    .x = sa2_tensor_rows(a.x, v->first_kept, v->n_kept),
                                    .w = &t->project,
                                    .bias = t->project_bias});
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}

sa2_status sa2_speech_tokenizer_forward(sa2_stream *s, const sa2_speech_tokenizer *t,
                                        sa2_arena *arena, sa2_tensor out, sa2_tensor mel,
                                        sa2_error *err)
{
    int64_t frames = mel.shape[0], done = 0;
    window v;
    for (int64_t first = 0; first < frames; first = next_first(&v, frames)) {
        v = window_at(first, frames);
        if (v.n_kept == 0)
            continue;
        sa2_status st = run_window(s, t, arena, &v, sa2_tensor_rows(out, done, v.n_kept), mel, err);
        if (st != SA2_OK)
            return st;
        done += v.n_kept;
    }
    return SA2_OK;
}

sa2_status sa2_speech_tokenizer_block_forward(sa2_stream *s, const sa2_speech_tokenizer *t,
                                              int block, sa2_arena *arena, sa2_tensor x,
                                              const sa2_speech_tokenizer_stages *stages,
                                              sa2_error *err)
{
    const sa2_speech_tokenizer_stages none = {0};
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, &t->dims, 0, x.shape[0]);
    if (work.full)
        return too_little_work(arena, mark, work.bytes, err);
    a.x = x;
    run_block(s, t, block, &a, stages != NULL ? stages : &none);
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}

/* ---- tokens ---- */

void sa2_speech_tokenizer_quantise(int digits, const float *projections, int64_t n, int32_t *tokens)
{
    const float below_one = 0.9990000128746033f; /* keeps the digits inside -1, 0, 1 */
    for (int64_t r = 0; r < n; r++, projections += digits) {
        int32_t token = 0;
        for (int i = digits; i-- > 0;)
            token = 3 * token + 1 + (int32_t)lrintf(below_one * tanhf(projections[i]));
        tokens[r] = token;
    }
}
