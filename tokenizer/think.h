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
    SA2_THINK_BEFORE = 0, /* nothing but white space so far; <think> may come */
    SA2_THINK_INSIDE,
    SA2_THINK_AFTER_TAG, /* white space here belongs to neither */
    SA2_THINK_AFTER,
} sa2_think_phase;

/* Sorts streamed text into reasoning and answer. Holds back what may become a tag. */
typedef struct sa2_think_splitter {
    sa2_think_phase phase;
    char held[8]; /* white space is counted apart: it is not kept before a tag */
    size_t n_held;
} sa2_think_splitter;

/* `inside`: the prompt ends within <think>. */
void sa2_think_splitter_init(sa2_think_splitter *splitter, bool inside);
void sa2_think_split(sa2_think_splitter *splitter, const char *text, size_t n, sa2_bytes *reasoning,
                     sa2_bytes *answer);
void sa2_think_flush(sa2_think_splitter *splitter, sa2_bytes *reasoning, sa2_bytes *answer);

#endif
