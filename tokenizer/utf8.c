#include "tokenizer/utf8.h"

#include <string.h>

size_t sa2_utf8_read(const char *text, size_t n, int32_t *code)
{
    const unsigned char *t = (const unsigned char *)text;
    unsigned char first = t[0];
    if (first < 0x80) {
        *code = first;
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    *code = SA2_UTF8_BAD;
    if (first < 0xc2 || first > 0xf4)
        return 1;

    /* The second byte's range keeps out overlong forms, surrogates and what is above U+10FFFF. */
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    int32_t value = first & (0xff >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (i == n) {
            *code = SA2_UTF8_CUT;
            return i;
        }
        if (t[i] < low || t[i] > high)
            return i;
        value = value << 6 | (t[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *code = value;
    return length;
}

size_t sa2_utf8_valid(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        uint64_t eight;
        if (n - at >= sizeof eight) {
            memcpy(&eight, text + at, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        int32_t code;
        size_t length = sa2_utf8_read(text + at, n - at, &code);
        if (code < 0)
            break;
        at += length;
    }
    return at;
}

size_t sa2_utf8_write(int32_t code, char text[4])
{
    unsigned char *t = (unsigned char *)text;
    uint32_t c = (uint32_t)code;
    if (c < 0x80) {
        t[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        t[0] = (unsigned char)(0xc0 | c >> 6);
        t[1] = (unsigned char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        t[0] = (unsigned char)(0xe0 | c >> 12);
        t[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        t[2] = (unsigned char)(0x80 | (c & 0x3f));
        return 3;
    }
    t[0] = (unsigned char)(0xf0 | c >> 18);
    t[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
    t[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
    t[3] = (unsigned char)(0x80 | (c & 0x3f));
    return 4;
}

void sa2_utf8_repair(const char *text, size_t n, sa2_bytes *out)
{
    size_t at = 0;
    while (at < n) {
        size_t valid = sa2_utf8_valid(text + at, n - at);
        sa2_bytes_append(out, text + at, valid);
        at += valid;
        if (at == n)
            break;
        int32_t code;
        at += sa2_utf8_read(text + at, n - at, &code);
        sa2_bytes_append_text(out, SA2_UTF8_REPLACEMENT_TEXT);
    }
}
