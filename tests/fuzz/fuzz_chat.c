/* Any bytes as the JSON of a conversation: refused with a message, or a prompt in each template whose slots of
 * audio lie inside it. */
#include "tests/fuzz/fuzz_tokenizer.h"
#include "tokenizer/chat_json.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/special.h"

/* libFuzzer has no place for what a target makes once. */
static sa2_tokenizer *tokenizer;
static sa2_special special;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    sa2_error err = {0};
    tokenizer = fuzz_tokenizer();
    fuzz_expect(sa2_special_find(&special, tokenizer, &err) == SA2_OK, err.message);
    return 0;
}

static void judge(sa2_status st, const sa2_prompt *prompt, const sa2_error *err)
{
    fuzz_expect_message(st, err);
    size_t end = 0;
    for (size_t i = 0; st == SA2_OK && i < prompt->n_slots; i++) {
        const sa2_audio_slot *slot = &prompt->slots[i];
        fuzz_expect(slot->n >= 0 && slot->first >= end && slot->first <= prompt->ids.n &&
                        (size_t)slot->n <= prompt->ids.n - slot->first,
                    "slots in order, inside the prompt");
        end = slot->first + (size_t)slot->n;
    }
}

static void make_prompts(const sa2_chat_document *document)
{
    const sa2_chat *chat = sa2_chat_document_chat(document);
    sa2_encoder *encoder = fuzz_encoder(tokenizer);
    sa2_prompt prompt = {0};
    for (int template = SA2_TEMPLATE_DEFAULT; template <= SA2_TEMPLATE_FORK; template ++) {
        for (int literal = 0; literal < 2; literal++) {
            sa2_template_options options = {.template = (sa2_template) template,
                                            .literal_user_text = literal == 1};
            sa2_error err = {0};
            judge(sa2_chat_prompt(&prompt, encoder, &special, chat, &options, &err), &prompt, &err);
        }
    }
    if (sa2_chat_document_is_base(document)) {
        const sa2_chat_message *only = &chat->messages[0];
        sa2_error err = {0};
        judge(sa2_base_prompt(&prompt, encoder, &special, only->items, only->n_items, &err),
              &prompt, &err);
    }
    sa2_prompt_free(&prompt);
    sa2_encoder_destroy(encoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const int patches[] = {3, 0, 1};
    sa2_chat_document *document = NULL;
    sa2_error err = {0};
    char *json = fuzz_copy(data, n);
    sa2_status st = sa2_chat_from_json(&document, json, n, &err);
    fuzz_expect_message(st, &err);
    free(json);
    if (st == SA2_OK) {
        for (size_t i = 0; i < sa2_chat_document_n_audio(document); i++)
            sa2_chat_document_set_chunks(document, i, patches, 1 + i % 3);
        make_prompts(document);
    }
    sa2_chat_document_destroy(document);
    return 0;
}
