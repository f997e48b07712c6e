/* random_logits.h - random rows of logits and random parameters, for tests of whatever chooses tokens.
 */
#ifndef SA2_TESTS_SUPPORT_RANDOM_LOGITS_H
#define SA2_TESTS_SUPPORT_RANDOM_LOGITS_H

#include "runtime/decoder/sampling_params.h"

double random_uniform(uint64_t *random); /* [0, 1) */
int random_pick(uint64_t *random, int n);

/* Rows flat and steep, with many ties, with masked tokens, of numbers that floats resolve badly. */
enum { RANDOM_LOGITS_KINDS = 8 };
void random_logits(uint64_t *random, float *logits, int n, int kind);

/* Each of the numbers off or on; nothing is greedy, no lists. */
sa2_sampling_params random_params(uint64_t *random);

#endif
