/* linear_i8_amx.c - products with a matrix in 8 or 4 bits by tiles.
 *
 * A step multiplies 16 lines (8 rows of x, two planes each) by 64 columns with 64 columns by 16 outputs, in 16 cycles
 * (Intel SDM volume 1, chapter 18). A square is a panel of x by a pair of blocks: two by two tiles of sums.
 *
 * Few rows wait for the matrix: a pair of blocks streams through while x stays in the L2 cache. Many rows are multiplied
 * by a group of blocks, K in pieces: a piece of a panel stays in the L1 cache for the group, a piece of the
 * group and the sums stay in the L2 cache for all rows.
 *
 * Of a matrix in 4 bits what is multiplied next is unpacked first: a piece of a group for many rows, a few steps of a
 * pair for few, where the sums of one panel stay in the tiles meanwhile.
 */
#include <immintrin.h>

#include "kernels/cpu/linear_i8.h"
#include "kernels/cpu/tiles_amx.h"
#include "kernels/cpu/unpack_i4.h"

enum {
    TILE_BYTES = SA2_BLOCK * SA2_I8_COLS,
    GROUP_BLOCKS = 8,
    PIECE_STEPS = 10,
    FEW_PANELS = 4,
    FEW_STEPS = 32,
    AHEAD = 2, /* steps that a stream is asked for ahead */
    PACKED_AHEAD = 4,
    MAX_PANELS =
        SA2_THREAD_SPACE / 2 / (I8_LINES * GROUP_BLOCKS * SA2_BLOCK * (int)sizeof(int32_t)),
};

/* Tiles 0 to 3: sums; 4 and 5: lines of x; 6 and 7: the matrix. */
static void configure(int rows_of_x)
{
    int upper = rows_of_x < 8 ? 2 * rows_of_x : SA2_BLOCK;
    int lower = rows_of_x > 8 ? 2 * rows_of_x - SA2_BLOCK : 0;
    const int rows[TILES] = {upper, upper, lower, lower, upper, lower, SA2_BLOCK, SA2_BLOCK};
    configure_tiles(rows);
}

/* A panel by a pair of blocks over some steps of K. */
typedef struct square {
    const int8_t *x, *left, *right;
    int64_t steps;
    int32_t *ints; /* [32, step] */
    int64_t step;
    bool first;                     /* ints begin at 0 */
    const char *fetch[2];           /* no cache holds what is there: it is asked for, */
    int64_t fetch_step;             /* each step of K so many bytes on, */
    int fetch_line, fetch_line_end; /* these lines of 64 */
} square;

static inline __attribute__((always_inline)) void load_ints(const square *q, const bool two)
{
    static const int32_t zeros[SA2_BLOCK] __attribute__((aligned(64)));
    const int32_t *from = q->first ? zeros : q->ints;
    int64_t step = q->first ? 0 : q->step, right = q->first ? 0 : SA2_BLOCK;
    int64_t bytes = step * (int64_t)sizeof *from;
    _tile_loadd(0, from, bytes);
    _tile_loadd(1, from + right, bytes);
    if (two) {
        _tile_loadd(2, from + SA2_BLOCK * step, bytes);
        _tile_loadd(3, from + SA2_BLOCK * step + right, bytes);
    }
}

static inline __attribute__((always_inline)) void store_ints(const square *q, const bool two)
{
    int64_t bytes = q->step * (int64_t)sizeof *q->ints;
    _tile_stored(0, q->ints, bytes);
    _tile_stored(1, q->ints + SA2_BLOCK, bytes);
    if (two) {
        _tile_stored(2, q->ints + SA2_BLOCK * q->step, bytes);
        _tile_stored(3, q->ints + SA2_BLOCK * q->step + SA2_BLOCK, bytes);
    }
}

/* `lines` of 64 bytes where that is known, else those that q says. */
static inline __attribute__((always_inline)) void fetch(const square *q, int half, int64_t i,
                                                        const int lines)
{
    const char *at = q->fetch[half] + i * q->fetch_step;
    if (lines == 0)
        for (int line = q->fetch_line; line < q->fetch_line_end; line++)
            _mm_prefetch(at + line * 64, _MM_HINT_T0);
#pragma GCC unroll 16
    for (int line = 0; line < lines; line++)
        _mm_prefetch(at + line * 64, _MM_HINT_T0);
}

static inline __attribute__((always_inline)) void sum_square(const square *q, const bool two,
                                                             const bool stream, const int lines)
{
    const int8_t *x = q->x, *left = q->left, *right = q->right;
    load_ints(q, two);
    for (int64_t i = 0; i < q->steps; i++) {
        _tile_stream_loadd(6, left, 64);
        if (stream)
            fetch(q, 0, i, lines);
        _tile_loadd(4, x, 64);
        _tile_dpbssd(0, 4, 6);
        if (two) {
            _tile_loadd(5, x + TILE_BYTES, 64);
            _tile_dpbssd(2, 5, 6);
        }
        _tile_stream_loadd(7, right, 64);
        if (stream)
            fetch(q, 1, i, lines);
        _tile_dpbssd(1, 4, 7);
        if (two)
            _tile_dpbssd(3, 5, 7);
        x += I8_STEP_BYTES;
        left += TILE_BYTES;
        right += TILE_BYTES;
    }
    store_ints(q, two);
}

static void sum_stream_of_one(const square *q)
{
    sum_square(q, false, true, SA2_BLOCK);
}

static void sum_stream_of_two(const square *q)
{
    sum_square(q, true, true, SA2_BLOCK);
}

static void sum_shared_of_one(const square *q)
{
    sum_square(q, false, true, 0);
}

static void sum_shared_of_two(const square *q)
{
    sum_square(q, true, true, 0);
}

static void sum_cached_of_one(const square *q)
{
    sum_square(q, false, false, 0);
}

static void sum_cached_of_two(const square *q)
{
    sum_square(q, true, false, 0);
}

/* ---- 4 bits ---- */

/* A panel by a pair of blocks in 4 bits, all steps: a step is unpacked while the one before it is multiplied. */
static inline __attribute__((always_inline)) void
sum_packed(const square *q, const sa2_matrix *w, int64_t block, int8_t *space, const bool two)
{
    const uint8_t *left = sa2_i4_tiles(w, block), *right = sa2_i4_tiles(w, block + 1);
    const uint8_t *left_factors = sa2_i4_factors(w, block);
    const uint8_t *right_factors = sa2_i4_factors(w, block + 1);
    const int8_t *x = q->x;
    load_ints(q, two);
    unpack_i4_tile(left, left_factors, space);
    unpack_i4_tile(right, right_factors, space + TILE_BYTES);
    for (int64_t i = 0; i < q->steps; i++, x += I8_STEP_BYTES) {
        const int8_t *tiles = space + i % 2 * 2 * TILE_BYTES;
        int8_t *next = space + (i + 1) % 2 * 2 * TILE_BYTES;
        fetch(q, 0, i, SA2_BLOCK / 2);
        fetch(q, 1, i, SA2_BLOCK / 2);
        if (i + 1 < q->steps) {
            unpack_i4_tile(left + (i + 1) * SA2_I4_TILE_BYTES, left_factors + (i + 1) * SA2_BLOCK,
                           next);
            unpack_i4_tile(right + (i + 1) * SA2_I4_TILE_BYTES, right_factors + (i + 1) * SA2_BLOCK,
                           next + TILE_BYTES);
        }
        _tile_loadd(6, tiles, 64);
        _tile_loadd(4, x, 64);
        _tile_dpbssd(0, 4, 6);
        if (two) {
            _tile_loadd(5, x + TILE_BYTES, 64);
            _tile_dpbssd(2, 5, 6);
        }
        _tile_loadd(7, tiles + TILE_BYTES, 64);
        _tile_dpbssd(1, 4, 7);
        if (two)
            _tile_dpbssd(3, 5, 7);
    }
    store_ints(q, two);
}

static void sum_packed_of_one(const square *q, const sa2_matrix *w, int64_t block, int8_t *space)
{
    sum_packed(q, w, block, space, false);
}

static void sum_packed_of_two(const square *q, const sa2_matrix *w, int64_t block, int8_t *space)
{
    sum_packed(q, w, block, space, true);
}

/* ---- groups ---- */

/* Rows of up to MAX_PANELS panels by one group of blocks. */
typedef struct group {
    const sa2_product *p;
    const char *panels;
    size_t panel_bytes;
    int64_t row, n_rows, block, n_blocks;
    int64_t n_panels;
    int configured; /* rows that the tiles hold */
    int32_t *ints;  /* [32 n_panels, n_blocks * 16] */
    int8_t *space;  /* tiles that were unpacked */
    bool packed;    /* the matrix is in 4 bits */
} group;

static int8_t *unpacked(const group *g, int64_t block)
{
    const int64_t steps = g->n_panels > FEW_PANELS ? PIECE_STEPS : FEW_STEPS;
    return g->space + block * steps * TILE_BYTES;
}

/* Of a block of the group from a step on. */
static const int8_t *tiles_of(const group *g, int64_t block, int64_t step)
{
    if (g->packed)
        return unpacked(g, block);
    return sa2_i8_block(g->p->w, g->block + block) + step * TILE_BYTES;
}

/* Panel i by pair j over steps [from, to) of `all`. */
static square square_of(const group *g, int64_t i, int64_t j, int64_t from, int64_t to)
{
    int64_t step = g->n_blocks * SA2_BLOCK;
    const char *panel = g->panels + (size_t)i * g->panel_bytes;
    return (square){.x = (const int8_t *)panel + from * I8_STEP_BYTES,
                    .left = tiles_of(g, 2 * j, from),
                    .right = tiles_of(g, 2 * j + 1, from),
                    .steps = to - from,
                    .ints = g->ints + i * I8_LINES * step + j * I8_OUTPUTS,
                    .step = step,
                    .first = from == 0};
}

static int rows_of(group *g, int64_t i)
{
    int64_t left = g->n_rows - i * SA2_BLOCK;
    int n = left < SA2_BLOCK ? (int)left : SA2_BLOCK;
    if (n != g->configured)
        configure(n);
    g->configured = n;
    return n;
}

static void finish(const group *g, int64_t i, int n, int64_t j, const square *q)
{
    const char *panel = g->panels + (size_t)i * g->panel_bytes;
    i8_finish(g->p, g->row + i * SA2_BLOCK, n, g->block + 2 * j, q->ints, q->step,
              (const float *)(panel + i8_planes_bytes(g->p->w->cols)));
}

/* Asks for pair j from step `step` on, one of `parts` of its lines. */
static void fetch_behind(square *q, const group *g, int64_t part, int64_t parts, int64_t j,
                         int64_t step)
{
    int64_t tile = g->packed ? SA2_I4_TILE_BYTES : TILE_BYTES, lines = tile / 64;
    for (int half = 0; half < 2; half++) {
        int64_t block = g->block + 2 * j + half;
        q->fetch[half] = g->packed ? (const char *)sa2_i4_tiles(g->p->w, block)
                                   : (const char *)sa2_i8_block(g->p->w, block);
        q->fetch[half] += step * tile;
    }
    q->fetch_step = tile;
    q->fetch_line = (int)(part * lines / parts);
    q->fetch_line_end = (int)((part + 1) * lines / parts);
}

/* Panel by panel; the first one asks for the matrix. */
static void run_few_panels(group *g, int64_t j, int64_t all)
{
    for (int64_t i = 0; i < g->n_panels; i++) {
        int n = rows_of(g, i);
        square q = square_of(g, i, j, 0, all);
        if (i == 0) {
            fetch_behind(&q, g, 0, 1, j, AHEAD);
            (n <= 8 ? sum_stream_of_one : sum_stream_of_two)(&q);
        } else {
            (n <= 8 ? sum_cached_of_one : sum_cached_of_two)(&q);
        }
        finish(g, i, n, j, &q);
    }
}

/* The sums stay in the tiles while the matrix is unpacked. */
static void run_packed_panel(group *g, int64_t j, int64_t all)
{
    int n = rows_of(g, 0);
    square q = square_of(g, 0, j, 0, all);
    fetch_behind(&q, g, 0, 1, j, PACKED_AHEAD);
    (n <= 8 ? sum_packed_of_one : sum_packed_of_two)(&q, g->p->w, g->block + 2 * j, g->space);
    finish(g, 0, n, j, &q);
}

/* Panel by panel over pieces that are unpacked; all of them together ask for the next one. */
static void run_few_packed_panels(group *g, int64_t j, int64_t all)
{
    for (int64_t from = 0; from < all; from += FEW_STEPS) {
        int64_t to = all - from < FEW_STEPS ? all : from + FEW_STEPS;
        for (int64_t b = 2 * j; b < 2 * j + 2; b++)
            unpack_i4_steps(g->p->w, g->block + b, from, to, unpacked(g, b));
        for (int64_t i = 0; i < g->n_panels; i++) {
            int n = rows_of(g, i);
            square q = square_of(g, i, j, from, to);
            fetch_behind(&q, g, i, g->n_panels, j, from + FEW_STEPS);
            (n <= 8 ? sum_shared_of_one : sum_shared_of_two)(&q);
            if (to == all)
                finish(g, i, n, j, &q);
        }
    }
}

static void run_many_panels(group *g, int64_t all)
{
    int64_t pieces = (all + PIECE_STEPS - 1) / PIECE_STEPS;
    for (int64_t k = 0; k < pieces; k++) {
        int64_t from = k * all / pieces, to = (k + 1) * all / pieces;
        for (int64_t b = 0; g->packed && b < g->n_blocks; b++)
            unpack_i4_steps(g->p->w, g->block + b, from, to, unpacked(g, b));
        for (int64_t i = 0; i < g->n_panels; i++)
            for (int64_t j = 0; j < g->n_blocks / 2; j++) {
                int n = rows_of(g, i);
                square q = square_of(g, i, j, from, to);
                (n <= 8 ? sum_cached_of_one : sum_cached_of_two)(&q);
                if (to == all)
                    finish(g, i, n, j, &q);
            }
    }
}

static void run_group(group *g)
{
    int64_t all = sa2_i8_padded(g->p->w->cols) / SA2_I8_COLS;
    if (g->n_panels > FEW_PANELS) {
        run_many_panels(g, all);
        return;
    }
    void (*run)(group *, int64_t, int64_t) = !g->packed         ? run_few_panels
                                             : g->n_panels == 1 ? run_packed_panel
                                                                : run_few_packed_panels;
    for (int64_t j = 0; j < g->n_blocks / 2; j++)
        run(g, j, all);
}

static void run_tiles(const sa2_product *p, const sa2_product_part *part, const void *panels,
                      int64_t first_row, void *space)
{
    size_t panel_bytes = i8_panel_bytes(p->w->cols);
    for (int64_t row = 0; row < part->n_rows; row += (int64_t)MAX_PANELS * SA2_BLOCK)
        for (int64_t b = 0; b < part->n_blocks; b += GROUP_BLOCKS) {
            int64_t left = part->n_rows - row, blocks = part->n_blocks - b;
            group g = {.p = p,
                       .panels = (const char *)panels +
                                 (size_t)((part->row + row - first_row) / SA2_BLOCK) * panel_bytes,
                       .panel_bytes = panel_bytes,
                       .row = part->row + row,
                       .n_rows = left < MAX_PANELS * SA2_BLOCK ? left : MAX_PANELS * SA2_BLOCK,
                       .block = part->block + b,
                       .n_blocks = blocks < GROUP_BLOCKS ? blocks : GROUP_BLOCKS,
                       .ints = space,
                       .space = (int8_t *)space + SA2_THREAD_SPACE / 2,
                       .packed = p->w->dtype == SA2_I4};
            g.n_panels = (g.n_rows + SA2_BLOCK - 1) / SA2_BLOCK;
            run_group(&g);
        }
    _tile_release();
}

const sa2_product_kernel sa2_product_i8_amx = {
    .panel_bytes = i8_panel_bytes, .pack = i8_pack, .run = run_tiles};
