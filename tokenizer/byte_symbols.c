#include "tokenizer/byte_symbols.h"

#include <stdint.h>
#include <string.h>

#include "tokenizer/utf8.h"

enum {
    FIRST_UNPRINTABLE = 0x100,
    N_UNPRINTABLE = 68,
};

/* Byte i of the 68 unprintable ones: 0x00-0x20, 0x7f-0xa0, 0xad. */
static int32_t unprintable(int32_t i)
{
    if (i <= 0x20)
        return i;
    return i < N_UNPRINTABLE - 1 ? 0x7f + i - 0x21 : 0xad;
}

static int32_t symbol_to_byte(int32_t code)
{
    if (code >= FIRST_UNPRINTABLE)
        return code < FIRST_UNPRINTABLE + N_UNPRINTABLE ? unprintable(code - FIRST_UNPRINTABLE)
                                                        : -1;
    bool printable = (code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code != 0xad);
    return printable ? code : -1;
}

bool sa2_byte_symbols_to_bytes(const char *symbols, char *bytes, size_t *n)
{
    size_t length = strlen(symbols);
    size_t at = 0;
    size_t written = 0;
    while (at < length) {
        int32_t code;
        at += sa2_utf8_read(symbols + at, length - at, &code);
        int32_t byte = symbol_to_byte(code);
        if (byte < 0)
            return false;
        bytes[written++] = (char)(unsigned char)byte;
    }
    *n = written;
    return true;
}
