/* text_file.h - a small file read whole, and standard input line by line.
 */
#ifndef SA2_TOOLS_TEXT_FILE_H
#define SA2_TOOLS_TEXT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/status.h"

/* *text is malloc'ed, n bytes and a 0; "-" is standard input.
 * Errors: SA2_ERR_IO; SA2_ERR_LIMIT more than `most` bytes; SA2_ERR_NOMEM. */
sa2_status sa2_text_file_read(char **text, size_t *n, const char *path, size_t most,
                              sa2_error *err);

/* The next line of standard input, without its end ("\n" or "\r\n"), to line [room] and a 0 behind it; *end: there is
 * none. Errors: SA2_ERR_LIMIT longer than room - 1 bytes; SA2_ERR_FORMAT a zero byte in it, which no text has; the
 * rest of it is the next line then. SA2_ERR_IO, and *end: standard input cannot be read. */
sa2_status sa2_text_line_read(char *line, size_t room, bool *end, sa2_error *err);

#endif
