/* logprobs.h - raw log-probabilities for the API: log_softmax of unmodified logits, natural log,
 * before penalties and temperature.
 */
#ifndef SA2_RUNTIME_DECODER_LOGPROBS_H
#define SA2_RUNTIME_DECODER_LOGPROBS_H

#include "runtime/decoder/logits.h"
#include "runtime/decoder/sampling_params.h"

typedef struct sa2_logprob {
    int32_t id;
    float logprob; /* -infinity where the logit is */
} sa2_logprob;

/* The chosen token's, and the n_top most likely ones, falling, equal ones by rising id.
 *   logits [n_tokens]; top [n_top]; n_top in [0, min(n_tokens, SA2_SAMPLING_MAX_LOGPROBS)]
 *   chosen, chosen_logprob: an id in [0, n_tokens) and where it goes, or NULL
 * Errors: as sa2_logits_init(). */
sa2_status sa2_logprobs(const float *logits, int n_tokens, int32_t chosen,
                        sa2_logprob *chosen_logprob, sa2_logprob *top, int n_top,
                        sa2_sampler_work *work, sa2_error *err);

/* ln of the sum of e^z over the row: what a logit exceeds its log-probability by. Weighs the row. */
double sa2_logprobs_whole(sa2_logits *row);

/* The same of a row whose e^(z - largest) have that mass, in steps (kernels/token_weights.h). */
double sa2_logprobs_whole_of(float largest, uint64_t mass);

#endif
