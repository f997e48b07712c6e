/* chat_tools.h - the definitions of tools and the calls of them, as a prompt has them.
 */
#ifndef SA2_TOKENIZER_CHAT_TOOLS_H
#define SA2_TOKENIZER_CHAT_TOOLS_H

#include <stdbool.h>

#include "kernels/base/status.h"
#include "tokenizer/chat.h"
#include "tokenizer/growing.h"

/* Appends the JSON array of tool definitions that the model reads: first type, function, name,
 * description, parameters, then what else there is. A description or parameters that are missing
 * are left out, or null where `nulls`. Errors: SA2_ERR_FORMAT when `tools` is no array of
 * {"function": {"name"}}; SA2_ERR_NOMEM. */
sa2_status sa2_tools_write(const char *tools, bool nulls, sa2_bytes *out, sa2_error *err);

/* Appends the arguments of a call as Python writes them; NULL counts as {}.
 * Errors: SA2_ERR_FORMAT when they are no JSON; SA2_ERR_NOMEM. */
sa2_status sa2_tool_arguments_write(const char *arguments, sa2_bytes *out, sa2_error *err);

/* The name of the function that the last call with this id anywhere in the conversation calls;
 * "tool" when there is none. */
const char *sa2_tool_name_of_call(const sa2_chat *chat, const char *tool_call_id);

#endif
