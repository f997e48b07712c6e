#include "runtime/serving/tool_names.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/json_text.h"

sa2_status sa2_tool_names_read(sa2_tool_names *names, const char *tools, sa2_error *err)
{
    if (tools == NULL)
        return SA2_OK;
    sa2_status st = sa2_json_read(&names->tools, tools, strlen(tools), err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "tools");
    names->names = calloc(json_array_size(names->tools) + 1, sizeof *names->names);
    if (names->names == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "tools: no memory for their names");
    size_t i;
    json_t *tool;
    json_array_foreach(names->tools, i, tool)
    {
        const char *name =
            json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (name != NULL)
            names->names[names->n++] = name;
    }
    return SA2_OK;
}

void sa2_tool_names_free(sa2_tool_names *names)
{
    free(names->names);
    json_decref(names->tools);
    *names = (sa2_tool_names){0};
}
