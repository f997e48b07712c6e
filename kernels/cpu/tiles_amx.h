/* tiles_amx.h - the sizes of the tile registers of AMX: part of a file that is compiled for it.
 *
 * Every tile has rows of 64 bytes (Intel SDM volume 1, chapter 18).
 */
#ifndef SA2_KERNELS_CPU_TILES_AMX_H
#define SA2_KERNELS_CPU_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>

enum { TILES = 8 };

/* Tile i has rows[i] rows, 0 to 16. */
static inline void configure_tiles(const int rows[TILES])
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {.palette = 1};
    for (int i = 0; i < TILES; i++) {
        config.row_bytes[i] = rows[i] > 0 ? 64 : 0;
        config.rows[i] = (uint8_t)rows[i];
    }
    /* GCC 12 has the load below read 8 of these bytes, and would not write the others. */
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

#endif
