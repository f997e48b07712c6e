/* tiles_emulated.h - the instructions of AMX as functions, in front of a file that is compiled for tiles, so that its code
 * runs on a processor without them, and what they forbid is found.
 *
 * Written after the pseudocode of the Intel SDM, volume 2: LDTILECFG, TILELOADD, TILESTORED, TDPBSSD, TDPBF16PS. Results are those of
 * the instructions but for subnormal numbers of TDPBF16PS, which they take for 0. Tiles are of a thread.
 */
#ifndef SA2_TESTS_TILES_EMULATED_H
#define SA2_TESTS_TILES_EMULATED_H

#include <immintrin.h>
#include <stdint.h>

void emulated_tile_loadconfig(const void *config);
void emulated_tile_release(void);
void emulated_tile_zero(int tile);
void emulated_tile_loadd(int tile, const void *base, int64_t stride);
void emulated_tile_stored(int tile, void *base, int64_t stride);
void emulated_tile_dpbssd(int sums, int a, int b);
void emulated_tile_dpbf16ps(int sums, int a, int b);

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbf16ps
#define _tile_loadconfig   emulated_tile_loadconfig
#define _tile_release      emulated_tile_release
#define _tile_zero         emulated_tile_zero
#define _tile_loadd        emulated_tile_loadd
#define _tile_stream_loadd emulated_tile_loadd
#define _tile_stored       emulated_tile_stored
#define _tile_dpbssd       emulated_tile_dpbssd
#define _tile_dpbf16ps     emulated_tile_dpbf16ps

#endif
