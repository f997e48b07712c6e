/* linear_i8_amx.c - products with a matrix in 8 bits by tiles.
 *
 * A step multiplies 16 lines (8 rows of x, two planes each) by 64 columns with 64 columns by 16 outputs, in 16 cycles
 * (Intel SDM volume 1, chapter 18). A square is a panel of x by a pair of blocks: two by two tiles of sums.
 *
 * Few rows wait for the matrix: a pair of blocks streams through while x stays in the L2 cache. Many rows are multiplied
 * by a group of blocks, K in pieces: a piece of a panel stays in the L1 cache for the group, a piece of the
 * group and the sums stay in the L2 cache for all rows.
 */
#include <immintrin.h>

#include "kernels/cpu/linear_i8.h"
#include "kernels/cpu/tiles_amx.h"

enum {
    TILE_BYTES = SA2_BLOCK * SA2_I8_COLS,
    GROUP_BLOCKS = 8,
    PIECE_STEPS = 10,
    FEW_PANELS = 4,
    AHEAD = 2, /* steps that a stream is asked for ahead */
    MAX_PANELS = SA2_THREAD_SPACE / (I8_LINES * GROUP_BLOCKS * SA2_BLOCK * (int)sizeof(int32_t)),
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
    bool first;           /* ints begin at 0 */
    const char *fetch[2]; /* no cache holds what is there: it is asked for, a tile each step of K */
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

static inline __attribute__((always_inline)) void fetch(const square *q, int half, int64_t i)
{
    const char *at = q->fetch[half] + i * TILE_BYTES;
#pragma GCC unroll 16
    for (int line = 0; line < SA2_BLOCK; line++)
        _mm_prefetch(at + line * 64, _MM_HINT_T0);
}

static inline __attribute__((always_inline)) void sum_square(const square *q, const bool two,
                                                             const bool stream)
{
    const int8_t *x = q->x, *left = q->left, *right = q->right;
    load_ints(q, two);
    for (int64_t i = 0; i < q->steps; i++) {
        _tile_stream_loadd(6, left, 64);
        if (stream)
            fetch(q, 0, i);
        _tile_loadd(4, x, 64);
        _tile_dpbssd(0, 4, 6);
        if (two) {
            _tile_loadd(5, x + TILE_BYTES, 64);
            _tile_dpbssd(2, 5, 6);
        }
        _tile_stream_loadd(7, right, 64);
        if (stream)
            fetch(q, 1, i);
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
    sum_square(q, false, true);
}

static void sum_stream_of_two(const square *q)
{
    sum_square(q, true, true);
}

static void sum_cached_of_one(const square *q)
{
    sum_square(q, false, false);
}

static void sum_cached_of_two(const square *q)
{
    sum_square(q, true, false);
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
} group;

/* Of a block of the group from a step on. */
static const int8_t *tiles_of(const group *g, int64_t block, int64_t step)
{
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

/* Panel by panel; the first one asks for the matrix. */
static void run_few_panels(group *g, int64_t j, int64_t all)
{
    for (int64_t i = 0; i < g->n_panels; i++) {
        int n = rows_of(g, i);
        square q = square_of(g, i, j, 0, all);
        if (i == 0) {
            for (int half = 0; half < 2; half++)
                q.fetch[half] = (const char *)tiles_of(g, 2 * j + half, AHEAD);
            (n <= 8 ? sum_stream_of_one : sum_stream_of_two)(&q);
        } else {
            (n <= 8 ? sum_cached_of_one : sum_cached_of_two)(&q);
        }
        finish(g, i, n, j, &q);
    }
}

static void run_many_panels(group *g, int64_t all)
{
    int64_t pieces = (all + PIECE_STEPS - 1) / PIECE_STEPS;
    for (int64_t k = 0; k < pieces; k++) {
        int64_t from = k * all / pieces, to = (k + 1) * all / pieces;
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
    for (int64_t j = 0; j < g->n_blocks / 2; j++)
        run_few_panels(g, j, all);
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
                       .ints = space};
            g.n_panels = (g.n_rows + SA2_BLOCK - 1) / SA2_BLOCK;
            run_group(&g);
        }
    _tile_release();
}

const sa2_product_kernel sa2_product_i8_amx = {
    .panel_bytes = i8_panel_bytes, .pack = i8_pack, .run = run_tiles};
