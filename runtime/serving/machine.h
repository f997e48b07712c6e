/* machine.h - everything that computes: the memory of a plan, and the parts that live in it.
 *
 * Threads: one owner, the engine's thread.
 */
#ifndef SA2_RUNTIME_SERVING_MACHINE_H
#define SA2_RUNTIME_SERVING_MACHINE_H

#include "runtime/serving/engine_plan.h"
#include "runtime/serving/residency.h"

typedef struct sa2_machine {
    const sa2_model *model; /* borrowed */
    sa2_comm *comm;         /* borrowed; NULL: one rank */
    sa2_stream *stream;
    sa2_arena pages, device, work; /* of the backend */
    sa2_arena host;
    sa2_residency residency; /* of the four */
    sa2_kv_cache *cache;
    sa2_scheduler *scheduler;
    sa2_clip_cache *clips;
    sa2_step *step;
    sa2_encoder *encoder; /* for second prompts; NULL without a tokenizer */
    size_t longest_token; /* bytes; 0 without a tokenizer */
    sa2_generator *generator;
} sa2_machine;

/* Fills *machine, to be destroyed in any case; elsewhere than on rank 0 with what a step needs, and no more.
 * Errors: SA2_ERR_NOMEM. */
sa2_status sa2_machine_create(sa2_machine *machine, const sa2_engine_plan *plan,
                              const sa2_engine_options *options, const sa2_model *model,
                              sa2_error *err);
void sa2_machine_destroy(sa2_machine *machine); /* zeroed is fine */

/* What text becomes ids with, by an encoder that nobody else uses at the time. */
sa2_prompt_setting sa2_machine_prompt_setting(const sa2_engine_plan *plan,
                                              const sa2_engine_options *options,
                                              const sa2_model *model, sa2_encoder *encoder);

#endif
