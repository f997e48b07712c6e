/* zip_bytes.h - small zip archives for tests, with the places of their headers so that a test can lie.
 */
#ifndef SA2_TESTS_SUPPORT_ZIP_BYTES_H
#define SA2_TESTS_SUPPORT_ZIP_BYTES_H

#include <stddef.h>
#include <stdint.h>

enum { TEST_ZIP_ENTRIES = 16 };

/* Zero-initialise it. */
typedef struct test_zip {
    unsigned char bytes[1 << 16];
    size_t n;
    int n_entries;
    const char *names[TEST_ZIP_ENTRIES];
    size_t data_bytes[TEST_ZIP_ENTRIES];
    size_t local[TEST_ZIP_ENTRIES];   /* of the local header */
    size_t data[TEST_ZIP_ENTRIES];    /* of the data, a multiple of 64 */
    size_t central[TEST_ZIP_ENTRIES]; /* of the record in the directory */
    size_t directory, end;
} test_zip;

void test_zip_add(test_zip *zip, const char *name, const void *data, size_t n);

/* Writes directory and end record; zip64 adds the records of zip64, as torch.save() does. */
void test_zip_finish(test_zip *zip, int zip64);

/* Writes a number over the bytes at `at`. */
void test_zip_put16(test_zip *zip, size_t at, unsigned x);
void test_zip_put32(test_zip *zip, size_t at, uint32_t x);
void test_zip_put64(test_zip *zip, size_t at, uint64_t x);

#endif
