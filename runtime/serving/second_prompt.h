/* second_prompt.h - what is asked after a request has thought: its prompt again, with the reasoning in the open turn.
 */
#ifndef SA2_RUNTIME_SERVING_SECOND_PROMPT_H
#define SA2_RUNTIME_SERVING_SECOND_PROMPT_H

#include "runtime/serving/job.h"

/* Zero-initialise it; it grows with the longest reasoning and may be used again. */
typedef struct sa2_second_prompt {
    sa2_ids ids;
    sa2_bytes prefill;
} sa2_second_prompt;

/* For a job whose first pass is over. The same text can be more ids the second time; what then leaves no room for the
 * answer is left out from the end of the reasoning.
 * Errors: SA2_ERR_NOMEM; SA2_ERR_LIMIT not even an empty reasoning fits. */
sa2_status sa2_second_prompt_make(sa2_second_prompt *second, const sa2_prompt_setting *setting,
                                  const sa2_job *job, sa2_error *err);
void sa2_second_prompt_free(sa2_second_prompt *second);

#endif
