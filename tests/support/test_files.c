#define _XOPEN_SOURCE 700
#include "tests/support/test_files.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

const char *test_data(char *path, size_t bytes, const char *relative)
{
    snprintf(path, bytes, "%s/%s", SA2_TEST_DATA, relative);
    return path;
}

bool test_shared(char *path, size_t bytes, const char *relative)
{
    snprintf(path, bytes, "%s/%s", SA2_TEST_SHARED, relative);
    if (access(path, R_OK) == 0)
        return true;
    printf("skipped: %s is not there\n", relative);
    return false;
}

void test_folder_create(char *path, size_t bytes)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, bytes, "%s/sa2-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(path) == NULL)
        fail_msg("no folder under %s", path);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

void test_folder_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

char *test_read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    long bytes = ftell(file);
    rewind(file);
    char *data = malloc((size_t)bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)bytes, file), bytes);
    data[bytes] = '\0';
    fclose(file);
    if (n != NULL)
        *n = (size_t)bytes;
    return data;
}

void test_write_file(const char *path, const void *data, size_t n)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        fail_msg("%s cannot be written", path);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}
