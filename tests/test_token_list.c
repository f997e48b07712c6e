/* Speech tokens as text: every spelling gives the same list, and every mistake is told with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/token_list.h"

enum { VOCAB = 6561, MOST = 5 };

static sa2_status parse(const char *text, size_t bytes, int32_t **tokens, int *n, sa2_error *err)
{
    char *copy = malloc(bytes + 1); /* without a 0 behind it: reading on is seen by the sanitizer */
    assert_non_null(copy);
    memcpy(copy, text, bytes);
    char *tight = realloc(copy, bytes > 0 ? bytes : 1);
    assert_non_null(tight);
    sa2_status st = sa2_token_list_parse(tokens, n, tight, bytes, "t.txt", VOCAB, MOST, err);
    free(tight);
    return st;
}

static void every_spelling_gives_the_same_tokens(void **state)
{
    (void)state;
    static const char *const spellings[] = {
        "0 17 6560",     "0,17,6560", " 0 ,\t17\r\n,6560\n", "[0,17,6560]", "\n[ 0 , 17 , 6560 ]\n",
        "00 0017 06560",
    };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        int32_t *tokens;
        int n;
        sa2_error err = {0};
        if (parse(spellings[i], strlen(spellings[i]), &tokens, &n, &err) != SA2_OK)
            fail_msg("%s: %s", spellings[i], err.message);
        assert_int_equal(n, 3);
        assert_int_equal(tokens[0], 0);
        assert_int_equal(tokens[1], 17);
        assert_int_equal(tokens[2], 6560);
        free(tokens);
    }
}

static void a_list_as_long_as_is_taken_is_taken(void **state)
{
    (void)state;
    int32_t *tokens;
    int n;
    sa2_error err = {0};
    assert_int_equal(parse("1 2 3 4 5\n", 10, &tokens, &n, &err), SA2_OK);
    assert_int_equal(n, MOST);
    free(tokens);
}

static void every_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        sa2_status status;
    } mistakes[] = {
        {"", "line 1, column 1: a token from 0 to 6560 expected, the end found", SA2_ERR_FORMAT},
        {" \n\n ", "line 3, column 2: a token from 0 to 6560 expected, the end found",
         SA2_ERR_FORMAT},
        {"[]", "column 2: a token from 0 to 6560 expected, \"]\" found", SA2_ERR_FORMAT},
        {"1 6561", "line 1, column 3: a token from 0 to 6560 expected, \"6561\" found",
         SA2_ERR_FORMAT},
        {"1\n2 99999999999999999999999999999999999999",
         "line 2, column 3: a token from 0 to 6560 expected, \"999999999999999999999999...\"",
         SA2_ERR_FORMAT},
        {"1,-1", "column 3: a token from 0 to 6560 expected, \"-1\" found", SA2_ERR_FORMAT},
        {"1.5", "column 1: a token from 0 to 6560 expected, \"1.5\" found", SA2_ERR_FORMAT},
        {"12a 3", "column 1: a token from 0 to 6560 expected, \"12a\" found", SA2_ERR_FORMAT},
        {"1 \x01\xff", "column 3: a token from 0 to 6560 expected, \"?\?\" found", SA2_ERR_FORMAT},
        {"1,,2", "column 3: a token from 0 to 6560 expected, \",2\" found", SA2_ERR_FORMAT},
        {",1", "column 1: a token from 0 to 6560 expected", SA2_ERR_FORMAT},
        {"1,", "column 3: a token from 0 to 6560 expected, the end found", SA2_ERR_FORMAT},
        {"[1,]", "column 4: a token from 0 to 6560 expected, \"]\" found", SA2_ERR_FORMAT},
        {"[1 2]", "column 4: a comma or \"]\" expected, \"2\" found", SA2_ERR_FORMAT},
        {"[1, 2", "column 6: a comma or \"]\" expected, the end found", SA2_ERR_FORMAT},
        {"[1] 2", "column 5: nothing behind the list expected, \"2\" found", SA2_ERR_FORMAT},
        {"1]", "column 2: a token from 0 to 6560 expected, \"]\" found", SA2_ERR_FORMAT},
        {"1 2 3 4 5 6", "column 11: no more than 5 tokens expected, \"6\" found", SA2_ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        int32_t *tokens;
        int n;
        sa2_error err = {0};
        const char *text = mistakes[i].text;
        assert_int_equal(parse(text, strlen(text), &tokens, &n, &err), mistakes[i].status);
        assert_null(tokens);
        assert_int_equal(n, 0);
        if (strncmp(err.message, "t.txt: line ", 12) != 0 ||
            strstr(err.message, mistakes[i].message) == NULL)
            fail_msg("\"%s\": %s", text, err.message);
    }
}

static void a_zero_byte_is_no_end(void **state)
{
    (void)state;
    int32_t *tokens;
    int n;
    sa2_error err = {0};
    assert_int_equal(parse("1 \0 2", 5, &tokens, &n, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "column 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_gives_the_same_tokens),
        cmocka_unit_test(a_list_as_long_as_is_taken_is_taken),
        cmocka_unit_test(every_mistake_is_told_with_its_place),
        cmocka_unit_test(a_zero_byte_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
