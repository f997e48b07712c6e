/* attention_tile_amx.c - attention_tile.h for bf16 by tiles; f32 and relative positions in AVX-512.
 *
 * Scores [keys, columns] are tiles of 16 keys by 32 of their dimensions times tiles of 32 dimensions
 * by 16 queries; values [d, columns] are tiles of 16 dimensions by 32 keys, which is how values lie
 * in units, times tiles of 32 keys by 16 columns of weights. A tile of the right side holds pairs of
 * neighbours of the summed index (Intel SDM volume 1, chapter 18): weights come in pairs of keys.
 */
#include <float.h>
#include <string.h>

#include "kernels/cpu/attention_rounded.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/attention_weights.h"
#include "kernels/cpu/tiles_amx.h"
#include "kernels/cpu/transpose_avx512.h"
#include "kernels/cpu/vector_math.h"

enum {
    BLOCK = 16, /* columns, keys or dimensions of a tile */
    UNIT = SA2_TILE_UNIT,
    UNITS = 2,
    CHUNK = UNITS * UNIT, /* keys at a time */
    TILE_WORDS = BLOCK * BLOCK,
    COLUMNS = SA2_TILE_COLUMNS,
};

/* What one call of range() works with. It takes keys in chunks of a few units, which stay in the
 * first-level cache for both blocks of columns. */
typedef struct tile_state {
    const sa2_attention_tile *tile;
    int blocks;                   /* of 16 columns */
    int key_tiles, value_tiles;   /* along d: of 32 dimensions, of 16 */
    uint32_t *q;                  /* [blocks, key_tiles, 16, 16]: pairs of dimensions, column */
    float *scores[2];             /* [UNIT, 16] of one block, of this unit and the next */
    uint32_t *weights;            /* [UNITS, 16, 16] of one block: pairs of keys, column */
    uint16_t *key_room;           /* [CHUNK, padded d] */
    uint16_t *value_room;         /* [UNITS, padded d, UNIT] */
    const uint16_t *k[2 * UNITS]; /* 16 keys each */
    int64_t k_stride[2 * UNITS];  /* bytes */
    float steps[CHUNK];           /* of keys in 8 bits; 0 beyond the last */
    const uint16_t *v[UNITS];     /* [padded d, UNIT] */
    int64_t first;                /* key of the range; what follows counts from there */
    int32_t visible[COLUMNS];     /* keys that a column sees */
    int32_t all_see[2];           /* and those that a whole block does */
    float factor, shift[COLUMNS]; /* attention_weights.h */
    sa2_partial out;
} tile_state;

/* Tiles 0 to 3: sums of values; 4 and 5: scores; 6: keys or values; 7: queries or weights. */
static void configure(void)
{
    const int rows[TILES] = {BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK};
    configure_tiles(rows);
}

/* ---- queries, keys and values of a chunk ---- */

/* A negative scale is a positive one with the queries negated. */
static void turn_queries(tile_state *state)
{
    const sa2_attention_tile *tile = state->tile;
    __m512i sign = _mm512_set1_epi32(tile->scale < 0.0f ? (int)0x80008000 : 0);
    for (int b = 0; b < state->blocks; b++)
        for (int t = 0; t < state->key_tiles; t++) {
            int left = tile->d - t * UNIT;
            __mmask32 mask = left < UNIT ? (1u << left) - 1u : 0xffffffffu;
            __m512i rows[BLOCK];
            for (int c = 0; c < BLOCK; c++) {
                rows[c] = _mm512_setzero_si512();
                if (b * BLOCK + c < tile->n) {
                    const uint16_t *q = tile->q[b * BLOCK + c];
                    rows[c] = _mm512_maskz_loadu_epi16(mask, q + t * UNIT);
                    rows[c] = _mm512_xor_si512(rows[c], sign);
                }
            }
            transpose_16(rows);
            uint32_t *q = state->q + (b * state->key_tiles + t) * TILE_WORDS;
            for (int i = 0; i < BLOCK; i++)
                _mm512_storeu_si512(q + i * BLOCK, rows[i]);
        }
}

/* 16 keys from number i of the chunk on, where they lie or with their dimensions padded. What lies
 * beyond the last key is read but not seen. */
static void place_keys(tile_state *state, int i, const uint16_t *k, int64_t stride, int n)
{
    int64_t padded = (int64_t)state->key_tiles * UNIT;
    state->k[i / BLOCK] = k;
    state->k_stride[i / BLOCK] = stride * (int64_t)sizeof *k;
    if (stride % UNIT == 0)
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
        memset(room, 0, (size_t)state->value_tiles * BLOCK * UNIT * sizeof *room);
    for (int e = 0; e < state->tile->d; e++)
        memcpy(room + e * UNIT + at, v + e * unit, (size_t)n * sizeof *room);
}

/* Values from number i of the chunk on, in a unit: where it lies when it is whole. */
static void place_values(tile_state *state, int i, const uint16_t *v, int unit, int64_t unit_values,
                         int n)
{
    if (n == UNIT && unit_values % (BLOCK * UNIT) == 0) {
        state->v[i / UNIT] = v;
        return;
    }
    int64_t room_values = (int64_t)state->value_tiles * BLOCK * UNIT;
    uint16_t *room = state->value_room + i / UNIT * room_values;
    state->v[i / UNIT] = room;
    copy_values(state, room, i % UNIT, v, unit, n);
}

/* The same of 8 bits, in the chunk's room. */
static void convert_run(tile_state *state, int i, const sa2_key_run *run)
{
    const int8_t *k = (const int8_t *)run->k, *v = (const int8_t *)run->v;
    int64_t d = state->tile->d, key_dims = (int64_t)state->key_tiles * UNIT;
    int64_t value_dims = (int64_t)state->value_tiles * BLOCK;
    for (int t = 0; t < run->n; t += BLOCK) {
        uint16_t *room = state->key_room + (i + t) * key_dims;
        state->k[(i + t) / BLOCK] = room;
        state->k_stride[(i + t) / BLOCK] = key_dims * (int64_t)sizeof *room;
        convert_keys(room, key_dims, k + t * run->k_stride, d);
    }
    memcpy(state->steps + i, run->k_steps, (size_t)run->n * sizeof *state->steps);
    for (int t = 0; t < run->n; t += run->unit, v += run->v_stride) {
        uint16_t *room = state->value_room + (i + t) / UNIT * value_dims * UNIT;
        state->v[(i + t) / UNIT] = room;
        convert_values(room, value_dims, (i + t) % UNIT, v, d, run->unit, run->v_steps + t,
                       run->n - t < run->unit ? run->n - t : run->unit);
    }
}

/* Finds n keys from number j on. */
static void find_keys(tile_state *state, int64_t j, int n)
{
    const sa2_key_source *keys = state->tile->keys;
    memset(state->steps, 0, sizeof state->steps);
    for (int i = 0; i < n;) {
        sa2_key_run run = keys->run(keys, j + i, n - i);
        if (state->tile->kv_dtype == SA2_I8) {
            convert_run(state, i, &run);
            i += run.n;
            continue;
        }
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
    int tiles = (n + BLOCK - 1) / BLOCK;
    if (tiles % 2 == 1) { /* what is multiplied in its place is not seen */
        state->k[tiles] = state->k[tiles - 1];
        state->k_stride[tiles] = state->k_stride[tiles - 1];
    }
}

/* ---- products ---- */

/* Scores of keys in numbers of steps become those of the keys. */
static void scale_scores(float *scores, const float *steps)
{
    for (int i = 0; i < UNIT; i++, scores += BLOCK)
        _mm512_storeu_ps(scores, _mm512_loadu_ps(scores) * _mm512_set1_ps(steps[i]));
}

/* Scores of unit u for a block of columns. */
static void multiply_keys(const tile_state *state, int block, int u, float *scores)
{
    const uint16_t *upper = state->k[2 * u], *lower = state->k[2 * u + 1];
    int64_t upper_row = state->k_stride[2 * u], lower_row = state->k_stride[2 * u + 1];
    const uint32_t *q = state->q + block * state->key_tiles * TILE_WORDS;
    _tile_zero(4);
    _tile_zero(5);
    for (int t = 0; t < state->key_tiles; t++) {
        _tile_loadd(7, q + t * TILE_WORDS, 64);
        _tile_loadd(6, upper + t * UNIT, upper_row);
        _tile_dpbf16ps(4, 6, 7);
        _tile_loadd(6, lower + t * UNIT, lower_row);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_stored(4, scores, 64);
    _tile_stored(5, scores + TILE_WORDS, 64);
    if (state->tile->kv_dtype == SA2_I8)
        scale_scores(scores, state->steps + u * UNIT);
}

/* Adds the weighted values of units [first, end) to `tiles` times 16 dimensions from 16 i on. */
static inline __attribute__((always_inline)) void
add_some_values(const tile_state *state, int block, int first, int end, int i, int tiles)
{
    enum { ROW = COLUMNS * sizeof(float), DOWN = BLOCK * COLUMNS, VALUES = BLOCK * UNIT };
    float *o = state->out.o + i * DOWN + block * BLOCK;
    _tile_loadd(0, o, ROW);
    if (tiles > 1)
        _tile_loadd(1, o + DOWN, ROW);
    if (tiles > 2)
        _tile_loadd(2, o + 2 * DOWN, ROW);
    if (tiles > 3)
        _tile_loadd(3, o + 3 * DOWN, ROW);
    for (int u = first; u < end; u++) {
        const uint16_t *v = state->v[u] + i * VALUES;
        _tile_loadd(7, state->weights + u * TILE_WORDS, 64);
        _tile_loadd(6, v, 64);
        _tile_dpbf16ps(0, 6, 7);
        if (tiles > 1) {
            _tile_loadd(6, v + VALUES, 64);
            _tile_dpbf16ps(1, 6, 7);
        }
        if (tiles > 2) {
            _tile_loadd(6, v + 2 * VALUES, 64);
            _tile_dpbf16ps(2, 6, 7);
        }
        if (tiles > 3) {
            _tile_loadd(6, v + 3 * VALUES, 64);
            _tile_dpbf16ps(3, 6, 7);
        }
    }
    _tile_stored(0, o, ROW);
    if (tiles > 1)
        _tile_stored(1, o + DOWN, ROW);
    if (tiles > 2)
        _tile_stored(2, o + 2 * DOWN, ROW);
    if (tiles > 3)
        _tile_stored(3, o + 3 * DOWN, ROW);
}

static void add_values(const tile_state *state, int block, int first, int end)
{
    int i = 0;
    for (; i + 4 <= state->value_tiles; i += 4)
        add_some_values(state, block, first, end, i, 4);
    for (; i < state->value_tiles; i++)
        add_some_values(state, block, first, end, i, 1);
}

/* ---- softmax ---- */

static void start_softmax(tile_state *state, int n)
{
    const sa2_attention_tile *tile = state->tile;
    state->factor = fabsf(tile->scale) / unit_of_k;
    state->all_see[0] = state->all_see[1] = n;
    for (int c = 0; c < COLUMNS; c++) {
        int64_t visible = c < tile->n ? tile->visible[c] - state->first : n;
        state->visible[c] = (int32_t)(visible < 0 ? 0 : visible < n ? visible : n);
        if (state->visible[c] < state->all_see[c / BLOCK])
            state->all_see[c / BLOCK] = state->visible[c];
        state->shift[c] = INFINITY; /* any score is above its limit */
        state->out.sum[c] = 0.0f;
    }
}

/* New shifts for columns of a block that see a score above their limit; what they have follows. */
static void shift_columns(tile_state *state, int block, int u, const float *scores, softmax *m,
                          int *added)
{
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (int i = 0; i < UNIT; i++)
        most = _mm512_mask_max_ps(most, _mm512_cmpgt_epi32_mask(m->seen, _mm512_set1_epi32(i)),
                                  most, _mm512_loadu_ps(scores + i * BLOCK));
    __m512 k = _mm512_fmadd_ps(most, m->factor, m->shift);
    __mmask16 grows = _mm512_cmp_ps_mask(k, _mm512_set1_ps(magic + LIMIT), _CMP_GE_OQ);
    if (grows == 0)
        return;
    add_values(state, block, *added, u);
    *added = u;
    __m512 after = _mm512_set1_ps(magic + LARGEST) - v_round(most * m->factor);
    after = _mm512_mask_mov_ps(m->shift, grows, after);
    __m512 factor = v_exp(_mm512_maskz_sub_ps(grows, after, m->shift) * _mm512_set1_ps(unit_of_k));
    m->shift = after;
    _mm512_storeu_ps(state->shift + block * BLOCK, after);
    float *sum = state->out.sum + block * BLOCK, *o = state->out.o + block * BLOCK;
    _mm512_storeu_ps(sum, _mm512_loadu_ps(sum) * factor);
    for (int e = 0; e < state->tile->d; e++)
        _mm512_storeu_ps(o + e * COLUMNS, _mm512_loadu_ps(o + e * COLUMNS) * factor);
}

/* Scores of unit u, which begins at key number j of the range, become weights. *added counts the units of
 * this block whose values are added. */
static void weigh(tile_state *state, int block, int u, const float *scores, int *added, int j)
{
    __m512i visible = _mm512_loadu_si512(state->visible + block * BLOCK);
    softmax m = {.factor = _mm512_set1_ps(state->factor),
                 .shift = _mm512_loadu_ps(state->shift + block * BLOCK),
                 .seen = _mm512_sub_epi32(visible, _mm512_set1_epi32(j))};
    uint32_t *weights = state->weights + u * TILE_WORDS;
    __m512 sum;
    if (j + UNIT > state->all_see[block] || weigh_keys(scores, &m, false, weights, &sum)) {
        shift_columns(state, block, u, scores, &m, added);
        (void)weigh_keys(scores, &m, true, weights, &sum);
    }
    float *sums = state->out.sum + block * BLOCK;
    _mm512_storeu_ps(sums, _mm512_loadu_ps(sums) + sum);
}

/* A chunk: n keys from number j of the range on. Scores of the next unit are under way while those of
 * this one are weighed. */
static void run_chunk(tile_state *state, int j, int n)
{
    int units = (n + UNIT - 1) / UNIT, i = 0;
    find_keys(state, state->first + j, n);
    multiply_keys(state, 0, 0, state->scores[0]);
    for (int block = 0; block < state->blocks; block++) {
        int added = 0;
        for (int u = 0; u < units; u++, i++) {
            bool last = u + 1 == units;
            if (!last || block + 1 < state->blocks)
                multiply_keys(state, last ? block + 1 : block, last ? 0 : u + 1,
                              state->scores[(i + 1) % 2]);
            weigh(state, block, u, state->scores[i % 2], &added, j + u * UNIT);
        }
        add_values(state, block, added, units);
    }
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
                        .key_tiles = (int)(sa2_tile_key_dims(tile->d) / UNIT),
                        .value_tiles = (int)(sa2_tile_value_dims(tile->d) / BLOCK),
                        .scores = {room, room + UNIT * BLOCK},
                        .first = first,
                        .out = out};
    state.weights = (uint32_t *)(void *)(room + 2 * UNIT * BLOCK);
    state.q = state.weights + UNITS * TILE_WORDS;
    state.key_room = (uint16_t *)(state.q + 2 * state.key_tiles * TILE_WORDS);
    state.value_room = state.key_room + CHUNK * sa2_tile_key_dims(tile->d);
    start_softmax(&state, (int)(end - first));
    memset(out.o, 0, (size_t)(state.value_tiles * BLOCK * COLUMNS) * sizeof(float));
    turn_queries(&state);
    configure();
    int n = (int)(end - first);
    for (int j = 0; j < n; j += CHUNK)
        run_chunk(&state, j, n - j < CHUNK ? n - j : CHUNK);
    _tile_release();
    for (int c = 0; c < COLUMNS; c++) /* where weights are 1 */
        out.max[c] = fmaxf((magic + LARGEST - state.shift[c]) * unit_of_k, -FLT_MAX);
}

static void tile_join(sa2_partial into, sa2_partial from, int d, int n)
{
    sa2_tile_avx512()->join(into, from, d, n);
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
