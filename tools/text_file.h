/* text_file.h - a small file read whole.
 */
#ifndef SA2_TOOLS_TEXT_FILE_H
#define SA2_TOOLS_TEXT_FILE_H

#include <stddef.h>

#include "kernels/base/status.h"

/* *text is malloc'ed, n bytes and a 0; "-" is standard input.
 * Errors: SA2_ERR_IO; SA2_ERR_LIMIT more than `most` bytes; SA2_ERR_NOMEM. */
sa2_status sa2_text_file_read(char **text, size_t *n, const char *path, size_t most,
                              sa2_error *err);

#endif
