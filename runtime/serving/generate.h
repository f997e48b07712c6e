/* generate.h - from logits to what a request says next: tokens, beams, the turn from thinking to answering.
 *
 * Two parts for each step: choosing tokens, which takes long and touches nothing that others see, and telling
 * them, which writes the events and is done under the engine's lock.
 *
 * Memory is planned in create; only a second prompt and a tool call allocate what their text needs. Threads: the engine's.
 */
#ifndef SA2_RUNTIME_SERVING_GENERATE_H
#define SA2_RUNTIME_SERVING_GENERATE_H

#include "runtime/model.h"
#include "runtime/serving/step.h"

enum { SA2_MAX_SEQUENCES = 4096 }; /* that run at once */

typedef struct sa2_generator sa2_generator;

typedef struct sa2_generator_options {
    const sa2_model *model;
    int max_sequences;
    bool sampling_on_device;
    size_t longest_token;      /* bytes */
    sa2_prompt_setting prompt; /* with an encoder of its own, or NULL */
    sa2_scheduler *scheduler;
    const sa2_step *step;
} sa2_generator_options;

size_t sa2_generator_bytes(const sa2_generator_options *options); /* of the host */
size_t sa2_generator_device_bytes(const sa2_generator_options *options);
sa2_status sa2_generator_create(sa2_generator **generator, const sa2_generator_options *options,
                                sa2_arena *device, sa2_arena *host, sa2_error *err);
void sa2_generator_destroy(sa2_generator *generator); /* NULL is fine; its memory is the arena's */

/* Before a step: how the tokens of its plan are chosen, which the step is told (chooser.h). */
const sa2_step_sampling *sa2_generator_plan(sa2_generator *generator, const sa2_step_plan *plan);

/* As sa2_chooser_may_run_ahead() and sa2_chooser_plan_ahead(). */
bool sa2_generator_may_run_ahead(const sa2_generator *generator, const sa2_step_plan *plan);
const sa2_step_sampling *sa2_generator_plan_ahead(sa2_generator *generator,
                                                  const sa2_step_plan *plan,
                                                  const sa2_step_plan *before);

/* Chooses the next tokens for the parts of that plan that have logits, once it is committed. A failure is kept for its
 * request. */
void sa2_generator_choose(sa2_generator *generator, const sa2_step_plan *plan);

/* How many were chosen. */
int sa2_generator_chosen(const sa2_generator *generator);

/* Tells what was chosen. Returns through `ended` [max_sequences] the jobs that are complete or have failed: all their
 * answers are finished, they are still in the scheduler. Under the engine's lock. */
int sa2_generator_tell(sa2_generator *generator, sa2_job **ended);

/* Starts the second pass of those that have thought. Not under the lock. Jobs that cannot go on are in `failed`. */
int sa2_generator_turn(sa2_generator *generator, sa2_job **failed);

/* Finishes the answers of a job that are not finished yet. Under the engine's lock. */
void sa2_generator_finish(sa2_generator *generator, sa2_job *job, sa2_finish finish);

/* The failure of a job that cannot go on. */
void sa2_job_fail(sa2_job *job, sa2_status status, const sa2_error *err);

#endif
