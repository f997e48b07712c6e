/* json_text.h - names that need not be UTF-8 (paths, arguments) as JSON strings.
 */
#ifndef SA2_TOOLS_JSON_TEXT_H
#define SA2_TOOLS_JSON_TEXT_H

#include <jansson.h>

/* A new reference; where `text` is not UTF-8 each byte beyond ASCII becomes a question mark. NULL when memory ran
 * out. */
json_t *sa2_json_text(const char *text);

#endif
