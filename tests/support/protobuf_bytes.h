/* protobuf_bytes.h - protobuf messages for tests, right or wrong.
 */
#ifndef SA2_TESTS_SUPPORT_PROTOBUF_BYTES_H
#define SA2_TESTS_SUPPORT_PROTOBUF_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise it. */
typedef struct test_message {
    unsigned char bytes[4096];
    size_t n;
} test_message;

/* Each adds a field. */
void test_message_number(test_message *m, unsigned field, uint64_t value);
void test_message_bytes(test_message *m, unsigned field, const void *data, size_t n);
void test_message_text(test_message *m, unsigned field, const char *text);
void test_message_inner(test_message *m, unsigned field, const test_message *inner);

/* Bytes as they are, and a number as a bare varint. */
void test_message_raw(test_message *m, const void *data, size_t n);
void test_message_varint(test_message *m, uint64_t value);

#endif
