/* Conversations that have no prompt are refused with the message of the conversation and the reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_tokenizer.h"
#include "tokenizer/chat_json.h"
#include "tokenizer/chat_template.h"

static int create(void **state)
{
    test_tokenizer *t = calloc(1, sizeof *t);
    if (t != NULL)
        test_tokenizer_tiny(t);
    *state = t;
    return t == NULL;
}

static int destroy(void **state)
{
    test_tokenizer_free(*state);
    free(*state);
    return 0;
}

/* Every template says the same. */
static void expect_refusal(const test_tokenizer *t, const char *json, const char *message)
{
    sa2_chat_document *document = NULL;
    sa2_prompt prompt = {0};
    assert_int_equal(sa2_chat_from_json(&document, json, strlen(json), NULL), SA2_OK);
    for (int template = SA2_TEMPLATE_DEFAULT; template <= SA2_TEMPLATE_FORK; template ++) {
        sa2_error err = {0};
        sa2_template_options options = {.template = (sa2_template) template};
        sa2_status st = sa2_chat_prompt(&prompt, t->encoder, &t->special,
                                        sa2_chat_document_chat(document), &options, &err);
        assert_string_equal(err.message, message);
        assert_int_equal(st, SA2_ERR_ARG);
    }
    sa2_prompt_free(&prompt);
    sa2_chat_document_destroy(document);
}

static void the_prompt_of_a_base_model_is_no_conversation(void **state)
{
    expect_refusal(*state, "{\"messages\": [{\"type\": \"text\", \"text\": \"x\"}]}",
                   "messages[0]: a role expected, none found: the prompt of a base model?");
}

static void a_conversation_has_messages(void **state)
{
    expect_refusal(*state, "{\"messages\": [], \"tools\": null}", "messages: there are none");
}

static void audio_has_chunks(void **state)
{
    expect_refusal(*state,
                   "[{\"role\": \"user\", \"content\": [\"a\", {\"type\": \"audio\", \"audio\": "
                   "\"x.wav\"}]}]",
                   "messages[0]: content[1]: audio without chunks");
}

static void only_an_answer_can_be_continued(void **state)
{
    expect_refusal(*state,
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], "
                   "\"continue_final_message\": true}",
                   "continue_final_message: the last message is of role user, assistant expected");
    expect_refusal(*state,
                   "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}], "
                   "\"continue_final_message\": true, \"add_generation_prompt\": true}",
                   "add_generation_prompt and continue_final_message exclude each other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_prompt_of_a_base_model_is_no_conversation),
        cmocka_unit_test(a_conversation_has_messages),
        cmocka_unit_test(audio_has_chunks),
        cmocka_unit_test(only_an_answer_can_be_continued),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
