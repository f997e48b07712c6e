/* chooser.h - the next token of every sequence of a step that has logits: from the logits on the host, a sequence a thread,
 * or on the device, where they are (device_draws.h). Tokens are the same.
 *
 * A request whose tokens are chosen from a list of what is allowed, or from rounded logits, by beams or with the most likely
 * ones beside them is the host's in any case, and only rows of such requests are copied to it.
 *
 * Memory is planned in create. Threads: the engine's.
 */
#ifndef SA2_RUNTIME_SERVING_CHOOSER_H
#define SA2_RUNTIME_SERVING_CHOOSER_H

#include "runtime/model.h"
#include "runtime/serving/job.h"
#include "runtime/serving/step.h"

/* What one sequence, or one set of beams, says next. */
typedef struct sa2_choice {
    sa2_job *job;
    int sequence;
    int part;             /* of the plan */
    int row;              /* of the step's logits; of beams the first one */
    int draw;             /* on the device; -1: the host's */
    sa2_sampler *sampler; /* NULL: of beams */
    sa2_status status;
    sa2_error err;
    sa2_logprob token;
    sa2_logprob top[SA2_SAMPLING_MAX_LOGPROBS];
    bool beams_done;
} sa2_choice;

typedef struct sa2_chooser sa2_chooser;

typedef struct sa2_chooser_options {
    const sa2_model *model;
    int max_sequences;
    bool on_device;
} sa2_chooser_options;

size_t sa2_chooser_host_bytes(const sa2_chooser_options *options);
size_t sa2_chooser_device_bytes(const sa2_chooser_options *options);
sa2_status sa2_chooser_create(sa2_chooser **chooser, const sa2_chooser_options *options,
                              sa2_arena *device, sa2_arena *host, sa2_error *err);

/* Before a step: who will choose from which of its logits. Returns what the step has to do for that, good until the next
 * call; NULL: nothing. */
const sa2_step_sampling *sa2_chooser_plan(sa2_chooser *chooser, const sa2_step_plan *plan);

/* Whether the next step could be planned before the tokens of this one are known: all are chosen on the device, and nothing
 * that it is told for the next ones depends on them. */
bool sa2_chooser_may_run_ahead(const sa2_chooser *chooser, const sa2_step_plan *plan);

/* As sa2_chooser_plan(), for the step behind `before`, which is under way and whose tokens will be its ids. Only where it may
 * be, and sa2_scheduler_plan_ahead() made the plan. */
const sa2_step_sampling *sa2_chooser_plan_ahead(sa2_chooser *chooser, const sa2_step_plan *plan,
                                                const sa2_step_plan *before);

/* After it: chooses, for those that are still there. Failures are in the choices, and those of beams in their jobs. */
void sa2_chooser_choose(sa2_chooser *chooser, const sa2_step *step, const sa2_step_plan *plan);

/* What was chosen last, [*n]. */
const sa2_choice *sa2_chooser_choices(const sa2_chooser *chooser, int *n);

#endif
