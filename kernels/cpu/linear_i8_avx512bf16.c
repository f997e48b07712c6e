/* linear_i8_avx512bf16.c - products with a matrix in 8 or 4 bits by vpdpbusd, whose first factor has no sign: 128 is added to
 * the weights, and 128 times the sum of a line of x is taken away again.
 *
 * A strip is up to six rows of x, two lines each, by a pair of blocks: 24 sums in registers. Around it a piece of K of
 * a group of blocks stays in the L2 cache for all strips of a chunk of rows; for few rows the group is one pair, which
 * streams through in long pieces, and strips behind the first ask for the next piece.
 *
 * A matrix in 4 bits is unpacked to 8 piece by piece; for one strip of up to four rows in registers, where the q of
 * matrix_i4.h are factors without sign as they are, and the m of a group multiplies its sum.
 */
#include "kernels/cpu/linear_i8.h"
#include "kernels/cpu/unpack_i4.h"

enum {
    STRIP_ROWS = 6,
    MAX_LINES = 2 * STRIP_ROWS,
    CHUNK_ROWS = 96,
    GROUP_BLOCKS = 8,
    PIECE_STEPS = 16,
    FEW_ROWS = 2 * SA2_BLOCK,
    FEW_BLOCKS = 2,
    FEW_PIECE_STEPS = 64,
    PACKED_ROWS = 4,
    TILE_BYTES = SA2_BLOCK * SA2_I8_COLS,
    INTS_BYTES = 2 * CHUNK_ROWS * GROUP_BLOCKS * SA2_BLOCK * (int)sizeof(int32_t),
};

/* ---- panels: those of linear_i8.h, and behind them ---- */

/* What sums of the lines begin with, [32]; then what those of 64 columns with a matrix in 4 bits do, [cols / 64, 32]. */
static size_t panel_bytes(int64_t cols)
{
    size_t steps = (size_t)(sa2_i8_padded(cols) / SA2_I8_COLS);
    return i8_panel_bytes(cols) + (1 + steps) * I8_LINES * sizeof(int32_t);
}

static void pack(const sa2_product *p, int64_t row, int n, void *panel)
{
    i8_pack(p, row, n, panel);
    const __m512i ones = _mm512_set1_epi8(1);
    int64_t steps = sa2_i8_padded(p->w->cols) / SA2_I8_COLS;
    int32_t *first = (int32_t *)((char *)panel + i8_panel_bytes(p->w->cols));
    int32_t *of_group = first + I8_LINES;
    for (int i = 0; i < 2 * n; i++) {
        const int8_t *line = (const int8_t *)panel + i * SA2_I8_COLS;
        __m512i sums = _mm512_setzero_si512();
        for (int64_t step = 0; step < steps; step++, line += I8_STEP_BYTES) {
            __m512i here =
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, _mm512_loadu_si512(line));
            sums = _mm512_add_epi32(sums, here);
            if (p->w->dtype == SA2_I4)
                of_group[step * I8_LINES + i] = -8 * _mm512_reduce_add_epi32(here);
        }
        first[i] = -128 * _mm512_reduce_add_epi32(sums);
    }
}

/* ---- a strip in registers ---- */

typedef struct strip {
    const int8_t *x;    /* first line, first step */
    const int8_t *w[2]; /* a pair of blocks */
    int64_t steps;
    int32_t *ints; /* [lines, step] */
    int64_t step;
    const int32_t *first; /* [lines] what sums begin with; NULL: with ints */
    const char *ahead[2]; /* fetched meanwhile, */
    int64_t ahead_bytes;  /* so many each four columns; 0: nothing is */
} strip;

static inline __attribute__((always_inline)) __m512i four_columns(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

static inline __attribute__((always_inline)) void sum_lines(const strip *t, const int lines)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const int8_t *x = t->x, *w[2] = {t->w[0], t->w[1]};
    const char *ahead[2] = {t->ahead[0], t->ahead[1]};
    __m512i sums[MAX_LINES][2];
#pragma GCC unroll 12
    for (int i = 0; i < lines; i++)
        for (int half = 0; half < 2; half++)
            sums[i][half] = t->first != NULL
                                ? _mm512_set1_epi32(t->first[i])
                                : _mm512_loadu_si512(t->ints + i * t->step + half * SA2_BLOCK);
    for (int64_t step = 0; step < t->steps; step++, x += I8_STEP_BYTES)
        for (int k = 0; k < SA2_I8_COLS; k += 4) {
            __m512i weights[2];
            for (int half = 0; half < 2; half++) {
                _mm_prefetch(ahead[half], _MM_HINT_T1);
                weights[half] = _mm512_xor_si512(_mm512_loadu_si512(w[half]), flip);
                w[half] += 64;
                ahead[half] += t->ahead_bytes;
            }
#pragma GCC unroll 12
            for (int i = 0; i < lines; i++) {
                __m512i values = four_columns(x + i * SA2_I8_COLS + k);
                for (int half = 0; half < 2; half++)
                    sums[i][half] = _mm512_dpbusd_epi32(sums[i][half], weights[half], values);
            }
        }
#pragma GCC unroll 12
    for (int i = 0; i < lines; i++)
        for (int half = 0; half < 2; half++)
            _mm512_storeu_si512(t->ints + i * t->step + half * SA2_BLOCK, sums[i][half]);
}

static void sum_rows(const strip *t, int rows)
{
    switch (rows) {
    case 1:
        sum_lines(t, 2);
        break;
    case 2:
        sum_lines(t, 4);
        break;
    case 3:
        sum_lines(t, 6);
        break;
    case 4:
        sum_lines(t, 8);
        break;
    case 5:
        sum_lines(t, 10);
        break;
    default:
        sum_lines(t, MAX_LINES);
        break;
    }
}

/* ---- a strip by one block in 4 bits, all columns ---- */

typedef struct packed_strip {
    const int8_t *x;
    const int32_t *of_group; /* [groups, 32] */
    const uint8_t *tiles, *factors;
    int64_t groups;
    int32_t *ints; /* [lines, I8_OUTPUTS] */
} packed_strip;

static inline __attribute__((always_inline)) void sum_packed_lines(const packed_strip *t,
                                                                   const int lines)
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512i sums[2 * PACKED_ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < lines; i++)
        sums[i] = _mm512_setzero_si512();
    for (int64_t g = 0; g < t->groups; g++) {
        const int8_t *x = t->x + g * I8_STEP_BYTES;
        const uint8_t *tile = t->tiles + g * SA2_I4_TILE_BYTES;
        const void *factors = t->factors + g * SA2_BLOCK;
        __m512i even[2 * PACKED_ROWS], odd[2 * PACKED_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < lines; i++) {
            even[i] = _mm512_set1_epi32(t->of_group[g * I8_LINES + i]);
            odd[i] = _mm512_setzero_si512();
        }
#pragma GCC unroll 8
        for (int k = 0; k < SA2_I4_GROUP; k += 8, tile += 64) {
            __m512i both = _mm512_loadu_si512(tile);
            __m512i a = _mm512_and_si512(both, low);
            __m512i b = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
#pragma GCC unroll 8
            for (int i = 0; i < lines; i++) {
                const int8_t *at = x + i * SA2_I8_COLS + k;
                even[i] = _mm512_dpbusd_epi32(even[i], a, four_columns(at));
                odd[i] = _mm512_dpbusd_epi32(odd[i], b, four_columns(at + 4));
            }
        }
        __m512i m = _mm512_cvtepu8_epi32(_mm_loadu_si128(factors));
#pragma GCC unroll 8
        for (int i = 0; i < lines; i++)
            sums[i] =
                _mm512_add_epi32(sums[i], _mm512_mullo_epi32(_mm512_add_epi32(even[i], odd[i]), m));
    }
#pragma GCC unroll 8
    for (int i = 0; i < lines; i++)
        _mm512_storeu_si512(t->ints + i * I8_OUTPUTS, sums[i]);
}

static void sum_packed_rows(const packed_strip *t, int rows)
{
    switch (rows) {
    case 1:
        sum_packed_lines(t, 2);
        break;
    case 2:
        sum_packed_lines(t, 4);
        break;
    case 3:
        sum_packed_lines(t, 6);
        break;
    default:
        sum_packed_lines(t, 2 * PACKED_ROWS);
        break;
    }
}

/* ---- a chunk of rows by a group of blocks ---- */

typedef struct chunk {
    const sa2_product *p;
    const char *panels; /* of its rows */
    size_t panel_bytes;
    int64_t row, n_rows, block, n_blocks;
    int64_t next_block; /* likely to be this thread's next; 0: none is known */
    int64_t piece_steps;
    int32_t *ints; /* [2 n_rows, n_blocks * 16] */
    int8_t *space; /* [n_blocks, piece_steps] tiles, of a matrix in 4 bits */
} chunk;

typedef struct panel {
    int n; /* rows */
    const int8_t *lines;
    const float *steps;
    const int32_t *first, *of_group;
} panel;

/* The panel that begins at this row of the chunk. */
static panel panel_of(const chunk *c, int64_t row)
{
    int64_t cols = c->p->w->cols, left = c->n_rows - row;
    const char *at = c->panels + (size_t)(row / SA2_BLOCK) * c->panel_bytes;
    const int32_t *first = (const int32_t *)(at + i8_panel_bytes(cols));
    return (panel){.n = left < SA2_BLOCK ? (int)left : SA2_BLOCK,
                   .lines = (const int8_t *)at,
                   .steps = (const float *)(at + i8_planes_bytes(cols)),
                   .first = first,
                   .of_group = first + I8_LINES};
}

static void run_packed(const chunk *c)
{
    const sa2_matrix *w = c->p->w;
    panel rows = panel_of(c, 0);
    for (int64_t b = c->block; b < c->block + c->n_blocks; b += 2) {
        int32_t ints[2 * PACKED_ROWS * I8_OUTPUTS];
        for (int half = 0; half < 2; half++) {
            packed_strip t = {.x = rows.lines,
                              .of_group = rows.of_group,
                              .tiles = sa2_i4_tiles(w, b + half),
                              .factors = sa2_i4_factors(w, b + half),
                              .groups = sa2_i4_groups(w->cols),
                              .ints = ints + half * SA2_BLOCK};
            sum_packed_rows(&t, rows.n);
        }
        i8_finish(c->p, c->row, rows.n, b, ints, I8_OUTPUTS, rows.steps);
    }
}

/* Tiles of a block of the chunk from step `from` on. */
static const int8_t *tiles_of(const chunk *c, int64_t block, int64_t from)
{
    if (c->p->w->dtype == SA2_I4)
        return c->space + block * c->piece_steps * TILE_BYTES;
    return sa2_i8_block(c->p->w, c->block + block) + from * TILE_BYTES;
}

/* The pair that streams through when this piece has: from step `to` on, or the next pair from its beginning. */
static const char *next_tiles(const chunk *c, int64_t to, int64_t all, int half)
{
    int64_t block = to < all ? c->block : c->next_block, step = to < all ? to : 0;
    if (block == 0 && step == 0)
        return NULL;
    if (c->p->w->dtype == SA2_I4)
        return (const char *)sa2_i4_tiles(c->p->w, block + half) + step * SA2_I4_TILE_BYTES;
    return (const char *)sa2_i8_block(c->p->w, block + half) + step * TILE_BYTES;
}

static int strips_of(int64_t rows)
{
    return (int)((rows + STRIP_ROWS - 1) / STRIP_ROWS);
}

/* Strip number i of n of few rows asks for what is next: the second and the third for a block each. With one or two the matrix
 * is read as fast without, but where it was unpacked: then the last asks for both blocks. */
static void look_ahead(strip *t, const chunk *c, int i, int n, int64_t to, int64_t all)
{
    bool packed = c->p->w->dtype == SA2_I4;
    t->ahead[0] = t->ahead[1] = (const char *)t->w[0];
    t->ahead_bytes = 0;
    if (c->n_blocks > FEW_BLOCKS || (n <= 2 && !packed))
        return;
    for (int half = 0; half < 2; half++) {
        const char *next = next_tiles(c, to, all, half);
        if (next != NULL && i == (n <= 2 ? n - 1 : 1 + half)) {
            t->ahead[half] = next;
            t->ahead_bytes = packed ? 32 : 64;
        }
    }
}

static void run_piece(const chunk *c, int64_t from, int64_t to, int64_t all)
{
    int64_t step = c->n_blocks * SA2_BLOCK;
    int number = 0, strips = strips_of(c->n_rows);
    for (int64_t row = 0; row < c->n_rows; row += SA2_BLOCK) {
        panel rows = panel_of(c, row);
        int n_strips = strips_of(rows.n);
        for (int i = 0; i < n_strips; i++, number++) {
            int first = i * rows.n / n_strips, end = (i + 1) * rows.n / n_strips;
            for (int64_t b = 0; b < c->n_blocks; b += 2) {
                strip t = {.x = rows.lines + from * I8_STEP_BYTES + 2 * first * SA2_I8_COLS,
                           .w = {tiles_of(c, b, from), tiles_of(c, b + 1, from)},
                           .steps = to - from,
                           .ints = c->ints + 2 * (row + first) * step + b * SA2_BLOCK,
                           .step = step,
                           .first = from == 0 ? rows.first + 2 * first : NULL};
                look_ahead(&t, c, number, strips, to, all);
                sum_rows(&t, end - first);
            }
        }
    }
}

static void run_chunk(const chunk *c)
{
    const sa2_matrix *w = c->p->w;
    if (w->dtype == SA2_I4 && c->n_rows <= PACKED_ROWS) {
        run_packed(c);
        return;
    }
    int64_t all = sa2_i8_padded(w->cols) / SA2_I8_COLS;
    for (int64_t from = 0; from < all; from += c->piece_steps) {
        int64_t to = all - from < c->piece_steps ? all : from + c->piece_steps;
        for (int64_t b = 0; w->dtype == SA2_I4 && b < c->n_blocks; b++)
            unpack_i4_steps(w, c->block + b, from, to, c->space + b * c->piece_steps * TILE_BYTES);
        run_piece(c, from, to, all);
    }
    int64_t step = c->n_blocks * SA2_BLOCK;
    for (int64_t row = 0; row < c->n_rows; row += SA2_BLOCK) {
        panel rows = panel_of(c, row);
        for (int64_t b = 0; b < c->n_blocks; b += 2)
            i8_finish(c->p, c->row + row, rows.n, c->block + b,
                      c->ints + 2 * row * step + b * SA2_BLOCK, step, rows.steps);
    }
}

static void run(const sa2_product *p, const sa2_product_part *part, const void *panels,
                int64_t first_row, void *space)
{
    bool few = part->n_rows <= FEW_ROWS;
    chunk c = {.p = p,
               .panel_bytes = panel_bytes(p->w->cols),
               .piece_steps = few ? FEW_PIECE_STEPS : PIECE_STEPS,
               .ints = space,
               .space = (int8_t *)space + INTS_BYTES};
    int64_t group = few ? FEW_BLOCKS : GROUP_BLOCKS;
    for (int64_t b = 0; b < part->n_blocks; b += group)
        for (int64_t row = 0; row < part->n_rows; row += CHUNK_ROWS) {
            int64_t left = part->n_rows - row, blocks = part->n_blocks - b;
            c.row = part->row + row;
            c.n_rows = left < CHUNK_ROWS ? left : CHUNK_ROWS;
            c.block = part->block + b;
            c.n_blocks = blocks < group ? blocks : group;
            c.next_block = blocks > group ? c.block + group : part->next_block;
            c.panels =
                (const char *)panels + (size_t)((c.row - first_row) / SA2_BLOCK) * c.panel_bytes;
            run_chunk(&c);
        }
}

const sa2_product_kernel sa2_product_i8_avx512bf16 = {
    .panel_bytes = panel_bytes, .pack = pack, .run = run};
