/* Cases of conversations: messages to the ids of a prompt. */
#include "tools/check_text_cases.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/chat_json.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/json_text.h"

enum {
    RELEASE_FIRST_ADDED = 151643, /* token items of a case are ids of the release */
    CHUNK_SAMPLES = 25 * 16000,
    WAV_HEADER_BYTES = 44,
    WAV_SAMPLE_BYTES = 2, /* the official client sends 16 bits, mono, 16 kHz */
};

/* ---- the conversation ---- */

/* Added tokens are in the same order in every vocabulary; ids below them are taken as they are. */
static void renumber_ids(json_t *ids, int32_t first_added)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        json_int_t id = json_integer_value(json_array_get(ids, i));
        if (id >= RELEASE_FIRST_ADDED)
            json_array_set_new(ids, i, json_integer(id - RELEASE_FIRST_ADDED + first_added));
    }
}

static void renumber_parts(json_t *parts, int32_t first_added)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        json_t *part = json_array_get(parts, i);
        renumber_ids(json_object_get(part, "token"), first_added);
        renumber_parts(json_object_get(part, "content"), first_added); /* it is a message */
    }
}

static int64_t count_samples(const sa2_chat_item *item)
{
    if (item->audio_from != SA2_AUDIO_FROM_BASE64)
        return item->n_samples;
    size_t n = item->n_source / 4 * 3;
    for (size_t i = item->n_source; i > 0 && item->source[i - 1] == '='; i--)
        n--;
    return n > WAV_HEADER_BYTES ? (int64_t)(n - WAV_HEADER_BYTES) / WAV_SAMPLE_BYTES : 0;
}

/* Chunks of 25 s and a shorter one; `chunks` gets the arrays, to be freed by the caller. */
static sa2_status count_chunks(const check_case *c, sa2_chat_document *document, bool fork,
                               int **chunks, sa2_error *err)
{
    size_t total = 0;
    size_t n_audio = sa2_chat_document_n_audio(document);
    for (size_t i = 0; i < n_audio; i++)
        total += (size_t)(count_samples(sa2_chat_document_audio(document, i)) / CHUNK_SAMPLES) + 1;
    int *patches = calloc(total + 1, sizeof *patches);
    if (patches == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory for %zu chunks of audio", total);
    *chunks = patches;
    for (size_t i = 0; i < n_audio; i++) {
        size_t n = 0;
        int64_t left = count_samples(sa2_chat_document_audio(document, i));
        do {
            int64_t taken = left < CHUNK_SAMPLES ? left : CHUNK_SAMPLES;
            patches[n++] = c->context->patches(taken, fork);
            left -= taken;
        } while (left > 0);
        sa2_chat_document_set_chunks(document, i, patches, n);
        patches += n;
    }
    return SA2_OK;
}

/* The ids of the prompt that the conversation in `value` gives. */
static sa2_status prompt_of(const check_case *c, json_t *value, sa2_template template,
                            sa2_prompt *prompt, sa2_error *err)
{
    sa2_bytes json = {0};
    sa2_chat_document *document = NULL;
    int *chunks = NULL;
    sa2_json_write(value, &json);
    sa2_status st = sa2_bytes_status(&json, err);
    if (st == SA2_OK)
        st = sa2_chat_from_json(&document, json.data, json.n, err);
    if (st == SA2_OK)
        st = count_chunks(c, document, template == SA2_TEMPLATE_FORK, &chunks, err);
    if (st == SA2_OK) {
        const sa2_chat *chat = sa2_chat_document_chat(document);
        const sa2_template_options options = {.template = template};
        if (sa2_chat_document_is_base(document))
            st = sa2_base_prompt(prompt, c->context->encoder, c->context->special,
                                 chat->messages[0].items, chat->messages[0].n_items, err);
        else
            st = sa2_chat_prompt(prompt, c->context->encoder, c->context->special, chat, &options,
                                 err);
    }
    free(chunks);
    sa2_chat_document_destroy(document);
    sa2_bytes_free(&json);
    return st;
}

/* ---- the cases ---- */

/* The places of the audio must be those of the <audio_patch> in the ids, in order. */
static void check_slots(check_case *c, const sa2_prompt *prompt)
{
    size_t slot = 0;
    int used = 0;
    for (size_t i = 0; i < prompt->ids.n; i++) {
        if (prompt->ids.data[i] != c->context->special->audio_patch)
            continue;
        while (slot < prompt->n_slots && used == prompt->slots[slot].n) {
            slot++;
            used = 0;
        }
        if (slot == prompt->n_slots || prompt->slots[slot].first + (size_t)used != i) {
            check_differs(c, "position %zu: <audio_patch> without audio", i);
            return;
        }
        used++;
    }
}

sa2_status check_prompt(check_case *c, sa2_error *err)
{
    /* Only cases of the fork have its request fields. */
    static const char *const fork_keys[] = {"tools", "add_generation_prompt",
                                            "continue_final_message"};
    sa2_template template = SA2_TEMPLATE_HF;
    for (size_t i = 0; i < sizeof fork_keys / sizeof fork_keys[0]; i++) {
        if (json_object_get(c->line, fork_keys[i]) != NULL)
            template = SA2_TEMPLATE_FORK;
    }
    sa2_prompt prompt = {0};
    renumber_parts(json_object_get(c->line, "messages"), c->context->special->end_of_text);
    sa2_status st = prompt_of(c, c->line, template, &prompt, err);
    if (st == SA2_OK) {
        check_slots(c, &prompt);
        st = check_same_ids(c, c->is_release ? "prompt_ids_mini" : "prompt_ids", &prompt.ids, err);
    }
    sa2_prompt_free(&prompt);
    return st;
}

/* What the official client makes of a conversation must give the prompt of the conversation. */
sa2_status check_request(check_case *c, sa2_error *err)
{
    sa2_prompt direct = {0};
    sa2_prompt sent = {0};
    json_t *request = json_object_get(c->line, "request");
    json_object_set(c->line, "tools", json_object_get(request, "tools"));
    sa2_status st = prompt_of(c, c->line, SA2_TEMPLATE_DEFAULT, &direct, err);
    if (st == SA2_OK)
        st = prompt_of(c, request, SA2_TEMPLATE_DEFAULT, &sent, err);
    if (st == SA2_OK &&
        (direct.ids.n != sent.ids.n ||
         memcmp(direct.ids.data, sent.ids.data, sent.ids.n * sizeof *sent.ids.data) != 0))
        check_differs(c, "the messages give a prompt of %zu ids, the request one of %zu",
                      direct.ids.n, sent.ids.n);
    sa2_prompt_free(&direct);
    sa2_prompt_free(&sent);
    return st;
}
