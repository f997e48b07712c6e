/* chat_hf.h - the template of Step-Audio 2's own demo (stepaudio2.py, apply_chat_template), and
 * the default, which is this one and knows more.
 *
 * A turn is <|BOT|>ROLE LF content <|EOT|>. With a string for content it is one piece, with a list
 * each item is one.
 */
#ifndef SA2_TOKENIZER_CHAT_HF_H
#define SA2_TOKENIZER_CHAT_HF_H

#include "kernels/base/status.h"
#include "tokenizer/chat.h"
#include "tokenizer/chat_pieces.h"
#include "tokenizer/chat_template.h"

/* The chat is not empty, and a final message that is to be continued is the assistant's. Where the
 * demo knows nothing (tools, tool calls, spoken answers as text and codes) hf is the default. */
sa2_status sa2_chat_hf(sa2_pieces *pieces, const sa2_chat *chat,
                       const sa2_template_options *options, sa2_error *err);

#endif
