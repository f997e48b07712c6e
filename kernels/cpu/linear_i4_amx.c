/* linear_i4_amx.c - products with a matrix in 4 bits by tiles.
 *
 * A step multiplies 16 rows of x by 64 columns with 64 columns by 16 outputs, in 16 cycles (Intel SDM volume 1, chapter 18).
 * A square is two panels of x by a pair of blocks: two by two tiles of sums, which leave them after each span of x (linear_i4.h)
 * and go to the sums in f32 while the next span is multiplied.
 *
 * The matrix is unpacked piece by piece of K: of a group of blocks for many rows, where a piece and the sums stay in the L2
 * cache for all of them; of one pair for few. Up to four rows wait for memory alone and go by vpdpbusd, which has the same bits.
 */
#include <immintrin.h>

#include "kernels/cpu/linear_i4.h"
#include "kernels/cpu/tiles_amx.h"
#include "kernels/cpu/unpack_i4.h"

enum {
    GROUP_BLOCKS = 8,
    PIECE_GROUPS = 3 * I4_SPAN_GROUPS,
    FEW_ROWS = 4 * SA2_BLOCK,
    FEW_BLOCKS = 2,
    FEW_PIECE_GROUPS = 8 * I4_SPAN_GROUPS,
    SQUARE_ROWS = 2 * SA2_BLOCK,
    TILE_BYTES = SA2_BLOCK * SA2_I4_GROUP,
    TILE_INTS = SA2_BLOCK * SA2_BLOCK,
    LINES = SA2_I4_TILE_BYTES / 64, /* of a tile in 4 bits */
    MAX_ROWS = SA2_THREAD_SPACE / 2 / (GROUP_BLOCKS * SA2_BLOCK * (int)sizeof(float)),
};

static size_t panel_bytes(int64_t cols)
{
    return sa2_product_i4_avx512bf16.panel_bytes(cols);
}

static void pack(const sa2_product *p, int64_t row, int n, void *panel)
{
    sa2_product_i4_avx512bf16.pack(p, row, n, panel);
}

/* Tiles 0 to 3: sums; 4 and 5: x; 6 and 7: the matrix. */
static void configure(int rows)
{
    int upper = rows < SA2_BLOCK ? rows : SA2_BLOCK, lower = rows - upper;
    const int of_tiles[TILES] = {upper, upper, lower, lower, upper, lower, SA2_BLOCK, SA2_BLOCK};
    configure_tiles(of_tiles);
}

/* Up to 32 rows by a pair of blocks over groups [from, to) of K. */
typedef struct square {
    i4_panel x[2];
    int rows;
    const int8_t *w[2]; /* tiles from `from` on */
    int64_t from, to;
    float *sums; /* [rows, step] */
    int64_t step;
    const char
        *fetch[2]; /* what is unpacked next: it is asked for, a tile each group; NULL: by others */
} square;

static inline __attribute__((always_inline)) void fetch(const square *q, int64_t i)
{
    for (int half = 0; half < 2 && q->fetch[half] != NULL; half++)
#pragma GCC unroll 8
        for (int line = 0; line < LINES; line++)
            _mm_prefetch(q->fetch[half] + i * SA2_I4_TILE_BYTES + line * 64, _MM_HINT_T0);
}

/* Groups [from, to), of one span, to ints [2 panels, 2 blocks, 16, 16]. */
static inline __attribute__((always_inline)) void
sum_span(const square *q, int64_t from, int64_t to, int32_t *ints, const bool two)
{
    _tile_zero(0);
    _tile_zero(1);
    if (two) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t g = from; g < to; g++) {
        int64_t i = g - q->from;
        fetch(q, i);
        _tile_loadd(6, q->w[0] + i * TILE_BYTES, 64);
        _tile_loadd(4, q->x[0].numbers + g * I4_GROUP_BYTES, 64);
        _tile_dpbssd(0, 4, 6);
        if (two) {
            _tile_loadd(5, q->x[1].numbers + g * I4_GROUP_BYTES, 64);
            _tile_dpbssd(2, 5, 6);
        }
        _tile_loadd(7, q->w[1] + i * TILE_BYTES, 64);
        _tile_dpbssd(1, 4, 7);
        if (two)
            _tile_dpbssd(3, 5, 7);
    }
    _tile_stored(0, ints, 64);
    _tile_stored(1, ints + TILE_INTS, 64);
    if (two) {
        _tile_stored(2, ints + 2 * TILE_INTS, 64);
        _tile_stored(3, ints + 3 * TILE_INTS, 64);
    }
}

static inline void add_span(const square *q, int64_t span, const int32_t *ints)
{
    for (int i = 0; i < q->rows; i++) {
        const i4_panel *x = &q->x[i / SA2_BLOCK];
        const int32_t *from = ints + i / SA2_BLOCK * 2 * TILE_INTS + i % SA2_BLOCK * SA2_BLOCK;
        __m512 step = _mm512_set1_ps(x->steps[span * SA2_BLOCK + i % SA2_BLOCK]);
        for (int half = 0; half < 2; half++) {
            float *sums = q->sums + i * q->step + half * SA2_BLOCK;
            __m512 before = span == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(sums);
            __m512 whole = _mm512_cvtepi32_ps(_mm512_load_si512(from + half * TILE_INTS));
            _mm512_storeu_ps(sums, _mm512_fmadd_ps(step, whole, before));
        }
    }
}

static inline __attribute__((always_inline)) void sum_square(const square *q, const bool two)
{
    int32_t ints[2][4 * TILE_INTS] __attribute__((aligned(64))); /* in turn */
    for (int64_t g = q->from, end; g < q->to; g = end) {
        int64_t span = g / I4_SPAN_GROUPS;
        end = g + I4_SPAN_GROUPS < q->to ? g + I4_SPAN_GROUPS : q->to;
        sum_span(q, g, end, ints[span % 2], two);
        add_span(q, span, ints[span % 2]);
    }
}

static void sum_one(const square *q)
{
    sum_square(q, false);
}

static void sum_two(const square *q)
{
    sum_square(q, true);
}

/* Rows by a group of blocks. */
typedef struct group {
    const sa2_product *p;
    const char *panels;
    size_t panel_bytes;
    int64_t row, n_rows, block, n_blocks;
    int64_t groups, piece_groups; /* of K */
    int configured;               /* rows that the tiles hold */
    float *sums;                  /* [n_rows, n_blocks * 16] */
    int8_t *space;                /* [n_blocks, piece_groups] tiles that were unpacked */
} group;

/* Rows from `row` on by pair j. */
static void run_square(group *g, int64_t row, int64_t j, int64_t from, int64_t to)
{
    int64_t left = g->n_rows - row, step = g->n_blocks * SA2_BLOCK;
    const char *panel = g->panels + (size_t)(row / SA2_BLOCK) * g->panel_bytes;
    square q = {.rows = left < SQUARE_ROWS ? (int)left : SQUARE_ROWS,
                .from = from,
                .to = to,
                .sums = g->sums + row * step + j * I4_OUTPUTS,
                .step = step};
    bool two = q.rows > SA2_BLOCK;
    q.x[0] = i4_panel_at(panel, g->p->w->cols);
    q.x[1] = two ? i4_panel_at(panel + g->panel_bytes, g->p->w->cols) : q.x[0];
    for (int half = 0; half < 2; half++) {
        int64_t b = 2 * j + half;
        q.w[half] = g->space + b * g->piece_groups * TILE_BYTES;
        bool ends = to == g->groups;
        if (row == 0 && g->n_blocks <= FEW_BLOCKS)
            q.fetch[half] =
                (const char *)sa2_i4_tiles(g->p->w, g->block + b + (ends ? FEW_BLOCKS : 0)) +
                (ends ? 0 : to) * SA2_I4_TILE_BYTES;
    }
    if (q.rows != g->configured)
        configure(q.rows);
    g->configured = q.rows;
    (two ? sum_two : sum_one)(&q);
}

static void run_group(group *g)
{
    for (int64_t from = 0, to; from < g->groups; from = to) {
        to = from + g->piece_groups < g->groups ? from + g->piece_groups : g->groups;
        for (int64_t b = 0; b < g->n_blocks; b++)
            unpack_i4_signed(g->p->w, g->block + b, from, to,
                             g->space + b * g->piece_groups * TILE_BYTES);
        for (int64_t row = 0; row < g->n_rows; row += SQUARE_ROWS)
            for (int64_t j = 0; j < g->n_blocks / 2; j++)
                run_square(g, row, j, from, to);
    }
    int64_t step = g->n_blocks * SA2_BLOCK;
    for (int64_t row = 0; row < g->n_rows; row += SA2_BLOCK)
        for (int64_t b = 0; b < g->n_blocks; b += 2) {
            int n = g->n_rows - row < SA2_BLOCK ? (int)(g->n_rows - row) : SA2_BLOCK;
            i4_finish(g->p, g->row + row, n, g->block + b, g->sums + row * step + b * SA2_BLOCK,
                      step);
        }
}

static void run_tiles(const sa2_product *p, const sa2_product_part *part, const void *panels,
                      int64_t first_row, void *space)
{
    bool few = part->n_rows <= FEW_ROWS;
    int64_t blocks = few ? FEW_BLOCKS : GROUP_BLOCKS;
    group g = {.p = p,
               .panel_bytes = panel_bytes(p->w->cols),
               .groups = sa2_i4_groups(p->w->cols),
               .piece_groups = few ? FEW_PIECE_GROUPS : PIECE_GROUPS,
               .sums = space,
               .space = (int8_t *)space + SA2_THREAD_SPACE / 2};
    for (int64_t row = 0; row < part->n_rows; row += MAX_ROWS)
        for (int64_t b = 0; b < part->n_blocks; b += blocks) {
            int64_t left = part->n_rows - row, rest = part->n_blocks - b;
            g.row = part->row + row;
            g.n_rows = left < MAX_ROWS ? left : MAX_ROWS;
            g.block = part->block + b;
            g.n_blocks = rest < blocks ? rest : blocks;
            g.panels =
                (const char *)panels + (size_t)((g.row - first_row) / SA2_BLOCK) * g.panel_bytes;
            run_group(&g);
        }
    _tile_release();
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    if (part->n_rows <= I4_FEW_ROWS)
        sa2_product_i4_avx512bf16.run(p, part, panels, first_row, space);
    else
        run_tiles(p, part, panels, first_row, space);
}

const sa2_product_kernel sa2_product_i4_amx = {
    .panel_bytes = panel_bytes, .pack = pack, .run = run};
