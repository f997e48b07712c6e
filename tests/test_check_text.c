/* The golden cases of tokenizer and chat, through the function that `sa2 check` calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_files.h"
#include "tests/support/test_tokenizer.h"
#include "tools/check_text.h"

typedef struct tally {
    int n_ok;
    int n_failed;
    char last[1024]; /* the last difference */
} tally;

static void count(void *user, const char *name, const char *difference)
{
    tally *t = user;
    if (difference == NULL) {
        t->n_ok++;
        return;
    }
    t->n_failed++;
    snprintf(t->last, sizeof t->last, "%s", difference);
    printf("%s: %s\n", name, difference);
}

static sa2_status check(const test_tokenizer *t, const char *path, tally *result, sa2_error *err)
{
    const sa2_check_text_context context = {
        .encoder = t->encoder, .special = &t->special, .patches = test_audio_patches};
    *result = (tally){0};
    return sa2_check_text_file(path, &context, count, result, err);
}

static void check_golden(const test_tokenizer *t, const char *relative, int n_cases)
{
    char path[1024];
    tally result;
    sa2_error err = {0};
    if (check(t, test_data(path, sizeof path, relative), &result, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(result.n_failed, 0);
    assert_int_equal(result.n_ok, n_cases);
}

static void the_cases_of_the_tiny_vocabulary_hold(void **state)
{
    check_golden(*state, "golden/tokenizer/tiny.jsonl", 674);
    check_golden(*state, "golden/chat/prompt_hf.jsonl", 21);
    check_golden(*state, "golden/chat/prompt_base.jsonl", 7);
    check_golden(*state, "golden/chat/prompt_fork.jsonl", 17);
    check_golden(*state, "golden/chat/ta4_history.jsonl", 8);
    check_golden(*state, "golden/chat/parse.jsonl", 17);
    check_golden(*state, "golden/chat/parse_hf.jsonl", 17);
    check_golden(*state, "golden/chat/http_client.jsonl", 5);
}

static void the_cases_of_the_release_vocabulary_hold(void **state)
{
    (void)state;
    test_tokenizer release;
    if (!test_tokenizer_release(&release))
        return;
    check_golden(&release, "golden/tokenizer/qwen2.jsonl", 678);
    check_golden(&release, "golden/chat/prompt_hf.jsonl", 21);
    check_golden(&release, "golden/chat/prompt_base.jsonl", 7);
    check_golden(&release, "golden/chat/prompt_fork.jsonl", 17);
    check_golden(&release, "golden/chat/ta4_history.jsonl", 8);
    test_tokenizer_free(&release);
}

/* Writes `text` as a file, checks it and returns the status. */
static sa2_status check_lines(const test_tokenizer *t, const char *text, tally *result,
                              sa2_error *err)
{
    char folder[512];
    char path[600];
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/any name", folder);
    test_write_file(path, text, strlen(text));
    sa2_status st = check(t, path, result, err);
    test_folder_remove(folder);
    return st;
}

static void a_case_that_fails_is_reported_with_its_first_difference(void **state)
{
    tally result;
    static const char *const cases[][2] = {
        {"{\"text\": \"Hello\", \"ids\": [39, 395, 7]}", "ids[2]: 7 expected, 353 found"},
        {"{\"text\": \"Hello\", \"ids\": []}", "ids: 0 expected, 3 found"},
        {"{\"decode\": true, \"ids\": [64], \"text\": \"b\"}", "text: \"b\" expected, \"a\" found"},
        {"{\"spoken\": true, \"ids\": [64, 1060], \"tts_text\": \"a\", \"codes\": [8], "
         "\"other\": \"\", \"content\": \"\", \"tool_calls\": []}",
         "codes[0]: 8 expected, 7 found"},
        {"{\"ids\": [64, 1060], \"text\": \"a\", \"codes\": []}", "codes: 0 expected, 1 found"},
        {"{\"tts_text\": \"a\", \"tts_audio\": \"x\", \"ids\": []}", "tts_audio: "},
        {"{\"messages\": [{\"role\": \"user\"}], \"prompt_ids\": [1]}",
         "prompt_ids[0]: 1 expected, 1023 found"},
        {"{\"messages\": [{\"content\": \"x\"}], \"prompt_ids\": [1]}", "a \"role\" expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(check_lines(*state, cases[i][0], &result, NULL), SA2_OK);
        assert_int_equal(result.n_failed, 1);
        assert_int_equal(result.n_ok, 0);
        assert_non_null(strstr(result.last, cases[i][1]));
    }
}

static void what_is_no_case_is_refused_with_its_line(void **state)
{
    tally result;
    sa2_error err = {0};
    assert_int_equal(
        check_lines(*state, "\n{\"text\": \"\", \"ids\": []}\n{\"a\": 1}\n", &result, &err),
        SA2_ERR_FORMAT);
    assert_int_equal(result.n_ok, 1);
    assert_non_null(strstr(err.message, "any name:3: not a case"));
    assert_int_equal(check_lines(*state, "{\"text\": ", &result, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "any name:1: JSON, line 1"));
    assert_int_equal(check_lines(*state, "\n \n", &result, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no case in it"));
    assert_int_equal(check(*state, "/nonexistent", &result, &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent: "));
}

static int load(void **state)
{
    static test_tokenizer tiny;
    test_tokenizer_tiny(&tiny);
    *state = &tiny;
    return 0;
}

static int unload(void **state)
{
    test_tokenizer_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cases_of_the_tiny_vocabulary_hold),
        cmocka_unit_test(the_cases_of_the_release_vocabulary_hold),
        cmocka_unit_test(a_case_that_fails_is_reported_with_its_first_difference),
        cmocka_unit_test(what_is_no_case_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
