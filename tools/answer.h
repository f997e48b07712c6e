/* answer.h - the events of one answer gathered, and its JSON.
 */
#ifndef SA2_TOOLS_ANSWER_H
#define SA2_TOOLS_ANSWER_H

#include <jansson.h>

#include "runtime/engine.h"
#include "tokenizer/growing.h"

/* Zero-initialise it. */
typedef struct sa2_answer {
    sa2_bytes text, reasoning, spoken;
    sa2_ids codes;     /* speech codes */
    sa2_ids ids;       /* as generated */
    int64_t n_samples; /* of sound */
    json_t *tools;     /* [{"name", "arguments"}], NULL: none */
    json_t *logprobs;  /* [{"id", "token", "logprob", "top": [...]}], NULL: none */
    bool finished, done;
    sa2_finish finish;
    char *stop_string;
    sa2_usage usage;
    sa2_timings timings;
    sa2_status status;
    char *message;
} sa2_answer;

/* Adds an event of this answer. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_answer_take(sa2_answer *answer, const sa2_event *event,
                           const sa2_tokenizer *tokenizer, sa2_error *err);
void sa2_answer_free(sa2_answer *answer);

/* {"text", "reasoning", "spoken", "codes", "tool_calls", "finish_reason", "usage", "timings", ...}, without what is
 * empty. A new reference, NULL when memory ran out. */
json_t *sa2_answer_json(const sa2_answer *answer);

#endif
