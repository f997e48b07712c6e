/* think.h - reasoning before the answer: <think>...</think>.
 *
 * The tags are ordinary text, spread over tokens in more than one way, so they are looked for in
 * the text.
 */
#ifndef SA2_TOKENIZER_THINK_H
#define SA2_TOKENIZER_THINK_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenizer/chat_template.h"
#include "tokenizer/growing.h"

/* The start of an answer that makes the model think, for the options of a template. */
const char *sa2_think_prefill(sa2_template template);

/* Appends the prefill of the second request: the first one's, `reasoning` [n bytes] and the closing
 * tag, then <tts_start> for a spoken answer. */
void sa2_think_answer_prefill(sa2_template template, const char *reasoning, size_t n, bool spoken,
                              sa2_bytes *prefill);

typedef enum sa2_think_phase {
    SA2_THINK_BEFORE = 0, /* white space so far; <think> may come */
    SA2_THINK_INSIDE,
    SA2_THINK_CLOSED, /* right after </think> */
    SA2_THINK_AFTER,
} sa2_think_phase;

/* Sorts streamed text into reasoning and answer. A start of a tag is held back until it is one or
 * not. The reasoning is all between the tags, as it stands (the second request needs it so); white
 * space before <think> and right after </think> belongs to neither. Text that does not begin with
 * <think> is all answer. */
typedef struct sa2_think_splitter {
    sa2_think_phase phase;
    size_t n_held; /* bytes of the tag that this phase waits for */
} sa2_think_splitter;

/* `inside`: the prompt ends within <think>. */
void sa2_think_splitter_init(sa2_think_splitter *splitter, bool inside);
void sa2_think_split(sa2_think_splitter *splitter, const char *text, size_t n, sa2_bytes *reasoning,
                     sa2_bytes *answer);
void sa2_think_flush(sa2_think_splitter *splitter, sa2_bytes *reasoning, sa2_bytes *answer);

#endif
