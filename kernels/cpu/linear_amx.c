/* linear_amx.c - bf16 products by tiles.
 *
 * A step multiplies a tile of 16 rows by 32 columns of x with one of 32 columns by 16 outputs of the
 * matrix, in 16 cycles (Intel SDM volume 1, chapter 18). Two by two tiles of sums need two tiles
 * of each side for four products, which is what eight tile registers allow.
 */
#include <immintrin.h>

#include "kernels/cpu/linear_epilogue.h"
#include "kernels/cpu/linear_tiles.h"

enum {
    PAIR_ROWS = 2 * SA2_BLOCK,
    PAIR_COLS = 2 * SA2_BLOCK,
    PIECE_STEPS =
        16, /* of 32 columns, summed at a time: two panels of x, 32 KB, stay in the L1 cache */
    GROUP_BLOCKS = 16, /* 256 outputs: their piece of the matrix, 256 KB, stays in the L2 cache */
    GROUP_COLS = GROUP_BLOCKS * SA2_BLOCK
};

/* Tiles 0 to 3: sums; 4 and 5: rows; 6 and 7: the matrix. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static void configure(int upper_rows, int lower_rows)
{
    tile_config config __attribute__((aligned(64))) = {.palette = 1};
    const int rows[8] = {upper_rows, upper_rows, lower_rows, lower_rows,
                         upper_rows, lower_rows, SA2_BLOCK,  SA2_BLOCK};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = rows[i] > 0 ? 64 : 0;
        config.rows[i] = (uint8_t)rows[i];
    }
    _tile_loadconfig(&config);
}

/* Sums [32, 32] of two panels of rows and two blocks over `steps` tiles; x[1] NULL: one panel. */
static void sum_tiles(const uint16_t *upper, const uint16_t *lower, const uint16_t *left,
                      const uint16_t *right, int64_t steps, float *sums, bool first)
{
    enum { STEP = GROUP_COLS * sizeof(float), DOWN = SA2_BLOCK * GROUP_COLS };
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, STEP);
        _tile_loadd(1, sums + SA2_BLOCK, STEP);
        _tile_loadd(2, sums + DOWN, STEP);
        _tile_loadd(3, sums + DOWN + SA2_BLOCK, STEP);
    }
    for (int64_t i = 0; i < steps; i++) {
        _tile_loadd(4, upper + i * TILE_VALUES, 64);
        _tile_loadd(6, left + i * TILE_VALUES, 64);
        _tile_loadd(7, right + i * TILE_VALUES, 64);
        _tile_loadd(5, lower + i * TILE_VALUES, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, STEP);
    _tile_stored(1, sums + SA2_BLOCK, STEP);
    _tile_stored(2, sums + DOWN, STEP);
    _tile_stored(3, sums + DOWN + SA2_BLOCK, STEP);
}

/* The same for one panel of up to 16 rows. */
static void sum_tiles_thin(const uint16_t *upper, const uint16_t *left, const uint16_t *right,
                           int64_t steps, float *sums, bool first)
{
    enum { STEP = GROUP_COLS * sizeof(float) };
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
    } else {
        _tile_loadd(0, sums, STEP);
        _tile_loadd(1, sums + SA2_BLOCK, STEP);
    }
    for (int64_t i = 0; i < steps; i++) {
        _tile_loadd(4, upper + i * TILE_VALUES, 64);
        _tile_loadd(6, left + i * TILE_VALUES, 64);
        _tile_loadd(7, right + i * TILE_VALUES, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, sums, STEP);
    _tile_stored(1, sums + SA2_BLOCK, STEP);
}

/* Where a group's rows and blocks lie, and how far along K it is. */
typedef struct group {
    const sa2_product *p;
    const uint16_t *panels, *blocks;
    int64_t panel_values, block_values; /* from one to the next */
    int64_t row, n_rows, block, n_blocks;
    float *sums; /* [n_rows, GROUP_COLS] */
} group;

/* Steps [from, from + steps) of K for rows [row, row + n) of the group. */
static void sum_rows(const group *g, int64_t row, int n, int64_t from, int64_t steps, float *sums)
{
    const uint16_t *upper = g->panels + row / SA2_BLOCK * g->panel_values + from * TILE_VALUES;
    const uint16_t *left = g->blocks + from * TILE_VALUES;
    for (int64_t b = 0; b < g->n_blocks; b += 2, left += 2 * g->block_values) {
        const uint16_t *right = left + g->block_values;
        float *out = sums + b * SA2_BLOCK;
        if (n > SA2_BLOCK)
            sum_tiles(upper, upper + g->panel_values, left, right, steps, out, from == 0);
        else
            sum_tiles_thin(upper, left, right, steps, out, from == 0);
    }
}

/* All of K for a group: pieces of K outside, so that a piece of the blocks serves all rows. */
static void run_group(const group *g)
{
    int64_t all = g->panel_values / TILE_VALUES;
    int64_t pieces = (all + PIECE_STEPS - 1) / PIECE_STEPS;
    int configured = 0;
    for (int64_t piece = 0; piece < pieces; piece++) {
        int64_t from = piece * all / pieces, steps = (piece + 1) * all / pieces - from;
        for (int64_t row = 0; row < g->n_rows; row += PAIR_ROWS) {
            int n = g->n_rows - row < PAIR_ROWS ? (int)(g->n_rows - row) : PAIR_ROWS;
            if (n != configured)
                configure(n < SA2_BLOCK ? n : SA2_BLOCK, n > SA2_BLOCK ? n - SA2_BLOCK : 0);
            configured = n;
            float *sums = g->sums + row * GROUP_COLS;
            sum_rows(g, row, n, from, steps, sums);
            if (piece == pieces - 1)
                finish_rows(g->p, g->row + row, n, g->block, g->n_blocks, sums, GROUP_COLS);
        }
    }
}

static void run_tiles(const sa2_product *p, const sa2_product_part *part, const void *panels,
                      int64_t first_row, void *space)
{
    int64_t padded = sa2_matrix_padded(SA2_BF16, p->w->cols);
    group g = {.p = p, .panel_values = SA2_BLOCK * padded, .block_values = SA2_BLOCK * padded};
    g.row = part->row;
    g.n_rows = part->n_rows;
    g.sums = space;
    g.panels = (const uint16_t *)panels + (part->row - first_row) / SA2_BLOCK * g.panel_values;
    for (int64_t b = 0; b < part->n_blocks; b += GROUP_BLOCKS) {
        g.block = part->block + b;
        g.n_blocks = part->n_blocks - b < GROUP_BLOCKS ? part->n_blocks - b : GROUP_BLOCKS;
        g.blocks = (const uint16_t *)p->w->data + g.block * g.block_values;
        run_group(&g);
    }
    _tile_release();
}

const sa2_product_kernel sa2_product_bf16_amx = {
    .panel_bytes = tile_panel_bytes, .pack = pack_tiles, .run = run_tiles};
