/* attention_tile_body.h - attention_tile.h in f32 on the names of vector.h, compiled once for each
 * instruction set by attention_tile_c.c, _avx2.c and _avx512.c. Keys and values in bf16 or 8 bits
 * are converted run by run.
 *
 * The two products of a step are one function: rows of numbers a, one broadcast each, times rows
 * of columns. Every element is one chain of v_fma over the summed index, so that neither blocking
 * nor the cut of a step into runs shows in a bit.
 */
#ifndef SA2_KERNELS_CPU_ATTENTION_TILE_BODY_H
#define SA2_KERNELS_CPU_ATTENTION_TILE_BODY_H

#include <float.h>
#include <string.h>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/vector_math.h"

enum {
    TILE_STEP = 64, /* keys at a time */
    TILE_COLUMNS = SA2_TILE_COLUMNS,
    TILE_ROWS = VF_WIDTH == 16 ? 8 : 4, /* of a product held in registers, two vectors each */
    TILE_DISTANCES = TILE_STEP + TILE_COLUMNS,
};

/* Two partials, the queries twice, scores, distances, and converted keys or rows of r. */
_Static_assert(sizeof(float) * (2 * (SA2_TILE_MAX_DIM + 2) * TILE_COLUMNS +
                                2 * SA2_TILE_MAX_DIM * TILE_COLUMNS +
                                (TILE_STEP + TILE_DISTANCES) * TILE_COLUMNS +
                                TILE_DISTANCES * SA2_TILE_MAX_DIM) <=
                   SA2_THREAD_SPACE,
               "a task of the widest heads fits the space of a thread");

/* Numbers of a product: element (r, k) is data[r * row + k * step]. */
typedef struct tile_numbers {
    const float *data;
    int64_t row, step;
} tile_numbers;

/* Keys that are wanted soon. */
typedef struct tile_keys {
    const sa2_attention_tile *tile;
    int64_t first, end;
} tile_keys;

/* Asks for the next few of them. Rows of a head lie in pages of their own, where the processor does not see them
 * coming; and a few at a time, as more would wait for each other. */
static void tile_fetch(tile_keys *keys)
{
    enum {
        AT_A_TIME = TILE_ROWS / 2,
        LINE = 64
    }; /* two products of a step ask for all of the next */
    const sa2_attention_tile *tile = keys->tile;
    int64_t left = keys->end - keys->first, bytes = (int64_t)sa2_dtype_bytes(tile->kv_dtype);
    if (left <= 0)
        return;
    sa2_key_run run =
        tile->keys->run(tile->keys, keys->first, left < AT_A_TIME ? (int)left : AT_A_TIME);
    keys->first += run.n;
    for (int r = 0; run.unit == 0 && r < run.n; r++)
        for (int64_t at = 0; at < tile->d * bytes; at += LINE) {
            __builtin_prefetch(run.k + r * run.k_stride * bytes + at, 0, 2);
            __builtin_prefetch(run.v + r * run.v_stride * bytes + at, 0, 2);
        }
}

/* c [rows, 32] += a [rows, n] b [n, 32] in `vectors` vectors of columns. */
static inline __attribute__((always_inline)) void
tile_product_block(float *c, tile_numbers a, const float *b, int n, int rows, int vectors)
{
    vf sum[TILE_ROWS][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = v_load(c + r * TILE_COLUMNS + v * VF_WIDTH);
    for (int k = 0; k < n; k++) {
        vf columns[2];
        for (int v = 0; v < vectors; v++)
            columns[v] = v_load(b + k * TILE_COLUMNS + v * VF_WIDTH);
        for (int r = 0; r < rows; r++) {
            vf x = v_set(a.data[r * a.row + k * a.step]);
            for (int v = 0; v < vectors; v++)
                sum[r][v] = v_fma(x, columns[v], sum[r][v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            v_store(c + r * TILE_COLUMNS + v * VF_WIDTH, sum[r][v]);
}

static inline __attribute__((always_inline)) void tile_product_columns(float *c, tile_numbers a,
                                                                       const float *b, int n,
                                                                       int rows, int vectors,
                                                                       tile_keys *next)
{
    int r = 0;
    for (; r + TILE_ROWS <= rows; r += TILE_ROWS, a.data += TILE_ROWS * a.row) {
        tile_fetch(next);
        tile_product_block(c + r * TILE_COLUMNS, a, b, n, TILE_ROWS, vectors);
    }
    for (; r + 2 <= rows; r += 2, a.data += 2 * a.row)
        tile_product_block(c + r * TILE_COLUMNS, a, b, n, 2, vectors);
    if (r < rows)
        tile_product_block(c + r * TILE_COLUMNS, a, b, n, 1, vectors);
}

static void tile_product(float *c, tile_numbers a, const float *b, int n, int rows, int vectors,
                         tile_keys *next)
{
    int v = 0;
    for (; v + 2 <= vectors; v += 2)
        tile_product_columns(c + v * VF_WIDTH, a, b + v * VF_WIDTH, n, rows, 2, next);
    if (v < vectors)
        tile_product_columns(c + v * VF_WIDTH, a, b + v * VF_WIDTH, n, rows, 1, next);
}

/* n elements from each of `rows` rows as f32, in place or in `room` [rows, n]: rows of a head lie whole pages apart
 * and would drive each other out of the L1 cache. */
static tile_numbers tile_read(sa2_dtype dtype, const void *x, int64_t row, int64_t rows, int64_t n,
                              float *room)
{
    enum { CROWDED = 128 };
    if (dtype == SA2_F32 && row % CROWDED != 0)
        return (tile_numbers){.data = x, .row = row, .step = 1};
    if (dtype == SA2_F32) {
        for (int64_t r = 0; r < rows; r++)
            memcpy(room + r * n, (const float *)x + r * row, (size_t)n * sizeof *room);
        return (tile_numbers){.data = room, .row = n, .step = 1};
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i += VF_WIDTH) {
            int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
            v_store_as(SA2_F32, room, r * n + i, v_load_as(SA2_BF16, x, r * row + i, rest), rest);
        }
    return (tile_numbers){.data = room, .row = n, .step = 1};
}

static tile_numbers tile_read_keys(sa2_dtype dtype, const sa2_key_run *run, int64_t d, float *room)
{
    if (dtype != SA2_I8)
        return tile_read(dtype, run->k, run->k_stride, run->n, d, room);
    for (int r = 0; r < run->n; r++) {
        const int8_t *k = (const int8_t *)run->k + r * run->k_stride;
        float step = run->k_steps[r];
        for (int64_t i = 0; i < d; i++)
            room[r * d + i] = (float)k[i] * step;
    }
    return (tile_numbers){.data = room, .row = d, .step = 1};
}

/* n values from number i of a run on, the first of a unit, as [d, n]. */
static tile_numbers tile_read_unit(sa2_dtype dtype, const sa2_key_run *run, int i, int n, int64_t d,
                                   float *room)
{
    int64_t at = i / run->unit * run->v_stride;
    if (dtype != SA2_I8)
        return tile_read(dtype, run->v + at * (int64_t)sa2_dtype_bytes(dtype), run->unit, d, n,
                         room);
    const int8_t *v = (const int8_t *)run->v + at;
    for (int64_t e = 0; e < d; e++)
        for (int j = 0; j < n; j++)
            room[e * n + j] = (float)v[e * run->unit + j] * run->v_steps[i + j];
    return (tile_numbers){.data = room, .row = n, .step = 1};
}

/* out [d, 32] += values of a run times p [n, 32]. */
static void tile_add_values(float *out, sa2_dtype dtype, sa2_key_run run, int d, const float *p,
                            int vectors, float *room, tile_keys *next)
{
    if (run.unit == 0) {
        tile_numbers v = tile_read(dtype, run.v, run.v_stride, run.n, d, room);
        v = (tile_numbers){.data = v.data, .row = 1, .step = v.row};
        tile_product(out, v, p, run.n, d, vectors, next);
        return;
    }
    for (int i = 0; i < run.n; i += run.unit) {
        int n = run.n - i < run.unit ? run.n - i : run.unit;
        tile_numbers v = tile_read_unit(dtype, &run, i, n, d, room);
        tile_product(out, v, p + i * TILE_COLUMNS, n, d, vectors, next);
    }
}

/* What one call of range() works with. */
typedef struct tile_state {
    const sa2_attention_tile *tile;
    int vectors;         /* of columns */
    float *q, *relative; /* [d, 32]: q + u; q + w or NULL */
    float *scores;       /* [TILE_STEP, 32] */
    float *distances;    /* [TILE_DISTANCES, 32] */
    float *room;         /* of conversions */
    tile_keys next;      /* of the next step */
    sa2_partial out;
} tile_state;

/* Columns of q, plus `add` [d] when there is one, as [d, 32]; zeros beyond the last. */
static void tile_turn_queries(const sa2_attention_tile *tile, const float *add, float *turned)
{
    for (int c = 0; c < TILE_COLUMNS; c++)
        for (int i = 0; i < tile->d; i++) {
            float q = 0.0f;
            if (c < tile->n)
                q = tile->dtype == SA2_F32 ? ((const float *)tile->q[c])[i]
                                           : sa2_bf16_to_f32(((const uint16_t *)tile->q[c])[i]);
            turned[i * TILE_COLUMNS + c] = add != NULL ? q + add[i] : q;
        }
}

/* scores += (q + w) r[distance], for n keys from number j on. Rows of r that any pair needs are
 * multiplied by every column; pair (key i, column c) then takes row n - 1 - i + c. */
static void tile_add_distances(tile_state *state, int64_t j, int n)
{
    const sa2_attention_tile *tile = state->tile;
    int rows = n - 1 + tile->n;
    int64_t bytes = (int64_t)sa2_dtype_bytes(tile->dtype);
    const char *first =
        (const char *)tile->r + (tile->place - j - (n - 1)) * tile->r_stride * bytes;
    tile_numbers r = tile_read(tile->dtype, first, tile->r_stride, rows, tile->d, state->room);
    memset(state->distances, 0, (size_t)rows * TILE_COLUMNS * sizeof(float));
    tile_product(state->distances, r, state->relative, tile->d, rows, state->vectors, &state->next);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < tile->n; c++)
            state->scores[i * TILE_COLUMNS + c] +=
                state->distances[(n - 1 - i + c) * TILE_COLUMNS + c];
}

/* Scores of n keys become exponentials; maximum, sum and values so far follow. */
static void tile_softmax(tile_state *state, int64_t j, int n, int vector)
{
    const sa2_attention_tile *tile = state->tile;
    float seen[VF_WIDTH]; /* keys of this step that the column sees */
    bool all_seen = true;
    for (int c = 0; c < VF_WIDTH; c++) {
        int column = vector * VF_WIDTH + c;
        int64_t visible = column < tile->n ? tile->visible[column] - j : n;
        seen[c] = (float)(visible < n ? visible < 0 ? 0 : visible : n);
        all_seen = all_seen && visible >= n;
    }
    vf limit = v_load(seen), scale = v_set(tile->scale), lowest = v_set(-FLT_MAX);
    float *scores = state->scores + vector * VF_WIDTH;
    float *max = state->out.max + vector * VF_WIDTH, *sum = state->out.sum + vector * VF_WIDTH;
    vf before = v_load(max), most = before;
    for (int i = 0; i < n; i++) {
        vf s = v_load(scores + i * TILE_COLUMNS) * scale;
        if (!all_seen)
            s = v_select(v_less(v_set((float)i), limit), s, lowest);
        most = v_max(most, s);
    }
    vf here = v_zero();
    for (int i = 0; i < n; i++) {
        vf p = v_exp(v_fma(v_load(scores + i * TILE_COLUMNS), scale, v_zero() - most));
        if (!all_seen)
            p = v_select(v_less(v_set((float)i), limit), p, v_zero());
        v_store(scores + i * TILE_COLUMNS, p);
        here = here + p;
    }
    vf factor = v_exp(before - most);
    v_store(max, most);
    v_store(sum, v_fma(v_load(sum), factor, here));
    if (v_all(v_less(most - before, v_set(FLT_MIN))))
        return; /* all factors are 1 */
    for (int i = 0; i < tile->d; i++) {
        float *o = state->out.o + i * TILE_COLUMNS + vector * VF_WIDTH;
        v_store(o, v_load(o) * factor);
    }
}

static void tile_step(tile_state *state, int64_t j, int n)
{
    const sa2_attention_tile *tile = state->tile;
    memset(state->scores, 0, (size_t)n * TILE_COLUMNS * sizeof(float));
    for (int i = 0; i < n;) {
        sa2_key_run run = tile->keys->run(tile->keys, j + i, n - i);
        tile_numbers k = tile_read_keys(tile->kv_dtype, &run, tile->d, state->room);
        tile_product(state->scores + i * TILE_COLUMNS, k, state->q, tile->d, run.n, state->vectors,
                     &state->next);
        i += run.n;
    }
    if (tile->u != NULL)
        tile_add_distances(state, j, n);
    for (int v = 0; v < state->vectors; v++)
        tile_softmax(state, j, n, v);
    for (int i = 0; i < n;) {
        sa2_key_run run = tile->keys->run(tile->keys, j + i, n - i);
        tile_add_values(state->out.o, tile->kv_dtype, run, tile->d,
                        state->scores + i * TILE_COLUMNS, state->vectors, state->room,
                        &state->next);
        i += run.n;
    }
}

static void tile_range(const sa2_attention_tile *tile, int64_t first, int64_t end, sa2_partial out,
                       float *room)
{
    int64_t turned = (int64_t)tile->d * TILE_COLUMNS;
    tile_state state = {.tile = tile,
                        .vectors = (tile->n + VF_WIDTH - 1) / VF_WIDTH,
                        .q = room,
                        .relative = room + turned,
                        .scores = room + 2 * turned,
                        .out = out};
    state.distances = state.scores + TILE_STEP * TILE_COLUMNS;
    state.room = state.distances + TILE_DISTANCES * TILE_COLUMNS;
    tile_turn_queries(tile, tile->u, state.q);
    if (tile->u != NULL)
        tile_turn_queries(tile, tile->w, state.relative);
    for (int c = 0; c < TILE_COLUMNS; c++) {
        out.max[c] = -FLT_MAX;
        out.sum[c] = 0.0f;
    }
    memset(out.o, 0, (size_t)turned * sizeof(float));
    for (int64_t j = first; j < end; j += TILE_STEP) {
        state.next = (tile_keys){tile, j + TILE_STEP, end};
        tile_step(&state, j, end - j < TILE_STEP ? (int)(end - j) : TILE_STEP);
    }
}

static void tile_join(sa2_partial into, sa2_partial from, int d, int n)
{
    for (int v = 0; v < n; v += VF_WIDTH) {
        vf most = v_max(v_load(into.max + v), v_load(from.max + v));
        vf a = v_exp(v_load(into.max + v) - most), b = v_exp(v_load(from.max + v) - most);
        v_store(into.max + v, most);
        v_store(into.sum + v, v_fma(v_load(into.sum + v), a, v_load(from.sum + v) * b));
        for (int i = v; i < d * TILE_COLUMNS; i += TILE_COLUMNS)
            v_store(into.o + i, v_fma(v_load(into.o + i), a, v_load(from.o + i) * b));
    }
}

static void tile_write(const sa2_attention_tile *tile, sa2_partial in)
{
    for (int c = 0; c < tile->n; c++) {
        float factor = in.sum[c] == 0.0f ? 0.0f : 1.0f / in.sum[c];
        for (int i = 0; i < tile->d; i++) {
            float y = in.o[i * TILE_COLUMNS + c] * factor;
            if (tile->y_dtype == SA2_F32)
                ((float *)tile->y[c])[i] = y;
            else
                ((uint16_t *)tile->y[c])[i] = sa2_f32_to_bf16(y);
        }
    }
}

static const sa2_tile_kernels tile_table = {
    .range = tile_range, .join = tile_join, .write = tile_write};

#endif
