#include "runtime/decoder/logits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "runtime/decoder/logits_order.h"

enum { BLOCK = SA2_ROW_BLOCK, CHUNK = 16 /* blocks: what is copied is still at hand when swept */ };

/* ---- memory ---- */

static int blocks_of(int n)
{
    return n / BLOCK + (n % BLOCK != 0);
}

static int groups_of(int n)
{
    return (blocks_of(n) + SA2_ROW_GROUP - 1) / SA2_ROW_GROUP;
}

size_t sa2_sampler_work_bytes(int max_tokens)
{
    size_t n = (size_t)max_tokens, blocks = (size_t)blocks_of(max_tokens);
    return 2 * sa2_arena_round(blocks * BLOCK * sizeof(float)) +
           sa2_arena_round(blocks * sizeof(float)) +
           sa2_arena_round((size_t)groups_of(max_tokens) * sizeof(uint64_t)) +
           sa2_arena_round(n * sizeof(float)) + sa2_arena_round(n * sizeof(int32_t));
}

sa2_status sa2_sampler_work_init(sa2_sampler_work *work, int max_tokens, sa2_arena *arena,
                                 sa2_error *err)
{
    size_t n = (size_t)max_tokens, blocks = (size_t)blocks_of(max_tokens);
    size_t mark = sa2_arena_mark(arena);
    *work = (sa2_sampler_work){
        .sweeps = sa2_row_sweeps_best(),
        .max_tokens = max_tokens,
        .logits = sa2_arena_take(arena, blocks * BLOCK * sizeof(float)),
        .weights = sa2_arena_take(arena, blocks * BLOCK * sizeof(float)),
        .block_max = sa2_arena_take(arena, blocks * sizeof(float)),
        .mass = sa2_arena_take(arena, (size_t)groups_of(max_tokens) * sizeof(uint64_t)),
        .values = sa2_arena_take(arena, n * sizeof(float)),
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

/* ---- the row ---- */

sa2_status sa2_logits_no_number(int32_t id, float logit, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_FORMAT, "logit of token %d: a number expected, %g found", id,
                    (double)logit);
}

sa2_status sa2_logits_masked(int n, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_ARG, "logits: all %d tokens are masked", n);
}

static sa2_status refuse(const sa2_logits *row, sa2_error *err)
{
    int i = 0;
    while (row->z[i] < INFINITY)
        i++;
    return sa2_logits_no_number(i, row->z[i], err);
}

sa2_status sa2_logits_init(sa2_logits *row, const float *logits, int n, sa2_sampler_work *work,
                           sa2_error *err)
{
    assert(n >= 1 && n <= work->max_tokens);
    *row = (sa2_logits){.work = work,
                        .z = work->logits,
                        .n = n,
                        .n_blocks = blocks_of(n),
                        .n_groups = groups_of(n)};
    for (int i = n; i < row->n_blocks * BLOCK; i++)
        row->z[i] = -INFINITY;
    bool good = true;
    for (int b = 0; b < row->n_blocks; b += CHUNK) {
        int blocks = row->n_blocks - b < CHUNK ? row->n_blocks - b : CHUNK;
        int first = b * BLOCK, end = first + blocks * BLOCK < n ? first + blocks * BLOCK : n;
        memcpy(row->z + first, logits + first, (size_t)(end - first) * sizeof(float));
        good &= work->sweeps->largest(work->block_max + b, row->z + first, blocks);
    }
    return good ? sa2_logits_renew(row, err) : refuse(row, err);
}

void sa2_logits_renew_block(sa2_logits *row, int block)
{
    row->work->sweeps->largest(row->work->block_max + block, row->z + block * BLOCK, 1);
}

sa2_status sa2_logits_renew(sa2_logits *row, sa2_error *err)
{
    row->max = -INFINITY;
    for (int b = 0; b < row->n_blocks; b++)
        row->max = row->max < row->work->block_max[b] ? row->work->block_max[b] : row->max;
    if (row->max == INFINITY)
        return refuse(row, err);
    if (row->max == -INFINITY)
        return sa2_logits_masked(row->n, err);
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

int sa2_logits_list(const sa2_logits *row, float above, float upto)
{
    sa2_sampler_work *work = row->work;
    return work->sweeps->gather(work->values, work->ids, row->z, work->block_max, row->n_blocks,
                                above, upto);
}

/* ---- the k-th largest ---- */

/* Of n >= k values, which are overwritten. */
static float select_kth(float *values, int n, int k)
{
    enum { DIGIT = SA2_LOGITS_DIGIT_VALUES };
    for (int digits = 1; digits <= SA2_LOGITS_DIGITS; digits++) {
        int count[DIGIT] = {0};
        for (int i = 0; i < n; i++)
            count[sa2_logits_digits(values[i], digits) % DIGIT]++;
        uint32_t digit = DIGIT - 1;
        while (count[digit] < k)
            k -= count[digit--];
        int kept = 0;
        for (int i = 0; i < n; i++) {
            float value = values[i];
            values[kept] = value;
            kept += sa2_logits_digits(value, digits) % DIGIT == digit;
        }
        n = kept;
    }
    return values[0];
}

float sa2_logits_kth_block(const sa2_logits *row, int k)
{
    memcpy(row->work->values, row->work->block_max, (size_t)row->n_blocks * sizeof(float));
    return select_kth(row->work->values, row->n_blocks, k);
}

float sa2_logits_kth(const sa2_logits *row, int k)
{
    float least = k <= row->n_blocks ? sa2_logits_kth_block(row, k) : -INFINITY;
    int n = sa2_logits_list(row, sa2_logits_below(least), INFINITY);
    return n >= k ? select_kth(row->work->values, n, k) : -INFINITY;
}

float sa2_logits_below(float least)
{
    return nextafterf(least, -INFINITY);
}
