/* linear_amx.c - bf16 products by tiles.
 *
 * A step multiplies a tile of 16 rows by 32 columns of x with one of 32 columns by 16 outputs of the
 * matrix, in 16 cycles (Intel SDM volume 1, chapter 18). Two by two tiles of sums need two tiles
 * of each side for four products, which is what eight tile registers allow: a square.
 *
 * Few rows wait for the matrix: two blocks at a time stream through, x stays in the L2 cache. Many rows
 * are multiplied by a group of blocks, K in pieces: a piece of two panels of x stays in the L1 cache
 * for the group, a piece of the group and the sums stay in the L2 cache for all rows.
 *
 * Of a matrix in e4m3 what is multiplied next is unpacked first: a piece of a group, or for a pair of panels, whose sums
 * stay in the tiles meanwhile, a step.
 */
#include <immintrin.h>

#include "kernels/cpu/linear_epilogue.h"
#include "kernels/cpu/linear_tiles.h"
#include "kernels/cpu/tiles_amx.h"
#include "kernels/cpu/unpack_e4m3.h"

enum {
    PAIR_ROWS = 2 * SA2_BLOCK,
    FEW_ROWS = 96,      /* from 128 on the other way is faster */
    STREAM_STEPS = 512, /* times row pairs: 1 MB of x */
    PIECE_STEPS = 14,   /* of 32 columns: 28 KB of two panels, 224 KB of a group */
    GROUP_BLOCKS = 16,
    GROUP_ROWS = 512, /* sums of a group for so many are half of SA2_THREAD_SPACE */
    SUMS_STEP = (GROUP_BLOCKS + 1) * SA2_BLOCK, /* floats from a row of sums to the next; a
                                                   power of two would crowd a few cache sets */
    STEP_LINES = 2 * TILE_BYTES / 64, /* cache lines that a step reads of two panels or blocks */
    SUMS_BYTES = GROUP_ROWS * SUMS_STEP *
                 sizeof(float), /* of SA2_THREAD_SPACE; behind them what was unpacked */
    PACKED_AHEAD = 8,           /* steps that a matrix in e4m3 is asked for ahead */
};

/* Tiles 0 to 3: sums; 4 and 5: rows; 6 and 7: the matrix. */
static void configure(int upper_rows, int lower_rows)
{
    const int rows[TILES] = {upper_rows, upper_rows, lower_rows, lower_rows,
                             upper_rows, lower_rows, SA2_BLOCK,  SA2_BLOCK};
    configure_tiles(rows);
}

/* A block of a matrix in e4m3 from some step on. */
typedef struct packed_block {
    const uint8_t *tiles, *powers;
} packed_block;

/* A square over some steps of K, and what the next ones will read. */
typedef struct square {
    const uint16_t *upper, *lower; /* panels of x */
    const uint16_t *left, *right;  /* blocks of the matrix, */
    packed_block packed[2];        /* or in e4m3 */
    int64_t steps;
    float *sums; /* [32, SUMS_STEP] */
    bool first;  /* sums begin at 0 */
    const char *next_x, *next_w;
    int x_lines, w_lines; /* of those, fetched each step */
} square;

/* `two`: both panels; else tiles 2, 3 and 5 have no rows. */
static inline __attribute__((always_inline)) void load_sums(const square *q, const bool two)
{
    static const float zeros[SA2_BLOCK] __attribute__((aligned(64)));
    const float *from = q->first ? zeros : q->sums;
    int64_t step = q->first ? 0 : SUMS_STEP, right = q->first ? 0 : SA2_BLOCK;
    int64_t step_bytes = step * (int64_t)sizeof(float);
    _tile_loadd(0, from, step_bytes);
    _tile_loadd(1, from + right, step_bytes);
    if (two) {
        _tile_loadd(2, from + SA2_BLOCK * step, step_bytes);
        _tile_loadd(3, from + SA2_BLOCK * step + right, step_bytes);
    }
}

static inline __attribute__((always_inline)) void store_sums(const square *q, const bool two)
{
    enum { STEP_BYTES = SUMS_STEP * sizeof(float), DOWN = SA2_BLOCK * SUMS_STEP };
    _tile_stored(0, q->sums, STEP_BYTES);
    _tile_stored(1, q->sums + SA2_BLOCK, STEP_BYTES);
    if (two) {
        _tile_stored(2, q->sums + DOWN, STEP_BYTES);
        _tile_stored(3, q->sums + DOWN + SA2_BLOCK, STEP_BYTES);
    }
}

static inline __attribute__((always_inline)) void fetch_tile(const uint16_t *tile)
{
#pragma GCC unroll 16
    for (int i = 0; i < SA2_BLOCK; i++)
        _mm_prefetch((const char *)(tile + i * SA2_TILE_COLS), _MM_HINT_T0);
}

/* With a matrix that no cache holds: a tile of it is asked for a step ahead. */
static inline __attribute__((always_inline)) void sum_stream(const square *q, const bool two)
{
    const uint16_t *upper = q->upper, *lower = q->lower, *left = q->left, *right = q->right;
    load_sums(q, two);
    for (int64_t i = 0; i < q->steps; i++) {
        _tile_stream_loadd(6, left, 64);
        left += TILE_VALUES;
        fetch_tile(left);
        _tile_stream_loadd(7, right, 64);
        right += TILE_VALUES;
        fetch_tile(right);
        _tile_loadd(4, upper, 64);
        upper += TILE_VALUES;
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (two) {
            _tile_loadd(5, lower, 64);
            lower += TILE_VALUES;
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    store_sums(q, two);
}

static void sum_stream_of_one(const square *q)
{
    sum_stream(q, false);
}

static void sum_stream_of_two(const square *q)
{
    sum_stream(q, true);
}

static inline __attribute__((always_inline)) void fetch_packed(const uint8_t *tile)
{
#pragma GCC unroll 8
    for (int i = 0; i < SA2_E4M3_TILE_BYTES; i += 64)
        _mm_prefetch((const char *)tile + i, _MM_HINT_T0);
}

/* Of both blocks, one behind the other. */
static inline __attribute__((always_inline)) void unpack_step(const square *q, int64_t i,
                                                              uint16_t *to)
{
    for (int half = 0; half < 2; half++)
        unpack_e4m3(q->packed[half].tiles + i * SA2_E4M3_TILE_BYTES,
                    q->packed[half].powers + i * SA2_BLOCK, to + half * TILE_VALUES);
}

/* With a matrix in e4m3: a step is unpacked while the one before it is multiplied. */
static inline __attribute__((always_inline)) void sum_packed(const square *q, uint16_t *space,
                                                             const bool two)
{
    const uint16_t *upper = q->upper, *lower = q->lower;
    load_sums(q, two);
    unpack_step(q, 0, space);
    for (int64_t i = 0; i < q->steps; i++) {
        const uint16_t *tiles = space + i % 2 * 2 * TILE_VALUES;
        uint16_t *next = space + (i + 1) % 2 * 2 * TILE_VALUES;
        fetch_packed(q->packed[0].tiles + (i + PACKED_AHEAD) * SA2_E4M3_TILE_BYTES);
        fetch_packed(q->packed[1].tiles + (i + PACKED_AHEAD) * SA2_E4M3_TILE_BYTES);
        if (i + 1 < q->steps)
            unpack_step(q, i + 1, next);
        _tile_loadd(6, tiles, 64);
        _tile_loadd(4, upper, 64);
        upper += TILE_VALUES;
        _tile_dpbf16ps(0, 4, 6);
        if (two) {
            _tile_loadd(5, lower, 64);
            lower += TILE_VALUES;
            _tile_dpbf16ps(2, 5, 6);
        }
        _tile_loadd(7, tiles + TILE_VALUES, 64);
        _tile_dpbf16ps(1, 4, 7);
        if (two)
            _tile_dpbf16ps(3, 5, 7);
    }
    store_sums(q, two);
}

static void sum_packed_of_one(const square *q, uint16_t *space)
{
    sum_packed(q, space, false);
}

static void sum_packed_of_two(const square *q, uint16_t *space)
{
    sum_packed(q, space, true);
}

/* With x in the L1 and the matrix in the L2 cache. */
static void sum_square(const square *q)
{
    const uint16_t *upper = q->upper, *lower = q->lower, *left = q->left, *right = q->right;
    const char *next_x = q->next_x, *next_w = q->next_w;
    load_sums(q, true);
    for (int64_t i = 0; i < q->steps; i++) {
        _tile_stream_loadd(6, left, 64);
        _tile_loadd(4, upper, 64);
        for (int k = 0; k < q->w_lines; k++, next_w += 64)
            _mm_prefetch(next_w, _MM_HINT_T1);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, lower, 64);
        for (int k = 0; k < q->x_lines; k++, next_x += 64)
            _mm_prefetch(next_x, _MM_HINT_T0);
        _tile_dpbf16ps(2, 5, 6);
        _tile_stream_loadd(7, right, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
        upper += TILE_VALUES;
        lower += TILE_VALUES;
        left += TILE_VALUES;
        right += TILE_VALUES;
    }
    store_sums(q, true);
}

/* All rows of a part by one group of blocks. */
typedef struct group {
    const sa2_product *p;
    const uint16_t *panels, *blocks;
    const uint16_t *next_blocks; /* of the next group */
    int64_t values;              /* from a panel or block to the next */
    uint16_t *unpacked;          /* room for tiles of a matrix in e4m3; NULL: it is in bf16 */
    int64_t row, n_rows, block, n_blocks;
    int64_t row_pairs, block_pairs; /* 32 rows each, the last maybe fewer; 2 blocks */
    int configured;                 /* rows that the tiles hold */
    float *sums;                    /* [n_rows, SUMS_STEP] */
} group;

/* Streams the matrix; one in e4m3 only while the sums of all rows stay in tiles. */
static bool is_few(const group *g)
{
    return g->unpacked != NULL ? g->row_pairs == 1 : g->n_rows <= FEW_ROWS;
}

/* Steps [from, from + steps) of K. */
typedef struct piece {
    int64_t from, steps;
    bool first, last;
} piece;

/* Share i of what lies in two panels or blocks over `steps` steps from `at`, `lines` a step. */
static const char *share(const uint16_t *at, int64_t values, int64_t steps, int64_t i, int lines)
{
    int64_t offset = i * lines * steps * (64 / (int64_t)sizeof *at);
    int64_t one = steps * TILE_VALUES;
    return (const char *)(offset < one ? at + offset : at + values + (offset - one));
}

/* Row pair i asks for its share of the blocks' next piece, block pair j for its share of the next
 * rows: all is there in time, at a pace that leaves the L1 cache's few outstanding misses room. */
static void fetch_ahead(square *q, const group *g, const piece *k, int64_t i, int64_t j)
{
    int64_t next = k->last ? 0 : k->from + k->steps;
    const uint16_t *x = g->panels;
    x +=
        i + 1 < g->row_pairs ? 2 * (i + 1) * g->values + k->from * TILE_VALUES : next * TILE_VALUES;
    q->x_lines = (int)((STEP_LINES + g->block_pairs - 1) / g->block_pairs);
    q->next_x = share(x, g->values, k->steps, j, q->x_lines);
    if (g->unpacked != NULL)
        return;
    const uint16_t *w = k->last ? g->next_blocks : g->blocks + next * TILE_VALUES;
    w += 2 * j * g->values;
    q->w_lines = (int)((STEP_LINES + g->row_pairs - 1) / g->row_pairs);
    q->next_w = share(w, g->values, k->steps, i, q->w_lines);
}

static void unpack_piece(const group *g, const piece *k)
{
    for (int64_t b = 0; b < g->n_blocks; b++)
        unpack_e4m3_groups(g->p->w, g->block + b, k->from, k->from + k->steps,
                           g->unpacked + b * PIECE_STEPS * TILE_VALUES);
}

/* Block b of the group over a piece that was unpacked, or as it lies. */
static const uint16_t *tiles_of(const group *g, const piece *k, int64_t b)
{
    return g->unpacked != NULL ? g->unpacked + b * PIECE_STEPS * TILE_VALUES
                               : g->blocks + b * g->values + k->from * TILE_VALUES;
}

static packed_block packed_of(const group *g, const piece *k, int64_t b)
{
    const sa2_matrix *w = g->p->w;
    return (packed_block){sa2_e4m3_tiles(w, g->block + b) + k->from * SA2_E4M3_TILE_BYTES,
                          sa2_e4m3_powers(w, g->block + b) + k->from * SA2_BLOCK};
}

/* Row pair i by block pair j. */
static void run_square(group *g, const piece *k, int64_t i, int64_t j)
{
    int64_t row = i * PAIR_ROWS, from = k->from * TILE_VALUES;
    int n = g->n_rows - row < PAIR_ROWS ? (int)(g->n_rows - row) : PAIR_ROWS;
    float *sums = g->sums + row * SUMS_STEP;
    square q = {.upper = g->panels + 2 * i * g->values + from,
                .left = tiles_of(g, k, 2 * j),
                .right = tiles_of(g, k, 2 * j + 1),
                .steps = k->steps,
                .sums = sums + j * 2 * SA2_BLOCK,
                .first = k->first};
    q.lower = q.upper + g->values;
    if (n != g->configured)
        configure(n < SA2_BLOCK ? n : SA2_BLOCK, n > SA2_BLOCK ? n - SA2_BLOCK : 0);
    g->configured = n;
    if (g->unpacked != NULL && is_few(g)) {
        q.packed[0] = packed_of(g, k, 2 * j);
        q.packed[1] = packed_of(g, k, 2 * j + 1);
        (n <= SA2_BLOCK ? sum_packed_of_one : sum_packed_of_two)(&q, g->unpacked);
    } else if (n <= SA2_BLOCK) {
        sum_stream_of_one(&q);
    } else if (is_few(g)) {
        sum_stream_of_two(&q);
    } else {
        fetch_ahead(&q, g, k, i, j);
        sum_square(&q);
    }
    if (k->last && j == g->block_pairs - 1)
        finish_rows(g->p, g->row + row, n, g->block, g->n_blocks, sums, SUMS_STEP);
}

static void run_group(group *g)
{
    bool few = is_few(g), unpacks = g->unpacked != NULL && !few;
    int64_t all = g->values / TILE_VALUES, most = few ? STREAM_STEPS / g->row_pairs : PIECE_STEPS;
    int64_t pieces = (all + most - 1) / most;
    for (int64_t piece_index = 0; piece_index < pieces; piece_index++) {
        piece k = {.from = piece_index * all / pieces,
                   .first = piece_index == 0,
                   .last = piece_index == pieces - 1};
        k.steps = (piece_index + 1) * all / pieces - k.from;
        if (unpacks)
            unpack_piece(g, &k);
        for (int64_t n = 0; n < g->row_pairs * g->block_pairs; n++)
            if (few)
                run_square(g, &k, n % g->row_pairs, n / g->row_pairs);
            else
                run_square(g, &k, n / g->block_pairs, n % g->block_pairs);
    }
}

/* Groups are as even as they go: a thin one reads x for few blocks. */
static void run_groups(const sa2_product *p, const sa2_product_part *part, const void *panels,
                       int64_t first_row, void *space)
{
    int64_t values = SA2_BLOCK * sa2_matrix_padded(SA2_BF16, p->w->cols);
    int64_t groups = (part->n_blocks + GROUP_BLOCKS - 1) / GROUP_BLOCKS, pairs = part->n_blocks / 2;
    group g = {.p = p,
               .panels = (const uint16_t *)panels + (part->row - first_row) / SA2_BLOCK * values,
               .values = values,
               .row = part->row,
               .n_rows = part->n_rows,
               .row_pairs = (part->n_rows + PAIR_ROWS - 1) / PAIR_ROWS,
               .sums = space};
    if (p->w->dtype == SA2_E4M3)
        g.unpacked = (uint16_t *)((char *)space + SUMS_BYTES);
    for (int64_t i = 0; i < groups; i++) {
        g.block_pairs = (i + 1) * pairs / groups - i * pairs / groups;
        g.block = part->block + 2 * (i * pairs / groups);
        g.n_blocks = 2 * g.block_pairs;
        if (g.unpacked == NULL) {
            g.blocks = (const uint16_t *)p->w->data + g.block * values;
            g.next_blocks = i + 1 < groups ? g.blocks + g.n_blocks * values : g.blocks;
        }
        run_group(&g);
    }
}

static void run_tiles(const sa2_product *p, const sa2_product_part *part, const void *panels,
                      int64_t first_row, void *space)
{
    for (int64_t row = 0; row < part->n_rows; row += GROUP_ROWS) {
        int64_t left = part->n_rows - row;
        sa2_product_part rows = *part;
        rows.row += row;
        rows.n_rows = left < GROUP_ROWS ? left : GROUP_ROWS;
        run_groups(p, &rows, panels, first_row, space);
    }
    _tile_release();
}

const sa2_product_kernel sa2_product_bf16_amx = {
    .panel_bytes = tile_panel_bytes, .pack = pack_tiles, .run = run_tiles};
