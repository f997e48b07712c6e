/* conversation.h - the turns of a chat so far, with their sounds, as the engine wants them.
 */
#ifndef SA2_TOOLS_CONVERSATION_H
#define SA2_TOOLS_CONVERSATION_H

#include "runtime/audio/audio_file.h"
#include "runtime/engine.h"

enum { SA2_TURN_ITEMS = 2 };

/* One turn owns its texts, ids and sound. */
typedef struct sa2_turn {
    const char *role; /* a string constant */
    char *text;       /* NULL: none */
    int32_t *ids;     /* an answer as it was generated; NULL: none */
    sa2_audio audio;  /* n_samples 0 and samples NULL: none */
    bool has_audio;
    sa2_chat_item items[SA2_TURN_ITEMS];
    size_t n_items;
} sa2_turn;

/* Zero-initialise it. */
typedef struct sa2_conversation {
    sa2_turn *turns;
    sa2_chat_message *messages; /* views of the turns, made by _view() */
    sa2_sound *sounds;
    size_t n_turns, room;
} sa2_conversation;

/* Each adds a turn or nothing. Errors: SA2_ERR_NOMEM. */

/* role is a string constant: "system", "human", "input". */
sa2_status sa2_conversation_say(sa2_conversation *c, const char *role, const char *text,
                                sa2_error *err);

/* A human turn of sound, then text (may be NULL). *audio is taken over, and emptied. */
sa2_status sa2_conversation_sound(sa2_conversation *c, sa2_audio *audio, const char *text,
                                  sa2_error *err);

/* The model's turn as it was generated, without the end token; `spoken`: it began with <tts_start>. */
sa2_status sa2_conversation_answer(sa2_conversation *c, const int32_t *ids, size_t n, bool spoken,
                                   sa2_error *err);

/* The last n turns are forgotten. */
void sa2_conversation_drop(sa2_conversation *c, size_t n);
void sa2_conversation_free(sa2_conversation *c);

/* Fills chat's messages and the request's sounds; valid until the next change. */
void sa2_conversation_view(sa2_conversation *c, sa2_chat *chat, sa2_request *request);

#endif
