#include "tests/support/protobuf_bytes.h"

#include <assert.h>
#include <string.h>

enum { VARINT = 0, BYTES = 2 };

void test_message_raw(test_message *m, const void *data, size_t n)
{
    assert(n <= sizeof m->bytes - m->n);
    memcpy(m->bytes + m->n, data, n);
    m->n += n;
}

void test_message_varint(test_message *m, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        test_message_raw(m, &(unsigned char){(unsigned char)(value | 0x80)}, 1);
    test_message_raw(m, &(unsigned char){(unsigned char)value}, 1);
}

void test_message_number(test_message *m, unsigned field, uint64_t value)
{
    test_message_varint(m, field << 3 | VARINT);
    test_message_varint(m, value);
}

void test_message_bytes(test_message *m, unsigned field, const void *data, size_t n)
{
    test_message_varint(m, field << 3 | BYTES);
    test_message_varint(m, n);
    test_message_raw(m, data, n);
}

void test_message_text(test_message *m, unsigned field, const char *text)
{
    test_message_bytes(m, field, text, strlen(text));
}

void test_message_inner(test_message *m, unsigned field, const test_message *inner)
{
    test_message_bytes(m, field, inner->bytes, inner->n);
}
