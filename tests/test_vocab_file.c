/* Tokenizer files: every published form gives the same arrays; files that disagree have an order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader/vocab_file.h"
#include "tests/support/test_files.h"

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[1024];
    size_t n;
    snprintf(path, sizeof path, "%s/%s", from, name);
    char *text = test_read_file(path, &n);
    snprintf(path, sizeof path, "%s/%s", to, name);
    test_write_file(path, text, n);
    free(text);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    test_write_file(path, text, strlen(text));
}

static void assert_same(const sa2_vocab_file *a, const sa2_vocab_file *b)
{
    assert_int_equal(a->n_vocab, b->n_vocab);
    assert_int_equal(a->n_merges, b->n_merges);
    assert_int_equal(a->n_added, b->n_added);
    for (int i = 0; i < a->n_vocab; i++) {
        assert_int_equal(a->vocab[i].id, b->vocab[i].id);
        assert_string_equal(a->vocab[i].symbols, b->vocab[i].symbols);
    }
    for (int i = 0; i < a->n_merges; i++) {
        assert_string_equal(a->merges[i].left, b->merges[i].left);
        assert_string_equal(a->merges[i].right, b->merges[i].right);
    }
    for (int i = 0; i < a->n_added; i++) {
        assert_int_equal(a->added[i].id, b->added[i].id);
        assert_int_equal(a->added[i].special, b->added[i].special);
        assert_string_equal(a->added[i].content, b->added[i].content);
    }
    assert_string_equal(a->eos, b->eos);
    assert_string_equal(a->pad, b->pad);
}

static void the_tiny_tokenizer_is_read(void **state)
{
    (void)state;
    char folder[512];
    sa2_vocab_file v = {0};
    sa2_error err = {0};
    test_data(folder, sizeof folder, "golden/tiny_tokenizer");
    assert_int_equal(sa2_vocab_file_load(&v, folder, &err), SA2_OK);
    assert_int_equal(v.n_vocab, 1000);
    assert_int_equal(v.n_merges, 744);
    assert_int_equal(v.n_added, 22 + 31 + 6562);
    for (int i = 0; i < v.n_vocab; i++)
        assert_int_equal(v.vocab[i].id, i);
    assert_string_equal(v.vocab[0].symbols, "!");
    assert_string_equal(v.merges[1].left, "Ġ");
    assert_string_equal(v.merges[1].right, "\"");
    assert_int_equal(v.added[0].id, 1000);
    assert_string_equal(v.added[0].content, "<|endoftext|>");
    assert_true(v.added[0].special);
    assert_string_equal(v.added[14].content, "<tool_call>");
    assert_false(v.added[14].special);
    assert_string_equal(v.added[6614].content, "<audio_6561>");
    assert_int_equal(v.added[6614].id, 7614);
    assert_false(v.added[6614].special);
    assert_string_equal(v.eos, "<|endoftext|>");
    assert_string_equal(v.pad, "<|endoftext|>");
    sa2_vocab_file_destroy(&v);
}

static void every_form_gives_the_same_arrays(void **state)
{
    (void)state;
    /* Each without tokenizer.json, or with it alone but for the names of eos and pad. */
    static const char *const forms[][4] = {
        {"tokenizer.json", "special_tokens_map.json"},
        {"vocab.json", "merges.txt", "tokenizer_config.json"},
        {"vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json"},
    };
    char golden[512], folder[256];
    sa2_vocab_file whole = {0};
    test_data(golden, sizeof golden, "golden/tiny_tokenizer");
    assert_int_equal(sa2_vocab_file_load(&whole, golden, NULL), SA2_OK);
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        sa2_vocab_file v = {0};
        sa2_error err = {0};
        test_folder_create(folder, sizeof folder);
        for (int i = 0; i < 4 && forms[f][i] != NULL; i++)
            copy_file(golden, folder, forms[f][i]);
        sa2_vocab_file_load(&v, folder, &err);
        assert_string_equal(err.message, "");
        assert_same(&v, &whole);
        sa2_vocab_file_destroy(&v);
        test_folder_remove(folder);
    }
    sa2_vocab_file_destroy(&whole);
}

#define VOCAB "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"#\": 3, \"#a\": 4}"

static void merges_are_strings_or_pairs(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"model\": {" VOCAB ", \"merges\": [\"a b\", \"# a\"]}}",
        "{\"model\": {" VOCAB ", \"merges\": [[\"a\", \"b\"], [\"#\", \"a\"]]}}",
    };
    for (int i = 0; i < 2; i++) {
        sa2_vocab_file v = {0};
        sa2_error err = {0};
        assert_int_equal(sa2_vocab_file_parse(&v, texts[i], strlen(texts[i]), "t", &err), SA2_OK);
        assert_int_equal(v.n_merges, 2);
        assert_string_equal(v.merges[1].left, "#");
        assert_string_equal(v.merges[1].right, "a");
        assert_null(v.eos);
        sa2_vocab_file_destroy(&v);
    }
}

static void a_merges_file_may_have_a_version_line_and_none_at_its_end(void **state)
{
    (void)state;
    static const char *const texts[] = {"#version: 0.2\na b\n\n# a\n", "a b\r\n# a",
                                        "a b\n# a\n\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char folder[256];
        sa2_vocab_file v = {0};
        sa2_error err = {0};
        test_folder_create(folder, sizeof folder);
        write_text(folder, "vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"#\": 3, \"#a\": 4}");
        write_text(folder, "merges.txt", texts[i]);
        sa2_vocab_file_load(&v, folder, &err);
        assert_string_equal(err.message, "");
        assert_int_equal(v.n_merges, 2);
        assert_string_equal(v.merges[1].left, "#");
        sa2_vocab_file_destroy(&v);
        test_folder_remove(folder);
    }
}

static void the_decoder_of_the_configuration_wins(void **state)
{
    (void)state;
    char folder[256];
    sa2_vocab_file v = {0};
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    write_text(folder, "tokenizer.json",
               "{\"model\": {" VOCAB ", \"merges\": []}, \"added_tokens\": ["
               "{\"id\": 10, \"content\": \"<x>\", \"special\": false},"
               "{\"id\": 12, \"content\": \"<y>\", \"special\": false},"
               "{\"id\": 14, \"content\": \"<old>\", \"special\": false}]}");
    write_text(folder, "tokenizer_config.json",
               "{\"added_tokens_decoder\": {\"11\": {\"content\": \"<x>\", \"special\": true},"
               "\"14\": {\"content\": \"<new>\", \"special\": false}},"
               "\"eos_token\": {\"content\": \"<x>\"}}");
    write_text(folder, "added_tokens.json", "{\"<y>\": 99, \"<z>\": 13, \"<x>\": 10}");
    write_text(folder, "special_tokens_map.json",
               "{\"eos_token\": \"<y>\", \"pad_token\": \"<z>\","
               "\"additional_special_tokens\": [\"<new>\", {\"content\": \"<y>\"}]}");
    sa2_vocab_file_load(&v, folder, &err);
    assert_string_equal(err.message, "");
    static const sa2_added_entry want[] = {
        {"<x>", 11, true}, {"<y>", 12, true}, {"<z>", 13, true}, {"<new>", 14, true}};
    assert_int_equal(v.n_added, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(v.added[i].id, want[i].id);
        assert_string_equal(v.added[i].content, want[i].content);
        assert_int_equal(v.added[i].special, want[i].special);
    }
    assert_string_equal(v.eos, "<x>");
    assert_string_equal(v.pad, "<z>");
    sa2_vocab_file_destroy(&v);
    test_folder_remove(folder);
}

static void expect_refusal(const char *text, sa2_status status, const char *message)
{
    sa2_vocab_file v = {0};
    sa2_error err = {0};
    sa2_status st = sa2_vocab_file_parse(&v, text, strlen(text), "t", &err);
    assert_string_equal(err.message, message);
    assert_int_equal(st, status);
    assert_null(v.vocab);
}

static void mistakes_are_named_all_at_once(void **state)
{
    (void)state;
    expect_refusal("{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": -1, \"b\": 4194304,"
                   "\"c\": 1.5}, \"merges\": [\"a\", \"a  b\", \" b\", [\"a\"], 3]},"
                   "\"added_tokens\": [{\"content\": \"<x>\"}, {\"id\": 5}, 7,"
                   "{\"id\": 6, \"content\": \"<y>\", \"lstrip\": true},"
                   "{\"id\": 7, \"content\": \"<y>\"}]}",
                   SA2_ERR_UNSUPPORTED,
                   "t: model.type: BPE expected, WordPiece found\n"
                   "t: a: an id of 0 to 4194303 expected, -1 found\n"
                   "t: b: an id of 0 to 4194303 expected, 4194304 found\n"
                   "t: the id of c is no whole number\n"
                   "t: merge 0: two symbols and a space expected\n"
                   "t: merge 1: two symbols and a space expected\n"
                   "t: merge 2: two symbols and a space expected\n"
                   "t: merge 3: two symbols expected\n"
                   "t: merge 4: two symbols expected\n"
                   "t: added_tokens[0]: an id expected\n"
                   "t: added token 5: content expected\n"
                   "t: added_tokens[2]: an id expected\n"
                   "t: added token <y>: lstrip false expected\n"
                   "t: added token <y> twice");
    expect_refusal("{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 1}, \"merges\": "
                   "[\"a b\", \"a d\"]}, \"added_tokens\": [{\"id\": 0, \"content\": \"<x>\"},"
                   "{\"id\": 9, \"content\": \"<y>\"}, {\"id\": 9, \"content\": \"<z>\"}]}",
                   SA2_ERR_FORMAT,
                   "id 1: entry b and entry c\n"
                   "merge 0 (a b): ab is no entry\n"
                   "merge 1 (a d): d is no entry\n"
                   "merge 1 (a d): ad is no entry\n"
                   "id 0: entry a and added token <x>\n"
                   "id 9: added token <y> and added token <z>");
    expect_refusal("{\"model\": {\"vocab\": {}, \"merges\": []}}", SA2_ERR_FORMAT,
                   "the vocabulary has no entries");
    expect_refusal(
        "{\"model\": {\"vocab\": {}, \"merges\": [\"a b\"]}, \"added_tokens\": [{\"id\": 3, "
        "\"content\": \"<x>\"}]}",
        SA2_ERR_FORMAT, "the vocabulary has no entries");
    expect_refusal("{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}}}", SA2_ERR_FORMAT,
                   "t: line 1: duplicate object key near '\"a\"'");
    expect_refusal("{}", SA2_ERR_FORMAT,
                   "t: a vocabulary {symbols: id} expected\n"
                   "t: model.merges: a list expected");
    expect_refusal("[]", SA2_ERR_FORMAT, "t: not a JSON object");
}

static void a_folder_without_a_tokenizer_says_what_is_missing(void **state)
{
    (void)state;
    char folder[256], message[512];
    sa2_vocab_file v = {0};
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    assert_int_equal(sa2_vocab_file_load(&v, folder, &err), SA2_ERR_IO);
    snprintf(message, sizeof message, "%s: tokenizer.json, or vocab.json and merges.txt expected",
             folder);
    assert_string_equal(err.message, message);
    write_text(folder, "vocab.json", "{\"a\": 0}");
    assert_int_equal(sa2_vocab_file_load(&v, folder, &err), SA2_ERR_IO);
    snprintf(message, sizeof message, "%s: merges.txt expected beside vocab.json", folder);
    assert_string_equal(err.message, message);
    write_text(folder, "tokenizer.json", "");
    assert_int_equal(sa2_vocab_file_load(&v, folder, &err), SA2_ERR_FORMAT);
    snprintf(message, sizeof message, "%s/tokenizer.json: the file is empty", folder);
    assert_string_equal(err.message, message);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tiny_tokenizer_is_read),
        cmocka_unit_test(every_form_gives_the_same_arrays),
        cmocka_unit_test(merges_are_strings_or_pairs),
        cmocka_unit_test(a_merges_file_may_have_a_version_line_and_none_at_its_end),
        cmocka_unit_test(the_decoder_of_the_configuration_wins),
        cmocka_unit_test(mistakes_are_named_all_at_once),
        cmocka_unit_test(a_folder_without_a_tokenizer_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
