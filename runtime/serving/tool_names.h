/* tool_names.h - the names of the tools that a conversation offers, out of their JSON.
 */
#ifndef SA2_RUNTIME_SERVING_TOOL_NAMES_H
#define SA2_RUNTIME_SERVING_TOOL_NAMES_H

#include <jansson.h>

#include "kernels/base/status.h"

typedef struct sa2_tool_names {
    json_t *tools;
    const char **names; /* [n], of `tools`; NULL: none were offered, so any will do */
    size_t n;
} sa2_tool_names;

/* From a JSON array as in chat.h, or NULL. Zero-initialise *names; free it in any case. Entries without a name are
 * left out. Errors: SA2_ERR_FORMAT, SA2_ERR_NOMEM. */
sa2_status sa2_tool_names_read(sa2_tool_names *names, const char *tools, sa2_error *err);
void sa2_tool_names_free(sa2_tool_names *names);

#endif
