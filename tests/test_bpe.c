/* Text to ids and back, for any text, and vocabularies with mistakes; golden cases are in
 * test_check_text.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

#include "tests/support/test_files.h"
#include "tests/support/test_tokenizer.h"
#include "tokenizer/byte_symbols.h"
#include "tokenizer/text_stream.h"

/* ---- what holds for any text ---- */

/* Characters that meet every rule: letters, digits, quotes, all kinds of space, marks, jamo,
 * emoji, characters that change under NFC. */
static const int32_t alphabet[] = {
    'a',    'S',    'e',    '\'',   '1',    ' ',    ' ',     '\t',     '\r',   '\n',   '\n',
    '!',    '<',    0xa0,   0xe9,   0x301,  0x323,  0x327,   0x3000,   0x4f60, 0x1100, 0x1161,
    0x11a8, 0xac00, 0x9be,  0x9c7,  0x212b, 0xf900, 0x1f600, 0x10ffff, 0xfffd, 0x17f,  0,
    0x2126, 0x958,  0xfb1d, 0x1e9b, 0x338,  0x226e, 0x1d15e, 0xff21,   0xbd,   0x2028,
};

static size_t random_text(char *text, size_t max_characters)
{
    size_t n = 0;
    size_t characters = (size_t)rand() % (max_characters + 1);
    for (size_t i = 0; i < characters; i++) {
        utf8proc_int32_t code = alphabet[(size_t)rand() % (sizeof alphabet / sizeof alphabet[0])];
        n += (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)text + n);
    }
    return n;
}

static void decoding_what_was_encoded_gives_the_text_in_nfc(void **state)
{
    const test_tokenizer *t = *state;
    srand(1);
    for (int round = 0; round < 5000; round++) {
        char text[4 * 40];
        size_t n = random_text(text, 40);
        sa2_ids ids = {0};
        sa2_bytes back = {0};
        assert_int_equal(sa2_encode(t->encoder, text, n, (sa2_span){0, n}, &ids, NULL), SA2_OK);
        assert_int_equal(sa2_decode(t->tokenizer, ids.data, ids.n, false, &back, NULL), SA2_OK);
        utf8proc_uint8_t *want = NULL;
        utf8proc_ssize_t n_want = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n,
                                               &want, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        assert_int_equal(back.n, n_want);
        assert_memory_equal(sa2_bytes_text(&back), want, back.n);
        free(want);
        sa2_ids_free(&ids);
        sa2_bytes_free(&back);
    }
}

static void every_character_gives_its_nfc(void **state)
{
    const test_tokenizer *t = *state;
    for (int32_t code = 0; code < 0x110000; code += code < 0x30000 ? 1 : 97) {
        if (code >= 0xd800 && code < 0xe000)
            continue;
        char text[6] = {'e'};
        size_t n = 1 + (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)text + 1);
        sa2_ids ids = {0};
        sa2_bytes back = {0};
        sa2_encode(t->encoder, text, n, (sa2_span){0}, &ids, NULL);
        sa2_decode(t->tokenizer, ids.data, ids.n, false, &back, NULL);
        utf8proc_uint8_t *want = NULL;
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &want,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        assert_memory_equal(sa2_bytes_text(&back), want, back.n);
        free(want);
        sa2_ids_free(&ids);
        sa2_bytes_free(&back);
    }
}

static void ill_formed_bytes_are_encoded_as_replacement_characters(void **state)
{
    const test_tokenizer *t = *state;
    static const char bad[] = "a\xff"
                              "\xe4\xbd!\xf0\x9f<|EOT|>\xed\xa0\x80";
    static const char good[] = "a\xef\xbf\xbd\xef\xbf\xbd!\xef\xbf\xbd<|EOT|>"
                               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd";
    sa2_ids a = {0};
    sa2_ids b = {0};
    sa2_encode(t->encoder, bad, sizeof bad - 1, (sa2_span){0}, &a, NULL);
    sa2_encode(t->encoder, good, sizeof good - 1, (sa2_span){0}, &b, NULL);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.data, b.data, a.n * sizeof *a.data);

    /* The literal span keeps its place when bytes before it are replaced. */
    sa2_ids_clear(&a);
    sa2_ids_clear(&b);
    sa2_encode(t->encoder, bad, sizeof bad - 1, (sa2_span){7, 8}, &a, NULL);
    sa2_encode(t->encoder, good, sizeof good - 1, (sa2_span){11, 12}, &b, NULL);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.data, b.data, a.n * sizeof *a.data);
    sa2_ids_free(&a);
    sa2_ids_free(&b);
}

static void a_literal_span_hides_added_tokens_and_joins_what_is_round_it(void **state)
{
    const test_tokenizer *t = *state;
    static const char text[] = "<|BOT|>human\n\n<|EOT|>x<|EOT|>";
    static const char joined[] = "human\n\n<|EOT|>x";
    sa2_ids found = {0};
    sa2_ids plain = {0};
    assert_int_equal(sa2_encode(t->encoder, text, sizeof text - 1,
                                (sa2_span){13, sizeof text - 1 - 7}, &found, NULL),
                     SA2_OK);
    sa2_encode(t->encoder, joined, sizeof joined - 1, (sa2_span){0, sizeof joined - 1}, &plain,
               NULL);
    assert_int_equal(found.n, plain.n + 2);
    assert_int_equal(found.data[0], t->special.turn_begin);
    assert_memory_equal(found.data + 1, plain.data, plain.n * sizeof *plain.data);
    assert_int_equal(found.data[found.n - 1], t->special.turn_end);
    for (size_t i = 0; i < plain.n; i++)
        assert_int_not_equal(plain.data[i], t->special.turn_end);
    sa2_ids_free(&found);
    sa2_ids_free(&plain);
}

/* ---- the definition of merging, on strings ---- */

enum { MAX_PARTS = 64 };

static size_t rank_of(const test_tokenizer_file *file, const char *left, const char *right)
{
    size_t rank = 0;
    while (rank < file->source.n_merges && (strcmp(file->merges[rank].left, left) != 0 ||
                                            strcmp(file->merges[rank].right, right) != 0))
        rank++;
    return rank;
}

/* Merges every occurrence of the pair of lowest rank, again and again. Returns how many parts of
 * `word` are left. */
static size_t merge_by_definition(const test_tokenizer_file *file, const char *word,
                                  char parts[MAX_PARTS][MAX_PARTS + 1])
{
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++)
        snprintf(parts[i], MAX_PARTS + 1, "%c", word[i]);
    for (;;) {
        size_t least = file->source.n_merges;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t rank = rank_of(file, parts[i], parts[i + 1]);
            if (rank < least)
                least = rank;
        }
        if (least == file->source.n_merges)
            return n;
        size_t kept = 0;
        for (size_t i = 0; i < n; kept++) {
            bool merges = i + 1 < n && rank_of(file, parts[i], parts[i + 1]) == least;
            char whole[2 * MAX_PARTS + 2];
            snprintf(whole, sizeof whole, "%s%s", parts[i], merges ? parts[i + 1] : "");
            memcpy(parts[kept], whole, strlen(whole) + 1);
            i += merges ? 2 : 1;
        }
        n = kept;
    }
}

static void words_are_merged_by_the_definition(void **state)
{
    const test_tokenizer *t = *state;
    char path[1024];
    test_tokenizer_file file;
    test_tokenizer_file_read(&file, test_data(path, sizeof path, "golden/tiny_tokenizer"));
    srand(2);
    for (int round = 0; round < 300; round++) {
        char word[MAX_PARTS + 1];
        size_t n = 1 + (size_t)rand() % MAX_PARTS;
        for (size_t i = 0; i < n; i++)
            word[i] = "aeiourstnlhd"[rand() % 12];
        word[n] = '\0';
        char parts[MAX_PARTS][MAX_PARTS + 1];
        size_t n_parts = merge_by_definition(&file, word, parts);
        sa2_ids ids = {0};
        assert_int_equal(sa2_encode(t->encoder, word, n, (sa2_span){0}, &ids, NULL), SA2_OK);
        assert_int_equal(ids.n, n_parts);
        for (size_t i = 0; i < n_parts; i++) {
            sa2_token token;
            assert_true(sa2_tokenizer_token(t->tokenizer, ids.data[i], &token));
            assert_string_equal(token.bytes, parts[i]);
        }
        sa2_ids_free(&ids);
    }
    test_tokenizer_file_free(&file);
}

static void a_pretoken_dollar_megabyte_is_encoded(void **state)
{
    const test_tokenizer *t = *state;
    enum { N = 1 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    for (size_t i = 0; i < N; i++)
        text[i] = "theandin"[(i * i + i / 3) % 8];
    sa2_ids ids = {0};
    sa2_bytes back = {0};
    assert_int_equal(sa2_encode(t->encoder, text, N, (sa2_span){0}, &ids, NULL), SA2_OK);
    assert_true(ids.n < N);
    sa2_decode(t->tokenizer, ids.data, ids.n, false, &back, NULL);
    assert_int_equal(back.n, N);
    assert_memory_equal(back.data, text, N);
    sa2_bytes_free(&back);
    sa2_ids_free(&ids);
    free(text);
}

static void a_long_run_of_marks_is_put_in_order_in_linear_time(void **state)
{
    const test_tokenizer *t = *state;
    enum { PAIRS = 1 << 17 };
    sa2_bytes text = {0};
    for (int i = 0; i < PAIRS; i++)
        sa2_bytes_append_text(&text, "\xcc\x81\xcc\xa3"); /* classes 230, 220 */
    sa2_ids ids = {0};
    sa2_bytes back = {0};
    assert_int_equal(sa2_encode(t->encoder, text.data, text.n, (sa2_span){0}, &ids, NULL), SA2_OK);
    sa2_decode(t->tokenizer, ids.data, ids.n, false, &back, NULL);
    assert_int_equal(back.n, text.n);
    for (size_t i = 0; i < text.n; i += 2)
        assert_memory_equal(back.data + i, i < text.n / 2 ? "\xcc\xa3" : "\xcc\x81", 2);
    sa2_bytes_free(&back);
    sa2_bytes_free(&text);
    sa2_ids_free(&ids);
}

/* ---- the vocabulary ---- */

static void symbols_stand_for_bytes(void **state)
{
    (void)state;
    char bytes[16];
    size_t n = 0;
    /* space, line feed, tab, 0x00, 0x7f, 0xa0, 0xad, then two that stand for themselves */
    static const char symbols[] = "\u0120\u010a\u0109\u0100\u0121\u0142\u0143!\u00ff";
    assert_true(sa2_byte_symbols_to_bytes(symbols, bytes, &n));
    assert_int_equal(n, 9);
    assert_memory_equal(bytes, " \n\t\0\x7f\xa0\xad!\xff", 9);
    assert_false(sa2_byte_symbols_to_bytes("a b", bytes, &n));
    assert_false(sa2_byte_symbols_to_bytes("\u0144", bytes, &n));
    assert_false(sa2_byte_symbols_to_bytes("\xff", bytes, &n));
}

static void every_mistake_dollar_vocabulary_is_reported(void **state)
{
    (void)state;
    char path[1024];
    test_tokenizer_file file;
    test_tokenizer_file_read(&file, test_data(path, sizeof path, "golden/tiny_tokenizer"));
    sa2_tokenizer *tokenizer = NULL;
    sa2_error err = {0};
    int32_t dollar = -1; /* a byte that no merge needs */
    for (size_t i = 0; i < file.source.n_vocab; i++) {
        if (strcmp(file.vocab[i].symbols, "$") == 0)
            dollar = file.vocab[i].id;
    }
    assert_true(dollar >= 0);
    for (size_t i = 0; i < file.source.n_vocab; i++) {
        if (file.vocab[i].id == dollar)
            file.vocab[i].symbols = "a b";
    }
    file.merges[3].left = "nosuch";
    file.merges[5] = file.merges[4];
    file.added[1].id = file.added[0].id;
    file.added[3].content = file.added[2].content;
    assert_int_equal(sa2_tokenizer_create(&tokenizer, &file.source, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "\"a b\" is not made of byte symbols"));
    assert_non_null(strstr(err.message, "no token for byte 0x24"));
    assert_non_null(strstr(err.message, "merge 3 \"nosuch"));
    assert_non_null(strstr(err.message, "merge 5 "));
    assert_non_null(strstr(err.message, "is there twice"));
    assert_non_null(strstr(err.message, "belongs to \"<|endoftext|>\" already"));
    assert_non_null(strstr(err.message, "given with ids 1002 and 1003"));

    file.added[1].id = INT32_MAX;
    assert_int_equal(sa2_tokenizer_create(&tokenizer, &file.source, &err), SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "\"<|im_start|>\" has id 2147483647"));
    assert_null(tokenizer);
    test_tokenizer_file_free(&file);
}

static void missing_control_tokens_are_named_together(void **state)
{
    (void)state;
    char path[1024];
    test_tokenizer_file file;
    test_tokenizer_file_read(&file, test_data(path, sizeof path, "golden/tiny_tokenizer"));
    sa2_tokenizer *tokenizer = NULL;
    sa2_special special;
    sa2_error err = {0};
    for (size_t i = 0; i < file.source.n_added; i++) {
        if (strcmp(file.added[i].content, "<tts_pad>") == 0 ||
            strcmp(file.added[i].content, "</tool_call>") == 0)
            file.added[i].content = file.added[i].content[1] == '/' ? "gone" : "lost";
    }
    assert_int_equal(sa2_tokenizer_create(&tokenizer, &file.source, &err), SA2_OK);
    assert_int_equal(sa2_special_find(&special, tokenizer, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no added token <tts_pad>"));
    assert_non_null(strstr(err.message, "no added token </tool_call>"));
    sa2_tokenizer_destroy(tokenizer);
    test_tokenizer_file_free(&file);
}

static void control_tokens_are_found_by_their_text(void **state)
{
    const test_tokenizer *t = *state;
    assert_int_equal(t->special.turn_end, 1022);
    assert_int_equal(t->special.speech_first, 1053);
    assert_int_equal(t->special.speech_pad, 1053 + SA2_SPEECH_CODES);
    assert_true(sa2_special_is_stop(&t->special, t->special.end_of_text));
    assert_false(sa2_special_is_stop(&t->special, t->special.tts_end));
    assert_true(sa2_special_is_speech(&t->special, t->special.speech_pad - 1));
    assert_false(sa2_special_is_speech(&t->special, t->special.speech_pad));
    assert_int_equal(sa2_tokenizer_find_added(t->tokenizer, "<|EOT|"), -1);
    assert_int_equal(sa2_tokenizer_find_added(t->tokenizer, "<|EOT|>>"), -1);
    assert_int_equal(sa2_tokenizer_n_ids(t->tokenizer), 7615);
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
        cmocka_unit_test(decoding_what_was_encoded_gives_the_text_in_nfc),
        cmocka_unit_test(every_character_gives_its_nfc),
        cmocka_unit_test(ill_formed_bytes_are_encoded_as_replacement_characters),
        cmocka_unit_test(a_literal_span_hides_added_tokens_and_joins_what_is_round_it),
        cmocka_unit_test(words_are_merged_by_the_definition),
        cmocka_unit_test(a_pretoken_dollar_megabyte_is_encoded),
        cmocka_unit_test(a_long_run_of_marks_is_put_in_order_in_linear_time),
        cmocka_unit_test(symbols_stand_for_bytes),
        cmocka_unit_test(every_mistake_dollar_vocabulary_is_reported),
        cmocka_unit_test(missing_control_tokens_are_named_together),
        cmocka_unit_test(control_tokens_are_found_by_their_text),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
