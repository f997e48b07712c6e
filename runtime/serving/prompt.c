#include "runtime/serving/prompt.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "tokenizer/think.h"

/* ---- sounds into the items of a conversation ---- */

/* Copies items, audio ones with the chunks of the next sound. */
static void set_chunks(sa2_chat_item *out, const sa2_chat_item *items, size_t n,
                       const sa2_sound_list *sounds, size_t *next)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = items[i];
        if (items[i].kind != SA2_CHAT_AUDIO)
            continue;
        size_t k = *next;
        out[i].chunk_patches = sounds->patches + sounds->first_chunk[k];
        out[i].n_chunks = sounds->first_chunk[k + 1] - sounds->first_chunk[k];
        ++*next;
    }
}

typedef struct tally {
    size_t n_items, n_audio, bytes;
} tally;

static void count_items(tally *t, const sa2_chat_item *items, size_t n)
{
    t->n_items += n;
    for (size_t i = 0; i < n; i++) {
        t->n_audio += items[i].kind == SA2_CHAT_AUDIO;
        t->bytes += items[i].kind == SA2_CHAT_TEXT ? items[i].n_bytes : 0;
    }
}

static sa2_status check_tally(const tally *t, const sa2_prompt_setting *setting, size_t n_sounds,
                              sa2_error *err)
{
    size_t most = (size_t)setting->max_model_len * SA2_LIMIT_TEXT_BYTES_PER_POSITION;
    if (t->bytes > most)
        return sa2_fail(err, SA2_ERR_LIMIT, "prompt: %zu bytes of text, at most %zu can fit",
                        t->bytes, most);
    if (t->n_audio != n_sounds)
        return sa2_fail(err, SA2_ERR_ARG, "sounds: %zu given for %zu audio items", n_sounds,
                        t->n_audio);
    return SA2_OK;
}

static sa2_status make_chat(sa2_prompt *prompt, const sa2_prompt_setting *setting,
                            const sa2_request *request, const sa2_sound_list *sounds,
                            sa2_error *err)
{
    const sa2_chat *given = request->chat;
    if (given->n_messages > SA2_LIMIT_MESSAGES)
        return sa2_fail(err, SA2_ERR_LIMIT, "chat: %zu messages, at most %d are taken",
                        given->n_messages, SA2_LIMIT_MESSAGES);
    tally t = {0};
    for (size_t i = 0; i < given->n_messages; i++)
        count_items(&t, given->messages[i].items, given->messages[i].n_items);
    sa2_status st = check_tally(&t, setting, request->n_sounds, err);
    if (st != SA2_OK)
        return st;
    sa2_chat_message *messages = calloc(given->n_messages + 1, sizeof *messages);
    sa2_chat_item *items = calloc(t.n_items + 1, sizeof *items);
    if (messages == NULL || items == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "chat of %zu messages", given->n_messages);
        goto cleanup;
    }
    size_t sound = 0, item = 0;
    for (size_t i = 0; i < given->n_messages; i++) {
        messages[i] = given->messages[i];
        messages[i].items = items + item;
        set_chunks(items + item, given->messages[i].items, given->messages[i].n_items, sounds,
                   &sound);
        item += given->messages[i].n_items;
    }
    sa2_chat chat = *given;
    chat.messages = messages;
    sa2_template_options options = {.template = setting->template,
                                    .literal_user_text = setting->literal_user_text,
                                    .prefill = request->think ? sa2_think_prefill(setting->template)
                                                              : NULL};
    st = sa2_chat_prompt(prompt, setting->encoder, setting->special, &chat, &options, err);

cleanup:
    free(items);
    free(messages);
    return st;
}

static sa2_status make_base(sa2_prompt *prompt, const sa2_prompt_setting *setting,
                            const sa2_request *request, const sa2_sound_list *sounds,
                            sa2_error *err)
{
    tally t = {0};
    count_items(&t, request->pieces, request->n_pieces);
    sa2_status st = check_tally(&t, setting, request->n_sounds, err);
    if (st != SA2_OK)
        return st;
    sa2_chat_item *items = calloc(request->n_pieces + 1, sizeof *items);
    if (items == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "prompt of %zu pieces", request->n_pieces);
    size_t sound = 0;
    set_chunks(items, request->pieces, request->n_pieces, sounds, &sound);
    st = sa2_base_prompt(prompt, setting->encoder, setting->special, items, request->n_pieces, err);
    free(items);
    return st;
}

/* ---- ids as they are ---- */

/* The next chunk's rows behind an <audio_start> at position `start`. */
static sa2_status place_chunk(sa2_prompt *prompt, const sa2_special *special, size_t start,
                              const sa2_sound_list *sounds, sa2_error *err)
{
    const sa2_ids *ids = &prompt->ids;
    size_t chunk = prompt->n_slots, first = start + 1, end = first;
    while (end < ids->n && ids->data[end] == special->audio_patch)
        end++;
    size_t n_chunks = sounds->first_chunk != NULL ? sounds->first_chunk[sounds->n] : 0;
    if (chunk == n_chunks)
        return sa2_fail(err, SA2_ERR_ARG,
                        "ids: <audio_start> at position %zu, the sounds have %zu chunks", start,
                        n_chunks);
    if (end - first != (size_t)sounds->patches[chunk] || end == ids->n ||
        ids->data[end] != special->audio_end)
        return sa2_fail(err, SA2_ERR_ARG,
                        "ids: chunk %zu of the sounds needs %d <audio_patch> and <audio_end> after "
                        "position %zu, found %zu <audio_patch>",
                        chunk, sounds->patches[chunk], start, end - first);
    size_t audio = 0;
    assert(sounds->first_chunk !=
           NULL); /* without sounds there are no chunks, and chunk is none of them */
    while (sounds->first_chunk[audio + 1] <= chunk)
        audio++;
    prompt->slots[prompt->n_slots++] =
        (sa2_audio_slot){.first = first,
                         .n = (int)(end - first),
                         .audio = audio,
                         .chunk = chunk - sounds->first_chunk[audio]};
    return SA2_OK;
}

static sa2_status place_sounds(sa2_prompt *prompt, const sa2_special *special,
                               const sa2_sound_list *sounds, sa2_error *err)
{
    size_t n_chunks = sounds->first_chunk != NULL ? sounds->first_chunk[sounds->n] : 0;
    prompt->slots = calloc(n_chunks + 1, sizeof *prompt->slots);
    if (prompt->slots == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%zu chunks of sound", n_chunks);
    prompt->slots_room = n_chunks + 1;
    for (size_t i = 0; i < prompt->ids.n; i++) {
        if (prompt->ids.data[i] == special->audio_start) {
            sa2_status st = place_chunk(prompt, special, i, sounds, err);
            if (st != SA2_OK)
                return st;
            i += (size_t)prompt->slots[prompt->n_slots - 1].n;
        } else if (prompt->ids.data[i] == special->audio_patch) {
            return sa2_fail(err, SA2_ERR_ARG,
                            "ids: <audio_patch> at position %zu without <audio_start>", i);
        }
    }
    if (prompt->n_slots != n_chunks)
        return sa2_fail(err, SA2_ERR_ARG, "ids: places for %zu chunks, the sounds have %zu",
                        prompt->n_slots, n_chunks);
    return SA2_OK;
}

static sa2_status make_ids(sa2_prompt *prompt, const sa2_prompt_setting *setting,
                           const sa2_request *request, const sa2_sound_list *sounds, sa2_error *err)
{
    for (size_t i = 0; i < request->n_ids; i++)
        if (request->ids[i] < 0 || request->ids[i] >= setting->n_tokens)
            return sa2_fail(err, SA2_ERR_ARG, "ids[%zu]: 0 to %d expected, found %d", i,
                            setting->n_tokens - 1, request->ids[i]);
    sa2_ids_append_all(&prompt->ids, request->ids, request->n_ids);
    sa2_status st = sa2_ids_status(&prompt->ids, err);
    if (st != SA2_OK || setting->special == NULL || setting->rows_given)
        return st;
    return place_sounds(prompt, setting->special, sounds, err);
}

/* ---- all three ---- */

sa2_status sa2_prompt_make(sa2_prompt *prompt, const sa2_prompt_setting *setting,
                           const sa2_request *request, const sa2_sound_list *sounds, sa2_error *err)
{
    int n_forms = (request->chat != NULL) + (request->pieces != NULL) + (request->ids != NULL);
    if (n_forms != 1)
        return sa2_fail(err, SA2_ERR_ARG, "one of chat, pieces and ids expected, found %d",
                        n_forms);
    if (setting->encoder == NULL && (request->ids == NULL || request->n_sounds > 0))
        return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                        "the model has no tokenizer: only ids without sound can be given");
    sa2_status st = request->chat != NULL     ? make_chat(prompt, setting, request, sounds, err)
                    : request->pieces != NULL ? make_base(prompt, setting, request, sounds, err)
                                              : make_ids(prompt, setting, request, sounds, err);
    if (st != SA2_OK)
        return st;
    sa2_ids *ids = &prompt->ids;
    if (request->speak && setting->special != NULL &&
        (ids->n == 0 || ids->data[ids->n - 1] != setting->special->tts_start) && !request->think)
        sa2_ids_append(ids, setting->special->tts_start);
    return sa2_ids_status(ids, err);
}

sa2_status sa2_prompt_open_turn(sa2_ids *ids, const sa2_prompt_setting *setting,
                                const char *prefill, sa2_error *err)
{
    sa2_chat_item item = {.kind = SA2_CHAT_TEXT, .text = ""};
    sa2_chat_message question = {
        .role = "user", .content = SA2_CONTENT_STRING, .items = &item, .n_items = 1};
    sa2_chat chat = {.messages = &question, .n_messages = 1};
    sa2_template_options options = {.template = setting->template, .prefill = prefill};
    sa2_prompt turn = {0};
    sa2_status st =
        sa2_chat_prompt(&turn, setting->encoder, setting->special, &chat, &options, err);
    if (st == SA2_OK) {
        size_t from = turn.ids.n, to = ids->n;
        while (from > 0 && turn.ids.data[from - 1] != setting->special->turn_begin)
            from--;
        while (to > 0 && ids->data[to - 1] != setting->special->turn_begin)
            to--;
        if (from == 0 || to == 0) {
            st = sa2_fail(err, SA2_ERR_ARG, "prompt: it has no turn of the assistant to answer in");
        } else {
            ids->n = to;
            sa2_ids_append_all(ids, turn.ids.data + from, turn.ids.n - from);
            st = sa2_ids_status(ids, err);
        }
    }
    sa2_prompt_free(&turn);
    return st;
}
