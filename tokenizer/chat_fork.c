#include "tokenizer/chat_fork.h"

#include <string.h>

#include "tokenizer/chat_tools.h"

static const char PLACEHOLDER[] = "<audio_patch>";

enum { PLACEHOLDER_BYTES = sizeof PLACEHOLDER - 1 };

typedef struct render {
    sa2_pieces *pieces;
    const sa2_chat *chat;
    const sa2_template_options *options;
} render;

static bool role_is(const sa2_chat_message *message, const char *role)
{
    return strcmp(message->role, role) == 0;
}

/* ---- content: a string with placeholders ---- */

/* Walks over the chunks of audio of a message. */
typedef struct chunks {
    const sa2_chat_message *message;
    size_t item;
    size_t chunk; /* of that item, the next one */
    size_t audio; /* of the conversation, that item or the next audio after it */
} chunks;

static size_t count_chunks(const sa2_chat_message *message)
{
    size_t n = 0;
    for (size_t i = 0; i < message->n_items; i++) {
        if (message->items[i].kind == SA2_CHAT_AUDIO)
            n += message->items[i].n_chunks;
    }
    return n;
}

/* Ends the text piece, puts in the next chunk of audio and begins another one. */
static void put_chunk(const render *r, chunks *walk)
{
    const sa2_chat_item *item = &walk->message->items[walk->item];
    while (item->kind != SA2_CHAT_AUDIO || walk->chunk == item->n_chunks) {
        if (item->kind == SA2_CHAT_AUDIO)
            walk->audio++;
        walk->chunk = 0;
        item = &walk->message->items[++walk->item];
    }
    sa2_piece_end(r->pieces);
    sa2_piece_chunk(r->pieces, item, walk->audio, walk->chunk++);
    sa2_piece_begin(r->pieces);
}

/* The first placeholder in text [n], or NULL. */
static const char *find_placeholder(const char *text, size_t n)
{
    for (size_t i = 0; i + PLACEHOLDER_BYTES <= n; i++) {
        if (text[i] == PLACEHOLDER[0] && memcmp(text + i, PLACEHOLDER, PLACEHOLDER_BYTES) == 0)
            return text + i;
    }
    return NULL;
}

static size_t count_placeholders(const sa2_chat_message *message)
{
    size_t n = 0;
    for (size_t i = 0; i < message->n_items; i++) {
        const sa2_chat_item *item = &message->items[i];
        if (item->kind != SA2_CHAT_TEXT || item->n_bytes == 0)
            continue;
        const char *end = item->text + item->n_bytes;
        for (const char *at = item->text; (at = find_placeholder(at, (size_t)(end - at))) != NULL;
             at += PLACEHOLDER_BYTES)
            n++;
    }
    return n;
}

/* Text in which placeholders stand for chunks of audio. */
static void put_text(const render *r, const char *text, size_t n, chunks *walk)
{
    const char *end = text + n;
    for (const char *at; (at = find_placeholder(text, (size_t)(end - text))) != NULL;
         text = at + PLACEHOLDER_BYTES) {
        sa2_piece_bytes(r->pieces, text, (size_t)(at - text), false);
        put_chunk(r, walk);
    }
    sa2_piece_bytes(r->pieces, text, (size_t)(end - text), false);
}

/* Appends the content to the text piece at work: audio that no text mentions first, then the texts
 * that are not empty, all joined with line feeds. */
static sa2_status put_content(const render *r, const sa2_chat_message *message, sa2_error *err)
{
    bool literal = r->options->literal_user_text && !sa2_chat_role_is_trusted(message->role);
    size_t n_chunks = count_chunks(message);
    size_t n_mentioned = literal ? 0 : count_placeholders(message);
    if (n_mentioned > n_chunks)
        return sa2_fail(err, SA2_ERR_ARG, "%zu %s in the text, but %zu chunks of audio",
                        n_mentioned, PLACEHOLDER, n_chunks);
    chunks walk = {.message = message, .audio = r->pieces->n_audio};
    for (size_t i = n_mentioned; i < n_chunks; i++) {
        put_chunk(r, &walk);
        sa2_piece_text(r->pieces, "\n");
    }
    bool joined = false;
    for (size_t i = 0; i < message->n_items; i++) {
        const sa2_chat_item *item = &message->items[i];
        if (item->kind == SA2_CHAT_IDS)
            return sa2_fail(err, SA2_ERR_ARG, "token ids have no place in template fork");
        if (item->kind == SA2_CHAT_AUDIO)
            r->pieces->n_audio++;
        if (item->kind != SA2_CHAT_TEXT || item->n_bytes == 0)
            continue;
        if (joined)
            sa2_piece_bytes(r->pieces, "\n", 1, literal);
        if (literal)
            sa2_piece_bytes(r->pieces, item->text, item->n_bytes, true);
        else
            put_text(r, item->text, item->n_bytes, &walk);
        joined = true;
    }
    return SA2_OK;
}

/* ---- turns ---- */

/* <|BOT|>ROLE LF content <|EOT|>, in one piece. */
static sa2_status plain_turn(const render *r, const char *role, const sa2_chat_message *message,
                             sa2_error *err)
{
    sa2_piece_begin(r->pieces);
    sa2_piece_text(r->pieces, "<|BOT|>");
    sa2_piece_text(r->pieces, role);
    sa2_piece_text(r->pieces, "\n");
    sa2_status st = put_content(r, message, err);
    sa2_piece_text(r->pieces, "<|EOT|>");
    sa2_piece_end(r->pieces);
    return st;
}

static sa2_status content_piece(const render *r, const sa2_chat_message *message, sa2_error *err)
{
    sa2_piece_begin(r->pieces);
    sa2_status st = put_content(r, message, err);
    sa2_piece_end(r->pieces);
    return st;
}

static sa2_status assistant_turn(const render *r, const sa2_chat_message *message, bool open,
                                 sa2_error *err)
{
    sa2_piece_whole(r->pieces, "<|BOT|>assistant\n");
    if (message->spoken)
        sa2_piece_spoken(r->pieces, message);
    sa2_status st = content_piece(r, message, err);
    if (open || st != SA2_OK)
        return st;
    st = sa2_piece_tool_calls(r->pieces, message, err);
    sa2_piece_whole(r->pieces, "<|EOT|>");
    return st;
}

static sa2_status tool_turn(const render *r, const sa2_chat_message *message, sa2_error *err)
{
    sa2_piece_whole(r->pieces, "<|BOT|>");
    sa2_piece_begin(r->pieces);
    sa2_piece_text(r->pieces, "function_output\n");
    sa2_piece_text(r->pieces, sa2_tool_name_of_call(r->chat, message->tool_call_id));
    sa2_piece_text(r->pieces, "\n");
    sa2_piece_end(r->pieces);
    sa2_status st = content_piece(r, message, err);
    sa2_piece_whole(r->pieces, "<|EOT|>");
    return st;
}

static sa2_status turn(const render *r, size_t i, sa2_error *err)
{
    const sa2_chat_message *message = &r->chat->messages[i];
    bool last = i + 1 == r->chat->n_messages;
    if (role_is(message, "assistant"))
        return assistant_turn(r, message, last && r->chat->continue_final_message == SA2_FLAG_YES,
                              err);
    if (role_is(message, "tool"))
        return tool_turn(r, message, err);
    if (role_is(message, "user"))
        return plain_turn(r, "human", message, err);
    if (role_is(message, "function_output"))
        return plain_turn(r, "input", message, err);
    return plain_turn(r, message->role, message, err);
}

/* With tools the system turn is begun even where there is no system message, and then left open. */
static sa2_status system_and_tools(const render *r, const sa2_chat_message *system, sa2_error *err)
{
    sa2_status st = SA2_OK;
    sa2_piece_whole(r->pieces, "<|BOT|>system\n");
    if (system != NULL) {
        sa2_piece_begin(r->pieces);
        st = put_content(r, system, err);
        if (st != SA2_OK)
            return sa2_wrap(err, st, "messages[0]");
        sa2_piece_text(r->pieces, "<|EOT|>");
        sa2_piece_end(r->pieces);
    }
    sa2_piece_whole(r->pieces, "<|BOT|>");
    sa2_piece_whole(r->pieces, "tool_json_schemas\n");
    sa2_piece_begin(r->pieces);
    st = sa2_tools_write(r->chat->tools, true, &r->pieces->text, err);
    sa2_piece_text(r->pieces, "<|EOT|>");
    sa2_piece_end(r->pieces);
    return st;
}

sa2_status sa2_chat_fork(sa2_pieces *pieces, const sa2_chat *chat,
                         const sa2_template_options *options, sa2_error *err)
{
    render r = {.pieces = pieces, .chat = chat, .options = options};
    size_t first = 0;
    sa2_status st = SA2_OK;
    if (chat->tools != NULL) {
        first = role_is(&chat->messages[0], "system") ? 1 : 0;
        st = system_and_tools(&r, first > 0 ? &chat->messages[0] : NULL, err);
    }
    for (size_t i = first; i < chat->n_messages && st == SA2_OK; i++) {
        pieces->message = i;
        st = turn(&r, i, err);
        if (st != SA2_OK)
            sa2_wrap(err, st, "messages[%zu]", i);
    }
    bool continued = chat->continue_final_message == SA2_FLAG_YES;
    if (st == SA2_OK && !continued && chat->add_generation_prompt != SA2_FLAG_NO)
        sa2_piece_whole(pieces, "<|BOT|>assistant\n");
    if (st == SA2_OK && options->prefill != NULL)
        sa2_piece_whole(pieces, options->prefill);
    return st;
}
