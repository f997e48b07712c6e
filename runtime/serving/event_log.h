/* event_log.h - what a request has to tell, in order, until somebody takes it.
 *
 * Append-only buffers for text, codes, samples and tokens, and a list of runs that says which piece is what.
 * A run that nobody took yet grows; what was taken stays where it is until the request goes, so an
 * event only points into the buffers.
 *
 * Memory is the request's, planned for its longest answers. Threads: the caller's lock.
 */
#ifndef SA2_RUNTIME_SERVING_EVENT_LOG_H
#define SA2_RUNTIME_SERVING_EVENT_LOG_H

#include "runtime/engine.h"

typedef struct sa2_event_run {
    uint8_t kind; /* sa2_event_kind */
    uint8_t choice;
    uint16_t tool_index;
    int64_t first;
    int32_t n; /* bytes, codes, samples or tokens */
} sa2_event_run;

typedef struct sa2_event_room {
    size_t runs, text, codes, samples, tokens;
    int n_top; /* log-probabilities with every token */
} sa2_event_room;

typedef struct sa2_event_log {
    sa2_event_room room;
    sa2_event_run *runs; /* [room.runs] */
    size_t n_runs, next; /* runs before `next` are taken */
    char *text;          /* [room.text]; a 0 after every run */
    size_t n_text;
    int32_t *codes; /* [room.codes] */
    size_t n_codes;
    float *samples; /* [room.samples] */
    size_t n_samples;
    sa2_logprob *tokens; /* [room.tokens] */
    sa2_logprob *top;    /* [room.tokens, n_top] */
    size_t n_tokens;
    bool full; /* something did not fit: the answers have outgrown the plan */
} sa2_event_log;

/* Appends text [n bytes] of kind TEXT, REASONING or SPOKEN; a code; samples; a token with its top [room.n_top] or NULL. */
void sa2_event_log_text(sa2_event_log *log, sa2_event_kind kind, int choice, const char *text,
                        size_t n);
void sa2_event_log_code(sa2_event_log *log, int choice, int32_t code);
void sa2_event_log_samples(sa2_event_log *log, int choice, const float *samples, size_t n);
void sa2_event_log_token(sa2_event_log *log, int choice, sa2_logprob token, const sa2_logprob *top);
void sa2_event_log_tool_call(sa2_event_log *log, int choice, int index, const char *name,
                             const char *arguments);

/* FINISHED or DONE: no content, whoever takes it adds it. There is always room for these. */
void sa2_event_log_mark(sa2_event_log *log, sa2_event_kind kind, int choice);

/* Kind, choice and content of the next event, the rest as it was; false: there is none. */
bool sa2_event_log_take(sa2_event_log *log, sa2_event *event);

#endif
