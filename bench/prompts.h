/* prompts.h - token ids for benches that need sequences: of golden cases, of lines of text, or any.
 */
#ifndef SA2_BENCH_PROMPTS_H
#define SA2_BENCH_PROMPTS_H

#include <stdint.h>

#include "kernels/base/status.h"
#include "runtime/model.h"

typedef struct sa2_prompt {
    int32_t *ids;
    int n;
} sa2_prompt;

typedef struct sa2_prompts {
    sa2_prompt *all;
    int n;
    int64_t positions; /* of all */
} sa2_prompts;

/* Of a golden case: each in.ids[.i], followed by the reference's out.tokens[.i] where there are some, as the model would
 * read its own answer. Of any other file: each line that is not empty. No file: four sequences of arbitrary ids. A
 * prompt is cut to `longest` ids; once there are `positions`, the rest is left out.
 * Errors: SA2_ERR_IO; SA2_ERR_FORMAT no such text, an id that the model has not, no prompt at all; SA2_ERR_NOMEM. */
sa2_status sa2_prompts_read(sa2_prompts *prompts, const sa2_model *model, int n_files,
                            char *const *files, int longest, int64_t positions, sa2_error *err);
void sa2_prompts_free(sa2_prompts *prompts); /* zeroed is fine */

#endif
