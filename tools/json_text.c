#include "tools/json_text.h"

#include <stdlib.h>
#include <string.h>

json_t *sa2_json_text(const char *text)
{
    json_t *string = json_string(text);
    char *plain = string == NULL ? strdup(text) : NULL;
    if (plain == NULL)
        return string;
    for (char *c = plain; *c != '\0'; c++)
        if ((unsigned char)*c > 0x7f)
            *c = '?';
    string = json_string(plain);
    free(plain);
    return string;
}
