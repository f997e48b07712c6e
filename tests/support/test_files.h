/* test_files.h - where tests find their data.
 */
#ifndef SA2_TESTS_SUPPORT_TEST_FILES_H
#define SA2_TESTS_SUPPORT_TEST_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* "<tests>/<relative>", for committed data (golden cases, corpora). Returns `path`. */
const char *test_data(char *path, size_t bytes, const char *relative);

/* True and the path when the optional shared folder beside the project holds `relative`;
 * false, with one line that says what is skipped, when it does not. */
bool test_shared(char *path, size_t bytes, const char *relative);

/* A fresh empty folder under $TMPDIR or /tmp, and its removal with all that is in it. */
void test_folder_create(char *path, size_t bytes);
void test_folder_remove(const char *path);

/* The whole of a file, malloc'ed and with a 0 after the end; fails the test when it cannot be read. */
char *test_read_file(const char *path, size_t *n);
void test_write_file(const char *path, const void *data, size_t n);

#endif
