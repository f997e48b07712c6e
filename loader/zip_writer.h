/* zip_writer.h - a zip archive of stored entries, written front to back.
 *
 * As PyTorch lays it out: the data of each entry begins at a multiple of 64 bytes, so that a reader
 * can use a mapped file as it is; sizes and checksum stand behind the data.
 * Format: PKWARE APPNOTE 6.3, without zip64: 4 GiB and 65,534 entries at most.
 */
#ifndef SA2_LOADER_ZIP_WRITER_H
#define SA2_LOADER_ZIP_WRITER_H

#include <stddef.h>

#include "loader/crc32.h"
#include "loader/partial_file.h"

enum { SA2_ZIP_WRITER_ALIGN = 64 };

typedef struct sa2_zip_record {
    char *name;
    uint32_t crc, bytes, header;
} sa2_zip_record;

/* Zero-initialise it. */
typedef struct sa2_zip_writer {
    sa2_partial_file file;
    sa2_crc32 crc;
    sa2_zip_record *records;
    size_t n_records, room;
    uint64_t entry_bytes; /* of the entry that is open */
} sa2_zip_writer;

/* Errors of all: SA2_ERR_IO with the path; SA2_ERR_LIMIT above what the format can say;
 * SA2_ERR_NOMEM. After a failure only destroy is left to call. */
sa2_status sa2_zip_writer_create(sa2_zip_writer *zip, const char *path, sa2_error *err);

/* Begins an entry, which gets all that is appended until the next begins. */
sa2_status sa2_zip_writer_begin(sa2_zip_writer *zip, const char *name, sa2_error *err);
sa2_status sa2_zip_writer_append(sa2_zip_writer *zip, const void *data, size_t bytes,
                                 sa2_error *err);

/* Writes the directory; the file gets its name. */
sa2_status sa2_zip_writer_finish(sa2_zip_writer *zip, sa2_error *err);

/* Removes an unfinished file and frees the records. */
void sa2_zip_writer_destroy(sa2_zip_writer *zip);

#endif
