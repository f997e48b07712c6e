#include "tokenizer/chat_hf.h"

#include <string.h>

#include "tokenizer/chat_tools.h"

typedef struct render {
    sa2_pieces *pieces;
    const sa2_chat *chat;
    const sa2_template_options *options;
    bool is_default; /* knows the roles of OpenAI's interface, and when an answer is due */
} render;

static bool role_is(const sa2_chat_message *message, const char *role)
{
    return strcmp(message->role, role) == 0;
}

static bool is_system(const render *r, const sa2_chat_message *message)
{
    return role_is(message, "system") || (r->is_default && role_is(message, "developer"));
}

/* The role as the model knows it. */
static const char *model_role(const render *r, const sa2_chat_message *message)
{
    if (role_is(message, "user"))
        return "human";
    if (is_system(r, message))
        return "system";
    if (r->is_default && role_is(message, "function_output"))
        return "input";
    return message->role;
}

static bool is_literal(const render *r, const sa2_chat_message *message)
{
    return r->options->literal_user_text && !sa2_chat_role_is_trusted(message->role);
}

static void header(const render *r, const char *role)
{
    sa2_piece_text(r->pieces, "<|BOT|>");
    sa2_piece_text(r->pieces, role);
    sa2_piece_text(r->pieces, "\n");
}

static void item_pieces(const render *r, const sa2_chat_message *message)
{
    for (size_t i = 0; i < message->n_items; i++)
        sa2_piece_item(r->pieces, &message->items[i], is_literal(r, message));
}

/* A turn with a string for content, or with none. */
static void string_turn(const render *r, const sa2_chat_message *message, bool open)
{
    sa2_piece_begin(r->pieces);
    header(r, model_role(r, message));
    if (message->content == SA2_CONTENT_STRING)
        sa2_piece_bytes(r->pieces, message->items[0].text, message->items[0].n_bytes,
                        is_literal(r, message));
    if (!open)
        sa2_piece_text(r->pieces, "<|EOT|>");
    sa2_piece_end(r->pieces);
}

static void list_turn(const render *r, const sa2_chat_message *message, bool open)
{
    sa2_piece_begin(r->pieces);
    header(r, model_role(r, message));
    sa2_piece_end(r->pieces);
    item_pieces(r, message);
    if (!open)
        sa2_piece_whole(r->pieces, "<|EOT|>");
}

static sa2_status spoken_or_calling_turn(const render *r, const sa2_chat_message *message,
                                         bool open, sa2_error *err)
{
    sa2_piece_begin(r->pieces);
    header(r, model_role(r, message));
    sa2_piece_end(r->pieces);
    if (message->spoken)
        sa2_piece_spoken(r->pieces, message);
    item_pieces(r, message);
    sa2_status st = sa2_piece_tool_calls(r->pieces, message, err);
    if (!open)
        sa2_piece_whole(r->pieces, "<|EOT|>");
    return st;
}

static void tool_turn(const render *r, const sa2_chat_message *message)
{
    sa2_piece_whole(r->pieces, "<|BOT|>");
    sa2_piece_begin(r->pieces);
    sa2_piece_text(r->pieces, "function_output\n");
    sa2_piece_text(r->pieces, sa2_tool_name_of_call(r->chat, message->tool_call_id));
    sa2_piece_text(r->pieces, "\n");
    sa2_piece_end(r->pieces);
    item_pieces(r, message);
    sa2_piece_whole(r->pieces, "<|EOT|>");
}

static sa2_status any_turn(const render *r, size_t i, sa2_error *err)
{
    const sa2_chat_message *message = &r->chat->messages[i];
    bool last = i + 1 == r->chat->n_messages;
    bool open = message->open || (last && r->chat->continue_final_message == SA2_FLAG_YES);
    if (message->spoken || message->n_tool_calls > 0)
        return spoken_or_calling_turn(r, message, open, err);
    if (r->is_default && role_is(message, "tool"))
        tool_turn(r, message);
    else if (message->content == SA2_CONTENT_LIST)
        list_turn(r, message, open);
    else if (message->content == SA2_CONTENT_NULL && !r->is_default)
        string_turn(r, message, true); /* the demo leaves such a turn open, wherever it stands */
    else
        string_turn(r, message, open);
    return SA2_OK;
}

static sa2_status turn(const render *r, size_t i, sa2_error *err)
{
    r->pieces->message = i;
    sa2_status st = any_turn(r, i, err);
    return st == SA2_OK ? st : sa2_wrap(err, st, "messages[%zu]", i);
}

static sa2_status tools_turn(const render *r, sa2_error *err)
{
    sa2_piece_begin(r->pieces);
    header(r, "tool_json_schemas");
    sa2_status st = sa2_tools_write(r->chat->tools, false, &r->pieces->text, err);
    sa2_piece_text(r->pieces, "<|EOT|>");
    sa2_piece_end(r->pieces);
    return st;
}

/* {"role": "assistant", "content": null} at the end only asks for an answer. */
static bool asks_for_answer(const sa2_chat_message *message)
{
    return role_is(message, "assistant") && message->content == SA2_CONTENT_NULL &&
           !message->spoken && message->n_tool_calls == 0;
}

/* Is an answer due after the last message, that is, a new turn of the assistant? */
static bool is_answer_due(const render *r, const sa2_chat_message *last)
{
    bool begun = role_is(last, "assistant") && last->open;
    if (r->chat->continue_final_message == SA2_FLAG_YES || (r->is_default && begun))
        return false;
    if (r->chat->add_generation_prompt == SA2_FLAG_UNSET)
        return r->is_default || (r->options->prefill != NULL && !begun);
    return r->chat->add_generation_prompt == SA2_FLAG_YES;
}

sa2_status sa2_chat_hf(sa2_pieces *pieces, const sa2_chat *chat,
                       const sa2_template_options *options, sa2_error *err)
{
    render r = {.pieces = pieces,
                .chat = chat,
                .options = options,
                .is_default = options->template == SA2_TEMPLATE_DEFAULT};
    const sa2_chat_message *last = &chat->messages[chat->n_messages - 1];
    bool asked = asks_for_answer(last);
    bool answer = asked || is_answer_due(&r, last);
    size_t n = asked ? chat->n_messages - 1 : chat->n_messages;
    size_t n_system = is_system(&r, &chat->messages[0]) ? 1 : 0;
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < n_system && st == SA2_OK; i++)
        st = turn(&r, i, err);
    if (chat->tools != NULL && st == SA2_OK)
        st = tools_turn(&r, err);
    for (size_t i = n_system; i < n && st == SA2_OK; i++)
        st = turn(&r, i, err);
    if (st == SA2_OK && (answer || options->prefill != NULL)) {
        sa2_piece_begin(pieces);
        if (answer)
            header(&r, "assistant");
        if (options->prefill != NULL)
            sa2_piece_text(pieces, options->prefill);
        sa2_piece_end(pieces);
    }
    return st;
}
