/* mapped_file.h - a file seen as memory, read-only, without copying it.
 *
 * The pages are those of the file: a program that shortens it meanwhile breaks every reader, as it
 * breaks whoever reads a program file that is being overwritten.
 */
#ifndef SA2_LOADER_MAPPED_FILE_H
#define SA2_LOADER_MAPPED_FILE_H

#include <stddef.h>

#include "kernels/base/status.h"

typedef struct sa2_mapped_file {
    const unsigned char *data;
    size_t bytes; /* at least 1 */
} sa2_mapped_file;

typedef enum sa2_mapped_advice {
    SA2_MAPPED_SOON, /* will be read soon: the system may start reading */
    SA2_MAPPED_DONE, /* was read: its pages may go; they come back when touched */
} sa2_mapped_advice;

/* Errors, each with the path: SA2_ERR_IO missing, not readable, not a regular file;
 * SA2_ERR_FORMAT empty; SA2_ERR_NOMEM no address space. */
sa2_status sa2_mapped_file_open(sa2_mapped_file *file, const char *path, sa2_error *err);

/* About [data, data + bytes), anywhere inside a mapped file. A hint: nothing fails. */
void sa2_mapped_advise(const void *data, size_t bytes, sa2_mapped_advice advice);

void sa2_mapped_file_close(sa2_mapped_file *file); /* zeroed is fine */

#endif
