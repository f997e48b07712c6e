#include "runtime/decoder/logits.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum { BLOCK = SA2_ROW_BLOCK };

/* ---- memory ---- */

static int blocks_of(int n)
{
    return n / BLOCK + (n % BLOCK != 0);
}

size_t sa2_sampler_work_bytes(int max_tokens)
{
    size_t n = (size_t)max_tokens, blocks = (size_t)blocks_of(max_tokens);
    return 4 * sa2_arena_round(n * sizeof(float)) + sa2_arena_round(blocks * sizeof(float)) +
           sa2_arena_round(blocks * sizeof(double));
}

sa2_status sa2_sampler_work_init(sa2_sampler_work *work, int max_tokens, sa2_arena *arena,
                                 sa2_error *err)
{
    size_t n = (size_t)max_tokens, blocks = (size_t)blocks_of(max_tokens);
    size_t mark = sa2_arena_mark(arena);
    *work = (sa2_sampler_work){
        .sweeps = sa2_row_sweeps_best(),
        .max_tokens = max_tokens,
        .logits = sa2_arena_take(arena, n * sizeof(float)),
        .block_max = sa2_arena_take(arena, blocks * sizeof(float)),
        .mass = sa2_arena_take(arena, blocks * sizeof(double)),
        .values = sa2_arena_take(arena, n * sizeof(float)),
        .weights = sa2_arena_take(arena, n * sizeof(float)),
        .ids = sa2_arena_take(arena, n * sizeof(int32_t)),
    };
    if (work->logits == NULL || work->block_max == NULL || work->mass == NULL ||
        work->values == NULL || work->weights == NULL || work->ids == NULL) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "sampler work: %zu bytes of memory expected, %zu left",
                        sa2_sampler_work_bytes(max_tokens), arena->bytes - arena->used);
    }
    return SA2_OK;
}

/* ---- the largest ---- */

/* The tokens after the last whole block, filled up with -infinity. */
static void fill_rest(const sa2_logits *row, float rest[BLOCK])
{
    int first = row->n / BLOCK * BLOCK;
    for (int i = 0; i < BLOCK; i++)
        rest[i] = first + i < row->n ? row->z[first + i] : -INFINITY;
}

sa2_status sa2_logits_init(sa2_logits *row, const float *z, int n, sa2_sampler_work *work,
                           sa2_error *err)
{
    assert(n >= 1 && n <= work->max_tokens);
    *row = (sa2_logits){.z = z, .n = n, .max = -INFINITY, .work = work};
    float rest[BLOCK];
    int whole = n / BLOCK, blocks = blocks_of(n);
    bool good = work->sweeps->largest(work->block_max, z, whole);
    if (blocks > whole) {
        fill_rest(row, rest);
        good &= work->sweeps->largest(work->block_max + whole, rest, 1);
    }
    if (!good) {
        int i = 0;
        while (z[i] < INFINITY)
            i++;
        return sa2_fail(err, SA2_ERR_FORMAT, "logit of token %d: a number expected, %g found", i,
                        (double)z[i]);
    }
    for (int b = 0; b < blocks; b++)
        row->max = row->max < work->block_max[b] ? work->block_max[b] : row->max;
    if (row->max == -INFINITY)
        return sa2_fail(err, SA2_ERR_ARG, "logits: all %d tokens are masked", n);
    return SA2_OK;
}

int32_t sa2_logits_argmax(const sa2_logits *row)
{
    int b = 0;
    while (row->work->block_max[b] != row->max)
        b++;
    int i = b * BLOCK;
    while (row->z[i] != row->max)
        i++;
    return i;
}

/* ---- order: by three digits of a key that rises with the value ---- */

enum { DIGIT_BITS = 11, DIGITS = 3, BUCKETS = 1 << DIGIT_BITS };

static uint32_t key_of(float value)
{
    float positive_zero = value + 0.0f; /* -0 equals 0 */
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* The first `digits` digits: a number that rises with the value. */
static uint32_t leading(float value, int digits)
{
    return (uint32_t)((uint64_t)key_of(value) >> (DIGITS - digits) * DIGIT_BITS);
}

/* The k-th largest of n >= k values, which are overwritten. */
static float select_kth(float *values, int n, int k)
{
    for (int digits = 1; digits <= DIGITS; digits++) {
        int count[BUCKETS] = {0};
        for (int i = 0; i < n; i++)
            count[leading(values[i], digits) % BUCKETS]++;
        uint32_t bucket = BUCKETS - 1;
        while (count[bucket] < k)
            k -= count[bucket--];
        int kept = 0;
        for (int i = 0; i < n; i++) {
            float value = values[i];
            values[kept] = value;
            kept += leading(value, digits) % BUCKETS == bucket;
        }
        n = kept;
    }
    return values[0];
}

/* The k-th largest block maximum, k <= blocks: k tokens or more lie there or above. */
static float kth_block(const sa2_logits *row, int k)
{
    int blocks = blocks_of(row->n);
    memcpy(row->work->values, row->work->block_max, (size_t)blocks * sizeof(float));
    return select_kth(row->work->values, blocks, k);
}

int sa2_logits_list(const sa2_logits *row, float least)
{
    least = least > -FLT_MAX ? least : -FLT_MAX;
    sa2_sampler_work *work = row->work;
    float rest[BLOCK];
    int whole = row->n / BLOCK;
    int n = work->sweeps->gather(work->values, work->ids, row->z, work->block_max, whole, 0, least);
    if (blocks_of(row->n) > whole) {
        fill_rest(row, rest);
        n += work->sweeps->gather(work->values + n, work->ids + n, rest, work->block_max + whole, 1,
                                  whole * BLOCK, least);
    }
    return n;
}

float sa2_logits_kth(const sa2_logits *row, int k)
{
    float *values = row->work->values;
    if (k > row->n)
        return -INFINITY;
    float least = k <= blocks_of(row->n) ? kth_block(row, k) : -INFINITY;
    if (least > -INFINITY)
        return select_kth(values, sa2_logits_list(row, least), k);
    memcpy(values, row->z, (size_t)row->n * sizeof(float));
    return select_kth(values, row->n, k);
}

/* ---- the list ---- */

int sa2_logits_gather(const sa2_logits *row, float least, float scale, double *mass)
{
    sa2_sampler_work *work = row->work;
    int n = sa2_logits_list(row, least);
    work->sweeps->weigh(work->weights, work->values, n, row->max, scale);
    *mass = 0.0;
    for (int i = 0; i < n; i++)
        *mass += work->weights[i];
    return n;
}

int sa2_logits_trim(const sa2_logits *row, int n, double target)
{
    sa2_sampler_work *work = row->work;
    uint32_t last = 0; /* digits so far of the last value that is needed */
    double above = 0.0;
    for (int digits = 1; digits <= DIGITS; digits++) {
        double mass[BUCKETS] = {0.0};
        uint32_t bucket = 0, lowest = BUCKETS - 1;
        for (int i = 0; i < n; i++) {
            uint32_t key = leading(work->values[i], digits);
            if (digits > 1 && key / BUCKETS != last)
                continue;
            key %= BUCKETS;
            mass[key] += work->weights[i];
            bucket = key > bucket ? key : bucket;
            lowest = key < lowest ? key : lowest;
        }
        while (bucket > lowest && above + mass[bucket] < target)
            above += mass[bucket--];
        last = last * BUCKETS + bucket;
    }
    int kept = 0;
    for (int i = 0; i < n; i++) {
        uint32_t key = leading(work->values[i], DIGITS);
        if (key < last || (key == last && above >= target))
            continue;
        if (key == last)
            above += work->weights[i];
        work->values[kept] = work->values[i];
        work->weights[kept] = work->weights[i];
        work->ids[kept++] = work->ids[i];
    }
    return kept;
}

int32_t sa2_logits_draw(const sa2_logits *row, int n, double whole, double u)
{
    const sa2_sampler_work *work = row->work;
    double below = 0.0;
    int32_t token = -1;
    for (int i = 0; i < n && below <= u * whole; i++) {
        below += work->weights[i];
        if (work->weights[i] > 0.0f)
            token = work->ids[i];
    }
    return token;
}

/* ---- the whole row ---- */

double sa2_logits_mass(const sa2_logits *row, float scale)
{
    /* Blocks of tokens that weigh less than 2^-48 each are left out: all 2^22 that a vocabulary may have
     * (SA2_LIMIT_VOCAB) weigh less than 2^-26 together, half a unit in the last place. */
    float least = row->max - 48.0f / scale, rest[BLOCK];
    sa2_sampler_work *work = row->work;
    int whole = row->n / BLOCK, blocks = blocks_of(row->n);
    work->sweeps->mass(work->mass, row->z, work->block_max, whole, least, row->max, scale);
    if (blocks > whole) {
        fill_rest(row, rest);
        work->sweeps->mass(work->mass + whole, rest, work->block_max + whole, 1, least, row->max,
                           scale);
    }
    double sum = 0.0;
    for (int b = 0; b < blocks; b++)
        sum += work->mass[b];
    return sum;
}

int sa2_logits_top_mass(const sa2_logits *row, float scale, double share)
{
    double mass, whole = sa2_logits_mass(row, scale), target = share * whole;
    /* All tokens of mass below (1 - share) whole / n weigh less than 1 - share together: none of them
     * is needed. 0.01 is for rounding. That bound is low; most often few tokens hold the share. */
    double bound = row->max + (log2((1.0 - share) * whole / row->n) - 0.01) / scale;
    int blocks = blocks_of(row->n);
    float least = kth_block(row, blocks - blocks / 4);
    int n = sa2_logits_gather(row, least > bound ? least : (float)bound, scale, &mass);
    if (mass < target && least > bound)
        n = sa2_logits_gather(row, (float)bound, scale, &mass);
    return sa2_logits_trim(row, n, target);
}

int32_t sa2_logits_draw_any(const sa2_logits *row, float scale, double u)
{
    sa2_sampler_work *work = row->work;
    double target = u * sa2_logits_mass(row, scale), below = 0.0;
    int b = 0, last = blocks_of(row->n) - 1; /* block that has any mass */
    while (work->mass[last] == 0.0)
        last--;
    while (b < last && below + work->mass[b] <= target)
        below += work->mass[b++];

    int first = b * BLOCK, n = row->n - first < BLOCK ? row->n - first : BLOCK;
    work->sweeps->weigh(work->weights, row->z + first, n, row->max, scale);
    for (int i = 0; i < n; i++)
        work->ids[i] = first + i;
    return sa2_logits_draw(row, n, 1.0, target - below);
}
