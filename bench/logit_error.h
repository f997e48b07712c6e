/* logit_error.h - how far logits are from those of a reference, position by position.
 */
#ifndef SA2_BENCH_LOGIT_ERROR_H
#define SA2_BENCH_LOGIT_ERROR_H

#include <stdint.h>

/* Zeroed is empty. */
typedef struct sa2_logit_error {
    int64_t positions;
    double kl_sum, kl_most;    /* of the reference's distribution to the other, nats */
    double squares;            /* mean over the vocabulary of (difference - its mean)^2, summed */
    int64_t same;              /* positions where both have the same best token */
    int64_t clear, same_clear; /* where the reference's best token leads by more than the noise */
} sa2_logit_error;

/* Adds one position: logits [n] of both. A constant added to all logits changes nothing. The noise is twice the standard
 * deviation of the difference of two logits, each off by the root of the mean square here. */
void sa2_logit_error_add(sa2_logit_error *error, const float *reference, const float *found,
                         int64_t n);

#endif
