/* attention_tile_amx.c - attention_tile.h for bf16 by tiles; f32 and relative positions in AVX-512.
 *
 * Scores [keys, columns] are tiles of 16 keys by 32 of their dimensions times tiles of 32 dimensions
 * by 16 queries; values [d, columns] are tiles of 16 dimensions by 32 keys, which is how values lie
 * in units, times tiles of 32 keys by 16 columns of weights. A tile of the right side holds pairs of
 * neighbours of the summed index (Intel SDM volume 1, chapter 18), so weights are rounded to bf16 in
 * pairs of keys as they come out of the exponential.
 *
 * Weights are cut to bf16, not rounded, and their sum is that of the cut ones: the quotient
 * errs as little and a step costs two instructions less a pair.
 */
#include <float.h>
#include <string.h>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/transpose_avx512.h"
#include "kernels/cpu/vector_math.h"

enum {
    STEP = 64, /* keys at a time */
    UNITS = STEP / SA2_TILE_UNIT,
    BLOCK = 16, /* columns, keys or dimensions of a tile */
    TILE_WORDS = BLOCK * BLOCK,
    COLUMNS = SA2_TILE_COLUMNS,
};

/* A column's reference is a maximum that it saw; it changes only when a score exceeds it by this
 * much. Weights then go up to e^6, and values are hardly ever rescaled. */
static const float slack = 6.0f;

/* What one call of range() works with. */
typedef struct tile_state {
    const sa2_attention_tile *tile;
    int blocks;                      /* of 16 columns */
    int key_tiles, value_tiles;      /* along d: of 32 dimensions, of 16 */
    uint32_t *q;                     /* [blocks, key_tiles, 16, 16]: pairs of dimensions, column */
    float *scores;                   /* [STEP, 32] */
    uint32_t *weights;               /* [UNITS, 2, 16, 16]: pairs of keys, column */
    uint16_t *key_room;              /* [STEP, padded d] */
    uint16_t *value_room;            /* [UNITS, padded d, 32] */
    const uint16_t *k[STEP / BLOCK]; /* 16 keys each */
    int64_t k_stride[STEP / BLOCK];  /* bytes */
    const uint16_t *v[UNITS];        /* [padded d, 32] */
    sa2_partial out;
} tile_state;

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tiles 0 to 3: sums; 4 and 5: keys or values; 6 and 7: queries or weights. */
static void configure(void)
{
    tile_config config __attribute__((aligned(64))) = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = BLOCK;
    }
    _tile_loadconfig(&config);
}

/* ---- queries, keys and values of a step ---- */

/* A negative scale is a positive one with the queries negated. */
static void turn_queries(tile_state *state)
{
    const sa2_attention_tile *tile = state->tile;
    __m512i sign = _mm512_set1_epi32(tile->scale < 0.0f ? (int)0x80008000 : 0);
    for (int b = 0; b < state->blocks; b++)
        for (int t = 0; t < state->key_tiles; t++) {
            int left = tile->d - t * SA2_TILE_UNIT;
            __mmask32 mask = left < SA2_TILE_UNIT ? (1u << left) - 1u : 0xffffffffu;
            __m512i rows[BLOCK];
            for (int c = 0; c < BLOCK; c++) {
                rows[c] = _mm512_setzero_si512();
                if (b * BLOCK + c < tile->n) {
                    const uint16_t *q = tile->q[b * BLOCK + c];
                    rows[c] = _mm512_maskz_loadu_epi16(mask, q + t * SA2_TILE_UNIT);
                    rows[c] = _mm512_xor_si512(rows[c], sign);
                }
            }
            transpose_16(rows);
            uint32_t *q = state->q + (b * state->key_tiles + t) * TILE_WORDS;
            for (int i = 0; i < BLOCK; i++)
                _mm512_storeu_si512(q + i * BLOCK, rows[i]);
        }
}

/* 16 keys from number i of the step on, where they lie or with their dimensions padded. What lies
 * beyond the last key is read but not seen. */
static void place_keys(tile_state *state, int i, const uint16_t *k, int64_t stride, int n)
{
    int64_t padded = (int64_t)state->key_tiles * SA2_TILE_UNIT;
    state->k[i / BLOCK] = k;
    state->k_stride[i / BLOCK] = stride * (int64_t)sizeof *k;
    if (stride % SA2_TILE_UNIT == 0)
        return;
    uint16_t *room = state->key_room + i * padded;
    memset(room, 0, (size_t)(BLOCK * padded) * sizeof *room);
    for (int r = 0; r < n; r++)
        memcpy(room + r * padded, k + r * stride, (size_t)state->tile->d * sizeof *room);
    state->k[i / BLOCK] = room;
    state->k_stride[i / BLOCK] = padded * (int64_t)sizeof *room;
}

/* Values of n keys in a unit of `unit` go to place `at` of a unit of 32 that has zeros elsewhere. */
static void copy_values(tile_state *state, uint16_t *room, int at, const uint16_t *v, int unit,
                        int n)
{
    if (at == 0)
        memset(room, 0, (size_t)state->value_tiles * BLOCK * SA2_TILE_UNIT * sizeof *room);
    for (int e = 0; e < state->tile->d; e++)
        memcpy(room + e * SA2_TILE_UNIT + at, v + e * unit, (size_t)n * sizeof *room);
}

/* Values from number i of the step on, in a unit: where it lies when it is whole. */
static void place_values(tile_state *state, int i, const uint16_t *v, int unit, int64_t unit_values,
                         int n)
{
    if (n == SA2_TILE_UNIT && unit_values % (BLOCK * SA2_TILE_UNIT) == 0) {
        state->v[i / SA2_TILE_UNIT] = v;
        return;
    }
    int64_t room_values = (int64_t)state->value_tiles * BLOCK * SA2_TILE_UNIT;
    uint16_t *room = state->value_room + i / SA2_TILE_UNIT * room_values;
    state->v[i / SA2_TILE_UNIT] = room;
    copy_values(state, room, i % SA2_TILE_UNIT, v, unit, n);
}

/* Finds n keys from number j on. */
static void find_keys(tile_state *state, int64_t j, int n)
{
    const sa2_key_source *keys = state->tile->keys;
    for (int i = 0; i < n;) {
        sa2_key_run run = keys->run(keys, j + i, n - i);
        const uint16_t *k = (const uint16_t *)(const void *)run.k;
        const uint16_t *v = (const uint16_t *)(const void *)run.v;
        for (int t = 0; t < run.n; t += BLOCK)
            place_keys(state, i + t, k + t * run.k_stride, run.k_stride,
                       run.n - t < BLOCK ? run.n - t : BLOCK);
        for (int t = 0; t < run.n; t += run.unit, v += run.v_stride)
            place_values(state, i + t, v, run.unit, run.v_stride,
                         run.n - t < run.unit ? run.n - t : run.unit);
        i += run.n;
    }
}

/* ---- products ---- */

/* Scores of keys 16 i to 16 i + 31 of the step, or to 16 i + 15 only; one or both blocks of columns. */
static inline __attribute__((always_inline)) void multiply_keys(const tile_state *state, int i,
                                                                bool two_keys, bool two_columns)
{
    enum { ROW = COLUMNS * sizeof(float), DOWN = BLOCK * COLUMNS };
    const uint16_t *upper = state->k[i], *lower = two_keys ? state->k[i + 1] : NULL;
    int64_t upper_row = state->k_stride[i], lower_row = two_keys ? state->k_stride[i + 1] : 0;
    const uint32_t *left = state->q, *right = state->q + state->key_tiles * TILE_WORDS;
    float *scores = state->scores + i * DOWN;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int t = 0; t < state->key_tiles; t++) {
        _tile_loadd(4, upper + t * SA2_TILE_UNIT, upper_row);
        _tile_loadd(6, left + t * TILE_WORDS, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (two_columns) {
            _tile_loadd(7, right + t * TILE_WORDS, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two_keys) {
            _tile_loadd(5, lower + t * SA2_TILE_UNIT, lower_row);
            _tile_dpbf16ps(2, 5, 6);
            if (two_columns)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, scores, ROW);
    if (two_columns)
        _tile_stored(1, scores + BLOCK, ROW);
    if (two_keys) {
        _tile_stored(2, scores + DOWN, ROW);
        if (two_columns)
            _tile_stored(3, scores + DOWN + BLOCK, ROW);
    }
}

static void multiply_all_keys(const tile_state *state, int n)
{
    int i = 0, blocks = (n + BLOCK - 1) / BLOCK;
    if (state->blocks == 2) {
        for (; i + 2 <= blocks; i += 2)
            multiply_keys(state, i, true, true);
        if (i < blocks)
            multiply_keys(state, i, false, true);
    } else {
        for (; i + 2 <= blocks; i += 2)
            multiply_keys(state, i, true, false);
        if (i < blocks)
            multiply_keys(state, i, false, false);
    }
}

/* Adds weighted values to dimensions 16 i to 16 i + 31, or to 16 i + 15 only. */
static inline __attribute__((always_inline)) void
multiply_values(const tile_state *state, int i, int units, bool two_values, bool two_columns)
{
    enum { ROW = COLUMNS * sizeof(float), DOWN = BLOCK * COLUMNS, VALUES = BLOCK * SA2_TILE_UNIT };
    float *o = state->out.o + i * DOWN;
    _tile_loadd(0, o, ROW);
    if (two_columns)
        _tile_loadd(1, o + BLOCK, ROW);
    if (two_values) {
        _tile_loadd(2, o + DOWN, ROW);
        if (two_columns)
            _tile_loadd(3, o + DOWN + BLOCK, ROW);
    }
    for (int u = 0; u < units; u++) {
        const uint32_t *weights = state->weights + 2 * u * TILE_WORDS;
        _tile_loadd(4, state->v[u] + i * VALUES, 64);
        _tile_loadd(6, weights, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (two_columns) {
            _tile_loadd(7, weights + TILE_WORDS, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two_values) {
            _tile_loadd(5, state->v[u] + (i + 1) * VALUES, 64);
            _tile_dpbf16ps(2, 5, 6);
            if (two_columns)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, o, ROW);
    if (two_columns)
        _tile_stored(1, o + BLOCK, ROW);
    if (two_values) {
        _tile_stored(2, o + DOWN, ROW);
        if (two_columns)
            _tile_stored(3, o + DOWN + BLOCK, ROW);
    }
}

static void multiply_all_values(const tile_state *state, int n)
{
    int i = 0, units = (n + SA2_TILE_UNIT - 1) / SA2_TILE_UNIT, tiles = state->value_tiles;
    if (state->blocks == 2) {
        for (; i + 2 <= tiles; i += 2)
            multiply_values(state, i, units, true, true);
        if (i < tiles)
            multiply_values(state, i, units, false, true);
    } else {
        for (; i + 2 <= tiles; i += 2)
            multiply_values(state, i, units, true, false);
        if (i < tiles)
            multiply_values(state, i, units, false, false);
    }
}

/* ---- softmax ---- */

/* 2^t cut to bf16 by the caller; 0 where t is very low. */
static inline __m512 power_of_2(__m512 t)
{
    /* 2^f for 0 <= f < 1, minimax of relative error 7.5e-5; a bf16 has 8 bits */
    const __m512 c0 = _mm512_set1_ps(9.999252186e-01f), c1 = _mm512_set1_ps(6.958335405e-01f),
                 c2 = _mm512_set1_ps(2.260671554e-01f), c3 = _mm512_set1_ps(7.802452266e-02f);
    __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_fmadd_ps(c3, f, c2);
    p = _mm512_fmadd_ps(p, f, c1);
    p = _mm512_fmadd_ps(p, f, c0);
    return _mm512_scalef_ps(p, t);
}

static void rescale(const tile_state *state, int block, __m512 factor)
{
    float *o = state->out.o + block * BLOCK;
    for (int e = 0; e < state->tile->d; e++)
        _mm512_storeu_ps(o + e * COLUMNS, _mm512_loadu_ps(o + e * COLUMNS) * factor);
}

/* The reference of a block of columns for this step; values and sum so far follow it. */
static inline __m512 refer(tile_state *state, int block, __m512 most)
{
    float *max = state->out.max + block * BLOCK, *sum = state->out.sum + block * BLOCK;
    __m512 before = _mm512_loadu_ps(max);
    __mmask16 grows = _mm512_cmp_ps_mask(before + _mm512_set1_ps(slack), most, _CMP_LT_OQ);
    if (grows == 0)
        return before;
    __m512 after = _mm512_mask_mov_ps(before, grows, most);
    __m512 factor = v_exp(before - after);
    _mm512_storeu_ps(max, after);
    _mm512_storeu_ps(sum, _mm512_loadu_ps(sum) * factor);
    rescale(state, block, factor);
    return after;
}

/* Scores of a step become weights, for a block of columns of which column c sees seen[c] keys. */
static inline __attribute__((always_inline)) void weigh(tile_state *state, int block, bool masked,
                                                        __m512i seen)
{
    const float *scores = state->scores + block * BLOCK;
    float scale = fabsf(state->tile->scale);
    __m512 most[4];
    for (int u = 0; u < 4; u++)
        most[u] = _mm512_set1_ps(-FLT_MAX);
    for (int i = 0; i < STEP; i += 4)
        for (int u = 0; u < 4; u++) {
            __mmask16 sees = 0xffff;
            if (masked)
                sees = _mm512_cmpgt_epi32_mask(seen, _mm512_set1_epi32(i + u));
            __m512 s = _mm512_loadu_ps(scores + (i + u) * COLUMNS);
            most[u] =
                masked ? _mm512_mask_max_ps(most[u], sees, most[u], s) : _mm512_max_ps(most[u], s);
        }
    most[0] = _mm512_max_ps(_mm512_max_ps(most[0], most[1]), _mm512_max_ps(most[2], most[3]));
    __m512 reference = refer(state, block, most[0] * _mm512_set1_ps(scale));

    const float log2_e = 1.44269504f;
    __m512 factor = _mm512_set1_ps(scale * log2_e);
    __m512 shift = _mm512_setzero_ps() - reference * _mm512_set1_ps(log2_e);
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int u = 0; u < UNITS; u++) {
        uint32_t *weights = state->weights + (2 * u + block) * TILE_WORDS;
        const float *unit_scores = scores + u * SA2_TILE_UNIT * COLUMNS;
        for (int i = 0; i < SA2_TILE_UNIT; i += 2) {
            __m512 even = _mm512_loadu_ps(unit_scores + i * COLUMNS);
            __m512 odd = _mm512_loadu_ps(unit_scores + (i + 1) * COLUMNS);
            even = power_of_2(_mm512_fmadd_ps(even, factor, shift));
            odd = power_of_2(_mm512_fmadd_ps(odd, factor, shift));
            __m512i pair = _mm512_mask_blend_epi16(0xaaaaaaaa,
                                                   _mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                                   _mm512_castps_si512(odd));
            if (masked) {
                int key = u * SA2_TILE_UNIT + i;
                __mmask16 both = _mm512_cmpgt_epi32_mask(seen, _mm512_set1_epi32(key + 1));
                __mmask16 one = _mm512_cmpgt_epi32_mask(seen, _mm512_set1_epi32(key));
                __m512i upper = _mm512_maskz_and_epi32(both, pair, _mm512_set1_epi32(-65536));
                __m512i lower = _mm512_maskz_and_epi32(one, pair, _mm512_set1_epi32(65535));
                pair = _mm512_or_si512(upper, lower);
            }
            _mm512_storeu_si512(weights + i / 2 * BLOCK, pair);
            sums[i / 2 % 2] = _mm512_dpbf16_ps(sums[i / 2 % 2], (__m512bh)pair, ones);
        }
    }
    float *sum = state->out.sum + block * BLOCK;
    _mm512_storeu_ps(sum, _mm512_loadu_ps(sum) + (sums[0] + sums[1]));
}

/* n keys from number j on. */
static void weigh_block(tile_state *state, int block, int64_t j, int n)
{
    const sa2_attention_tile *tile = state->tile;
    int32_t seen[BLOCK];
    bool all = n == STEP;
    for (int c = 0; c < BLOCK; c++) {
        int column = block * BLOCK + c;
        int64_t visible = column < tile->n ? tile->visible[column] - j : n;
        seen[c] = (int32_t)(visible < n ? visible : n);
        all = all && visible >= n;
    }
    if (all)
        weigh(state, block, false, _mm512_setzero_si512());
    else
        weigh(state, block, true, _mm512_loadu_si512(seen));
}

/* ---- the table ---- */

static void tile_range(const sa2_attention_tile *tile, int64_t first, int64_t end, sa2_partial out,
                       float *room)
{
    if (tile->dtype == SA2_F32 || tile->u != NULL) {
        sa2_tile_avx512()->range(tile, first, end, out, room);
        return;
    }
    tile_state state = {.tile = tile,
                        .blocks = (tile->n + BLOCK - 1) / BLOCK,
                        .key_tiles = (int)(sa2_tile_key_dims(tile->d) / SA2_TILE_UNIT),
                        .value_tiles = (int)(sa2_tile_value_dims(tile->d) / BLOCK),
                        .scores = room,
                        .out = out};
    state.weights = (uint32_t *)(void *)(state.scores + STEP * COLUMNS);
    state.q = state.weights + 2 * UNITS * TILE_WORDS;
    state.key_room = (uint16_t *)(state.q + 2 * state.key_tiles * TILE_WORDS);
    state.value_room = state.key_room + STEP * sa2_tile_key_dims(tile->d);
    for (int c = 0; c < COLUMNS; c++) {
        out.max[c] = -FLT_MAX;
        out.sum[c] = 0.0f;
    }
    memset(out.o, 0, (size_t)(state.value_tiles * BLOCK * COLUMNS) * sizeof(float));
    turn_queries(&state);
    configure();
    for (int64_t j = first; j < end; j += STEP) {
        int n = end - j < STEP ? (int)(end - j) : STEP;
        find_keys(&state, j, n);
        multiply_all_keys(&state, n);
        for (int b = 0; b < state.blocks; b++)
            weigh_block(&state, b, j, n);
        multiply_all_values(&state, n);
    }
    _tile_release();
}

static void tile_join(sa2_partial into, sa2_partial from, int d)
{
    sa2_tile_avx512()->join(into, from, d);
}

static void tile_write(const sa2_attention_tile *tile, sa2_partial in)
{
    for (int c = 0; c < tile->n; c += BLOCK) {
        __m512 sum = _mm512_loadu_ps(in.sum + c);
        __mmask16 some = _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        __m512 factor = _mm512_maskz_div_ps(some, _mm512_set1_ps(1.0f), sum);
        for (int e = 0; e < tile->d; e += BLOCK) {
            int n = tile->d - e < BLOCK ? tile->d - e : BLOCK;
            __m512i rows[BLOCK];
            for (int i = 0; i < BLOCK; i++) /* beyond d: written by range(), and dropped below */
                rows[i] =
                    _mm512_castps_si512(_mm512_loadu_ps(in.o + (e + i) * COLUMNS + c) * factor);
            transpose_16(rows);
            for (int i = 0; i < BLOCK && c + i < tile->n; i++)
                v_store_as(tile->y_dtype, tile->y[c + i], e, _mm512_castsi512_ps(rows[i]), n);
        }
    }
}

const sa2_tile_kernels *sa2_tile_amx(void)
{
    static const sa2_tile_kernels table = {
        .range = tile_range, .join = tile_join, .write = tile_write, .pack = sa2_tile_pack_amx};
    return &table;
}
