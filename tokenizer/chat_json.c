#include "tokenizer/chat_json.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "kernels/base/arena.h"
#include "tokenizer/growing.h"
#include "tokenizer/json_text.h"

struct sa2_chat_document {
    sa2_arena arena; /* holds this struct and its arrays */
    json_t *root;    /* holds the strings */
    sa2_bytes tools;
    bool is_base;
    sa2_chat chat;
    sa2_chat_message *messages;
    sa2_chat_item *items;
    sa2_chat_tool_call *tool_calls;
    sa2_chat_item **audio;
    int32_t *ids;
    size_t n_items; /* used so far, as the numbers below */
    size_t n_tool_calls;
    size_t n_audio;
    size_t n_ids;
};

/* ---- how much there will be ---- */

typedef struct counts {
    size_t messages;
    size_t items;
    size_t tool_calls;
    size_t ids;
} counts;

static void count_parts(json_t *content, counts *n)
{
    n->items += json_is_array(content) ? json_array_size(content) : 1;
    for (size_t i = 0; i < json_array_size(content); i++)
        n->ids += json_array_size(json_object_get(json_array_get(content, i), "token"));
}

static counts count_messages(json_t *messages, bool is_base)
{
    counts n = {.messages = is_base ? 1 : json_array_size(messages)};
    if (is_base)
        count_parts(messages, &n);
    for (size_t i = 0; i < json_array_size(messages) && !is_base; i++) {
        json_t *message = json_array_get(messages, i);
        count_parts(json_object_get(message, "content"), &n);
        n.tool_calls += json_array_size(json_object_get(message, "tool_calls"));
    }
    return n;
}

static sa2_status allocate(sa2_chat_document **document, counts n, sa2_error *err)
{
    sa2_arena arena;
    size_t bytes = sa2_arena_round(sizeof(sa2_chat_document)) +
                   sa2_arena_round(n.messages * sizeof(sa2_chat_message)) +
                   sa2_arena_round(n.items * sizeof(sa2_chat_item)) +
                   sa2_arena_round(n.tool_calls * sizeof(sa2_chat_tool_call)) +
                   sa2_arena_round(n.items * sizeof(sa2_chat_item *)) +
                   sa2_arena_round(n.ids * sizeof(int32_t));
    sa2_status st = sa2_arena_create(&arena, bytes, err); /* zeroed, as the structs want it */
    if (st != SA2_OK)
        return st;
    sa2_chat_document *d = sa2_arena_take(&arena, sizeof *d);
    d->messages = sa2_arena_take(&arena, n.messages * sizeof *d->messages);
    d->items = sa2_arena_take(&arena, n.items * sizeof *d->items);
    d->tool_calls = sa2_arena_take(&arena, n.tool_calls * sizeof *d->tool_calls);
    d->audio = sa2_arena_take(&arena, n.items * sizeof(sa2_chat_item *));
    d->ids = sa2_arena_take(&arena, n.ids * sizeof *d->ids);
    d->arena = arena;
    *document = d;
    return SA2_OK;
}

/* ---- values ---- */

/* A string without U+0000, or NULL where it is absent or null. */
static sa2_status read_name(json_t *object, const char *key, const char **name, sa2_error *err)
{
    json_t *value = json_object_get(object, key);
    *name = NULL;
    if (value == NULL || json_is_null(value))
        return SA2_OK;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: not a text", key);
    *name = json_string_value(value);
    return SA2_OK;
}

static sa2_status read_flag(json_t *object, const char *key, sa2_flag *flag, sa2_error *err)
{
    json_t *value = json_object_get(object, key);
    *flag = SA2_FLAG_UNSET;
    if (value == NULL || json_is_null(value))
        return SA2_OK;
    if (!json_is_boolean(value))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: not true or false", key);
    *flag = json_is_true(value) ? SA2_FLAG_YES : SA2_FLAG_NO;
    return SA2_OK;
}

static sa2_status read_text(json_t *value, const char *what, const char **text, size_t *n,
                            sa2_error *err)
{
    if (!json_is_string(value))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: a text expected", what);
    *text = json_string_value(value);
    *n = json_string_length(value);
    return SA2_OK;
}

/* ---- parts of a content ---- */

static sa2_status read_audio(sa2_chat_document *d, json_t *part, const char *type,
                             sa2_chat_item *item, sa2_error *err)
{
    json_t *samples = json_object_get(part, "samples");
    json_t *inner = json_object_get(part, type);
    item->kind = SA2_CHAT_AUDIO;
    d->audio[d->n_audio++] = item;
    if (strcmp(type, "audio") != 0) {
        bool is_url = strcmp(type, "audio_url") == 0;
        item->audio_from = is_url ? SA2_AUDIO_FROM_URL : SA2_AUDIO_FROM_BASE64;
        return read_text(json_object_get(inner, is_url ? "url" : "data"),
                         is_url ? "audio_url.url" : "input_audio.data", &item->source,
                         &item->n_source, err);
    }
    if (samples == NULL) {
        item->audio_from = SA2_AUDIO_FROM_PATH;
        return read_text(inner, "audio", &item->source, &item->n_source, err);
    }
    if (!json_is_integer(samples) || json_integer_value(samples) < 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "samples: not a number of samples");
    item->audio_from = SA2_AUDIO_FROM_SAMPLES;
    item->n_samples = json_integer_value(samples);
    return SA2_OK;
}

static sa2_status read_ids(sa2_chat_document *d, json_t *list, sa2_chat_item *item, sa2_error *err)
{
    if (!json_is_array(list))
        return sa2_fail(err, SA2_ERR_FORMAT, "token: a list of ids expected");
    item->kind = SA2_CHAT_IDS;
    item->ids = d->ids + d->n_ids;
    item->n_ids = json_array_size(list);
    for (size_t i = 0; i < item->n_ids; i++) {
        json_t *id = json_array_get(list, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value > INT32_MAX)
            return sa2_fail(err, SA2_ERR_FORMAT, "token[%zu]: not a token id", i);
        d->ids[d->n_ids++] = (int32_t)value;
    }
    return SA2_OK;
}

static sa2_status read_part(sa2_chat_document *d, json_t *part, sa2_error *err)
{
    static const char *const text_types[][2] = {/* type, key */
                                                {"text", "text"},
                                                {"input_text", "text"},
                                                {"refusal", "refusal"},
                                                {"thinking", "thinking"}};
    sa2_chat_item *item = &d->items[d->n_items++];
    if (json_is_string(part))
        return read_text(part, "", &item->text, &item->n_bytes, err);
    const char *type = NULL;
    sa2_status st = read_name(part, "type", &type, err);
    if (st != SA2_OK)
        return st;
    if (type == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "a text or an object with a \"type\" expected");
    for (size_t i = 0; i < sizeof text_types / sizeof text_types[0]; i++) {
        const char *key = text_types[i][1];
        if (strcmp(type, text_types[i][0]) == 0)
            return read_text(json_object_get(part, key), key, &item->text, &item->n_bytes, err);
    }
    if (strcmp(type, "audio") == 0 || strcmp(type, "input_audio") == 0 ||
        strcmp(type, "audio_url") == 0)
        return read_audio(d, part, type, item, err);
    if (strcmp(type, "token") == 0)
        return read_ids(d, json_object_get(part, "token"), item, err);
    return sa2_fail(err, SA2_ERR_FORMAT, "type \"%.64s\" is not known", type);
}

static sa2_status read_content(sa2_chat_document *d, json_t *content, sa2_chat_message *message,
                               sa2_error *err)
{
    sa2_status st = SA2_OK;
    message->items = d->items + d->n_items;
    if (content == NULL || json_is_null(content))
        return SA2_OK;
    if (json_is_string(content)) {
        message->content = SA2_CONTENT_STRING;
        message->n_items = 1;
        return read_part(d, content, err);
    }
    if (!json_is_array(content))
        return sa2_fail(err, SA2_ERR_FORMAT, "content: text, null or a list expected");
    message->content = SA2_CONTENT_LIST;
    message->n_items = json_array_size(content);
    for (size_t i = 0; i < message->n_items && st == SA2_OK; i++) {
        st = read_part(d, json_array_get(content, i), err);
        if (st != SA2_OK)
            sa2_wrap(err, st, "content[%zu]", i);
    }
    return st;
}

/* ---- the rest of a message ---- */

static sa2_status read_tts(json_t *tts, sa2_chat_message *message, sa2_error *err)
{
    if (tts == NULL || json_is_null(tts) || (json_is_object(tts) && json_object_size(tts) == 0))
        return SA2_OK;
    message->spoken = true;
    sa2_status st = read_text(json_object_get(tts, "tts_text"), "tts_content.tts_text",
                              &message->tts_text, &message->n_tts_text, err);
    if (st == SA2_OK)
        st = read_text(json_object_get(tts, "tts_audio"), "tts_content.tts_audio",
                       &message->tts_audio, &message->n_tts_audio, err);
    return st;
}

static sa2_status read_tool_call(json_t *call, sa2_chat_tool_call *out, sa2_error *err)
{
    json_t *function = json_object_get(call, "function");
    sa2_status st = read_name(call, "id", &out->id, err);
    if (st == SA2_OK)
        st = read_name(function, "name", &out->name, err);
    if (st == SA2_OK)
        st = read_name(function, "arguments", &out->arguments, err);
    if (st == SA2_OK && out->name == NULL)
        st = sa2_fail(err, SA2_ERR_FORMAT, "no \"function\" with a \"name\"");
    return st;
}

static sa2_status read_tool_calls(sa2_chat_document *d, json_t *calls, sa2_chat_message *message,
                                  sa2_error *err)
{
    if (calls == NULL || json_is_null(calls))
        return SA2_OK;
    if (!json_is_array(calls))
        return sa2_fail(err, SA2_ERR_FORMAT, "tool_calls: a list expected");
    sa2_status st = SA2_OK;
    message->tool_calls = d->tool_calls + d->n_tool_calls;
    message->n_tool_calls = json_array_size(calls);
    for (size_t i = 0; i < message->n_tool_calls && st == SA2_OK; i++) {
        st = read_tool_call(json_array_get(calls, i), &d->tool_calls[d->n_tool_calls++], err);
        if (st != SA2_OK)
            sa2_wrap(err, st, "tool_calls[%zu]", i);
    }
    return st;
}

static sa2_status read_message(sa2_chat_document *d, json_t *object, sa2_chat_message *message,
                               sa2_error *err)
{
    sa2_flag eot = SA2_FLAG_UNSET;
    sa2_status st = read_name(object, "role", &message->role, err);
    if (st == SA2_OK && message->role == NULL)
        st = sa2_fail(err, SA2_ERR_FORMAT, "a message with a \"role\" expected");
    if (st == SA2_OK)
        st = read_content(d, json_object_get(object, "content"), message, err);
    if (st == SA2_OK)
        st = read_flag(object, "eot", &eot, err);
    if (st == SA2_OK)
        st = read_tts(json_object_get(object, "tts_content"), message, err);
    if (st == SA2_OK)
        st = read_tool_calls(d, json_object_get(object, "tool_calls"), message, err);
    if (st == SA2_OK)
        st = read_name(object, "tool_call_id", &message->tool_call_id, err);
    message->open = eot == SA2_FLAG_NO;
    return st;
}

static sa2_status read_messages(sa2_chat_document *d, json_t *messages, sa2_error *err)
{
    d->chat.messages = d->messages;
    if (d->is_base) {
        d->chat.n_messages = 1;
        return read_content(d, messages, &d->messages[0], err);
    }
    sa2_status st = SA2_OK;
    d->chat.n_messages = json_array_size(messages);
    for (size_t i = 0; i < d->chat.n_messages && st == SA2_OK; i++) {
        st = read_message(d, json_array_get(messages, i), &d->messages[i], err);
        if (st != SA2_OK)
            sa2_wrap(err, st, "messages[%zu]", i);
    }
    return st;
}

static sa2_status read_tools(sa2_chat_document *d, json_t *tools, sa2_error *err)
{
    if (tools == NULL || json_is_null(tools) ||
        (json_is_array(tools) && json_array_size(tools) == 0))
        return SA2_OK;
    if (!json_is_array(tools))
        return sa2_fail(err, SA2_ERR_FORMAT, "tools: a list expected");
    sa2_json_write(tools, &d->tools);
    d->chat.tools = d->tools.data;
    return sa2_bytes_status(&d->tools, err);
}

/* ---- the document ---- */

/* Parts instead of messages: the first of them is a text or has a type and no role. */
static bool holds_parts(json_t *messages)
{
    json_t *first = json_array_get(messages, 0);
    return json_is_string(first) ||
           (json_object_get(first, "type") != NULL && json_object_get(first, "role") == NULL);
}

static sa2_status fill(sa2_chat_document *d, json_t *messages, sa2_error *err)
{
    sa2_status st = read_messages(d, messages, err);
    if (st == SA2_OK)
        st = read_tools(d, json_object_get(d->root, "tools"), err);
    if (st == SA2_OK)
        st = read_flag(d->root, "add_generation_prompt", &d->chat.add_generation_prompt, err);
    if (st == SA2_OK)
        st = read_flag(d->root, "continue_final_message", &d->chat.continue_final_message, err);
    return st;
}

sa2_status sa2_chat_from_json(sa2_chat_document **document, const char *json, size_t n,
                              sa2_error *err)
{
    json_t *root = NULL;
    sa2_chat_document *d = NULL;
    if (n > SA2_CHAT_MAX_BYTES)
        return sa2_fail(err, SA2_ERR_LIMIT, "request: %zu bytes, at most %d are read", n,
                        SA2_CHAT_MAX_BYTES);
    sa2_status st = sa2_json_read(&root, json, n, err);
    if (st != SA2_OK)
        return st;
    json_t *messages = json_is_array(root) ? root : json_object_get(root, "messages");
    bool is_base = holds_parts(messages);
    if (!json_is_array(messages))
        st = sa2_fail(err, SA2_ERR_FORMAT, "messages: a list expected");
    else if (!is_base && json_array_size(messages) > SA2_CHAT_MAX_MESSAGES)
        st = sa2_fail(err, SA2_ERR_LIMIT, "messages: %zu, at most %d can be taken",
                      json_array_size(messages), SA2_CHAT_MAX_MESSAGES);
    else
        st = allocate(&d, count_messages(messages, is_base), err);
    if (st != SA2_OK) {
        json_decref(root);
        return st;
    }
    d->root = root;
    d->is_base = is_base;
    st = fill(d, messages, err);
    if (st != SA2_OK)
        sa2_chat_document_destroy(d);
    else
        *document = d;
    return st;
}

void sa2_chat_document_destroy(sa2_chat_document *document)
{
    if (document == NULL)
        return;
    json_decref(document->root);
    sa2_bytes_free(&document->tools);
    sa2_arena arena = document->arena; /* a copy: the original lies inside */
    sa2_arena_destroy(&arena);
}

const sa2_chat *sa2_chat_document_chat(const sa2_chat_document *document)
{
    return &document->chat;
}

bool sa2_chat_document_is_base(const sa2_chat_document *document)
{
    return document->is_base;
}

size_t sa2_chat_document_n_audio(const sa2_chat_document *document)
{
    return document->n_audio;
}

const sa2_chat_item *sa2_chat_document_audio(const sa2_chat_document *document, size_t i)
{
    return document->audio[i];
}

void sa2_chat_document_set_chunks(sa2_chat_document *document, size_t i, const int *patches,
                                  size_t n_chunks)
{
    document->audio[i]->chunk_patches = patches;
    document->audio[i]->n_chunks = n_chunks;
}
