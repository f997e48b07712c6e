#include "tokenizer/chat.h"

#include <string.h>

bool sa2_chat_role_is_trusted(const char *role)
{
    static const char *const trusted[] = {"system", "developer", "assistant", "tool_json_schemas"};
    for (size_t i = 0; i < sizeof trusted / sizeof trusted[0]; i++) {
        if (strcmp(trusted[i], role) == 0)
            return true;
    }
    return false;
}
