#include "loader/zip_writer.h"

#include <stdlib.h>
#include <string.h>

#include "loader/little_endian.h"

enum {
    LOCAL_BYTES = 30,
    DESCRIPTOR_BYTES = 16,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    EXTRA_BYTES = 4,                /* head of an extra field */
    EXTRA_PADDING = 'F' | 'B' << 8, /* as PyTorch calls it */
    FLAGS = 1 << 3 | 1 << 11,       /* sizes follow the data; names are UTF-8 */
    MAX_NAME = 255,                 /* bytes: names here are "flow/data/604" */
    MAX_ENTRIES = 65534,            /* 65535 would say "see zip64" */
};

static sa2_status refuse_size(const sa2_zip_writer *zip, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_LIMIT, "%s: more than 4 GiB or %d entries", zip->file.path,
                    MAX_ENTRIES);
}

sa2_status sa2_zip_writer_create(sa2_zip_writer *zip, const char *path, sa2_error *err)
{
    *zip = (sa2_zip_writer){0};
    sa2_crc32_init(&zip->crc);
    return sa2_partial_file_create(&zip->file, path, err);
}

/* Sizes and checksum behind the data of the open entry, if there is one. */
static sa2_status end_entry(sa2_zip_writer *zip, sa2_error *err)
{
    if (zip->n_records == 0)
        return SA2_OK;
    unsigned char descriptor[DESCRIPTOR_BYTES], *p = descriptor;
    sa2_zip_record *record = &zip->records[zip->n_records - 1];
    record->bytes = (uint32_t)zip->entry_bytes;
    p = sa2_put_le32(p, 0x08074b50);
    p = sa2_put_le32(p, record->crc);
    p = sa2_put_le32(p, record->bytes);
    sa2_put_le32(p, record->bytes);
    return sa2_partial_file_append(&zip->file, descriptor, sizeof descriptor, err);
}

static sa2_status add_record(sa2_zip_writer *zip, const char *name, sa2_error *err)
{
    if (zip->n_records == MAX_ENTRIES || zip->file.bytes > UINT32_MAX || strlen(name) > MAX_NAME)
        return refuse_size(zip, err);
    if (zip->n_records == zip->room) {
        size_t room = zip->room > 0 ? 2 * zip->room : 64;
        sa2_zip_record *records = realloc(zip->records, room * sizeof *records);
        if (records == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu entries", zip->file.path,
                            room);
        zip->records = records;
        zip->room = room;
    }
    char *copy = malloc(strlen(name) + 1);
    if (copy == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for a name", zip->file.path);
    memcpy(copy, name, strlen(name) + 1);
    zip->records[zip->n_records++] =
        (sa2_zip_record){.name = copy, .header = (uint32_t)zip->file.bytes};
    zip->entry_bytes = 0;
    return SA2_OK;
}

sa2_status sa2_zip_writer_begin(sa2_zip_writer *zip, const char *name, sa2_error *err)
{
    sa2_status st = end_entry(zip, err);
    if (st == SA2_OK)
        st = add_record(zip, name, err);
    if (st != SA2_OK)
        return st;
    size_t length = strlen(name);
    uint64_t unpadded = zip->file.bytes + LOCAL_BYTES + length + EXTRA_BYTES;
    size_t padding = (size_t)(-unpadded % SA2_ZIP_WRITER_ALIGN);
    unsigned char header[LOCAL_BYTES + MAX_NAME + EXTRA_BYTES + SA2_ZIP_WRITER_ALIGN] = {0};
    sa2_put_le32(header, 0x04034b50);
    sa2_put_le16(header + 6, FLAGS);
    sa2_put_le16(header + 26, (uint16_t)length);
    sa2_put_le16(header + 28, (uint16_t)(EXTRA_BYTES + padding));
    memcpy(header + LOCAL_BYTES, name, length); /* NOLINT: a name in a zip has no 0 behind it */
    sa2_put_le16(header + LOCAL_BYTES + length, EXTRA_PADDING);
    sa2_put_le16(header + LOCAL_BYTES + length + 2, (uint16_t)padding);
    return sa2_partial_file_append(&zip->file, header, LOCAL_BYTES + length + EXTRA_BYTES + padding,
                                   err);
}

sa2_status sa2_zip_writer_append(sa2_zip_writer *zip, const void *data, size_t bytes,
                                 sa2_error *err)
{
    sa2_zip_record *record = &zip->records[zip->n_records - 1];
    if (bytes > UINT32_MAX - zip->entry_bytes)
        return refuse_size(zip, err);
    record->crc = sa2_crc32_add(&zip->crc, record->crc, data, bytes);
    zip->entry_bytes += bytes;
    return sa2_partial_file_append(&zip->file, data, bytes, err);
}

static sa2_status put_central(sa2_zip_writer *zip, const sa2_zip_record *record, sa2_error *err)
{
    size_t length = strlen(record->name);
    unsigned char central[CENTRAL_BYTES + MAX_NAME] = {0};
    sa2_put_le32(central, 0x02014b50);
    sa2_put_le16(central + 8, FLAGS);
    sa2_put_le32(central + 16, record->crc);
    sa2_put_le32(central + 20, record->bytes);
    sa2_put_le32(central + 24, record->bytes);
    sa2_put_le16(central + 28, (uint16_t)length);
    sa2_put_le32(central + 42, record->header);
    memcpy(central + CENTRAL_BYTES, record->name, length);
    return sa2_partial_file_append(&zip->file, central, CENTRAL_BYTES + length, err);
}

sa2_status sa2_zip_writer_finish(sa2_zip_writer *zip, sa2_error *err)
{
    sa2_status st = end_entry(zip, err);
    uint64_t first = zip->file.bytes;
    for (size_t i = 0; i < zip->n_records && st == SA2_OK; i++)
        st = put_central(zip, &zip->records[i], err);
    if (st == SA2_OK && zip->file.bytes > UINT32_MAX)
        st = refuse_size(zip, err);
    if (st != SA2_OK)
        return st;
    unsigned char end[END_BYTES] = {0};
    sa2_put_le32(end, 0x06054b50);
    sa2_put_le16(end + 8, (uint16_t)zip->n_records);
    sa2_put_le16(end + 10, (uint16_t)zip->n_records);
    sa2_put_le32(end + 12, (uint32_t)(zip->file.bytes - first));
    sa2_put_le32(end + 16, (uint32_t)first);
    st = sa2_partial_file_append(&zip->file, end, sizeof end, err);
    return st == SA2_OK ? sa2_partial_file_finish(&zip->file, err) : st;
}

void sa2_zip_writer_destroy(sa2_zip_writer *zip)
{
    sa2_partial_file_destroy(&zip->file);
    for (size_t i = 0; i < zip->n_records; i++)
        free(zip->records[i].name);
    free(zip->records);
    *zip = (sa2_zip_writer){0};
}
