/* chat_json.h - the messages and tools of a request, from JSON to chat.h.
 *
 * Takes what the clients of Step-Audio 2 and of OpenAI's interface send. Keys it does not know are
 * passed over.
 */
#ifndef SA2_TOKENIZER_CHAT_JSON_H
#define SA2_TOKENIZER_CHAT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/status.h"
#include "tokenizer/chat.h"

enum {
    SA2_CHAT_MAX_MESSAGES = 256,
    SA2_CHAT_MAX_BYTES = 64 << 20,
};

/* A conversation and the memory behind it. */
typedef struct sa2_chat_document sa2_chat_document;

/* Reads json [n bytes]: {"messages": [...], "tools": [...], "add_generation_prompt": bool,
 * "continue_final_message": bool}, or the list of messages alone.
 *
 * A message: {"role", "content": text | null | [parts], "eot": bool, "tts_content": {"tts_text",
 * "tts_audio"}, "tool_calls": [{"id", "function": {"name", "arguments"}}], "tool_call_id"}.
 * A part: a text alone, or an object with "type" text, input_text, refusal or thinking; input_audio
 * {"data"}; audio_url {"url"}; audio with the name of a file, or a number of "samples"; token with
 * a list of ids.
 *
 * Prompts of a base model, {"messages": [parts]} or a list of parts, become a single message
 * without a role: see sa2_chat_document_is_base().
 *
 * The audio items come out without chunks: whoever knows the sound sets them.
 * Errors: SA2_ERR_FORMAT naming the place, for instance messages[2].content[0]; SA2_ERR_LIMIT for
 * messages or bytes above the limits; SA2_ERR_NOMEM. */
sa2_status sa2_chat_from_json(sa2_chat_document **document, const char *json, size_t n,
                              sa2_error *err);
void sa2_chat_document_destroy(sa2_chat_document *document); /* NULL is fine */

const sa2_chat *sa2_chat_document_chat(const sa2_chat_document *document);
bool sa2_chat_document_is_base(const sa2_chat_document *document);

/* The audio items of the conversation in order, and what the caller found out about one. The
 * array `patches` [n_chunks] must live as long as the document. */
size_t sa2_chat_document_n_audio(const sa2_chat_document *document);
const sa2_chat_item *sa2_chat_document_audio(const sa2_chat_document *document, size_t i);
void sa2_chat_document_set_chunks(sa2_chat_document *document, size_t i, const int *patches,
                                  size_t n_chunks);

#endif
