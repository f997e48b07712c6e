/* protobuf.h - the fields of one protobuf message, one after the other.
 *
 * Format: protobuf.dev, "Encoding". Groups (wire types 3 and 4) are refused: no file that is read
 * here has them. A nested message is a field of bytes that the caller walks with another cursor, so
 * nesting is as deep as the callers are and no deeper.
 */
#ifndef SA2_LOADER_PROTOBUF_H
#define SA2_LOADER_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

typedef enum sa2_protobuf_wire {
    SA2_PROTOBUF_VARINT = 0,
    SA2_PROTOBUF_FIXED64 = 1,
    SA2_PROTOBUF_BYTES = 2, /* text, a message, packed numbers */
    SA2_PROTOBUF_FIXED32 = 5,
} sa2_protobuf_wire;

/* What is left of a message. */
typedef struct sa2_protobuf {
    const unsigned char *at, *end;
} sa2_protobuf;

typedef struct sa2_protobuf_field {
    uint32_t number; /* at least 1 */
    sa2_protobuf_wire wire;
    uint64_t value;            /* of a varint */
    const unsigned char *data; /* of the others, in the message */
    size_t bytes;
} sa2_protobuf_field;

/* Reads the next field while message->at < message->end.
 * Errors: SA2_ERR_FORMAT a varint of more than 64 bits, a field that leaves the message, a wire type
 * or a field number that does not exist. */
sa2_status sa2_protobuf_next(sa2_protobuf *message, sa2_protobuf_field *field, sa2_error *err);

/* The next number of a packed field: a varint. */
sa2_status sa2_protobuf_varint(sa2_protobuf *packed, uint64_t *value, sa2_error *err);

#endif
