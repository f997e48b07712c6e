/* attention_pack_amx.c - contract: attention_tile.h. */
#include "kernels/cpu/attention_tile.h"

#include <string.h>

#include "kernels/cpu/transpose_avx512.h"

enum { UNIT = SA2_TILE_UNIT, DIMS = 16 };

/* Where the rows of up to 32 keys are; NULL beyond the last. */
typedef struct unit_rows {
    const uint16_t *k[UNIT], *v[UNIT];
} unit_rows;

static unit_rows find_rows(const sa2_key_source *keys, int64_t first, int n)
{
    unit_rows rows = {0};
    for (int i = 0; i < n;) {
        sa2_key_run run = keys->run(keys, first + i, n - i);
        for (int t = 0; t < run.n; t++, i++) {
            rows.k[i] = (const uint16_t *)(const void *)run.k + t * run.k_stride;
            rows.v[i] = (const uint16_t *)(const void *)run.v + t * run.v_stride;
        }
    }
    return rows;
}

static void pack_keys(const unit_rows *rows, int d, uint16_t *out)
{
    int64_t padded = sa2_tile_key_dims(d);
    for (int i = 0; i < UNIT; i++, out += padded) {
        int n = rows->k[i] != NULL ? d : 0;
        if (n > 0)
            memcpy(out, rows->k[i], (size_t)n * sizeof *out);
        memset(out + n, 0, (size_t)(padded - n) * sizeof *out);
    }
}

/* 16 dimensions of a row, in the lower half of each lane; zeros of no row. */
static inline __m512i load_values(const uint16_t *row, int e, __mmask16 mask)
{
    if (row == NULL)
        return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row + e));
}

static void pack_values(const unit_rows *rows, int d, uint16_t *out)
{
    for (int e = 0; e < d; e += DIMS) {
        __mmask16 mask = (__mmask16)(d - e < DIMS ? (1u << (d - e)) - 1u : 0xffffu);
        __m512i pairs[UNIT / 2]; /* of keys, by dimension */
        for (int i = 0; i < UNIT; i += 2)
            pairs[i / 2] =
                _mm512_or_si512(load_values(rows->v[i], e, mask),
                                _mm512_slli_epi32(load_values(rows->v[i + 1], e, mask), 16));
        transpose_16(pairs);
        for (int i = 0; i < DIMS; i++)
            _mm512_storeu_si512(out + (e + i) * UNIT, pairs[i]);
    }
}

void sa2_tile_pack_amx(const sa2_key_source *keys, int64_t n, int d, void *packed)
{
    int64_t padded = (n + UNIT - 1) / UNIT * UNIT;
    uint16_t *k = packed, *v = k + padded * sa2_tile_key_dims(d);
    for (int64_t j = 0; j < n; j += UNIT) {
        unit_rows rows = find_rows(keys, j, n - j < UNIT ? (int)(n - j) : UNIT);
        pack_keys(&rows, d, k + j * sa2_tile_key_dims(d));
        pack_values(&rows, d, v + j * sa2_tile_value_dims(d));
    }
}
