/* sampler.h - the next token of one sequence from its row of logits.
 *
 * The order of operations is vLLM's (vllm/v1/sample) or transformers' (generate), as the mode of
 * the request says. Logits are f32 in host memory. A draw depends on logits, parameters, the
 * sequence's own tokens, seed, choice and step alone (Philox, see philox.h): not on its neighbours.
 *
 * Equal logits: the lower id counts as the more likely, except that all ties at the k-th value
 * survive top-k.
 */
#ifndef SA2_RUNTIME_DECODER_SAMPLER_H
#define SA2_RUNTIME_DECODER_SAMPLER_H

#include "kernels/ops.h"
#include "runtime/decoder/logits.h"
#include "runtime/decoder/sampling_params.h"

/* What one sequence has said so far: plain data, so that a device can hold the same. */
typedef struct sa2_sampler {
    const sa2_sampling_params *params; /* the request's */
    uint64_t seed;
    uint32_t choice;  /* which of the request's n */
    int n_tokens;     /* rows of logits that are tokens: the first ones; the others are ignored */
    int n_generated;  /* the step of the next draw */
    uint64_t *seen;   /* bitmap [ceil(n_tokens / 64)] of prompt and generated ids */
    uint16_t *counts; /* [n_tokens] in the generated tokens, at most 65535 */
    int32_t last[SA2_SAMPLING_MAX_BAD_WORD_TOKENS]; /* generated, a ring by step */
} sa2_sampler;

/* Bytes of `seen` and `counts` together, which lie as sa2_sample() has them. */
size_t sa2_sampler_bytes(int n_tokens);

/* Starts a sequence. `memory` has sa2_sampler_bytes() at an 8-byte boundary and belongs to the
 * caller; `params` has passed sa2_sampling_check() and outlives the sampler. Ids of the prompt
 * outside [0, n_tokens) (rows without a token) are skipped. */
void sa2_sampler_init(sa2_sampler *sampler, void *memory, const sa2_sampling_params *params,
                      uint64_t seed, uint32_t choice, int n_tokens, const int32_t *prompt,
                      int n_prompt);

/* `child` becomes `parent` with its own memory and choice: for the n choices of a request. */
void sa2_sampler_fork(sa2_sampler *child, void *memory, const sa2_sampler *parent, uint32_t choice);

/* Chooses the next token and changes nothing in the sampler: sa2_sampler_accept() does.
 *   logits [n_tokens or more]
 *   work   for n_tokens or more, of this thread (logits.h)
 * Errors: SA2_ERR_FORMAT a logit is NaN or +infinity; SA2_ERR_ARG the masks leave no token. */
sa2_status sa2_sampler_next(const sa2_sampler *sampler, const float *logits, sa2_sampler_work *work,
                            int32_t *token, sa2_error *err);

/* Counts a token, chosen or given, as generated. */
void sa2_sampler_accept(sa2_sampler *sampler, int32_t token);

/* The distribution that sa2_sampler_next() draws from: probs [n_tokens], zeros for excluded tokens,
 * a single one where the choice is greedy. Errors as there. */
sa2_status sa2_sampler_probs(const sa2_sampler *sampler, const float *logits,
                             sa2_sampler_work *work, float *probs, sa2_error *err);

/* ---- the same on a device: what sa2_sample() (kernels/ops.h) is told, so that it chooses what sa2_sampler_next() would ---- */

/* Whether it can: not from a list of what is allowed, nor from rounded logits. */
bool sa2_sampler_fits_device(const sa2_sampling_params *params);

sa2_sample_rule sa2_sampler_rule(const sa2_sampling_params *params);

/* Whether what is added before a draw follows from how many tokens were generated, whichever they are: no bad word has several. */
bool sa2_sampler_foresees(const sa2_sampling_params *params);

/* Of the next draw: what is added to logits, one call an addition, and the share of the mass at which it is. */
typedef void (*sa2_sampler_add)(void *context, int32_t id, float addend);
void sa2_sampler_additions(const sa2_sampler *sampler, sa2_sampler_add add, void *context);
double sa2_sampler_uniform(const sa2_sampler *sampler);

/* Whether a draw of n_tokens gave a token. Errors: those of sa2_sampler_next(). */
sa2_status sa2_sampler_judge(const sa2_sampled *sampled, int n_tokens, sa2_error *err);

#endif
