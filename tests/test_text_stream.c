/* Streamed text: whatever the cuts, the same characters, none sent before it is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

#include "tests/support/test_tokenizer.h"
#include "tokenizer/text_stream.h"
#include "tokenizer/utf8.h"

static void check(const char *bytes, size_t n, const char *want)
{
    for (size_t cut = 0; cut <= n; cut++) {
        for (size_t second = cut; second <= n; second++) {
            sa2_text_stream stream = {0};
            sa2_bytes out = {0};
            sa2_text_stream_push(&stream, bytes, cut, &out);
            assert_int_equal(sa2_utf8_valid(sa2_bytes_text(&out), out.n), out.n);
            sa2_text_stream_push(&stream, bytes + cut, second - cut, &out);
            assert_int_equal(sa2_utf8_valid(sa2_bytes_text(&out), out.n), out.n);
            sa2_text_stream_push(&stream, bytes + second, n - second, &out);
            sa2_text_stream_flush(&stream, &out);
            assert_int_equal(out.n, strlen(want));
            assert_memory_equal(sa2_bytes_text(&out), want, out.n);
            sa2_bytes_free(&out);
        }
    }
}

/* The examples of the Unicode Standard 15, tables 3-8 to 3-11, and their like. */
static void each_maximal_subpart_becomes_one_replacement_at_every_cut(void **state)
{
    (void)state;
    check("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", 9,
          "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdA");
    check("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", 9,
          "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdA");
    check("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", 9,
          "\ufffd\ufffd\ufffd\ufffd\ufffdA\ufffd\ufffdB");
    check("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", 9, "\ufffd\ufffd\ufffd\ufffdA");
    check("\xf0\x9f\x98\x80\xe4\xbd\xa0\xc3\xa9z", 10, "\U0001f600\u4f60\u00e9z");
    check("a\xf0\x9f\x98", 4, "a\ufffd");
    check("", 0, "");
}

static void only_the_start_of_a_character_is_held_back(void **state)
{
    (void)state;
    sa2_text_stream stream = {0};
    sa2_bytes out = {0};
    sa2_text_stream_push(&stream, "ab\xe4\xbd", 4, &out);
    assert_string_equal(out.data, "ab");
    sa2_text_stream_push(&stream, "c", 1, &out);
    assert_string_equal(out.data, "ab\ufffdc");
    sa2_text_stream_push(&stream, "\xff", 1, &out);
    assert_string_equal(out.data, "ab\ufffdc\ufffd");
    sa2_bytes_free(&out);
}

/* Table 3-7 by an independent route: a sequence is a character when utf8proc says so. */
static void well_formed_is_what_the_standard_says(void **state)
{
    (void)state;
    srand(4);
    for (int i = 0; i < 1000000; i++) {
        unsigned char t[4];
        for (int j = 0; j < 4; j++)
            t[j] = (unsigned char)(j == 0 || rand() % 8 == 0 ? rand() : 0x80 | (rand() & 0x3f));
        utf8proc_int32_t want;
        utf8proc_ssize_t n = utf8proc_iterate(t, 4, &want);
        int32_t found;
        size_t length = sa2_utf8_read((const char *)t, 4, &found);
        assert_int_equal(found < 0, n < 0);
        if (n < 0)
            continue;
        char back[4];
        assert_int_equal(found, want);
        assert_int_equal(length, n);
        assert_int_equal(sa2_utf8_next((const char *)t, &found), length);
        assert_int_equal(found, want);
        assert_int_equal(sa2_utf8_write(found, back), length);
        assert_memory_equal(back, t, length);
    }
}

static void ids_streamed_give_the_text_of_all_of_them(void **state)
{
    test_tokenizer t;
    (void)state;
    test_tokenizer_tiny(&t);
    srand(5);
    for (int round = 0; round < 2000; round++) {
        int32_t ids[24];
        for (int i = 0; i < 24; i++)
            ids[i] = rand() % 4 > 0 ? rand() % 256 : rand() % 7700 - 10;
        for (int skip = 0; skip < 2; skip++) {
            sa2_bytes whole = {0};
            sa2_bytes parts = {0};
            sa2_bytes raw = {0};
            sa2_text_stream stream = {0};
            assert_int_equal(sa2_decode(t.tokenizer, ids, 24, skip, &whole, NULL), SA2_OK);
            for (int i = 0; i < 24; i++) {
                sa2_token token;
                sa2_text_stream_push_id(&stream, t.tokenizer, ids[i], skip, &parts);
                if (sa2_tokenizer_token(t.tokenizer, ids[i], &token) && !(skip && token.skipped))
                    sa2_bytes_append(&raw, token.bytes, token.n);
            }
            sa2_text_stream_flush(&stream, &parts);
            assert_string_equal(sa2_bytes_text(&parts), sa2_bytes_text(&whole));
            sa2_bytes_clear(&parts);
            sa2_utf8_repair(sa2_bytes_text(&raw), raw.n, &parts);
            assert_string_equal(sa2_bytes_text(&parts), sa2_bytes_text(&whole));
            sa2_bytes_free(&whole);
            sa2_bytes_free(&parts);
            sa2_bytes_free(&raw);
        }
    }
    test_tokenizer_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_maximal_subpart_becomes_one_replacement_at_every_cut),
        cmocka_unit_test(only_the_start_of_a_character_is_held_back),
        cmocka_unit_test(well_formed_is_what_the_standard_says),
        cmocka_unit_test(ids_streamed_give_the_text_of_all_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
