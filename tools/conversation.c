#include "tools/conversation.h"

#include <stdlib.h>
#include <string.h>

static void free_turn(sa2_turn *turn)
{
    free(turn->text);
    free(turn->ids);
    sa2_audio_destroy(&turn->audio);
    *turn = (sa2_turn){0};
}

/* Room for one more turn in all three arrays; what moved keeps its old place on failure. */
static sa2_status make_room(sa2_conversation *c, sa2_error *err)
{
    if (c->n_turns < c->room)
        return SA2_OK;
    size_t room = c->room > 0 ? 2 * c->room : 16;
    void *turns = realloc(c->turns, room * sizeof *c->turns);
    if (turns != NULL)
        c->turns = turns;
    void *messages = realloc(c->messages, room * sizeof *c->messages);
    if (messages != NULL)
        c->messages = messages;
    void *sounds = realloc(c->sounds, room * sizeof *c->sounds);
    if (sounds != NULL)
        c->sounds = sounds;
    if (turns == NULL || messages == NULL || sounds == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "chat: no memory for turn %zu", c->n_turns + 1);
    c->room = room;
    return SA2_OK;
}

static sa2_chat_item text_item(const char *text)
{
    return (sa2_chat_item){.kind = SA2_CHAT_TEXT, .text = text, .n_bytes = strlen(text)};
}

sa2_status sa2_conversation_say(sa2_conversation *c, const char *role, const char *text,
                                sa2_error *err)
{
    sa2_status st = make_room(c, err);
    if (st != SA2_OK)
        return st;
    sa2_turn turn = {.role = role, .text = strdup(text), .n_items = 1};
    if (turn.text == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "chat: no memory for a text");
    turn.items[0] = text_item(turn.text);
    c->turns[c->n_turns++] = turn;
    return SA2_OK;
}

sa2_status sa2_conversation_sound(sa2_conversation *c, sa2_audio *audio, const char *text,
                                  sa2_error *err)
{
    sa2_status st = make_room(c, err);
    if (st != SA2_OK)
        return st;
    sa2_turn turn = {.role = "human", .has_audio = true};
    turn.items[turn.n_items++] = (sa2_chat_item){.kind = SA2_CHAT_AUDIO};
    if (text != NULL) {
        turn.text = strdup(text);
        if (turn.text == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "chat: no memory for a text");
        turn.items[turn.n_items++] = text_item(turn.text);
    }
    turn.audio = *audio;
    *audio = (sa2_audio){0};
    c->turns[c->n_turns++] = turn;
    return SA2_OK;
}

sa2_status sa2_conversation_answer(sa2_conversation *c, const int32_t *ids, size_t n, bool spoken,
                                   sa2_error *err)
{
    sa2_status st = make_room(c, err);
    if (st != SA2_OK)
        return st;
    sa2_turn turn = {.role = "assistant", .ids = malloc((n + 1) * sizeof *ids)};
    if (turn.ids == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "chat: no memory for an answer");
    if (n > 0)
        memcpy(turn.ids, ids, n * sizeof *ids);
    if (spoken)
        turn.items[turn.n_items++] = text_item("<tts_start>");
    turn.items[turn.n_items++] = (sa2_chat_item){.kind = SA2_CHAT_IDS, .ids = turn.ids, .n_ids = n};
    c->turns[c->n_turns++] = turn;
    return SA2_OK;
}

void sa2_conversation_drop(sa2_conversation *c, size_t n)
{
    for (; n > 0 && c->n_turns > 0; n--)
        free_turn(&c->turns[--c->n_turns]);
}

void sa2_conversation_free(sa2_conversation *c)
{
    sa2_conversation_drop(c, c->n_turns);
    free(c->turns);
    free(c->messages);
    free(c->sounds);
    *c = (sa2_conversation){0};
}

void sa2_conversation_view(sa2_conversation *c, sa2_chat *chat, sa2_request *request)
{
    request->sounds = c->sounds;
    request->n_sounds = 0;
    for (size_t i = 0; i < c->n_turns; i++) {
        const sa2_turn *turn = &c->turns[i];
        bool list = turn->n_items > 1 || turn->items[0].kind != SA2_CHAT_TEXT;
        c->messages[i] = (sa2_chat_message){
            .role = turn->role,
            .content = list ? SA2_CONTENT_LIST : SA2_CONTENT_STRING,
            .items = turn->items,
            .n_items = turn->n_items,
        };
        if (turn->has_audio)
            c->sounds[request->n_sounds++] = (sa2_sound){.samples = turn->audio.samples,
                                                         .n_samples = turn->audio.n_samples,
                                                         .rate = turn->audio.rate};
    }
    chat->messages = c->messages;
    chat->n_messages = c->n_turns;
    chat->add_generation_prompt = SA2_FLAG_YES;
    request->chat = chat;
}
