/* linear_vnni.h - products with a matrix in 8 or 4 bits by vpdpbusd, around the strips of the including file.
 *
 * A strip is a few rows of x by a pair of blocks, whose sums stay in registers. Around it a piece of K of a group of
 * blocks stays in the L2 cache for all strips of a chunk of rows; for few rows the group is one pair, which streams
 * through in long pieces, and strips behind the first ask for the next piece.
 */
#ifndef SA2_KERNELS_CPU_LINEAR_VNNI_H
#define SA2_KERNELS_CPU_LINEAR_VNNI_H

#include <immintrin.h>
#include <string.h>

#include "kernels/cpu/matrix.h"
#include "kernels/cpu/product.h"

enum {
    VNNI_COLS = 64, /* a step of K */
    VNNI_GROUP_BLOCKS = 8,
    VNNI_PIECE_STEPS = 16,
    VNNI_FEW_ROWS = 2 * SA2_BLOCK,
    VNNI_FEW_BLOCKS = 2,
    VNNI_FEW_PIECE_STEPS = 64,
    VNNI_TILE_BYTES = SA2_BLOCK * VNNI_COLS, /* of a step of a block, in 8 bits */
};

/* Rows of one panel by a pair of blocks over steps [from, to) of K. */
typedef struct vnni_strip {
    const char *panel;
    int64_t cols; /* of the matrix */
    int row, n;   /* of the panel */
    int64_t from, to;
    const int8_t *w[2]; /* tiles from step `from` on */
    void *sums;         /* of 4 bytes, [lines, step] */
    int64_t step;
    const char *ahead[2]; /* fetched meanwhile, */
    int64_t ahead_bytes;  /* so many each four columns; 0: nothing is */
} vnni_strip;

/* A kind of matrix. */
typedef struct vnni_kind {
    int strip_rows, chunk_rows;
    int lines; /* of a row: rows of sums */
    size_t (*panel_bytes)(int64_t cols);
    void (*sum)(const vnni_strip *strip);
    /* n rows of a panel by a pair of blocks to y. */
    void (*finish)(const sa2_product *p, int64_t row, int n, int64_t block, const char *panel,
                   void *sums, int64_t step);
    /* Where step `step` of a block lies, and how many bytes a step has. */
    const char *(*tiles)(const sa2_matrix *w, int64_t block, int64_t step);
    int tile_bytes;
    /* Steps [from, to) of a block to tiles in 8 bits; NULL: they are. */
    void (*unpack)(const sa2_matrix *w, int64_t block, int64_t from, int64_t to, int8_t *out);
} vnni_kind;

static inline __attribute__((always_inline)) __m512i four_columns(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/* ---- a chunk of rows by a group of blocks ---- */

typedef struct vnni_chunk {
    const vnni_kind *kind;
    const sa2_product *p;
    const char *panels; /* of its rows */
    size_t panel_bytes;
    int64_t row, n_rows, block, n_blocks;
    int64_t next_block; /* likely to be this thread's next; 0: none is known */
    int64_t steps, piece_steps;
    char *sums;    /* [lines of n_rows, n_blocks * 16], of 4 bytes */
    int8_t *space; /* [n_blocks, piece_steps] tiles that were unpacked */
} vnni_chunk;

static inline const char *vnni_panel(const vnni_chunk *c, int64_t row)
{
    return c->panels + (size_t)(row / SA2_BLOCK) * c->panel_bytes;
}

static inline int vnni_rows_of_panel(const vnni_chunk *c, int64_t row)
{
    return c->n_rows - row < SA2_BLOCK ? (int)(c->n_rows - row) : SA2_BLOCK;
}

/* Of row `row` of the chunk and pair b of the group. */
static inline char *vnni_sums(const vnni_chunk *c, int64_t row, int64_t b)
{
    return c->sums + ((row * c->kind->lines * c->n_blocks + b) * SA2_BLOCK) * 4;
}

/* Tiles of a block of the chunk from step `from` on. */
static inline const int8_t *vnni_tiles(const vnni_chunk *c, int64_t block, int64_t from)
{
    if (c->kind->unpack != NULL)
        return c->space + block * c->piece_steps * VNNI_TILE_BYTES;
    return (const int8_t *)c->kind->tiles(c->p->w, c->block + block, from);
}

/* The pair that streams through when this piece has: from step `to` on, or the next pair from its beginning. */
static inline const char *vnni_next_tiles(const vnni_chunk *c, int64_t to, int half)
{
    bool inside = to < c->steps;
    int64_t block = inside ? c->block : c->next_block;
    if (block == 0 && !inside)
        return NULL;
    return c->kind->tiles(c->p->w, block + half, inside ? to : 0);
}

static inline int vnni_strips_of(const vnni_chunk *c, int64_t rows)
{
    return (int)((rows + c->kind->strip_rows - 1) / c->kind->strip_rows);
}

/* Strip number i of n of few rows asks for what is next: the second and the third for a block each. With one or two the matrix
 * is read as fast without, but where it was unpacked: then the last asks for both blocks. */
static inline void vnni_look_ahead(vnni_strip *t, const vnni_chunk *c, int i, int n)
{
    t->ahead[0] = t->ahead[1] = (const char *)t->w[0];
    t->ahead_bytes = 0;
    if (c->n_blocks > VNNI_FEW_BLOCKS || (n <= 2 && c->kind->unpack == NULL))
        return;
    for (int half = 0; half < 2; half++) {
        const char *next = vnni_next_tiles(c, t->to, half);
        if (next != NULL && i == (n <= 2 ? n - 1 : 1 + half)) {
            t->ahead[half] = next;
            t->ahead_bytes = c->kind->tile_bytes / SA2_BLOCK;
        }
    }
}

static inline void vnni_run_piece(const vnni_chunk *c, int64_t from, int64_t to)
{
    int number = 0, strips = vnni_strips_of(c, c->n_rows);
    for (int64_t row = 0; row < c->n_rows; row += SA2_BLOCK) {
        int n = vnni_rows_of_panel(c, row), n_strips = vnni_strips_of(c, n);
        for (int i = 0; i < n_strips; i++, number++) {
            int first = i * n / n_strips, end = (i + 1) * n / n_strips;
            for (int64_t b = 0; b < c->n_blocks; b += 2) {
                vnni_strip t = {.panel = vnni_panel(c, row),
                                .cols = c->p->w->cols,
                                .row = first,
                                .n = end - first,
                                .from = from,
                                .to = to,
                                .w = {vnni_tiles(c, b, from), vnni_tiles(c, b + 1, from)},
                                .sums = vnni_sums(c, row + first, b),
                                .step = c->n_blocks * SA2_BLOCK};
                vnni_look_ahead(&t, c, number, strips);
                c->kind->sum(&t);
            }
        }
    }
}

static inline void vnni_run_chunk(const vnni_chunk *c)
{
    for (int64_t from = 0; from < c->steps; from += c->piece_steps) {
        int64_t to = c->steps - from < c->piece_steps ? c->steps : from + c->piece_steps;
        for (int64_t b = 0; c->kind->unpack != NULL && b < c->n_blocks; b++)
            c->kind->unpack(c->p->w, c->block + b, from, to,
                            c->space + b * c->piece_steps * VNNI_TILE_BYTES);
        vnni_run_piece(c, from, to);
    }
    for (int64_t row = 0; row < c->n_rows; row += SA2_BLOCK)
        for (int64_t b = 0; b < c->n_blocks; b += 2)
            c->kind->finish(c->p, c->row + row, vnni_rows_of_panel(c, row), c->block + b,
                            vnni_panel(c, row), vnni_sums(c, row, b), c->n_blocks * SA2_BLOCK);
}

static inline void vnni_run(const vnni_kind *kind, const sa2_product *p,
                            const sa2_product_part *part, const void *panels, int64_t first_row,
                            void *space)
{
    bool few = part->n_rows <= VNNI_FEW_ROWS;
    int64_t group = few ? VNNI_FEW_BLOCKS : VNNI_GROUP_BLOCKS;
    vnni_chunk c = {.kind = kind,
                    .p = p,
                    .panel_bytes = kind->panel_bytes(p->w->cols),
                    .steps = (p->w->cols + VNNI_COLS - 1) / VNNI_COLS,
                    .piece_steps = few ? VNNI_FEW_PIECE_STEPS : VNNI_PIECE_STEPS,
                    .sums = space};
    c.space = (int8_t *)space + kind->lines * kind->chunk_rows * VNNI_GROUP_BLOCKS * SA2_BLOCK * 4;
    for (int64_t b = 0; b < part->n_blocks; b += group)
        for (int64_t row = 0; row < part->n_rows; row += kind->chunk_rows) {
            int64_t left = part->n_rows - row, blocks = part->n_blocks - b;
            c.row = part->row + row;
            c.n_rows = left < kind->chunk_rows ? left : kind->chunk_rows;
            c.block = part->block + b;
            c.n_blocks = blocks < group ? blocks : group;
            c.next_block = blocks > group ? c.block + group : part->next_block;
            c.panels =
                (const char *)panels + (size_t)((c.row - first_row) / SA2_BLOCK) * c.panel_bytes;
            vnni_run_chunk(&c);
        }
}

#endif
