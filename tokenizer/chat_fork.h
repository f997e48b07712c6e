/* chat_fork.h - the template of StepFun's fork of vLLM at 9ecabf22f
 * (step_audio_2_tokenizer.py, and chat_utils.py for what becomes of a list of parts).
 *
 * All text of a turn is one string, its audio a placeholder <audio_patch> in it. Lists put the
 * audio first, a line feed after each.
 */
#ifndef SA2_TOKENIZER_CHAT_FORK_H
#define SA2_TOKENIZER_CHAT_FORK_H

#include "kernels/base/status.h"
#include "tokenizer/chat.h"
#include "tokenizer/chat_pieces.h"
#include "tokenizer/chat_template.h"

/* The chat is not empty, and a final message that is to be continued is the assistant's. */
sa2_status sa2_chat_fork(sa2_pieces *pieces, const sa2_chat *chat,
                         const sa2_template_options *options, sa2_error *err);

#endif
