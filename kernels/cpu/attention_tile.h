/* attention_tile.h - attention of up to 32 queries over one head's keys, what both attention ops run.
 *
 * A tile's queries are columns: scores are [keys, columns], so that maxima and sums over keys are
 * plain vector arithmetic. Keys are taken in steps at fixed places, and every 512 of them (in the
 * paged op) give a partial result of its own; partials are joined in order. A column's result so
 * depends on its own keys alone: not on the other columns, nor on who computed which part.
 *
 * Maths: softmax with a running maximum (Milakov & Gimelshein 2018, algorithm 3).
 */
#ifndef SA2_KERNELS_CPU_ATTENTION_TILE_H
#define SA2_KERNELS_CPU_ATTENTION_TILE_H

#include "kernels/base/limits.h"
#include "kernels/ops.h"

enum {
    SA2_TILE_COLUMNS = 32,
    SA2_TILE_MAX_DIM = SA2_LIMIT_HEAD_DIM,
};

/* Keys and values that lie together; strides in elements. */
typedef struct sa2_key_run {
    const char *k, *v;
    const float *k_steps, *v_steps; /* of I8, [n] */
    int64_t k_stride;               /* from one key to the next */
    int unit;                       /* 0, or values lie transposed: [n / unit, d, unit] */
    int64_t v_stride;               /* from one key or unit to the next */
    int n;
} sa2_key_run;

/* Where the keys of one head are: the run that begins at key `first`, at most `n` long. In units,
 * `first` is the beginning of one. */
typedef struct sa2_key_source sa2_key_source;
struct sa2_key_source {
    sa2_key_run (*run)(const sa2_key_source *source, int64_t first, int n);
    int64_t at;                      /* of the head in a row of the segments */
    const sa2_key_segment *segments; /* of keys in rows */
    const sa2_kv_cache_view *cache;  /* of keys in pages */
    const int32_t *table;
    int head;
    sa2_key_run packed; /* of keys that `pack` below has packed: all of them */
};

typedef struct sa2_attention_tile {
    const sa2_key_source *keys;
    int n; /* columns */
    int d;
    sa2_dtype dtype, y_dtype; /* of q; of y */
    sa2_dtype kv_dtype;       /* of k and v: of q too, or I8 in units */
    float scale;
    const void *q[SA2_TILE_COLUMNS];
    void *y[SA2_TILE_COLUMNS];
    int64_t visible[SA2_TILE_COLUMNS]; /* column c sees keys [0, visible[c]) */
    /* Relative positions: of column c, distance 0 of key j is at r + (place + c - j) r_stride. */
    const float *u, *w; /* [d]; NULL: plain */
    const void *r;
    int64_t r_stride, place;
} sa2_attention_tile;

/* Packed for range(): keys to a multiple of a unit, dimensions of keys and of values to these. */
enum { SA2_TILE_UNIT = 32 };

static inline int64_t sa2_tile_key_dims(int64_t d)
{
    return (d + 31) / 32 * 32;
}

static inline int64_t sa2_tile_value_dims(int64_t d)
{
    return (d + 15) / 16 * 16;
}

/* What a range of keys gives: maximum [32] and sum [32] of the exponentials, values [value dims, 32]. */
typedef struct sa2_partial {
    float *max, *sum, *o;
} sa2_partial;

static inline int64_t sa2_partial_floats(int64_t d)
{
    return (sa2_tile_value_dims(d) + 2) * SA2_TILE_COLUMNS;
}

static inline sa2_partial sa2_partial_at(float *room)
{
    return (sa2_partial){
        .max = room, .sum = room + SA2_TILE_COLUMNS, .o = room + 2 * SA2_TILE_COLUMNS};
}

typedef struct sa2_tile_kernels {
    /* Keys [first, end) into `out`; `room` is what is left of the thread's space beside two partials. */
    void (*range)(const sa2_attention_tile *tile, int64_t first, int64_t end, sa2_partial out,
                  float *room);
    /* into and then from, as one, of n columns. */
    void (*join)(sa2_partial into, sa2_partial from, int d, int n);
    /* y; zeros where nothing is seen */
    void (*write)(const sa2_attention_tile *tile, sa2_partial in);
    /* n keys and values in bf16 rows become keys [padded n, key dims] and values [padded n / 32, value dims, 32],
     * padded with zeros. NULL: range() reads rows. Otherwise it reads units in bf16. Not of I8. */
    void (*pack)(const sa2_key_source *keys, int64_t n, int d, void *packed);
} sa2_tile_kernels;

/* For each instruction set. */
const sa2_tile_kernels *sa2_tile_c(void);
const sa2_tile_kernels *sa2_tile_avx2(void);
const sa2_tile_kernels *sa2_tile_avx512(void);
const sa2_tile_kernels *sa2_tile_amx(void);

void sa2_tile_pack_amx(const sa2_key_source *keys, int64_t n, int d, void *packed);

#endif
