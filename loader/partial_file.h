/* partial_file.h - a file that gets its name only when it is complete.
 *
 * It is written beside its place, with ".partial" behind the name; who reads the folder meanwhile, or
 * after a failure, never takes a piece for the whole.
 */
#ifndef SA2_LOADER_PARTIAL_FILE_H
#define SA2_LOADER_PARTIAL_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/base/status.h"

enum { SA2_PATH_BYTES = 4096 };

/* Zero-initialise it. */
typedef struct sa2_partial_file {
    FILE *file;
    uint64_t bytes;            /* written so far */
    char path[SA2_PATH_BYTES]; /* that it will have */
} sa2_partial_file;

/* Errors of all: SA2_ERR_IO with the path. */
sa2_status sa2_partial_file_create(sa2_partial_file *file, const char *path, sa2_error *err);
sa2_status sa2_partial_file_append(sa2_partial_file *file, const void *data, size_t bytes,
                                   sa2_error *err);

/* Everything is on its way to the disk, and the file gets its name. It is removed on failure. */
sa2_status sa2_partial_file_finish(sa2_partial_file *file, sa2_error *err);

/* Removes an unfinished file; a finished or zeroed one is fine. */
void sa2_partial_file_destroy(sa2_partial_file *file);

#endif
