#include "loader/protobuf.h"

sa2_status sa2_protobuf_varint(sa2_protobuf *packed, uint64_t *value, sa2_error *err)
{
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (packed->at == packed->end)
            return sa2_fail(err, SA2_ERR_FORMAT, "protobuf: a number leaves its message");
        uint64_t byte = *packed->at++;
        if (shift == 63 && byte > 1)
            break;
        sum |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = sum;
            return SA2_OK;
        }
    }
    return sa2_fail(err, SA2_ERR_FORMAT, "protobuf: a number of more than 64 bits");
}

sa2_status sa2_protobuf_next(sa2_protobuf *message, sa2_protobuf_field *field, sa2_error *err)
{
    enum { MAX_FIELD = (1 << 29) - 1 };
    uint64_t tag = 0;
    sa2_status st = sa2_protobuf_varint(message, &tag, err);
    if (st != SA2_OK)
        return st;
    uint64_t number = tag >> 3, bytes = 0;
    if (number < 1 || number > MAX_FIELD)
        return sa2_fail(err, SA2_ERR_FORMAT, "protobuf: field number %llu, 1 to %d expected",
                        (unsigned long long)number, MAX_FIELD);
    *field = (sa2_protobuf_field){.number = (uint32_t)number, .wire = (sa2_protobuf_wire)(tag & 7)};
    switch (tag & 7) {
    case SA2_PROTOBUF_VARINT:
        return sa2_protobuf_varint(message, &field->value, err);
    case SA2_PROTOBUF_FIXED64:
        bytes = 8;
        break;
    case SA2_PROTOBUF_FIXED32:
        bytes = 4;
        break;
    case SA2_PROTOBUF_BYTES:
        st = sa2_protobuf_varint(message, &bytes, err);
        if (st != SA2_OK)
            return st;
        break;
    default:
        return sa2_fail(err, SA2_ERR_FORMAT, "protobuf: field %u has wire type %u", field->number,
                        (unsigned)(tag & 7));
    }
    size_t left = (size_t)(message->end - message->at);
    if (bytes > left)
        return sa2_fail(err, SA2_ERR_FORMAT, "protobuf: field %u has %llu bytes, %zu are left",
                        field->number, (unsigned long long)bytes, left);
    field->data = message->at;
    field->bytes = (size_t)bytes;
    message->at += bytes;
    return SA2_OK;
}
