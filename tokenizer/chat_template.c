#include "tokenizer/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/chat_fork.h"
#include "tokenizer/chat_hf.h"
#include "tokenizer/chat_pieces.h"
#include "tokenizer/ta4.h"

void sa2_prompt_free(sa2_prompt *prompt)
{
    sa2_ids_free(&prompt->ids);
    free(prompt->slots);
    *prompt = (sa2_prompt){0};
}

/* ---- pieces to ids ---- */

typedef struct writer {
    sa2_prompt *prompt;
    sa2_encoder *encoder;
    const sa2_special *special;
    bool short_tail; /* of spoken answers: as the fork has it */
} writer;

static sa2_status put_audio(const writer *w, const sa2_piece *piece, sa2_error *err)
{
    sa2_prompt *prompt = w->prompt;
    if (prompt->n_slots == prompt->slots_room) {
        size_t room = prompt->slots_room + prompt->slots_room / 2 + 16;
        sa2_audio_slot *slots = realloc(prompt->slots, room * sizeof *slots);
        if (slots == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "prompt: no memory for %zu chunks of audio", room);
        prompt->slots = slots;
        prompt->slots_room = room;
    }
    int n = piece->item->chunk_patches[piece->chunk];
    sa2_ids_append(&prompt->ids, w->special->audio_start);
    prompt->slots[prompt->n_slots++] = (sa2_audio_slot){
        .first = prompt->ids.n, .n = n, .audio = piece->audio, .chunk = piece->chunk};
    for (int i = 0; i < n; i++)
        sa2_ids_append(&prompt->ids, w->special->audio_patch);
    sa2_ids_append(&prompt->ids, w->special->audio_end);
    return SA2_OK;
}

static sa2_status put_ids(const writer *w, const sa2_chat_item *item, sa2_error *err)
{
    for (size_t i = 0; i < item->n_ids; i++) {
        sa2_token token;
        if (!sa2_tokenizer_token(sa2_encoder_tokenizer(w->encoder), item->ids[i], &token))
            return sa2_fail(err, SA2_ERR_FORMAT, "token ids: %d is no token", (int)item->ids[i]);
    }
    sa2_ids_append_all(&w->prompt->ids, item->ids, item->n_ids);
    return SA2_OK;
}

static sa2_status put_piece(const writer *w, const sa2_pieces *pieces, const sa2_piece *piece,
                            sa2_error *err)
{
    const sa2_chat_message *spoken = piece->spoken;
    switch (piece->kind) {
    case SA2_PIECE_TEXT:
        return sa2_encode(w->encoder, sa2_bytes_text(&pieces->text) + piece->from,
                          piece->to - piece->from, piece->literal, &w->prompt->ids, err);
    case SA2_PIECE_AUDIO:
        return put_audio(w, piece, err);
    case SA2_PIECE_IDS:
        return put_ids(w, piece->item, err);
    case SA2_PIECE_SPOKEN:
        return sa2_ta4_history(w->encoder, w->special, spoken->tts_text, spoken->n_tts_text,
                               spoken->tts_audio, spoken->n_tts_audio, w->short_tail,
                               &w->prompt->ids, err);
    }
    return SA2_OK;
}

static sa2_status put_pieces(const writer *w, const sa2_pieces *pieces, sa2_error *err)
{
    if (pieces->failed || pieces->text.failed)
        return sa2_fail(err, SA2_ERR_NOMEM, "prompt: no memory for its text");
    sa2_ids_clear(&w->prompt->ids);
    w->prompt->n_slots = 0;
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < pieces->n && st == SA2_OK; i++) {
        st = put_piece(w, pieces, &pieces->pieces[i], err);
        if (st != SA2_OK)
            sa2_wrap(err, st, "messages[%zu]", pieces->pieces[i].message);
    }
    return st == SA2_OK ? sa2_ids_status(&w->prompt->ids, err) : st;
}

/* ---- what can have a prompt ---- */

static sa2_status check_items(const sa2_chat_item *items, size_t n_items, sa2_error *err)
{
    for (size_t i = 0; i < n_items; i++) {
        if (items[i].kind != SA2_CHAT_AUDIO)
            continue;
        if (items[i].n_chunks == 0)
            return sa2_fail(err, SA2_ERR_ARG, "content[%zu]: audio without chunks", i);
        for (size_t chunk = 0; chunk < items[i].n_chunks; chunk++) {
            if (items[i].chunk_patches[chunk] < 0)
                return sa2_fail(err, SA2_ERR_ARG, "content[%zu]: a chunk of %d rows", i,
                                items[i].chunk_patches[chunk]);
        }
    }
    return SA2_OK;
}

static sa2_status check_chat(const sa2_chat *chat, sa2_error *err)
{
    if (chat->n_messages == 0)
        return sa2_fail(err, SA2_ERR_ARG, "messages: there are none");
    for (size_t i = 0; i < chat->n_messages; i++) {
        if (chat->messages[i].role == NULL)
            return sa2_fail(
                err, SA2_ERR_ARG,
                "messages[%zu]: a role expected, none found: the prompt of a base model?", i);
        sa2_status st = check_items(chat->messages[i].items, chat->messages[i].n_items, err);
        if (st != SA2_OK)
            return sa2_wrap(err, st, "messages[%zu]", i);
    }
    if (chat->continue_final_message != SA2_FLAG_YES)
        return SA2_OK;
    if (chat->add_generation_prompt == SA2_FLAG_YES)
        return sa2_fail(err, SA2_ERR_ARG,
                        "add_generation_prompt and continue_final_message exclude each other");
    const char *role = chat->messages[chat->n_messages - 1].role;
    if (strcmp(role, "assistant") != 0)
        return sa2_fail(
            err, SA2_ERR_ARG,
            "continue_final_message: the last message is of role %s, assistant expected", role);
    return SA2_OK;
}

sa2_status sa2_chat_prompt(sa2_prompt *prompt, sa2_encoder *encoder, const sa2_special *special,
                           const sa2_chat *chat, const sa2_template_options *options,
                           sa2_error *err)
{
    sa2_pieces pieces = {0};
    bool fork = options->template == SA2_TEMPLATE_FORK;
    sa2_status st = check_chat(chat, err);
    if (st == SA2_OK)
        st = (fork ? sa2_chat_fork : sa2_chat_hf)(&pieces, chat, options, err);
    if (st == SA2_OK)
        st = put_pieces(&(writer){prompt, encoder, special, fork}, &pieces, err);
    sa2_pieces_free(&pieces);
    return st;
}

sa2_status sa2_base_prompt(sa2_prompt *prompt, sa2_encoder *encoder, const sa2_special *special,
                           const sa2_chat_item *items, size_t n_items, sa2_error *err)
{
    sa2_pieces pieces = {0};
    sa2_status st = check_items(items, n_items, err);
    for (size_t i = 0; i < n_items && st == SA2_OK; i++) {
        pieces.message = i;
        sa2_piece_item(&pieces, &items[i], false);
    }
    if (st == SA2_OK)
        st = put_pieces(&(writer){prompt, encoder, special, false}, &pieces, err);
    sa2_pieces_free(&pieces);
    return st;
}
