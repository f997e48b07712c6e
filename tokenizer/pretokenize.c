#include "tokenizer/pretokenize.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <utf8proc.h>

#include "tokenizer/utf8.h"

typedef enum char_class {
    LETTER, /* \p{L} */
    NUMBER, /* \p{N} */
    LINE,   /* \r and \n */
    SPACE,  /* the rest of \s */
    MARK,   /* everything else, combining marks too */
    END,    /* of the text */
} char_class;

/* White_Space of Unicode's PropList.txt without CR and LF. */
static bool is_space(int32_t code)
{
    return (code >= 0x09 && code <= 0x0c) || code == 0x20 || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

static char_class classify(int32_t code)
{
    if (code < 0x80) {
        if (code == '\r' || code == '\n')
            return LINE;
        if ((code | 0x20) >= 'a' && (code | 0x20) <= 'z')
            return LETTER;
        if (code >= '0' && code <= '9')
            return NUMBER;
        return is_space(code) ? SPACE : MARK;
    }
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    default:
        return is_space(code) ? SPACE : MARK;
    }
}

typedef struct place {
    char_class class;
    size_t next; /* where the following character starts */
} place;

static place look(const char *text, size_t n, size_t at)
{
    if (at >= n)
        return (place){.class = END, .next = n};
    int32_t code;
    size_t length = sa2_utf8_next(text + at, &code);
    return (place){.class = classify(code), .next = at + length};
}

/* The end of the run of `class` that starts at `at`, or `at`. */
static size_t run_end(const char *text, size_t n, size_t at, char_class class)
{
    place here = look(text, n, at);
    while (here.class == class) {
        at = here.next;
        here = look(text, n, at);
    }
    return at;
}

/* The length of 's 't 're 've 'm 'll 'd in any case, or 0. U+017F is a small s as well. */
static size_t contraction(const char *text, size_t n)
{
    if (n < 2 || text[0] != '\'')
        return 0;
    char first = (char)(text[1] | 0x20);
    if (strchr("stmd", first) != NULL)
        return 2;
    if (n < 3)
        return 0;
    char second = (char)(text[2] | 0x20);
    if (((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l'))
        return 3;
    return text[1] == '\xc5' && text[2] == '\xbf' ? 3 : 0;
}

/* Of a run of white space that starts at text: to its last line break, or else all of it, the last
 * character being left to what follows. */
static size_t space_end(const char *text, size_t n)
{
    size_t at = 0;
    size_t last = 0;       /* start of the last character */
    size_t after_line = 0; /* end of the last CR or LF */
    place here = look(text, n, 0);
    while (here.class == SPACE || here.class == LINE) {
        if (here.class == LINE)
            after_line = here.next;
        last = at;
        at = here.next;
        here = look(text, n, at);
    }
    if (after_line > 0)
        return after_line;
    return here.class == END || last == 0 ? at : last;
}

size_t sa2_pretoken_end(const char *text, size_t n)
{
    size_t end = contraction(text, n);
    if (end > 0)
        return end;
    place first = look(text, n, 0);
    place second = look(text, n, first.next);
    if (first.class == LETTER)
        return run_end(text, n, first.next, LETTER);
    if (first.class == NUMBER)
        return first.next;
    if (second.class == LETTER && first.class != LINE)
        return run_end(text, n, second.next, LETTER);
    if (first.class == MARK || (text[0] == ' ' && second.class == MARK))
        return run_end(text, n, run_end(text, n, first.next, MARK), LINE);
    return space_end(text, n);
}
