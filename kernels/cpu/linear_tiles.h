/* linear_tiles.h - rows of bf16 as AMX takes them: panels of 16 rows, [cols / 32, 16, 32], the
 * columns of all taps side by side, padded with zeros to a multiple of 32.
 */
#ifndef SA2_KERNELS_CPU_LINEAR_TILES_H
#define SA2_KERNELS_CPU_LINEAR_TILES_H

#include <string.h>

#include "kernels/cpu/matrix.h"
#include "kernels/cpu/product.h"

enum { TILE_VALUES = SA2_BLOCK * SA2_TILE_COLS, TILE_BYTES = 2 * TILE_VALUES };

static inline size_t tile_panel_bytes(int64_t cols)
{
    return (size_t)(SA2_BLOCK * sa2_matrix_padded(SA2_BF16, cols)) * sizeof(uint16_t);
}

/* Columns [col, col + n) of a row that begins at x, taps side by side. */
static inline void tile_row(const sa2_product *p, const uint16_t *x, int64_t col, int n,
                            uint16_t out[SA2_TILE_COLS])
{
    int64_t tap = col / p->tap_cols, at = col % p->tap_cols;
    for (int i = 0; i < n; tap++, at = 0) {
        int64_t left = p->tap_cols - at;
        int here = left < n - i ? (int)left : n - i;
        memcpy(out + i, x + tap * p->tap_step + at, (size_t)here * sizeof *out);
        i += here;
    }
    memset(out + n, 0, (size_t)(SA2_TILE_COLS - n) * sizeof *out);
}

/* Tile after tile, so that the panel is written from front to back. */
static inline void pack_tiles(const sa2_product *p, int64_t row, int n, void *panel)
{
    int64_t cols = p->w->cols, col = 0;
    uint16_t *out = panel;
    const uint16_t *x[SA2_BLOCK];
    int at = sa2_span_find(p, row);
    for (int i = 0; i < n; i++) {
        const sa2_row_span *span = sa2_span_of(p, row + i, &at);
        x[i] = (const uint16_t *)p->x + span->x + (row + i - span->first) * p->x_step;
    }
    if (p->taps == 1) /* copies of a size that the compiler knows */
        for (; col + SA2_TILE_COLS <= cols; col += SA2_TILE_COLS, out += TILE_VALUES)
            for (int i = 0; i < n; i++)
                memcpy(out + i * SA2_TILE_COLS, x[i] + col, SA2_TILE_COLS * sizeof *out);
    for (; col < cols; col += SA2_TILE_COLS, out += TILE_VALUES)
        for (int i = 0; i < n; i++)
            tile_row(p, x[i], col, cols - col < SA2_TILE_COLS ? (int)(cols - col) : SA2_TILE_COLS,
                     out + i * SA2_TILE_COLS);
}

#endif
