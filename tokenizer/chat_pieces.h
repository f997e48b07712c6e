/* chat_pieces.h - the pieces of a prompt, as a template writes them one after the other.
 *
 * Each piece is encoded by itself: "human\n" and "\ntext" apart give other ids than together.
 */
#ifndef SA2_TOKENIZER_CHAT_PIECES_H
#define SA2_TOKENIZER_CHAT_PIECES_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/status.h"
#include "tokenizer/chat.h"
#include "tokenizer/encode.h"
#include "tokenizer/growing.h"

typedef enum sa2_piece_kind {
    SA2_PIECE_TEXT = 0,
    SA2_PIECE_AUDIO,  /* one chunk of an audio item */
    SA2_PIECE_IDS,    /* the ids of an item */
    SA2_PIECE_SPOKEN, /* tts_text and tts_audio of a message */
} sa2_piece_kind;

typedef struct sa2_piece {
    sa2_piece_kind kind;
    size_t message; /* of the conversation, for reports */
    size_t from;    /* TEXT: bytes [from, to) of sa2_pieces.text */
    size_t to;
    sa2_span literal;               /* of these, counted from `from`: no added tokens there */
    const sa2_chat_item *item;      /* AUDIO, IDS */
    size_t audio;                   /* AUDIO: which of the conversation */
    size_t chunk;                   /* and which chunk of it */
    const sa2_chat_message *spoken; /* SPOKEN */
} sa2_piece;

/* Zero-initialise it. Items and messages are borrowed from the conversation. */
typedef struct sa2_pieces {
    sa2_bytes text; /* of all pieces */
    sa2_piece *pieces;
    size_t n;
    size_t room;
    bool failed;    /* no memory */
    size_t n_audio; /* audio items so far */
    size_t message; /* whose pieces come now */
} sa2_pieces;

void sa2_pieces_free(sa2_pieces *pieces);

/* A text piece is begun, written and ended; the other kinds come between two text pieces. */
void sa2_piece_begin(sa2_pieces *pieces);
void sa2_piece_text(sa2_pieces *pieces, const char *text);
void sa2_piece_bytes(sa2_pieces *pieces, const char *text, size_t n, bool literal);
void sa2_piece_end(sa2_pieces *pieces);
void sa2_piece_whole(sa2_pieces *pieces, const char *text); /* begin, text, end */

void sa2_piece_item(sa2_pieces *pieces, const sa2_chat_item *item, bool literal);
void sa2_piece_chunk(sa2_pieces *pieces, const sa2_chat_item *item, size_t audio, size_t chunk);
void sa2_piece_spoken(sa2_pieces *pieces, const sa2_chat_message *message);

/* The calls of an assistant turn. Errors: SA2_ERR_FORMAT for arguments that are no JSON. */
sa2_status sa2_piece_tool_calls(sa2_pieces *pieces, const sa2_chat_message *message,
                                sa2_error *err);

#endif
