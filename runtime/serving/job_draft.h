/* job_draft.h - what a request comes to before it has memory: its prompt, its sounds, its lengths.
 */
#ifndef SA2_RUNTIME_SERVING_JOB_DRAFT_H
#define SA2_RUNTIME_SERVING_JOB_DRAFT_H

#include "runtime/serving/job.h"
#include "runtime/serving/tool_names.h"

typedef struct sa2_job_draft {
    const sa2_job_setting *setting;
    const sa2_request *request;
    const sa2_given_rows *given; /* or NULL */
    sa2_sound_list sounds;
    sa2_prompt prompt;
    sa2_tool_names tools;
    sa2_ids say; /* of the text that is given */
    int n_sequences, n_outputs;
    int max_tokens;   /* of an answer */
    int max_thinking; /* of the first pass; 0: there is none */
    int max_answer;   /* what is kept for the second one */
    int max_positions;
    int max_codes;         /* that become sound, of an answer; 0 without a voice */
    int n_audio_positions; /* rows of sound and their brackets */
    size_t n_clips;
} sa2_job_draft;

/* Finds everything that can be wrong with a request, short of the samples. The first three fields are set, the rest is
 * zero; free it in any case. Errors: as sa2_engine_submit(). */
sa2_status sa2_job_draft_make(sa2_job_draft *draft, sa2_error *err);
void sa2_job_draft_free(sa2_job_draft *draft);

#endif
