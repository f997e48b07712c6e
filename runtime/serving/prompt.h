/* prompt.h - the ids of a request's prompt, and which rows of it are sound.
 */
#ifndef SA2_RUNTIME_SERVING_PROMPT_H
#define SA2_RUNTIME_SERVING_PROMPT_H

#include "runtime/serving/sound_list.h"

/* What text becomes ids with. The encoder is used by one thread at a time. */
typedef struct sa2_prompt_setting {
    sa2_encoder *encoder;       /* NULL: the model has no tokenizer, only ids can be given */
    const sa2_special *special; /* of its tokenizer */
    sa2_template template;
    bool literal_user_text;
    bool rows_given;   /* places of sound among ids have their rows already */
    int n_tokens;      /* ids below it are tokens */
    int max_model_len; /* limits the text that is looked at */
} sa2_prompt_setting;

/* Fills *prompt (zero-initialised, to be freed in any case) from the chat, the pieces or the ids of a request.
 * Errors: SA2_ERR_ARG not exactly one of the three, ids that are no tokens, sounds that do not fit the places
 * for them, pieces of text without a tokenizer; SA2_ERR_LIMIT too much text; those of chat_template.h. */
sa2_status sa2_prompt_make(sa2_prompt *prompt, const sa2_prompt_setting *setting,
                           const sa2_request *request, const sa2_sound_list *sounds,
                           sa2_error *err);

/* Replaces the last turn of `prompt`, the open one of the assistant, by one that begins with `prefill`. Slots stay.
 * Errors: SA2_ERR_NOMEM; SA2_ERR_ARG the prompt has no turns. */
sa2_status sa2_prompt_open_turn(sa2_ids *ids, const sa2_prompt_setting *setting,
                                const char *prefill, sa2_error *err);

#endif
