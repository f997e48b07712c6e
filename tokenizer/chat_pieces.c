#include "tokenizer/chat_pieces.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/chat_tools.h"

void sa2_pieces_free(sa2_pieces *pieces)
{
    sa2_bytes_free(&pieces->text);
    free(pieces->pieces);
    *pieces = (sa2_pieces){0};
}

static void push(sa2_pieces *pieces, sa2_piece piece)
{
    if (pieces->n == pieces->room) {
        size_t room = pieces->room + pieces->room / 2 + 64;
        sa2_piece *block = realloc(pieces->pieces, room * sizeof *block);
        if (block == NULL) {
            pieces->failed = true;
            return;
        }
        pieces->pieces = block;
        pieces->room = room;
    }
    piece.message = pieces->message;
    pieces->pieces[pieces->n++] = piece;
}

void sa2_piece_begin(sa2_pieces *pieces)
{
    push(pieces, (sa2_piece){.kind = SA2_PIECE_TEXT, .from = pieces->text.n});
}

void sa2_piece_bytes(sa2_pieces *pieces, const char *text, size_t n, bool literal)
{
    if (literal && n > 0 && !pieces->failed) {
        sa2_piece *piece = &pieces->pieces[pieces->n - 1];
        size_t at = pieces->text.n - piece->from;
        bool more = piece->literal.to > 0;
        piece->literal = (sa2_span){more ? piece->literal.from : at, at + n};
    }
    sa2_bytes_append(&pieces->text, text, n);
}

void sa2_piece_text(sa2_pieces *pieces, const char *text)
{
    sa2_piece_bytes(pieces, text, strlen(text), false);
}

void sa2_piece_end(sa2_pieces *pieces)
{
    if (!pieces->failed)
        pieces->pieces[pieces->n - 1].to = pieces->text.n;
}

void sa2_piece_whole(sa2_pieces *pieces, const char *text)
{
    sa2_piece_begin(pieces);
    sa2_piece_text(pieces, text);
    sa2_piece_end(pieces);
}

void sa2_piece_chunk(sa2_pieces *pieces, const sa2_chat_item *item, size_t audio, size_t chunk)
{
    push(pieces,
         (sa2_piece){.kind = SA2_PIECE_AUDIO, .item = item, .audio = audio, .chunk = chunk});
}

void sa2_piece_item(sa2_pieces *pieces, const sa2_chat_item *item, bool literal)
{
    switch (item->kind) {
    case SA2_CHAT_TEXT:
        sa2_piece_begin(pieces);
        sa2_piece_bytes(pieces, item->text, item->n_bytes, literal);
        sa2_piece_end(pieces);
        break;
    case SA2_CHAT_AUDIO:
        for (size_t chunk = 0; chunk < item->n_chunks; chunk++)
            sa2_piece_chunk(pieces, item, pieces->n_audio, chunk);
        pieces->n_audio++;
        break;
    case SA2_CHAT_IDS:
        push(pieces, (sa2_piece){.kind = SA2_PIECE_IDS, .item = item});
        break;
    }
}

void sa2_piece_spoken(sa2_pieces *pieces, const sa2_chat_message *message)
{
    push(pieces, (sa2_piece){.kind = SA2_PIECE_SPOKEN, .spoken = message});
}

sa2_status sa2_piece_tool_calls(sa2_pieces *pieces, const sa2_chat_message *message, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < message->n_tool_calls && st == SA2_OK; i++) {
        const sa2_chat_tool_call *call = &message->tool_calls[i];
        sa2_piece_begin(pieces);
        sa2_piece_text(pieces, "<tool_call>function\n");
        sa2_piece_text(pieces, call->name);
        sa2_piece_text(pieces, "\n");
        sa2_piece_end(pieces);
        sa2_piece_begin(pieces);
        st = sa2_tool_arguments_write(call->arguments, &pieces->text, err);
        sa2_piece_end(pieces);
        sa2_piece_whole(pieces, "</tool_call>");
    }
    return st;
}
