/* output.h - generated ids of one answer to what its reader gets: text, speech codes, tool calls, the end.
 *
 *   id -> stop ids -> spoken or other (ta4.h) -> text_stream.h -> stop_text.h -> tool_call.h -> event_log.h
 *
 * What is told depends on the ids alone, not on when they come.
 */
#ifndef SA2_RUNTIME_SERVING_OUTPUT_H
#define SA2_RUNTIME_SERVING_OUTPUT_H

#include "runtime/serving/event_log.h"
#include "runtime/serving/stop_text.h"
#include "runtime/token2wav/speech.h"
#include "tokenizer/ta4.h"
#include "tokenizer/text_stream.h"
#include "tokenizer/tool_call.h"

/* How a request wants its answers read. Owned by the request. */
typedef struct sa2_output_rules {
    const sa2_tokenizer *tokenizer; /* NULL: ids only */
    const sa2_special *special;     /* of the tokenizer */
    sa2_token_list end_ids;         /* the model's own; none with ignore_eos */
    sa2_token_list stop_ids;        /* the request's */
    sa2_stop_strings stop;
    int min_tokens; /* nothing ends before */
    int max_tokens;
    bool reasoning;    /* text is REASONING, and there are neither speech nor tools */
    bool spoken;       /* the prompt ends with <tts_start> */
    bool keep_special; /* special tokens stay in the text */
    bool one_tool_call;
    bool tell_tokens; /* TOKEN events */
    const char *const *tool_names;
    size_t n_tool_names;
} sa2_output_rules;

/* Text of the reasoning as it was, for the second prompt. */
typedef struct sa2_output_record {
    char *text; /* [room], or NULL */
    size_t n, room;
} sa2_output_record;

typedef struct sa2_output {
    const sa2_output_rules *rules;
    sa2_event_log *log;
    int choice;
    sa2_output_record record;
    sa2_speech *speech; /* that makes sound of the codes; NULL: none */

    sa2_ta4_splitter section;
    sa2_text_stream spoken_text, other_text;
    sa2_stop_text spoken_stop, other_stop;
    sa2_tool_parser tools;

    int n_generated, n_speech; /* ids so far, codes among them */
    bool finished;
    sa2_finish finish;
    const char *stop_string; /* that ended it, or NULL */
    int32_t stop_id;         /* of rules->stop_ids that ended it, or -1 */
    const int32_t *ids;      /* [n_ids] of the whole answer, set when it is finished */
    int n_ids;
    double score; /* of beam search */
    bool told;    /* FINISHED is in the log; what is spoken has to be heard before */
} sa2_output;

/* Starts an answer; `choice`, `log`, `record` and `speech` stay as they are. */
void sa2_output_begin(sa2_output *output, const sa2_output_rules *rules);
void sa2_output_free(sa2_output *output); /* zeroed is fine */

/* The next id; `token` and `top` are for TOKEN events. `scratch` is emptied and used.
 * Errors: SA2_ERR_NOMEM for tool calls or text that outgrow their memory. */
sa2_status sa2_output_push(sa2_output *output, sa2_logprob token, const sa2_logprob *top,
                           sa2_bytes *scratch, sa2_error *err);

/* The answer ends here for another reason. Nothing is lost that it said. */
sa2_status sa2_output_end(sa2_output *output, sa2_finish finish, sa2_bytes *scratch,
                          sa2_error *err);

#endif
