/* zip_directory.h - what lies where in a zip archive whose entries are stored, not compressed.
 *
 * The container of PyTorch checkpoints. Format: PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3 (zip64).
 * Only the central directory names entries; the local header of each must agree with it, and no two
 * entries may share a byte, so that one file cannot show two readers two contents.
 * Checksums of entries are not compared: PyTorch can write archives without them.
 */
#ifndef SA2_LOADER_ZIP_DIRECTORY_H
#define SA2_LOADER_ZIP_DIRECTORY_H

#include <stddef.h>

#include "kernels/base/arena.h"

typedef struct sa2_zip_entry {
    const char *name; /* name_bytes of them, in the archive: no 0 at the end */
    size_t name_bytes;
    const unsigned char *data; /* in the archive */
    size_t bytes;
} sa2_zip_entry;

typedef struct sa2_zip_directory {
    sa2_zip_entry *entries; /* by name, in byte order */
    size_t n_entries;
    sa2_arena memory; /* of the entries */
} sa2_zip_directory;

/* Reads the directory of the archive in bytes[0, n), which must outlive it.
 * Refused: compressed or encrypted entries, archives in parts, two entries of one name, entries that
 * overlap or leave the file, sizes that differ between the two headers, false zip64 records,
 * bytes between the directory and its end record.
 * Errors: SA2_ERR_FORMAT, SA2_ERR_UNSUPPORTED, SA2_ERR_LIMIT, SA2_ERR_NOMEM; nothing to close then. */
sa2_status sa2_zip_directory_open(sa2_zip_directory *zip, const void *bytes, size_t n,
                                  sa2_error *err);
void sa2_zip_directory_close(sa2_zip_directory *zip);

/* The entry called name[0, name_bytes), or NULL. */
const sa2_zip_entry *sa2_zip_directory_find(const sa2_zip_directory *zip, const char *name,
                                            size_t name_bytes);

#endif
