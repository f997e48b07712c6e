/* conv1d.c - contract: sa2_conv1d() in kernels/ops.h.
 *
 * x is copied once with its padding, activated on the way; then each row of y is a row of a product
 * whose patch lies in that copy, overlapping its neighbours. Where x in f32 is larger than a cache, a
 * thread copies what a tile of y needs and multiplies it at once.
 */
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/matrix.h"
#include "kernels/cpu/padded.h"
#include "kernels/cpu/product.h"

size_t sa2_conv1d_scratch_bytes(sa2_dtype x, int64_t x_rows, int64_t in, int n_sequences,
                                int pad_left, int pad_right)
{
    size_t copy = sa2_padded_bytes(x, x_rows, in, n_sequences, (int64_t)pad_left + pad_right);
    return sa2_arena_round(copy) + sa2_arena_round((size_t)n_sequences * sizeof(sa2_row_span));
}

static int64_t rows_out(const sa2_conv1d_args *a, int i)
{
    int64_t length = a->sequences.offsets[i + 1] - a->sequences.offsets[i];
    int64_t room = length + a->pad_left + a->pad_right - (int64_t)a->dilation * (a->kernel - 1) - 1;
    return room < 0 ? 0 : room / a->stride + 1;
}

/* Sequences that give no row have no span. */
static int find_rows(const sa2_conv1d_args *a, const sa2_padding *padding, int64_t x_step,
                     sa2_row_span *spans)
{
    int n = 0;
    int64_t first = 0;
    for (int i = 0; i < a->sequences.n; i++) {
        int64_t rows = rows_out(a, i);
        if (rows == 0)
            continue;
        spans[n++] = (sa2_row_span){.first = first,
                                    .x = sa2_padded_start(padding, i) * x_step,
                                    .y = first * a->y.stride,
                                    .y_last = INT64_MAX};
        first += rows;
    }
    return n;
}

/* ---- tiles ---- */

enum {
    TILE_BYTES = SA2_THREAD_SPACE / 2, /* of x, with what its neighbours share */
    TILED_FROM = 512 << 10,            /* bytes of x; less stays in the L2 cache on the way */
    TILES_A_THREAD = 4,                /* so that a late one leaves work to the others */
    EVEN_ROWS = 48,                    /* of a tile: no thin strips in any instruction set */
};

typedef struct tiles {
    const sa2_conv1d_args *a;
    const sa2_padding *padding;
    const sa2_product *p; /* of the whole; x and spans are a tile's own */
    const sa2_product_kernel *kernel;
    sa2_cpu *cpu;
    int64_t rows; /* of y in a tile */
} tiles;

/* Rows of x that one row of y reaches over. */
static int64_t reach_of(const sa2_conv1d_args *a)
{
    return (int64_t)a->dilation * (a->kernel - 1) + 1;
}

/* Rows of y in a tile; 0: not worth it. */
static int64_t tile_rows(const sa2_conv1d_args *a, const sa2_product_kernel *kernel, int threads)
{
    int64_t row_bytes = a->x.shape[1] * (int64_t)sizeof(float), reach = reach_of(a);
    if (kernel->pack != NULL || a->x.shape[0] * row_bytes <= TILED_FROM)
        return 0;
    int64_t fit = (TILE_BYTES / row_bytes - reach) / a->stride + 1;
    int64_t share = a->y.shape[0] / (threads * TILES_A_THREAD) + 1;
    int64_t rows = fit < share ? fit : share;
    if (rows > EVEN_ROWS)
        rows -= rows % EVEN_ROWS;
    return rows * a->stride < 2 * reach ? 0 : rows;
}

static int64_t tiles_of(const tiles *t, int sequence)
{
    return (rows_out(t->a, sequence) + t->rows - 1) / t->rows;
}

static void run_tile(void *context, int index, int thread)
{
    const tiles *t = context;
    const sa2_conv1d_args *a = t->a;
    int i = 0;
    int64_t tile = index, first = 0; /* row of y of the sequence */
    for (; tile >= tiles_of(t, i); i++) {
        tile -= tiles_of(t, i);
        first += rows_out(a, i);
    }
    int64_t from = tile * t->rows, left = rows_out(a, i) - from;
    int64_t n = left < t->rows ? left : t->rows;
    unsigned char *space = sa2_cpu_thread_space(t->cpu, thread);
    void *x = space + SA2_THREAD_SPACE - TILE_BYTES;
    sa2_pad_piece(t->cpu, t->padding, i, from * a->stride, (n - 1) * a->stride + reach_of(a), x);
    sa2_row_span span = {.y = (first + from) * a->y.stride, .y_last = INT64_MAX};
    sa2_product p = *t->p;
    p.x = x;
    p.rows = n;
    p.spans = &span;
    p.n_spans = 1;
    if (p.epilogue.gate_rows != NULL)
        p.epilogue.gate_rows += first + from;
    sa2_product_part all = {.n_rows = n, .n_blocks = sa2_matrix_blocks(p.w->rows)};
    t->kernel->run(&p, &all, NULL, 0, space);
}

static void run_tiles(tiles *t)
{
    int64_t n = 0;
    for (int i = 0; i < t->a->sequences.n; i++)
        n += tiles_of(t, i);
    sa2_threads_run(t->cpu->threads, (int)n, run_tile, t);
}

/* ---- the whole ---- */

/* Rows of the product lie x_step elements apart; where they begin is not said yet. */
static sa2_product product_of(const sa2_conv1d_args *a, int64_t x_step)
{
    int64_t in = a->x.shape[1];
    bool whole = a->dilation == 1 && x_step == in; /* a patch is one stretch */
    return (sa2_product){
        .y = a->y.data,
        .x_dtype = a->x.dtype,
        .y_dtype = a->y.dtype,
        .w = a->w,
        .rows = a->y.shape[0],
        .x_step = a->stride * x_step,
        .y_step = a->y.stride,
        .taps = whole ? 1 : a->kernel,
        .tap_cols = whole ? a->kernel * in : in,
        .tap_step = a->dilation * x_step,
        .epilogue = {.bias = a->bias.data,
                     .activation = a->activation,
                     .slope = a->slope,
                     .accumulate = a->accumulate},
    };
}

/* One product over all of x, copied or not. */
static sa2_status run_whole(sa2_stream *s, const sa2_padding *padding, sa2_product *p,
                            const sa2_conv1d_args *a, bool copied, sa2_error *err)
{
    size_t mark = sa2_arena_mark(&s->scratch);
    sa2_row_span *spans =
        sa2_arena_take(&s->scratch, (size_t)a->sequences.n * sizeof(sa2_row_span));
    p->x = a->x.data;
    if (copied) {
        void *copy = sa2_arena_take(
            &s->scratch, sa2_padded_bytes(a->x.dtype, a->x.shape[0], a->x.shape[1], a->sequences.n,
                                          padding->before + padding->after));
        sa2_pad_rows(sa2_cpu_of(s), padding, copy);
        p->x = copy;
    }
    p->spans = spans;
    p->n_spans = find_rows(a, padding, copied ? a->x.shape[1] : a->x.stride, spans);
    sa2_status st = sa2_product_run(s, p, err);
    sa2_arena_rewind(&s->scratch, mark);
    return st;
}

sa2_status sa2_cpu_conv1d(sa2_stream *s, const sa2_conv1d_args *a, sa2_error *err)
{
    sa2_cpu *cpu = sa2_cpu_of(s);
    sa2_padding padding = {.x = a->x,
                           .sequences = a->sequences,
                           .before = a->pad_left,
                           .after = a->pad_right,
                           .history = a->history,
                           .activation = a->input,
                           .slope = a->input_slope,
                           .alpha = a->input_alpha.data};
    size_t need = sa2_conv1d_scratch_bytes(a->x.dtype, a->x.shape[0], a->x.shape[1], a->sequences.n,
                                           a->pad_left, a->pad_right);
    if (need > s->scratch.bytes - s->scratch.used)
        return sa2_fail(err, SA2_ERR_NOMEM, "conv1d: %zu bytes of scratch needed, %zu left", need,
                        s->scratch.bytes - s->scratch.used);
    bool copied = a->pad_left + a->pad_right > 0 || a->input != SA2_ACT_NONE;
    sa2_product p = product_of(a, copied ? a->x.shape[1] : a->x.stride);
    sa2_status st = sa2_cpu_gate(&p.epilogue, "conv1d", &a->gate, &a->gate_rows, err);
    if (st != SA2_OK)
        return st;
    tiles t = {.a = a,
               .padding = &padding,
               .p = &p,
               .kernel = sa2_product_kernel_for(cpu, a->x.dtype, a->w->dtype),
               .cpu = cpu};
    t.rows = copied ? tile_rows(a, t.kernel, sa2_threads_count(cpu->threads)) : 0;
    if (t.rows == 0)
        return run_whole(s, &padding, &p, a, copied, err);
    run_tiles(&t);
    return SA2_OK;
}
