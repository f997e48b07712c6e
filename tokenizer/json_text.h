/* json_text.h - JSON read without loss and written as Python's json.dumps(ensure_ascii=False) does.
 *
 * Prompts and tool calls hold JSON as the reference programs write it, in Python: ", " and ": "
 * between elements, characters beyond ASCII as they are, the shortest digits of a double. An
 * integer of any length stays what it is; one that 64 bits may not hold is read as a string that
 * begins with U+FDD0, a code point that no text may contain, and is written back without quotes.
 */
#ifndef SA2_TOKENIZER_JSON_TEXT_H
#define SA2_TOKENIZER_JSON_TEXT_H

#include <stddef.h>

#include <jansson.h>

#include "kernels/base/status.h"
#include "tokenizer/growing.h"

/* Any JSON value; strings may hold U+0000. The caller releases it with json_decref().
 * Errors: SA2_ERR_FORMAT with the line and column; SA2_ERR_NOMEM. */
sa2_status sa2_json_read(json_t **value, const char *text, size_t n, sa2_error *err);

void sa2_json_write(const json_t *value, sa2_bytes *out);

/* Writes `text` as a JSON string. */
void sa2_json_write_string(const char *text, size_t n, sa2_bytes *out);

#endif
