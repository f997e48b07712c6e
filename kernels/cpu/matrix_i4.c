#include "kernels/cpu/matrix_i4.h"

#include <math.h>
#include <string.h>

enum { MOST_FACTOR = 16, MOST_STEPS = 7, LEAST_STEPS = -8, TRIED = 3 };

size_t sa2_matrix_i4_bytes(int64_t rows, int64_t cols)
{
    size_t blocks = (size_t)sa2_matrix_blocks(rows), groups = (size_t)sa2_i4_groups(cols);
    return blocks * (groups * (SA2_I4_TILE_BYTES + SA2_BLOCK) + SA2_BLOCK * sizeof(float));
}

static float steps_of(float value, float inverse)
{
    float steps = nearbyintf(value * inverse);
    return steps < (float)LEAST_STEPS  ? (float)LEAST_STEPS
           : steps > (float)MOST_STEPS ? (float)MOST_STEPS
                                       : steps;
}

static float squares(const float *values, int n, float step)
{
    float sum = 0.0f, inverse = 1.0f / step;
    for (int i = 0; i < n; i++) {
        float off = values[i] - step * steps_of(values[i], inverse);
        sum += off * off;
    }
    return sum;
}

/* The factor of a group of columns: the smallest that cuts nothing off, or one of the two below when what they
 * cut off costs less than the finer steps bring. */
static int choose_factor(const float *values, int n, float step)
{
    int most = (int)ceilf(sa2_largest(values, n) / ((float)MOST_STEPS * step)), best = 1;
    float least = INFINITY;
    most = most < 1 ? 1 : most > MOST_FACTOR ? MOST_FACTOR : most;
    for (int factor = most; factor >= 1 && factor > most - TRIED; factor--) {
        float sum = squares(values, n, step * (float)factor);
        if (sum < least) {
            least = sum;
            best = factor;
        }
    }
    return best;
}

/* n columns of one row into a tile, the rest of which is 0. */
static void put_group(uint8_t *tile, int lane, const float *values, int n, float inverse)
{
    for (int col = 0; col < SA2_I4_GROUP; col++) {
        int q = (col < n ? (int)steps_of(values[col], inverse) : 0) - LEAST_STEPS;
        int line = col / 4, high = line % 2 * 4;
        uint8_t *both = &tile[line / 2 * SA2_I4_GROUP + lane * 4 + col % 4];
        *both = (uint8_t)((*both & (0xf0 >> high)) | q << high);
    }
}

static void put_row(const sa2_matrix *w, int64_t block, int lane, const float *values, float most)
{
    uint8_t *tiles = sa2_i4_tiles(w, block), *factors = sa2_i4_factors(w, block);
    float step = most / (float)(MOST_STEPS * MOST_FACTOR);
    sa2_i4_steps(w, block)[lane] = step;
    for (int64_t g = 0; g < sa2_i4_groups(w->cols); g++) {
        int64_t left = w->cols - g * SA2_I4_GROUP;
        int n = values == NULL ? 0 : left < SA2_I4_GROUP ? (int)left : SA2_I4_GROUP;
        const float *from = n > 0 ? values + g * SA2_I4_GROUP : NULL;
        int factor = n > 0 ? choose_factor(from, n, step) : 1;
        factors[g * SA2_BLOCK + lane] = (uint8_t)factor;
        put_group(tiles + g * SA2_I4_TILE_BYTES, lane, from, n,
                  n > 0 ? 1.0f / (step * (float)factor) : 0.0f);
    }
}

const sa2_rounding sa2_rounding_i4 = {.max_cols = INT64_MAX, .put_row = put_row};

/* As f32: what the products multiply by. */
static void read_row(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    int64_t place = sa2_matrix_place(half, row), block = place / SA2_BLOCK,
            lane = place % SA2_BLOCK;
    const uint8_t *tiles = sa2_i4_tiles(w, block), *factors = sa2_i4_factors(w, block);
    float step = sa2_i4_steps(w, block)[lane], *to = out;
    for (int64_t col = 0; col < w->cols; col++) {
        int64_t g = col / SA2_I4_GROUP, line = col % SA2_I4_GROUP / 4;
        int both = tiles[g * SA2_I4_TILE_BYTES + line / 2 * SA2_I4_GROUP + lane * 4 + col % 4];
        int q = (line % 2 == 0 ? both : both >> 4) & 15;
        to[col] = step * (float)((q + LEAST_STEPS) * factors[g * SA2_BLOCK + lane]);
    }
}

/* n rows that lie in one block on both sides, as many groups as `to` has from group `first` of `from` on. */
static void cut_rows(const sa2_matrix *to, int64_t to_place, const sa2_matrix *from, int64_t place,
                     int64_t n, int64_t first)
{
    int64_t to_block = to_place / SA2_BLOCK, to_lane = to_place % SA2_BLOCK;
    int64_t block = place / SA2_BLOCK, lane = place % SA2_BLOCK, groups = sa2_i4_groups(to->cols);
    uint8_t *out = sa2_i4_tiles(to, to_block), *out_factors = sa2_i4_factors(to, to_block);
    const uint8_t *in = sa2_i4_tiles(from, block) + first * SA2_I4_TILE_BYTES;
    const uint8_t *in_factors = sa2_i4_factors(from, block) + first * SA2_BLOCK;
    memcpy(sa2_i4_steps(to, to_block) + to_lane, sa2_i4_steps(from, block) + lane,
           (size_t)n * sizeof(float));
    for (int64_t g = 0; g < groups; g++)
        memcpy(out_factors + g * SA2_BLOCK + to_lane, in_factors + g * SA2_BLOCK + lane, (size_t)n);
    if (n == SA2_BLOCK)
        memcpy(out, in, (size_t)(groups * SA2_I4_TILE_BYTES));
    for (int64_t at = 0; n < SA2_BLOCK && at < groups * SA2_I4_TILE_BYTES; at += SA2_I4_GROUP)
        memcpy(out + at + to_lane * 4, in + at + lane * 4, (size_t)n * 4);
}

/* Of whole groups: `cut` of kernels/layout.h. */
static bool cut(sa2_matrix *to, const sa2_matrix *from, const sa2_cut *c)
{
    if (c->col % SA2_I4_GROUP != 0 ||
        (to->cols % SA2_I4_GROUP != 0 && c->col + to->cols != from->cols))
        return false;
    for (int64_t i = 0, n; i < c->n; i += n) {
        int64_t place = sa2_matrix_place(c->half, c->row + i);
        int64_t to_place = sa2_matrix_place(c->half, c->to_row + i);
        n = sa2_matrix_together(place, to_place, c->n - i);
        cut_rows(to, to_place, from, place, n, c->col / SA2_I4_GROUP);
    }
    return true;
}

const sa2_layout sa2_cpu_layout_i4 = {.name = "cpu-i4-16x4-1",
                                      .dtype = SA2_I4,
                                      .row_dtype = SA2_F32,
                                      .bytes = sa2_matrix_i4_bytes,
                                      .read_row = read_row,
                                      .cut = cut};
