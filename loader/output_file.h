/* output_file.h - a file that appears under its name only when it is complete.
 */
#ifndef SA2_LOADER_OUTPUT_FILE_H
#define SA2_LOADER_OUTPUT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

typedef struct sa2_output_file sa2_output_file;

/* Opens `path`.partial, which is overwritten, but not while another process writes it. `path` is a file or
 * not there. Errors here and below: SA2_ERR_IO with path and reason. */
sa2_status sa2_output_file_create(sa2_output_file **file, const char *path, sa2_error *err);

sa2_status sa2_output_file_write(sa2_output_file *file, const void *data, size_t bytes,
                                 sa2_error *err);

/* Over bytes that are written already. */
sa2_status sa2_output_file_write_at(sa2_output_file *file, int64_t offset, const void *data,
                                    size_t bytes, sa2_error *err);

/* Where the bytes are until then. */
const char *sa2_output_file_partial(const sa2_output_file *file);

/* All is on the disk; the file gets its name. */
sa2_status sa2_output_file_commit(sa2_output_file *file, sa2_error *err);

/* Removes what was not committed. NULL is fine. */
void sa2_output_file_destroy(sa2_output_file *file);

/* The four in one, for data that is there. */
sa2_status sa2_write_whole_file(const char *path, const void *data, size_t bytes, sa2_error *err);

#endif
