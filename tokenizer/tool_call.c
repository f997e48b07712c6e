#include "tokenizer/tool_call.h"

#include <string.h>

#include "tokenizer/json_text.h"

static const char BEGIN[] = "<tool_call>";
static const char END[] = "</tool_call>";

typedef enum block_kind {
    BLOCK_CALL,    /* reported */
    BLOCK_DROPPED, /* not three parts, or a name that no tool has */
    BLOCK_NO_JSON, /* stays in the content */
} block_kind;

void sa2_tool_parser_init(sa2_tool_parser *parser, sa2_tool_events events, const char *const *names,
                          size_t n_names)
{
    *parser = (sa2_tool_parser){.events = events, .names = names, .n_names = n_names};
}

void sa2_tool_parser_free(sa2_tool_parser *parser)
{
    sa2_bytes_free(&parser->raw);
    sa2_bytes_free(&parser->salvaged);
    sa2_bytes_free(&parser->after);
    sa2_bytes_free(&parser->block);
}

static void send_content(sa2_tool_parser *parser, const char *text, size_t n)
{
    if (n > 0 && parser->events.content != NULL)
        parser->events.content(parser->events.context, text, n);
}

/* Text that is content for sure only when no call comes: all since the first tag, as long as there
 * was no call, and all since the last block. */
static void keep(sa2_tool_parser *parser, const char *text, size_t n)
{
    if (parser->n_calls == 0)
        sa2_bytes_append(&parser->raw, text, n);
    sa2_bytes_append(&parser->after, text, n);
}

void sa2_tool_parser_text(sa2_tool_parser *parser, const char *text, size_t n)
{
    if (!parser->seen_block) {
        send_content(parser, text, n);
        return;
    }
    keep(parser, text, n);
    if (parser->in_block)
        sa2_bytes_append(&parser->block, text, n);
}

void sa2_tool_parser_begin_tag(sa2_tool_parser *parser)
{
    bool nested = parser->in_block; /* a tag inside a block is text of it */
    parser->seen_block = true;
    sa2_tool_parser_text(parser, BEGIN, sizeof BEGIN - 1);
    if (!nested)
        sa2_bytes_clear(&parser->block);
    parser->in_block = true;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Ends `text` before its trailing white space and returns where the leading one ends. */
static char *strip(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && is_blank(text[n - 1]))
        n--;
    text[n] = '\0';
    while (is_blank(*text))
        text++;
    return text;
}

static bool is_tool(const sa2_tool_parser *parser, const char *name)
{
    for (size_t i = 0; i < parser->n_names; i++) {
        if (strcmp(parser->names[i], name) == 0)
            return true;
    }
    return parser->names == NULL;
}

/* Takes the block "kind LF NAME LF JSON" apart; the arguments of a call go to `arguments`. */
static block_kind read_block(const sa2_tool_parser *parser, char *block, size_t n, char **name,
                             sa2_bytes *arguments)
{
    char *line = memchr(block, '\n', n);
    char *second = line != NULL ? memchr(line + 1, '\n', n - (size_t)(line + 1 - block)) : NULL;
    if (second == NULL)
        return BLOCK_DROPPED;
    json_t *json = NULL;
    const char *text = second + 1;
    if (sa2_json_read(&json, text, n - (size_t)(text - block), NULL) != SA2_OK)
        return BLOCK_NO_JSON;
    sa2_json_write(json, arguments);
    json_decref(json);
    *second = '\0';
    bool whole = strlen(line + 1) == (size_t)(second - line - 1);
    *name = strip(line + 1);
    return whole && is_tool(parser, *name) ? BLOCK_CALL : BLOCK_DROPPED;
}

static void close_block(sa2_tool_parser *parser)
{
    sa2_bytes arguments = {0};
    sa2_bytes raw = {0}; /* the block with its tags */
    char *name = NULL;
    sa2_bytes_append(&raw, BEGIN, sizeof BEGIN - 1);
    sa2_bytes_append(&raw, sa2_bytes_text(&parser->block), parser->block.n);
    sa2_bytes_append(&raw, END, sizeof END - 1);
    block_kind kind = BLOCK_DROPPED;
    if (parser->block.n > 0)
        kind = read_block(parser, parser->block.data, parser->block.n, &name, &arguments);
    if (raw.failed || arguments.failed) {
        parser->after.failed = true;
    } else if (kind == BLOCK_CALL) {
        send_content(parser, sa2_bytes_text(&parser->salvaged), parser->salvaged.n);
        sa2_bytes_clear(&parser->salvaged);
        sa2_bytes_clear(&parser->raw);
        if (parser->events.call != NULL)
            parser->events.call(parser->events.context, parser->n_calls, name, arguments.data);
        parser->n_calls++;
    } else if (kind == BLOCK_NO_JSON) {
        if (parser->n_calls > 0)
            send_content(parser, raw.data, raw.n);
        else
            sa2_bytes_append(&parser->salvaged, raw.data, raw.n);
    }
    sa2_bytes_free(&raw);
    sa2_bytes_free(&arguments);
}

void sa2_tool_parser_end_tag(sa2_tool_parser *parser)
{
    bool closes = parser->in_block;
    parser->in_block = false;
    sa2_tool_parser_text(parser, END, sizeof END - 1);
    if (!closes)
        return; /* a stray tag is text */
    close_block(parser);
    sa2_bytes_clear(&parser->after);
}

sa2_status sa2_tool_parser_finish(sa2_tool_parser *parser, sa2_error *err)
{
    const sa2_bytes *rest = parser->n_calls > 0 ? &parser->after : &parser->raw;
    if (parser->raw.failed || parser->after.failed || parser->block.failed ||
        parser->salvaged.failed)
        return sa2_fail(err, SA2_ERR_NOMEM, "tool calls: no memory for an answer of this length");
    send_content(parser, sa2_bytes_text(rest), rest->n);
    sa2_bytes_clear(&parser->raw);
    sa2_bytes_clear(&parser->after);
    return SA2_OK;
}
