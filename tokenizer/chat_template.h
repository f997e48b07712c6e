/* chat_template.h - a conversation to the ids of a prompt, with the places of its audio.
 *
 * Three templates. `hf` and `fork` give the ids of the two reference programs of Step-Audio 2
 * (its own demo; StepFun's fork of vLLM). The default follows hf and takes from fork what hf does
 * not know: tools, tool calls, spoken answers given as text and codes. A template is a list of
 * pieces that are encoded one by one, so where a piece ends is part of the format.
 */
#ifndef SA2_TOKENIZER_CHAT_TEMPLATE_H
#define SA2_TOKENIZER_CHAT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "tokenizer/chat.h"
#include "tokenizer/encode.h"
#include "tokenizer/growing.h"
#include "tokenizer/special.h"

typedef enum sa2_template {
    SA2_TEMPLATE_DEFAULT = 0,
    SA2_TEMPLATE_HF,
    SA2_TEMPLATE_FORK,
} sa2_template;

typedef struct sa2_template_options {
    sa2_template template;
    bool literal_user_text; /* added tokens in text of users and tools are plain text */
    const char *prefill;    /* start of the answer, after the generation prompt; NULL: none */
} sa2_template_options;

/* The rows of one chunk of audio go to positions [first, first + n) of the prompt. */
typedef struct sa2_audio_slot {
    size_t first;
    int n;
    size_t audio; /* the how-manieth audio item of the conversation */
    size_t chunk; /* of that item */
} sa2_audio_slot;

/* Zero-initialise it before the first use; the functions below replace what is in it. */
typedef struct sa2_prompt {
    sa2_ids ids;
    sa2_audio_slot *slots; /* in the order of the prompt; chunks of no rows are among them */
    size_t n_slots;
    size_t slots_room;
} sa2_prompt;

void sa2_prompt_free(sa2_prompt *prompt);

/* Errors: SA2_ERR_ARG for a conversation that has no prompt (nothing to answer, both flags set,
 * a final message that cannot be continued, more <audio_patch> than audio), SA2_ERR_FORMAT for
 * tools, arguments or tts_audio that cannot be read, SA2_ERR_NOMEM. The message names the
 * message of the conversation. */
sa2_status sa2_chat_prompt(sa2_prompt *prompt, sa2_encoder *encoder, const sa2_special *special,
                           const sa2_chat *chat, const sa2_template_options *options,
                           sa2_error *err);

/* The prompt of a base model, which knows no turns: the items, one piece each. */
sa2_status sa2_base_prompt(sa2_prompt *prompt, sa2_encoder *encoder, const sa2_special *special,
                           const sa2_chat_item *items, size_t n_items, sa2_error *err);

#endif
