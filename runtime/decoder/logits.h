/* logits.h - one row of logits, taken in and ready to be asked: the largest, the k-th largest.
 * Nothing is sorted; logits_set.h goes on from here.
 *
 * The row is swept in blocks (kernels/row_sweeps.h) whose largest values are kept, so that later
 * passes skip what cannot matter.
 */
#ifndef SA2_RUNTIME_DECODER_LOGITS_H
#define SA2_RUNTIME_DECODER_LOGITS_H

#include "kernels/base/arena.h"
#include "kernels/row_sweeps.h"

/* What the passes need; one for each thread that samples. */
typedef struct sa2_sampler_work {
    const sa2_row_sweeps *sweeps;
    int max_tokens;
    float *logits;    /* [max_tokens, rounded up to blocks] the row */
    float *weights;   /* the same */
    float *block_max; /* [blocks] */
    uint64_t *mass;   /* [groups of blocks] in steps (kernels/token_weights.h) */
    float *values;    /* [max_tokens] a list: logits, */
    int32_t *ids;     /* [max_tokens] their ids, rising */
} sa2_sampler_work;

size_t sa2_sampler_work_bytes(int max_tokens);

/* Errors: SA2_ERR_NOMEM, the arena has no room. */
sa2_status sa2_sampler_work_init(sa2_sampler_work *work, int max_tokens, sa2_arena *arena,
                                 sa2_error *err);

/* A row, which lies in the work. */
typedef struct sa2_logits {
    sa2_sampler_work *work;
    float *z; /* [n] numbers or -infinity: masked; then -infinity to the end of the block */
    int n, n_blocks, n_groups;
    float max; /* a number */

    /* Of sa2_logits_weigh(), logits_set.h. */
    float scale, floor;
    int n_weighed;
    uint64_t mass;
} sa2_logits;

/* Copies a row of n logits, at most the work's max_tokens.
 * Errors: SA2_ERR_FORMAT NaN or +infinity, naming the id; SA2_ERR_ARG every logit is -infinity. */
sa2_status sa2_logits_init(sa2_logits *row, const float *logits, int n, sa2_sampler_work *work,
                           sa2_error *err);

/* Those failures. */
sa2_status sa2_logits_no_number(int32_t id, float logit, sa2_error *err);
sa2_status sa2_logits_masked(int n, sa2_error *err);

/* After changes to z: the block of each token that changed, and then once the row.
 * Errors: as sa2_logits_init(). */
void sa2_logits_renew_block(sa2_logits *row, int block);
sa2_status sa2_logits_renew(sa2_logits *row, sa2_error *err);

/* The lowest id among the largest. */
int32_t sa2_logits_argmax(const sa2_logits *row);

/* The k-th largest value, k >= 1; -infinity when k is more than n. Overwrites the list. */
float sa2_logits_kth(const sa2_logits *row, int k);

/* The same among the largest of each block, k <= n_blocks: k tokens or more are as large. */
float sa2_logits_kth_block(const sa2_logits *row, int k);

/* Makes the list, without weights, of the tokens with above < z <= upto: how many. */
int sa2_logits_list(const sa2_logits *row, float above, float upto);

/* What every value >= `least`, and none below, is above. */
float sa2_logits_below(float least);

#endif
