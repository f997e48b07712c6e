#include "tools/text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sa2_status sa2_text_file_read(char **text, size_t *n, const char *path, size_t most, sa2_error *err)
{
    sa2_status st = SA2_OK;
    size_t room = 0;
    char *bytes = NULL;
    *text = NULL;
    *n = 0;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", path, strerror(errno));
    for (;;) {
        if (*n + 1 >= room) {
            room = room > 0 ? 2 * room : 65536;
            char *grown = realloc(bytes, room);
            if (grown == NULL) {
                st = sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu bytes", path, room);
                goto cleanup;
            }
            bytes = grown;
        }
        size_t got = fread(bytes + *n, 1, room - 1 - *n, file);
        *n += got;
        if (*n > most) {
            st = sa2_fail(err, SA2_ERR_LIMIT, "%s: more than %zu bytes", path, most);
            goto cleanup;
        }
        if (got == 0)
            break;
    }
    if (ferror(file)) {
        st = sa2_fail(err, SA2_ERR_IO, "%s: %s", path, strerror(errno));
        goto cleanup;
    }
    bytes[*n] = '\0';
    *text = bytes;
    bytes = NULL;

cleanup:
    free(bytes);
    if (file != stdin)
        fclose(file);
    return st;
}

sa2_status sa2_text_line_read(char *line, size_t room, bool *end, sa2_error *err)
{
    size_t n = 0;
    int c;
    *end = false;
    line[0] = '\0';
    while ((c = getchar()) != EOF && c != '\n') {
        if (c == '\0')
            return sa2_fail(err, SA2_ERR_FORMAT, "standard input: a zero byte in a line of text");
        if (n + 1 == room)
            return sa2_fail(err, SA2_ERR_LIMIT, "standard input: a line of more than %zu bytes",
                            room - 1);
        line[n++] = (char)c;
    }
    if (n > 0 && line[n - 1] == '\r')
        n--;
    line[n] = '\0';
    *end = c == EOF && n == 0;
    if (c == EOF && ferror(stdin)) {
        *end = true;
        return sa2_fail(err, SA2_ERR_IO, "standard input: %s", strerror(errno));
    }
    return SA2_OK;
}
