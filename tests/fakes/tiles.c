/* tiles.c - a processor with tiles, in the place of kernels/cpu/tiles_present.c and of the instructions. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu_backend.h"
#include "tests/support/tiles_emulated.h"

enum { TILES = 8, ROWS = 16, BYTES = 64 };

typedef struct tile {
    int rows, bytes; /* of a row; 0: not configured */
    union {
        int8_t i8[ROWS][BYTES];
        uint16_t bf16[ROWS][BYTES / 2];
        int32_t i32[ROWS][BYTES / 4];
        float f32[ROWS][BYTES / 4];
    } v;
} tile;

static _Thread_local tile tiles[TILES];
static _Thread_local bool configured;

bool sa2_tiles_present(void)
{
    return true;
}

void emulated_tile_loadconfig(const void *config)
{
    const uint8_t *bytes = config;
    assert(bytes[0] == 1 && bytes[1] == 0);
    memset(tiles, 0, sizeof tiles);
    for (int i = 0; i < TILES; i++) {
        uint16_t row_bytes;
        memcpy(&row_bytes, bytes + 16 + 2 * i, sizeof row_bytes);
        tiles[i].rows = bytes[48 + i];
        tiles[i].bytes = row_bytes;
        assert(tiles[i].rows <= ROWS && tiles[i].bytes <= BYTES);
        assert((tiles[i].rows == 0) == (tiles[i].bytes == 0));
    }
    configured = true;
}

void emulated_tile_release(void)
{
    configured = false;
}

static tile *tile_of(int i)
{
    assert(configured && i >= 0 && i < TILES && tiles[i].rows > 0);
    return &tiles[i];
}

void emulated_tile_zero(int i)
{
    memset(&tile_of(i)->v, 0, sizeof tiles[i].v);
}

void emulated_tile_loadd(int i, const void *base, int64_t stride)
{
    tile *t = tile_of(i);
    memset(&t->v, 0, sizeof t->v);
    for (int row = 0; row < t->rows; row++)
        memcpy(t->v.i8[row], (const char *)base + row * stride, (size_t)t->bytes);
}

void emulated_tile_stored(int i, void *base, int64_t stride)
{
    const tile *t = tile_of(i);
    for (int row = 0; row < t->rows; row++)
        memcpy((char *)base + row * stride, t->v.i8[row], (size_t)t->bytes);
}

/* What a product of other sizes raises #UD for. */
static void judge(const tile *sums, const tile *a, const tile *b)
{
    assert(sums != a && sums != b && a != b);
    assert(a->rows == sums->rows && b->rows == a->bytes / 4 && b->bytes == sums->bytes);
}

void emulated_tile_dpbssd(int sums, int first, int second)
{
    tile *to = tile_of(sums), *a = tile_of(first), *b = tile_of(second);
    judge(to, a, b);
    for (int m = 0; m < to->rows; m++)
        for (int k = 0; k < a->bytes / 4; k++)
            for (int n = 0; n < to->bytes / 4; n++)
                for (int j = 0; j < 4; j++)
                    to->v.i32[m][n] += a->v.i8[m][4 * k + j] * b->v.i8[k][4 * n + j];
}

static float widened(uint16_t bf16)
{
    uint32_t bits = (uint32_t)bf16 << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Even and odd columns have a sum each, which begin at 0. */
void emulated_tile_dpbf16ps(int sums, int first, int second)
{
    tile *to = tile_of(sums), *a = tile_of(first), *b = tile_of(second);
    judge(to, a, b);
    for (int m = 0; m < to->rows; m++) {
        float parts[2][BYTES / 4] = {0};
        for (int k = 0; k < a->bytes / 4; k++)
            for (int n = 0; n < to->bytes / 4; n++)
                for (int j = 0; j < 2; j++)
                    parts[j][n] = fmaf(widened(a->v.bf16[m][2 * k + j]),
                                       widened(b->v.bf16[k][2 * n + j]), parts[j][n]);
        for (int n = 0; n < to->bytes / 4; n++)
            to->v.f32[m][n] += parts[0][n] + parts[1][n];
    }
}
