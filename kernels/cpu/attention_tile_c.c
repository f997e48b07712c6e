/* attention_tile_c.c - in plain C, for any machine. */
#include "kernels/cpu/attention_tile.h"

#include <math.h>

enum { STEP = 32 }; /* keys at a time */

static float value(const void *x, sa2_dtype dtype, int64_t i)
{
    return dtype == SA2_F32 ? ((const float *)x)[i] : sa2_bf16_to_f32(((const uint16_t *)x)[i]);
}

/* Score of column c and the key at k, number j. */
static float score(const sa2_attention_tile *tile, int c, const void *k, int64_t at, int64_t j)
{
    float sum = 0.0f;
    for (int i = 0; i < tile->d; i++) {
        float q = value(tile->q[c], tile->dtype, i);
        sum += (tile->u != NULL ? q + tile->u[i] : q) * value(k, tile->dtype, at + i);
    }
    if (tile->u == NULL)
        return sum * tile->scale;
    int64_t r = (tile->place + c - j) * tile->r_stride;
    float relative = 0.0f;
    for (int i = 0; i < tile->d; i++)
        relative +=
            (value(tile->q[c], tile->dtype, i) + tile->w[i]) * value(tile->r, tile->dtype, r + i);
    return (sum + relative) * tile->scale;
}

/* n keys from number j on, all seen by column c. */
static void step(const sa2_attention_tile *tile, int c, int64_t j, int n, sa2_partial out)
{
    float p[STEP];
    float most = out.max[c];
    for (int i = 0; i < n;) {
        sa2_key_run run = tile->keys->run(tile->keys, j + i, n - i);
        for (int t = 0; t < run.n; t++, i++) {
            p[i] = score(tile, c, run.k, t * run.k_stride, j + i);
            most = p[i] > most || p[i] != p[i] ? p[i] : most;
        }
    }
    float factor = expf(out.max[c] - most);
    out.max[c] = most;
    out.sum[c] *= factor;
    for (int i = 0; i < n; i++) {
        p[i] = expf(p[i] - most);
        out.sum[c] += p[i];
    }
    for (int e = 0; e < tile->d; e++)
        out.o[e * SA2_TILE_COLUMNS + c] *= factor;
    for (int i = 0; i < n;) {
        sa2_key_run run = tile->keys->run(tile->keys, j + i, n - i);
        for (int t = 0; t < run.n; t++, i++)
            for (int e = 0; e < tile->d; e++)
                out.o[e * SA2_TILE_COLUMNS + c] +=
                    p[i] * value(run.v, tile->dtype, t * run.v_key_stride + e * run.v_dim_stride);
    }
}

static void range(const sa2_attention_tile *tile, int64_t first, int64_t end, sa2_partial out)
{
    for (int c = 0; c < SA2_TILE_COLUMNS; c++) {
        out.max[c] = -INFINITY;
        out.sum[c] = 0.0f;
        for (int e = 0; e < tile->d; e++)
            out.o[e * SA2_TILE_COLUMNS + c] = 0.0f;
    }
    for (int c = 0; c < tile->n; c++) {
        int64_t stop = tile->visible[c] < end ? tile->visible[c] : end;
        for (int64_t j = first; j < stop; j += STEP)
            step(tile, c, j, (int)(stop - j < STEP ? stop - j : STEP), out);
    }
}

static void join(sa2_partial into, sa2_partial from, int d)
{
    for (int c = 0; c < SA2_TILE_COLUMNS; c++) {
        if (from.sum[c] == 0.0f)
            continue;
        float most = into.max[c] > from.max[c] ? into.max[c] : from.max[c];
        float a = expf(into.max[c] - most), b = expf(from.max[c] - most);
        into.max[c] = most;
        into.sum[c] = into.sum[c] * a + from.sum[c] * b;
        for (int e = c; e < d * SA2_TILE_COLUMNS; e += SA2_TILE_COLUMNS)
            into.o[e] = into.o[e] * a + from.o[e] * b;
    }
}

static void write(const sa2_attention_tile *tile, sa2_partial in)
{
    for (int c = 0; c < tile->n; c++) {
        float factor = in.sum[c] == 0.0f ? 0.0f : 1.0f / in.sum[c];
        for (int e = 0; e < tile->d; e++) {
            float y = in.o[e * SA2_TILE_COLUMNS + c] * factor;
            if (tile->y_dtype == SA2_F32)
                ((float *)tile->y[c])[e] = y;
            else
                ((uint16_t *)tile->y[c])[e] = sa2_f32_to_bf16(y);
        }
    }
}

const sa2_tile_kernels sa2_tile_c = {.range = range, .join = join, .write = write};
