#include "tests/support/zip_bytes.h"

#include <assert.h>
#include <string.h>

enum { LOCAL = 30, CENTRAL = 46, END64 = 56, LOCATOR = 20, END = 22 };

static void put(test_zip *zip, size_t at, uint64_t x, int width)
{
    for (int i = 0; i < width; i++)
        zip->bytes[at + (size_t)i] = (unsigned char)(x >> 8 * i);
}

void test_zip_put16(test_zip *zip, size_t at, unsigned x)
{
    put(zip, at, x, 2);
}

void test_zip_put32(test_zip *zip, size_t at, uint32_t x)
{
    put(zip, at, x, 4);
}

void test_zip_put64(test_zip *zip, size_t at, uint64_t x)
{
    put(zip, at, x, 8);
}

static void append(test_zip *zip, const void *data, size_t n)
{
    assert(n <= sizeof zip->bytes - zip->n);
    memcpy(zip->bytes + zip->n, data, n);
    zip->n += n;
}

/* The place of n zero bytes. */
static size_t append_zeros(test_zip *zip, size_t n)
{
    assert(n <= sizeof zip->bytes - zip->n);
    memset(zip->bytes + zip->n, 0, n);
    zip->n += n;
    return zip->n - n;
}

void test_zip_add(test_zip *zip, const char *name, const void *data, size_t n)
{
    int i = zip->n_entries++;
    size_t length = strlen(name);
    assert(i < TEST_ZIP_ENTRIES);
    size_t padding = -(zip->n + LOCAL + length + 4) % 64;
    zip->names[i] = name;
    zip->data_bytes[i] = n;
    zip->local[i] = append_zeros(zip, LOCAL);
    put(zip, zip->local[i], 0x04034b50, 4);
    put(zip, zip->local[i] + 18, n, 4);
    put(zip, zip->local[i] + 22, n, 4);
    put(zip, zip->local[i] + 26, length, 2);
    put(zip, zip->local[i] + 28, 4 + padding, 2);
    append(zip, name, length);
    append(zip, "FB", 2);
    put(zip, append_zeros(zip, 2 + padding), padding, 2);
    zip->data[i] = zip->n;
    append(zip, data, n);
}

void test_zip_finish(test_zip *zip, int zip64)
{
    zip->directory = zip->n;
    for (int i = 0; i < zip->n_entries; i++) {
        size_t at = zip->central[i] = append_zeros(zip, CENTRAL);
        put(zip, at, 0x02014b50, 4);
        put(zip, at + 20, zip->data_bytes[i], 4);
        put(zip, at + 24, zip->data_bytes[i], 4);
        put(zip, at + 28, strlen(zip->names[i]), 2);
        put(zip, at + 42, zip->local[i], 4);
        append(zip, zip->names[i], strlen(zip->names[i]));
    }
    size_t bytes = zip->n - zip->directory, count = (size_t)zip->n_entries;
    if (zip64) {
        size_t at = append_zeros(zip, END64 + LOCATOR);
        put(zip, at, 0x06064b50, 4);
        put(zip, at + 4, END64 - 12, 8);
        put(zip, at + 24, count, 8);
        put(zip, at + 32, count, 8);
        put(zip, at + 40, bytes, 8);
        put(zip, at + 48, zip->directory, 8);
        put(zip, at + END64, 0x07064b50, 4);
        put(zip, at + END64 + 8, at, 8);
        put(zip, at + END64 + 16, 1, 4);
    }
    zip->end = append_zeros(zip, END);
    put(zip, zip->end, 0x06054b50, 4);
    put(zip, zip->end + 8, count, 2);
    put(zip, zip->end + 10, count, 2);
    put(zip, zip->end + 12, bytes, 4);
    put(zip, zip->end + 16, zip->directory, 4);
}
