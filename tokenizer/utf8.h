/* utf8.h - characters of UTF-8 text, and where it is ill-formed.
 *
 * Maths: Unicode 15, table 3-7 (well-formed byte sequences) and section 3.9 (substitution of
 * maximal subparts).
 */
#ifndef SA2_TOKENIZER_UTF8_H
#define SA2_TOKENIZER_UTF8_H

#include <stddef.h>
#include <stdint.h>

#include "tokenizer/growing.h"

enum {
    SA2_UTF8_BAD = -1, /* these bytes cannot be part of a character, whatever follows */
    SA2_UTF8_CUT = -2, /* the text ends within a character that is fine so far */
    SA2_UTF8_REPLACEMENT = 0xfffd,
};

#define SA2_UTF8_REPLACEMENT_TEXT "\xef\xbf\xbd"

/* Reads what stands at text [n >= 1 bytes]: a code point, SA2_UTF8_BAD (the maximal subpart to be
 * replaced) or SA2_UTF8_CUT (the rest of the text). Returns its length in bytes, at least 1. */
size_t sa2_utf8_read(const char *text, size_t n, int32_t *code);

/* The same for text that is known to be well-formed. */
static inline size_t sa2_utf8_next(const char *text, int32_t *code)
{
    const unsigned char *t = (const unsigned char *)text;
    if (t[0] < 0x80) {
        *code = t[0];
        return 1;
    }
    if (t[0] < 0xe0) {
        *code = (t[0] & 0x1f) << 6 | (t[1] & 0x3f);
        return 2;
    }
    if (t[0] < 0xf0) {
        *code = (t[0] & 0x0f) << 12 | (t[1] & 0x3f) << 6 | (t[2] & 0x3f);
        return 3;
    }
    *code = (t[0] & 0x07) << 18 | (t[1] & 0x3f) << 12 | (t[2] & 0x3f) << 6 | (t[3] & 0x3f);
    return 4;
}

/* How many bytes from the start of text [n] are well-formed. */
size_t sa2_utf8_valid(const char *text, size_t n);

/* Writes `code` as 1 to 4 bytes and returns how many. */
size_t sa2_utf8_write(int32_t code, char text[4]);

/* Appends text [n] with U+FFFD for each maximal ill-formed subpart, one cut off by the end
 * included. */
void sa2_utf8_repair(const char *text, size_t n, sa2_bytes *out);

#endif
