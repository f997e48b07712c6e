#include "tokenizer/json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIG_INTEGER "\xef\xb7\x90" /* U+FDD0 */

enum {
    SAFE_DIGITS = 18, /* every integer of so many fits 64 bits */
    DOUBLE_DIGITS = 17,
};

/* ---- reading ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The length of the integer at text [n], or 0 when it is none that has to be kept as text. */
static size_t big_integer(const char *text, size_t n)
{
    size_t sign = n > 0 && text[0] == '-' ? 1 : 0;
    size_t end = sign;
    while (end < n && is_digit(text[end]))
        end++;
    bool fraction = end < n && (text[end] == '.' || text[end] == 'e' || text[end] == 'E');
    bool leading_zero = end > sign && text[sign] == '0';
    return end - sign > SAFE_DIGITS && !fraction && !leading_zero ? end : 0;
}

static size_t number_length(const char *text, size_t n)
{
    size_t end = 0;
    while (end < n && (is_digit(text[end]) || strchr("+-.eE", text[end]) != NULL) &&
           text[end] != '\0')
        end++;
    return end;
}

/* The end of the string that starts with the quote at text[0]; n when it does not end. */
static size_t string_length(const char *text, size_t n)
{
    size_t end = 1;
    while (end < n && text[end] != '"')
        end += text[end] == '\\' ? 2 : 1;
    return end < n ? end + 1 : n;
}

/* Copies text with quotes and the mark round long integers. */
static void mark_big_integers(const char *text, size_t n, sa2_bytes *out)
{
    size_t copied = 0;
    size_t at = 0;
    while (at < n) {
        if (text[at] == '"') {
            at += string_length(text + at, n - at);
        } else if (is_digit(text[at]) || text[at] == '-') {
            size_t length = big_integer(text + at, n - at);
            if (length > 0) {
                sa2_bytes_append(out, text + copied, at - copied);
                sa2_bytes_append_text(out, "\"" BIG_INTEGER);
                sa2_bytes_append(out, text + at, length);
                sa2_bytes_append_text(out, "\"");
                copied = at + length;
            }
            at += length > 0 ? length : number_length(text + at, n - at);
        } else {
            at++;
        }
    }
    sa2_bytes_append(out, text + copied, n - copied);
}

sa2_status sa2_json_read(json_t **value, const char *text, size_t n, sa2_error *err)
{
    sa2_bytes marked = {0};
    mark_big_integers(text, n, &marked);
    sa2_status st = sa2_bytes_status(&marked, err);
    if (st != SA2_OK)
        return st;
    json_error_t error;
    json_t *read = json_loadb(marked.data, marked.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    sa2_bytes_free(&marked);
    if (read == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "JSON, line %d column %d: %s", error.line,
                        error.column, error.text);
    *value = read;
    return SA2_OK;
}

/* ---- writing ---- */

void sa2_json_write_string(const char *text, size_t n, sa2_bytes *out)
{
    static const char short_escapes[] = "\"\"\\\\\nn\rr\tt\bb\ff"; /* character, letter */
    size_t copied = 0;
    sa2_bytes_append_text(out, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        sa2_bytes_append(out, text + copied, i - copied);
        copied = i + 1;
        char escape[8];
        snprintf(escape, sizeof escape, "\\u%04x", c);
        for (size_t k = 0; k < sizeof short_escapes - 1; k += 2) {
            if (short_escapes[k] == text[i])
                snprintf(escape, sizeof escape, "\\%c", short_escapes[k + 1]);
        }
        sa2_bytes_append_text(out, escape);
    }
    sa2_bytes_append(out, text + copied, n - copied);
    sa2_bytes_append_text(out, "\"");
}

/* repr() of a Python float: the fewest digits that read back as the same double, with an exponent
 * from 1e16 on and below 1e-4. */
static void write_real(double value, sa2_bytes *out)
{
    char digits[64]; /* d.ddde[+-]dd */
    int n = 1;
    do
        snprintf(digits, sizeof digits, "%.*e", n - 1, value);
    while (strtod(digits, NULL) != value && n++ < DOUBLE_DIGITS);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent >= 16 || exponent < -4) {
        sa2_bytes_append_text(out, digits);
        return;
    }
    char fixed[64];
    int decimals = n - 1 - exponent;
    snprintf(fixed, sizeof fixed, "%.*f", decimals > 1 ? decimals : 1, value);
    sa2_bytes_append_text(out, fixed);
}

static void write_text(const json_t *value, sa2_bytes *out)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    size_t mark = strlen(BIG_INTEGER);
    if (n > mark && memcmp(text, BIG_INTEGER, mark) == 0 &&
        big_integer(text + mark, n - mark) == n - mark)
        sa2_bytes_append(out, text + mark, n - mark);
    else
        sa2_json_write_string(text, n, out);
}

static void write_object(const json_t *value, sa2_bytes *out)
{
    /* jansson's iterators take a pointer to what may change, though none of these changes it. */
    union {
        const json_t *constant;
        json_t *plain;
    } object = {.constant = value};
    const char *separator = "{";
    for (void *i = json_object_iter(object.plain); i != NULL;
         i = json_object_iter_next(object.plain, i)) {
        const char *key = json_object_iter_key(i);
        sa2_bytes_append_text(out, separator);
        sa2_json_write_string(key, strlen(key), out);
        sa2_bytes_append_text(out, ": ");
        sa2_json_write(json_object_iter_value(i), out);
        separator = ", ";
    }
    sa2_bytes_append_text(out, json_object_size(value) == 0 ? "{}" : "}");
}

void sa2_json_write(const json_t *value, sa2_bytes *out)
{
    char number[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(value, out);
        break;
    case JSON_ARRAY:
        sa2_bytes_append_text(out, "[");
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i > 0)
                sa2_bytes_append_text(out, ", ");
            sa2_json_write(json_array_get(value, i), out);
        }
        sa2_bytes_append_text(out, "]");
        break;
    case JSON_STRING:
        write_text(value, out);
        break;
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        sa2_bytes_append_text(out, number);
        break;
    case JSON_REAL:
        write_real(json_real_value(value), out);
        break;
    case JSON_TRUE:
        sa2_bytes_append_text(out, "true");
        break;
    case JSON_FALSE:
        sa2_bytes_append_text(out, "false");
        break;
    case JSON_NULL:
        sa2_bytes_append_text(out, "null");
        break;
    }
}
