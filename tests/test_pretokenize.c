/* Pre-tokens: the hand-written matcher against the pattern, alternative by alternative. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

#include "tokenizer/pretokenize.h"

enum { MAX_CHARACTERS = 40 };

/* Code points of a text, ended by -1, on which the reference works. */
typedef struct code_text {
    int32_t codes[MAX_CHARACTERS + 1];
} code_text;

static bool is_letter(int32_t c)
{
    return c >= 0 && utf8proc_category_string(c)[0] == 'L';
}

static bool is_number(int32_t c)
{
    return c >= 0 && utf8proc_category_string(c)[0] == 'N';
}

static bool is_space(int32_t c)
{
    static const int32_t others[] = {0x20,   0x85,   0xa0,   0x1680, 0x2028,
                                     0x2029, 0x202f, 0x205f, 0x3000};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (c == others[i])
            return true;
    }
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x2000 && c <= 0x200a);
}

static bool is_line(int32_t c)
{
    return c == '\r' || c == '\n';
}

static bool is_other(int32_t c)
{
    return c >= 0 && !is_space(c) && !is_letter(c) && !is_number(c);
}

static int run(const int32_t *c, bool (*holds)(int32_t))
{
    int n = 0;
    while (holds(c[n]))
        n++;
    return n;
}

static int apostrophe(const int32_t *c)
{
    static const char *const tails[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    for (size_t i = 0; c[0] == '\'' && i < sizeof tails / sizeof tails[0]; i++) {
        int n = 0;
        while (tails[i][n] != '\0' &&
               ((c[1 + n] | 0x20) == tails[i][n] || (c[1 + n] == 0x17f && tails[i][n] == 's')))
            n++;
        if (tails[i][n] == '\0')
            return 1 + n;
    }
    return 0;
}

/* [^\r\n\p{L}\p{N}]?\p{L}+ : with the optional character first, then without. */
static int word(const int32_t *c)
{
    bool may_lead = c[0] >= 0 && !is_line(c[0]) && !is_letter(c[0]) && !is_number(c[0]);
    if (may_lead && is_letter(c[1]))
        return 1 + run(c + 1, is_letter);
    return run(c, is_letter);
}

/*  ?[^\s\p{L}\p{N}]+[\r\n]* */
static int marks(const int32_t *c)
{
    int lead = c[0] == ' ' && is_other(c[1]) ? 1 : 0;
    int n = run(c + lead, is_other);
    return n == 0 ? 0 : lead + n + run(c + lead + n, is_line);
}

/* \s*[\r\n]+ : \s* gives back until a line break follows. */
static int lines(const int32_t *c)
{
    int n = run(c, is_space);
    while (n > 0 && !is_line(c[n - 1]))
        n--;
    return n;
}

/* \s+(?!\S) : gives back until no other character follows. */
static int spaces_before_no_text(const int32_t *c)
{
    int n = run(c, is_space);
    while (n > 0 && c[n] >= 0 && !is_space(c[n]))
        n--;
    return n;
}

/* The length of the first match in characters. */
static int by_pattern(const int32_t *c)
{
    int n = apostrophe(c);
    if (n == 0)
        n = word(c);
    if (n == 0)
        n = is_number(c[0]) ? 1 : 0;
    if (n == 0)
        n = marks(c);
    if (n == 0)
        n = lines(c);
    if (n == 0)
        n = spaces_before_no_text(c);
    return n > 0 ? n : run(c, is_space);
}

static const int32_t alphabet[] = {
    'a',    's',    't',    'R',    'e',    'v',    'M',   'l',   'd',    '\'',    '\'',    '0',
    '9',    ' ',    ' ',    ' ',    '\t',   '\r',   '\n',  '\n',  '!',    '<',     '_',     0x0b,
    0x1c,   0x85,   0xa0,   0xb2,   0xbd,   0xe9,   0x17f, 0x301, 0x345,  0x0661,  0x1680,  0x200b,
    0x200d, 0x2028, 0x2160, 0x3000, 0x4e2d, 0x212a, 0xad,  0x378, 0xe000, 0x1f600, 0xe0100,
};

static void every_text_is_cut_as_the_pattern_says(void **state)
{
    (void)state;
    srand(3);
    for (int round = 0; round < 400000; round++) {
        code_text c;
        char text[4 * MAX_CHARACTERS];
        size_t n = 0;
        int n_codes = 1 + rand() % 12;
        for (int i = 0; i < n_codes; i++) {
            c.codes[i] = alphabet[(size_t)rand() % (sizeof alphabet / sizeof alphabet[0])];
            n += (size_t)utf8proc_encode_char(c.codes[i], (utf8proc_uint8_t *)text + n);
        }
        c.codes[n_codes] = -1;
        size_t at = 0;
        for (int i = 0; i < n_codes;) {
            int length = by_pattern(c.codes + i);
            size_t want = 0;
            char character[4];
            for (int j = i; j < i + length; j++)
                want += (size_t)utf8proc_encode_char(c.codes[j], (utf8proc_uint8_t *)character);
            if (sa2_pretoken_end(text + at, n - at) != want)
                fail_msg("\"%.*s\" at byte %zu: %zu expected", (int)n, text, at, want);
            at += want;
            i += length;
        }
    }
}

static void a_pretoken_never_looks_beyond_the_text(void **state)
{
    (void)state;
    /* Each text ends exactly at the end of its block, where the sanitizer watches. */
    static const char *const texts[] = {"'",   "'r", "'l", "a",      " ",       "\t",
                                        "\n ", " !", "9",  "\u3000", "'\u017f", "!\r"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t n = strlen(texts[i]);
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, texts[i], n);
        size_t end = sa2_pretoken_end(copy, n);
        assert_in_range(end, 1, n);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_is_cut_as_the_pattern_says),
        cmocka_unit_test(a_pretoken_never_looks_beyond_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
