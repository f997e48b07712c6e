/* linear_strips.h - the loops around a product in registers, in the vectors of the including file.
 *
 * A strip is up to STRIP_ROWS rows by up to STRIP_BLOCKS blocks of columns (both said by the including
 * file), summed along a piece of K in registers. Around it: pieces of K, strips of a chunk of
 * rows, and chunks under a group of blocks, so that the group's part of the matrix is read from
 * the L2 cache by all strips but the first.
 */
#ifndef SA2_KERNELS_CPU_LINEAR_STRIPS_H
#define SA2_KERNELS_CPU_LINEAR_STRIPS_H

#include "kernels/cpu/linear_epilogue.h"
#include "kernels/cpu/unpack_e4m3.h"

enum {
    BLOCK_VECTORS = SA2_BLOCK / VF_WIDTH,
    GROUP_BLOCKS = 4,
    GROUP_COLS = GROUP_BLOCKS * SA2_BLOCK,
    CHUNK_ROWS = 96,                         /* their sums are 24 KB */
    PIECE_COLS = 2048,                       /* of a group in f32: 512 KB */
    BLOCK_BYTES = SA2_BLOCK * sizeof(float), /* of a column */
    AHEAD_BYTES = BLOCK_BYTES / 2,
    UNPACKED_VALUES =
        SA2_BLOCK *
        (PIECE_COLS + SA2_TILE_COLS), /* of a block; the tile more is for the cache's sets */
};

/* Columns [col, col + n_cols) of taps [tap, tap + n_taps). */
typedef struct k_piece {
    int64_t tap, n_taps, col, n_cols;
} k_piece;

typedef struct strip {
    const void *x[STRIP_ROWS];
    int64_t tap_cols, tap_step; /* of x */
    const char *w;              /* first block, */
    int64_t w_col;              /* from this column on */
    int64_t block_bytes;
    float *sums;         /* [rows, GROUP_COLS] */
    bool first;          /* sums begin at 0 */
    const char *ahead;   /* of the matrix: fetched while this is multiplied, */
    int64_t ahead_bytes; /* so many a column; 0: nothing is */
} strip;

typedef vf strip_sums[STRIP_ROWS][STRIP_BLOCKS * BLOCK_VECTORS];

/* The product of one strip and piece; `rows` up to STRIP_ROWS, `blocks` STRIP_BLOCKS, or 2 where that is 4. */
typedef void (*strip_code)(const strip *t, const k_piece *piece, int rows, int blocks);

static inline __attribute__((always_inline)) void load_sums(strip_sums sum, const strip *t,
                                                            const int rows, const int blocks)
{
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < blocks * BLOCK_VECTORS; j++)
            sum[i][j] = t->first ? v_zero() : v_load(t->sums + i * GROUP_COLS + j * VF_WIDTH);
}

static inline __attribute__((always_inline)) void store_sums(strip_sums sum, const strip *t,
                                                             const int rows, const int blocks)
{
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < blocks * BLOCK_VECTORS; j++)
            v_store(t->sums + i * GROUP_COLS + j * VF_WIDTH, sum[i][j]);
}

/* How the rows of x are found: in x itself, or in packed panels of 16 rows. */
typedef struct strip_rows {
    const sa2_product *p;
    const char *panels; /* NULL: x itself */
    int64_t first_row;
    size_t panel_bytes, row_bytes; /* from a panel, a row in it, to the next */
    int64_t taps, tap_cols, tap_step;
} strip_rows;

static inline const void *strip_row(const strip_rows *x, int64_t row, int *span)
{
    const sa2_product *p = x->p;
    if (x->panels != NULL) {
        int64_t i = row - x->first_row;
        return x->panels + (size_t)(i / SA2_BLOCK) * x->panel_bytes +
               (size_t)(i % SA2_BLOCK) * x->row_bytes;
    }
    const sa2_row_span *s = sa2_span_of(p, row, span);
    return (const char *)p->x +
           (size_t)(s->x + (row - s->first) * p->x_step) * sa2_dtype_bytes(p->x_dtype);
}

/* The next piece of K, up to PIECE_COLS and in whole tiles of a matrix; false after the last. */
static inline bool next_piece(const strip_rows *x, k_piece *piece)
{
    if (x->taps == 1) {
        int64_t n = (x->tap_cols + PIECE_COLS - 1) / PIECE_COLS;
        int64_t size = sa2_matrix_padded(SA2_BF16, (x->tap_cols + n - 1) / n);
        int64_t col = piece->n_taps == 0 ? 0 : piece->col + piece->n_cols;
        int64_t left = x->tap_cols - col;
        *piece = (k_piece){.n_taps = 1, .col = col, .n_cols = left < size ? left : size};
        return left > 0;
    }
    int64_t taps = PIECE_COLS / x->tap_cols > 1 ? PIECE_COLS / x->tap_cols : 1;
    int64_t tap = piece->tap + piece->n_taps;
    int64_t left = x->taps - tap;
    *piece = (k_piece){.tap = tap, .n_taps = left < taps ? left : taps, .n_cols = x->tap_cols};
    return left > 0;
}

/* Strip number i of several fetches its part of the piece that the group at `next` begins with: half a block. */
static inline void look_ahead(strip *t, const char *next, int64_t piece_bytes, int i)
{
    enum { STRIPS_A_BLOCK = BLOCK_BYTES / AHEAD_BYTES };
    t->ahead_bytes = 0;
    t->ahead = t->w;
    if (next == NULL || i >= GROUP_BLOCKS * STRIPS_A_BLOCK)
        return;
    t->ahead_bytes = AHEAD_BYTES;
    t->ahead = next + i / STRIPS_A_BLOCK * t->block_bytes +
               i % STRIPS_A_BLOCK * (piece_bytes / STRIPS_A_BLOCK);
}

/* Rows [row, row + n_rows) by n_blocks blocks, one piece of K, into sums. */
static inline void sum_chunk(const strip_rows *x, strip t, const k_piece *piece, int64_t row,
                             int n_rows, int n_blocks, const char *next, strip_code code)
{
    int n_strips = (n_rows + STRIP_ROWS - 1) / STRIP_ROWS;
    int span = x->panels == NULL ? sa2_span_find(x->p, row) : 0;
    for (int i = 0, from = 0; i < n_strips; i++) {
        int to = (i + 1) * n_rows / n_strips; /* as even as it goes: a thin strip is slow */
        strip here = t;
        for (int r = from; r < to; r++)
            here.x[r - from] = strip_row(x, row + r, &span);
        here.sums = t.sums + from * GROUP_COLS;
        look_ahead(&here, next, piece->n_taps * piece->n_cols * BLOCK_BYTES, i);
        for (int b = 0; b < n_blocks; b += STRIP_BLOCKS) {
            code(&here, piece, to - from,
                 n_blocks - b < STRIP_BLOCKS ? n_blocks - b : STRIP_BLOCKS);
            here.w += STRIP_BLOCKS * t.block_bytes;
            here.sums += STRIP_BLOCKS * SA2_BLOCK;
        }
        from = to;
    }
}

/* A matrix in e4m3 is multiplied in bf16: this piece of a group of blocks. */
static inline void unpack_piece(strip *t, const sa2_matrix *w, int64_t block, int n_blocks,
                                const k_piece *piece, uint16_t *space)
{
    int64_t from = piece->col / SA2_E4M3_GROUP;
    for (int i = 0; i < n_blocks; i++)
        unpack_e4m3_groups(w, block + i, from, from + sa2_e4m3_groups(piece->n_cols),
                           space + i * UNPACKED_VALUES);
    t->w = (const char *)space;
    t->w_col = piece->col;
}

static inline void run_strips(const strip_rows *x, const sa2_product_part *part, void *space,
                              strip_code code)
{
    const sa2_product *p = x->p;
    strip t = {.tap_cols = x->tap_cols, .tap_step = x->tap_step, .sums = space};
    bool packed = p->w->dtype == SA2_E4M3;
    uint16_t *unpacked = (uint16_t *)((char *)space + SA2_SUMS_SPACE);
    t.block_bytes = packed ? UNPACKED_VALUES * (int64_t)sizeof *unpacked
                           : sa2_matrix_padded(p->w->dtype, p->w->cols) * SA2_BLOCK *
                                 (int64_t)sa2_dtype_bytes(p->w->dtype);
    int64_t n_chunks = (part->n_rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
    for (int64_t b = 0; b < part->n_blocks; b += GROUP_BLOCKS) {
        int64_t block = part->block + b;
        int n_blocks = part->n_blocks - b < GROUP_BLOCKS ? (int)(part->n_blocks - b) : GROUP_BLOCKS;
        int64_t next_block =
            b + GROUP_BLOCKS < part->n_blocks ? block + GROUP_BLOCKS : part->next_block;
        const char *next = next_block > 0 && !packed
                               ? (const char *)p->w->data + next_block * t.block_bytes
                               : NULL;
        t.w = (const char *)p->w->data + block * t.block_bytes;
        for (int64_t c = 0; c < n_chunks; c++) {
            int64_t row = part->row + c * part->n_rows / n_chunks;
            int n_rows = (int)(part->row + (c + 1) * part->n_rows / n_chunks - row);
            t.first = true;
            for (k_piece piece = {0}; next_piece(x, &piece); t.first = false) {
                if (packed)
                    unpack_piece(&t, p->w, block, n_blocks, &piece, unpacked);
                sum_chunk(x, t, &piece, row, n_rows, n_blocks,
                          c == n_chunks - 1 && t.first ? next : NULL, code);
            }
            finish_rows(p, row, n_rows, block, n_blocks, space, GROUP_COLS);
        }
    }
}

#endif
