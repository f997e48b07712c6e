/* device_draws.h - what a step has chosen on the device: the lists of sa2_sample() (kernels/ops.h), its results, and what
 * each slot has said so far, which stays on the device from step to step.
 *
 * For each step: begin, add for each draw, run with the step's logits, and when they have run take or drop each draw. The
 * next step, of the other turn (scheduler.h), may begin before that.
 *
 * Memory is planned in create. Threads: one owner, but sa2_device_draws_take() of different draws by any.
 */
#ifndef SA2_RUNTIME_SERVING_DEVICE_DRAWS_H
#define SA2_RUNTIME_SERVING_DEVICE_DRAWS_H

#include "runtime/decoder/logprobs.h"
#include "runtime/decoder/sampler.h"

typedef struct sa2_device_draws sa2_device_draws;

size_t sa2_device_draws_host_bytes(int max_sequences);
size_t sa2_device_draws_device_bytes(int max_sequences, int n_tokens);

/* Errors: SA2_ERR_NOMEM. */
sa2_status sa2_device_draws_create(sa2_device_draws **draws, int max_sequences, int n_tokens,
                                   sa2_arena *device, sa2_arena *host, sa2_error *err);

void sa2_device_draws_begin(sa2_device_draws *draws, int turn);

/* The next token of the sampler that runs in a slot, from a row of logits; rows rise, and draws from one row come one after
 * the other, of samplers that have said the same. Returns the number of the draw, or -1: the device cannot, the host must. */
int sa2_device_draws_add(sa2_device_draws *draws, int row, int slot, const sa2_sampler *sampler,
                         bool wants_logprob);

/* Another sampler is in the slot from now on. */
void sa2_device_draws_forget(sa2_device_draws *draws, int slot);

void sa2_device_draws_run(sa2_device_draws *draws, sa2_stream *s, sa2_tensor logits);

/* ids[i]: what draw from[i] of the step before has chosen, to go on from. */
void sa2_device_draws_ids(const sa2_device_draws *draws, sa2_stream *s, sa2_tensor ids,
                          const int32_t *from);

/* What a draw chose, which its sampler accepts; the log-probability NaN unless wanted. Errors: those of sa2_sampler_next(). */
sa2_status sa2_device_draws_take(sa2_device_draws *draws, int turn, int draw, sa2_sampler *sampler,
                                 sa2_logprob *token, sa2_error *err);

/* Nobody takes it. */
void sa2_device_draws_drop(sa2_device_draws *draws, int turn, int draw);

#endif
