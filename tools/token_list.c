#include "tools/token_list.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    const char *text, *at, *end;
    const char *origin;
    int vocab;
} reader;

enum { SHOWN = 24 }; /* bytes of what is wrong, in a message */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool ends_word(const reader *r, const char *at)
{
    return at == r->end || is_blank(*at) || *at == ',' || *at == ']';
}

/* What stands at the reader's place, fit to be printed. */
static void show_word(const reader *r, char shown[SHOWN + 4])
{
    size_t n = 0;
    const char *at = r->at;
    do {
        char c = '?';
        if (*at > ' ' && *at < 127)
            c = *at;
        shown[n++] = c;
        at++;
    } while (n < SHOWN && !ends_word(r, at));
    snprintf(shown + n, 4, "%s", ends_word(r, at) ? "" : "...");
}

static sa2_status refuse(const reader *r, sa2_error *err, sa2_status st, const char *expected, ...)
    __attribute__((format(printf, 4, 5)));

/* "tokens.txt: line 3, column 7: <what was expected>, "12a" found". */
static sa2_status refuse(const reader *r, sa2_error *err, sa2_status st, const char *expected, ...)
{
    char wanted[128], shown[SHOWN + 4];
    int line = 1;
    const char *start = r->text;
    for (const char *at = r->text; at < r->at; at++)
        if (*at == '\n') {
            line++;
            start = at + 1;
        }
    va_list args;
    va_start(args, expected);
    vsnprintf(wanted, sizeof wanted, expected, args);
    va_end(args);
    if (r->at == r->end)
        return sa2_fail(err, st, "%s: line %d, column %td: %s, the end found", r->origin, line,
                        r->at - start + 1, wanted);
    show_word(r, shown);
    return sa2_fail(err, st, "%s: line %d, column %td: %s, \"%s\" found", r->origin, line,
                    r->at - start + 1, wanted, shown);
}

static void skip_blanks(reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

/* The number at the reader's place, which moves behind it. */
static sa2_status read_token(reader *r, int32_t *token, sa2_error *err)
{
    int64_t value = 0;
    const char *at = r->at;
    while (at < r->end && is_digit(*at) && value < r->vocab)
        value = 10 * value + (*at++ - '0');
    if (at == r->at || !ends_word(r, at) || value >= r->vocab)
        return refuse(r, err, SA2_ERR_FORMAT, "a token from 0 to %d expected", r->vocab - 1);
    *token = (int32_t)value;
    r->at = at;
    return SA2_OK;
}

/* From one number to the next: blanks, with one comma among them, which must be there within brackets. *more: a
 * number must follow. */
static sa2_status read_gap(reader *r, bool brackets, bool *more, sa2_error *err)
{
    skip_blanks(r);
    bool comma = r->at < r->end && *r->at == ',';
    if (comma) {
        r->at++;
        skip_blanks(r);
    }
    *more = comma || (!brackets && r->at < r->end);
    if (brackets && !comma && (r->at == r->end || *r->at != ']'))
        return refuse(r, err, SA2_ERR_FORMAT, "a comma or \"]\" expected");
    return SA2_OK;
}

static sa2_status read_all(reader *r, int32_t *tokens, int *n, int most, sa2_error *err)
{
    skip_blanks(r);
    bool brackets = r->at < r->end && *r->at == '[', more = true;
    if (brackets)
        r->at++;
    for (*n = 0; more; (*n)++) {
        skip_blanks(r);
        if (*n == most)
            return refuse(r, err, SA2_ERR_LIMIT, "no more than %d tokens expected", most);
        sa2_status st = read_token(r, &tokens[*n], err);
        if (st == SA2_OK)
            st = read_gap(r, brackets, &more, err);
        if (st != SA2_OK)
            return st;
    }
    if (brackets) {
        r->at++;
        skip_blanks(r);
        if (r->at < r->end)
            return refuse(r, err, SA2_ERR_FORMAT, "nothing behind the list expected");
    }
    return SA2_OK;
}

sa2_status sa2_token_list_parse(int32_t **tokens, int *n, const char *text, size_t bytes,
                                const char *origin, int vocab, int most, sa2_error *err)
{
    reader r = {.text = text, .at = text, .end = text + bytes, .origin = origin, .vocab = vocab};
    size_t room = bytes / 2 + 1; /* a digit and what ends it */
    if (room > (size_t)most)
        room = (size_t)most;
    *n = 0;
    *tokens = malloc(room * sizeof **tokens);
    if (*tokens == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu tokens", origin, room);
    sa2_status st = read_all(&r, *tokens, n, most, err);
    if (st != SA2_OK) {
        free(*tokens);
        *tokens = NULL;
        *n = 0;
    }
    return st;
}
