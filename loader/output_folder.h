/* output_folder.h - a folder that appears under its name only when it is complete.
 */
#ifndef SA2_LOADER_OUTPUT_FOLDER_H
#define SA2_LOADER_OUTPUT_FOLDER_H

#include <stdint.h>

#include "kernels/base/status.h"

enum { SA2_FOLDER_BYTES = 4096 - 256 }; /* names of files fit behind it */

/* Zero-initialise it. */
typedef struct sa2_output_folder {
    char path[SA2_FOLDER_BYTES]; /* where the files go meanwhile; "": nowhere */
    char name[SA2_FOLDER_BYTES]; /* that it will have */
} sa2_output_folder;

/* Makes a folder beside `name`, which must not exist or be empty, on a disk with room for that many bytes.
 * Errors: SA2_ERR_ARG not empty; SA2_ERR_IO with the path (no room, no permission). */
sa2_status sa2_output_folder_create(sa2_output_folder *folder, const char *name, int64_t bytes,
                                    sa2_error *err);

/* A folder in it. */
sa2_status sa2_output_folder_add(const sa2_output_folder *folder, const char *inside,
                                 sa2_error *err);

/* It gets its name. */
sa2_status sa2_output_folder_commit(sa2_output_folder *folder, sa2_error *err);

/* Removes what was not committed, with all that is in it. */
void sa2_output_folder_destroy(sa2_output_folder *folder);

#endif
