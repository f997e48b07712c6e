/* engine_internal.h - the engine as its own files and tests see it.
 */
#ifndef SA2_RUNTIME_SERVING_ENGINE_INTERNAL_H
#define SA2_RUNTIME_SERVING_ENGINE_INTERNAL_H

#include "runtime/serving/desk.h"
#include "runtime/serving/machine.h"
#include "runtime/serving/ranks.h"
#include "runtime/serving/speaker.h"

struct sa2_engine {
    sa2_backend *own_backend; /* NULL: the model is somebody else's */
    sa2_model own_model;
    const sa2_model *model;
    sa2_engine_options options; /* without names */
    sa2_engine_plan plan;
    sa2_agreement agreement; /* with the other ranks */
    sa2_machine machine;     /* the engine's thread's */
    const sa2_step_plan
        *ahead; /* the step that is under way between two turns of that thread; NULL: none */
    sa2_token2wav own_token2wav;
    sa2_speaker speaker;   /* the engine's thread's */
    double sound_began_ms; /* what is under way */
    sa2_voices voices;

    sa2_desk desk;
    sa2_job_setting setting;
    pthread_mutex_t submitting; /* the encoder of `setting` is used by one caller at a time */
    bool has_submitting;
    pthread_t thread;
    bool has_thread;
};

/* As sa2_engine_create(), for a model that is there already and outlives the engine; so does token2wav, of the same
 * backend, or NULL for an engine without speech. */
sa2_status sa2_engine_create_from_model(sa2_engine **engine, const sa2_model *model,
                                        sa2_token2wav *token2wav, const sa2_engine_options *options,
                                        sa2_error *err);

/* As sa2_engine_submit(), with rows of sound as they are instead of sounds, for checks of the decoder alone. */
sa2_status sa2_engine_submit_rows(sa2_engine *engine, const sa2_request *request,
                                  const sa2_given_rows *given, sa2_request_id *id, sa2_error *err);

/* What the engine's thread does, until the desk is closing. */
void *sa2_engine_drive(void *engine);

#endif
