#include "kernels/cpu/matrix_e4m3.h"

#include <string.h>

#include "kernels/base/e4m3.h"

/* Powers whose products with any code are normal numbers in bf16, and with which a device can reach them by one product. */
enum { LEAST_POWER = 10, MOST_POWER = 134 };

size_t sa2_matrix_e4m3_bytes(int64_t rows, int64_t cols)
{
    size_t blocks = (size_t)sa2_matrix_blocks(rows), groups = (size_t)sa2_e4m3_groups(cols);
    return blocks * groups * (SA2_E4M3_TILE_BYTES + SA2_BLOCK);
}

/* The smallest power that brings a value to 448 or less. */
static int choose_power(float most)
{
    uint32_t bits;
    memcpy(&bits, &most, sizeof bits);
    int power = (int)(bits >> 23) - 8 + ((bits & 0x7fffff) > 0x600000); /* 448 = 1.75 * 2^8 */
    return power < LEAST_POWER ? LEAST_POWER : power > MOST_POWER ? MOST_POWER : power;
}

/* The place of a column in a tile. */
static int64_t place_in_tile(int lane, int64_t col)
{
    return col / 4 * 4 * SA2_BLOCK + lane * 4 + col % 2 * 2 + col % 4 / 2;
}

/* n columns of one row into a tile, the rest of which is 0. */
static void put_group(uint8_t *tile, int lane, const float *values, int n, float inverse)
{
    for (int col = 0; col < SA2_E4M3_GROUP; col++)
        tile[place_in_tile(lane, col)] = col < n ? sa2_f32_to_e4m3(values[col] * inverse) : 0;
}

static void put_row(const sa2_matrix *w, int64_t block, int lane, const float *values, float most)
{
    uint8_t *tiles = sa2_e4m3_tiles(w, block), *powers = sa2_e4m3_powers(w, block);
    (void)most;
    for (int64_t g = 0; g < sa2_e4m3_groups(w->cols); g++) {
        int64_t left = w->cols - g * SA2_E4M3_GROUP;
        int n = values == NULL ? 0 : left < SA2_E4M3_GROUP ? (int)left : SA2_E4M3_GROUP;
        const float *from = n > 0 ? values + g * SA2_E4M3_GROUP : NULL;
        int power = choose_power(sa2_largest(from, n));
        powers[g * SA2_BLOCK + lane] = (uint8_t)power;
        put_group(tiles + g * SA2_E4M3_TILE_BYTES, lane, from, n, ldexpf(1.0f, 127 - power));
    }
}

const sa2_rounding sa2_rounding_e4m3 = {.max_cols = INT64_MAX, .put_row = put_row};

/* As f32: what the products multiply by. */
static void read_row(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    int64_t place = sa2_matrix_place(half, row), block = place / SA2_BLOCK;
    int lane = (int)(place % SA2_BLOCK);
    const uint8_t *tiles = sa2_e4m3_tiles(w, block), *powers = sa2_e4m3_powers(w, block);
    float *to = out;
    for (int64_t col = 0; col < w->cols; col++) {
        int64_t g = col / SA2_E4M3_GROUP;
        uint8_t code = tiles[g * SA2_E4M3_TILE_BYTES + place_in_tile(lane, col % SA2_E4M3_GROUP)];
        to[col] =
            sa2_bf16_to_f32(sa2_e4m3_to_bf16(code, sa2_e4m3_bias(powers[g * SA2_BLOCK + lane])));
    }
}

const sa2_layout sa2_cpu_layout_e4m3 = {.name = "cpu-e4m3-16x4-1",
                                        .dtype = SA2_E4M3,
                                        .row_dtype = SA2_F32,
                                        .bytes = sa2_matrix_e4m3_bytes,
                                        .read_row = read_row,
                                        .cut = sa2_cpu_matrix_cut};
