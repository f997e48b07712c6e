/* check_text.h - golden cases of tokenizer and chat, one JSON object a line.
 *
 * What a line checks follows from its keys, not from the name of the file:
 *   text, ids                       text to ids
 *   decode, skip_special, ids, text ids to text
 *   messages, pieces, prompt_ids    template hf; the base model when a message is no turn
 *   messages, tools, prompt_ids     template fork
 *   tts_text, tts_audio, ids        a spoken answer of the past
 *   spoken, ids, tts_text, ...      a generated answer taken apart
 *   ids, text, codes                the same, as the reference demo does it
 * Keys ending in _mini are for the vocabulary of the release, the others for that of preset tiny.
 */
#ifndef SA2_TOOLS_CHECK_TEXT_H
#define SA2_TOOLS_CHECK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "tokenizer/encode.h"
#include "tokenizer/special.h"

typedef struct sa2_check_text_context {
    sa2_encoder *encoder;
    const sa2_special *special;
    /* Rows of the adaptor for one chunk of n samples of 16 kHz (at most 25 s), by the rule of the
     * demo or of the fork. */
    int (*patches)(int64_t n_samples, bool fork_rule);
} sa2_check_text_context;

/* One case done: `difference` is NULL when it holds. */
typedef void (*sa2_check_text_report)(void *user, const char *name, const char *difference);

/* Runs the cases of a file. Errors: SA2_ERR_IO; SA2_ERR_FORMAT for a line that is no case, or a
 * file without one; SA2_ERR_NOMEM. A case that fails is no error: it is reported. */
sa2_status sa2_check_text_file(const char *path, const sa2_check_text_context *context,
                               sa2_check_text_report report, void *user, sa2_error *err);

#endif
