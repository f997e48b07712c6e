/* tool_call.h - tool calls inside generated text.
 *
 * <tool_call>function LF NAME LF JSON</tool_call>, any number of them, text around. The tags are
 * single tokens and are recognised as such, so no text has to be held back for them. A call counts
 * when its block is closed, its JSON parses and NAME is one of the tools; then it is reported
 * whole. As StepFun's parser has it, the content of an answer with calls is the text before the
 * first and after the last block; an answer without a valid call is all content, tags included.
 * Other than there, white space round NAME and JSON does not matter, and a block whose JSON does
 * not parse stays in the content.
 */
#ifndef SA2_TOKENIZER_TOOL_CALL_H
#define SA2_TOKENIZER_TOOL_CALL_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/status.h"
#include "tokenizer/growing.h"

/* What the parser tells. Either function may be NULL. The strings live during the call. */
typedef struct sa2_tool_events {
    void (*content)(void *context, const char *text, size_t n);
    /* index counts from 0; arguments is JSON as Python writes it, at least "{}" */
    void (*call)(void *context, int index, const char *name, const char *arguments);
    void *context;
} sa2_tool_events;

/* Threads: one at a time. */
typedef struct sa2_tool_parser {
    sa2_tool_events events;
    const char *const *names; /* of the tools; NULL: any name will do. Borrowed. */
    size_t n_names;
    int n_calls; /* reported so far */
    bool seen_block;
    bool in_block;      /* between the tags */
    sa2_bytes block;    /* its text */
    sa2_bytes raw;      /* all since the first tag: content unless a call comes */
    sa2_bytes salvaged; /* blocks whose JSON does not parse: content if a call comes */
    sa2_bytes after;    /* all since the last block: content unless another one comes */
} sa2_tool_parser;

void sa2_tool_parser_init(sa2_tool_parser *parser, sa2_tool_events events, const char *const *names,
                          size_t n_names);
void sa2_tool_parser_free(sa2_tool_parser *parser);

/* The pieces of the answer in order; how text is cut does not matter. */
void sa2_tool_parser_text(sa2_tool_parser *parser, const char *text, size_t n);
void sa2_tool_parser_begin_tag(sa2_tool_parser *parser);
void sa2_tool_parser_end_tag(sa2_tool_parser *parser);

/* At the end of the answer. Errors: SA2_ERR_NOMEM, from here or before. */
sa2_status sa2_tool_parser_finish(sa2_tool_parser *parser, sa2_error *err);

#endif
