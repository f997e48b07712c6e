/* logits_set.h - sets of the most likely tokens of a row, and draws from them.
 *
 * A row is weighed first, with the threshold that every later set lies above. The weight of a token is
 * e^((z - largest) / temperature) = 2^((z - largest) scale), where scale = 1 / (temperature ln 2) stands
 * for the temperature; mass is a sum of weights. Both are in whole steps of 2^-40 (kernels/token_weights.h), so that a
 * set and a draw are the same however sums are ordered. Tokens below 2^-41 count as nothing: all 2^22 that a
 * vocabulary may have (SA2_LIMIT_VOCAB) weigh less than 2^-19 together, those of 2^17.3 less than 2^-23.
 */
#ifndef SA2_RUNTIME_DECODER_LOGITS_SET_H
#define SA2_RUNTIME_DECODER_LOGITS_SET_H

#include "runtime/decoder/logits.h"

/* Tokens with z > above, and of those with z = above the n_equal lowest ids. */
typedef struct sa2_logits_set {
    float above;
    int n_equal;
    float weight; /* of each of those */
} sa2_logits_set;

/* Weighs the tokens with z > above, -infinity for all; row->mass is what they hold. */
void sa2_logits_weigh(sa2_logits *row, float scale, float above);

/* The smallest set of most likely tokens that holds a share of that mass, 0 < share < 1. Of equal logits
 * the lower id is the more likely. Overwrites the list. */
sa2_logits_set sa2_logits_top_share(const sa2_logits *row, float share);

/* The token of a set at which the running mass passes u of the whole, u in [0, 1): by rising id, the
 * equal ones last. Overwrites the list. */
int32_t sa2_logits_draw(const sa2_logits *row, sa2_logits_set set, double u);

/* Of every token [n], 0 outside the set. */
void sa2_logits_probs(const sa2_logits *row, sa2_logits_set set, float *probs);

#endif
