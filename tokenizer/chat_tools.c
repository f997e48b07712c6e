#include "tokenizer/chat_tools.h"

#include <string.h>

#include "tokenizer/json_text.h"

static void write_key(const char **separator, const char *key, sa2_bytes *out)
{
    sa2_bytes_append_text(out, *separator);
    sa2_json_write_string(key, strlen(key), out);
    sa2_bytes_append_text(out, ": ");
    *separator = ", ";
}

/* The elements of `object` whose keys are not in `done`, in their order. */
static void write_others(json_t *object, const char *const *done, size_t n_done,
                         const char **separator, sa2_bytes *out)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool is_done = false;
        for (size_t i = 0; i < n_done; i++)
            is_done = is_done || strcmp(done[i], key) == 0;
        if (is_done)
            continue;
        write_key(separator, key, out);
        sa2_json_write(value, out);
    }
}

static void write_function(json_t *function, bool nulls, sa2_bytes *out)
{
    static const char *const keys[] = {"name", "description", "parameters"};
    enum { N_KEYS = sizeof keys / sizeof keys[0] };
    const char *separator = "{";
    for (size_t i = 0; i < N_KEYS; i++) {
        json_t *value = json_object_get(function, keys[i]);
        bool absent = value == NULL || json_is_null(value);
        if (absent && !nulls)
            continue;
        write_key(&separator, keys[i], out);
        if (absent)
            sa2_bytes_append_text(out, "null");
        else
            sa2_json_write(value, out);
    }
    write_others(function, keys, N_KEYS, &separator, out);
    sa2_bytes_append_text(out, "}");
}

static sa2_status write_tool(json_t *tool, size_t i, bool nulls, sa2_bytes *out, sa2_error *err)
{
    static const char *const keys[] = {"type", "function"};
    json_t *function = json_object_get(tool, "function");
    if (!json_is_string(json_object_get(function, "name")))
        return sa2_fail(err, SA2_ERR_FORMAT, "tools[%zu]: no \"function\" with a \"name\"", i);
    json_t *type = json_object_get(tool, "type");
    const char *separator = "{";
    write_key(&separator, "type", out);
    if (type != NULL)
        sa2_json_write(type, out);
    else
        sa2_bytes_append_text(out, "\"function\"");
    write_key(&separator, "function", out);
    write_function(function, nulls, out);
    write_others(tool, keys, sizeof keys / sizeof keys[0], &separator, out);
    sa2_bytes_append_text(out, "}");
    return SA2_OK;
}

sa2_status sa2_tools_write(const char *tools, bool nulls, sa2_bytes *out, sa2_error *err)
{
    json_t *array = NULL;
    sa2_status st = sa2_json_read(&array, tools, strlen(tools), err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "tools");
    if (!json_is_array(array))
        st = sa2_fail(err, SA2_ERR_FORMAT, "tools: not a list");
    sa2_bytes_append_text(out, "[");
    for (size_t i = 0; i < json_array_size(array) && st == SA2_OK; i++) {
        if (i > 0)
            sa2_bytes_append_text(out, ", ");
        st = write_tool(json_array_get(array, i), i, nulls, out, err);
    }
    sa2_bytes_append_text(out, "]");
    json_decref(array);
    return st == SA2_OK ? sa2_bytes_status(out, err) : st;
}

sa2_status sa2_tool_arguments_write(const char *arguments, sa2_bytes *out, sa2_error *err)
{
    const char *text = arguments != NULL ? arguments : "{}";
    json_t *value = NULL;
    sa2_status st = sa2_json_read(&value, text, strlen(text), err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "arguments of a tool call");
    sa2_json_write(value, out);
    json_decref(value);
    return sa2_bytes_status(out, err);
}

const char *sa2_tool_name_of_call(const sa2_chat *chat, const char *tool_call_id)
{
    const char *name = "tool";
    for (size_t i = 0; i < chat->n_messages && tool_call_id != NULL; i++) {
        const sa2_chat_message *message = &chat->messages[i];
        for (size_t k = 0; k < message->n_tool_calls; k++) {
            const sa2_chat_tool_call *call = &message->tool_calls[k];
            if (call->id != NULL && strcmp(call->id, tool_call_id) == 0)
                name = call->name;
        }
    }
    return name;
}
