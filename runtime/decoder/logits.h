/* logits.h - one row of logits: the largest, the k-th largest, mass under a temperature, and the
 * smallest set of most likely tokens that holds a share of the mass. Nothing is sorted.
 *
 * A row is swept in blocks (kernels/row_sweeps.h) whose largest values are kept, so that later passes
 * skip what cannot matter. The mass of a token is e^((z - largest) / temperature), with
 * scale = 1 / (temperature ln 2) standing for the temperature.
 */
#ifndef SA2_RUNTIME_DECODER_LOGITS_H
#define SA2_RUNTIME_DECODER_LOGITS_H

#include "kernels/base/arena.h"
#include "kernels/row_sweeps.h"

/* What the passes need; one for each thread that samples. */
typedef struct sa2_sampler_work {
    const sa2_row_sweeps *sweeps;
    int max_tokens;
    float *logits;    /* [max_tokens] adjusted */
    float *block_max; /* [blocks] */
    double *mass;     /* [blocks] */
    float *values;    /* [max_tokens] the list: logits, */
    float *weights;   /* [max_tokens] their mass, */
    int32_t *ids;     /* [max_tokens] their ids, rising */
} sa2_sampler_work;

size_t sa2_sampler_work_bytes(int max_tokens);

/* Errors: SA2_ERR_NOMEM, the arena has no room. */
sa2_status sa2_sampler_work_init(sa2_sampler_work *work, int max_tokens, sa2_arena *arena,
                                 sa2_error *err);

typedef struct sa2_logits {
    const float *z; /* [n], numbers or -infinity: masked */
    int n;
    float max; /* a number */
    sa2_sampler_work *work;
} sa2_logits;

/* Starts a row, n at most the work's max_tokens.
 * Errors: SA2_ERR_FORMAT NaN or +infinity, naming the id; SA2_ERR_ARG every logit is -infinity. */
sa2_status sa2_logits_init(sa2_logits *row, const float *z, int n, sa2_sampler_work *work,
                           sa2_error *err);

/* The lowest id among the largest. */
int32_t sa2_logits_argmax(const sa2_logits *row);

/* The k-th largest value, k >= 1; -infinity when k is more than n. Overwrites the list. */
float sa2_logits_kth(const sa2_logits *row, int k);

/* Makes the list, without weights, of the tokens with z >= least that are not masked: how many. */
int sa2_logits_list(const sa2_logits *row, float least);

/* The same with weights, and their sum. */
int sa2_logits_gather(const sa2_logits *row, float least, float scale, double *mass);

/* Cuts the list of n down to the smallest set of its most likely tokens that holds `target` of its mass,
 * all of it when rounding leaves that short: how many. Of equal logits the lower id is the more likely. */
int sa2_logits_trim(const sa2_logits *row, int n, double target);

/* The mass of the whole row, and of each block for sa2_logits_draw_any(). */
double sa2_logits_mass(const sa2_logits *row, float scale);

/* Makes the list of the smallest set of most likely tokens that holds a share of the mass of the row,
 * 0 < share < 1: how many. */
int sa2_logits_top_mass(const sa2_logits *row, float scale, double share);

/* The token at which the running mass by rising id passes u of the whole, u in [0, 1): in the list of n
 * with mass `whole`, and in the whole row. */
int32_t sa2_logits_draw(const sa2_logits *row, int n, double whole, double u);
int32_t sa2_logits_draw_any(const sa2_logits *row, float scale, double u);

#endif
