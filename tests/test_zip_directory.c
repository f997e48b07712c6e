/* Directories of zip archives: what is found, and which lies are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/zip_directory.h"
#include "tests/support/zip_bytes.h"

/* Every test gets an empty archive. */
static int create(void **state)
{
    *state = calloc(1, sizeof(test_zip));
    return *state == NULL;
}

static int destroy(void **state)
{
    free(*state);
    return 0;
}

/* A copy of exact size, so that a byte read too far is seen. */
static sa2_status open_copy(sa2_zip_directory *zip, const test_zip *archive, unsigned char **copy,
                            sa2_error *err)
{
    *copy = malloc(archive->n > 0 ? archive->n : 1);
    assert_non_null(*copy);
    memcpy(*copy, archive->bytes, archive->n);
    return sa2_zip_directory_open(zip, *copy, archive->n, err);
}

static void expect_refusal(const test_zip *archive, sa2_status status, const char *message)
{
    sa2_zip_directory zip;
    unsigned char *copy;
    sa2_error err = {0};
    sa2_status st = open_copy(&zip, archive, &copy, &err);
    assert_string_equal(err.message, message);
    assert_int_equal(st, status);
    free(copy);
}

/* b (header at 0, 5 bytes at 64), a/c (header at 69, 3 bytes at 128), 96 bytes of directory at 131. */
static void fill(test_zip *archive, int zip64)
{
    memset(archive, 0, sizeof *archive);
    test_zip_add(archive, "b", "hello", 5);
    test_zip_add(archive, "a/c", "xyz", 3);
    test_zip_finish(archive, zip64);
}

static void entries_are_found_by_name(void **state)
{
    test_zip *archive = *state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        sa2_zip_directory zip;
        unsigned char *copy;
        sa2_error err = {0};
        fill(archive, zip64);
        assert_int_equal(open_copy(&zip, archive, &copy, &err), SA2_OK);
        assert_int_equal(zip.n_entries, 2);
        const sa2_zip_entry *entry = sa2_zip_directory_find(&zip, "a/c", 3);
        assert_non_null(entry);
        assert_int_equal(entry->bytes, 3);
        assert_memory_equal(entry->data, "xyz", 3);
        entry = sa2_zip_directory_find(&zip, "b", 1);
        assert_non_null(entry);
        assert_memory_equal(entry->data, "hello", 5);
        assert_null(sa2_zip_directory_find(&zip, "a", 1));
        assert_null(sa2_zip_directory_find(&zip, "a/cd", 4));
        sa2_zip_directory_close(&zip);
        free(copy);
    }
}

static void an_empty_archive_has_no_entries(void **state)
{
    test_zip *archive = *state;
    sa2_zip_directory zip;
    unsigned char *copy;
    sa2_error err = {0};
    test_zip_finish(archive, 0);
    assert_int_equal(open_copy(&zip, archive, &copy, &err), SA2_OK);
    assert_int_equal(zip.n_entries, 0);
    assert_null(sa2_zip_directory_find(&zip, "a", 1));
    sa2_zip_directory_close(&zip);
    free(copy);
}

static void an_archive_that_is_cut_short_is_refused_at_every_byte(void **state)
{
    test_zip *archive = *state;
    fill(archive, 1);
    for (size_t whole = archive->n; archive->n-- > 0;) {
        sa2_zip_directory zip;
        unsigned char *copy;
        sa2_error err = {0};
        assert_true(archive->n < whole);
        assert_int_equal(open_copy(&zip, archive, &copy, &err), SA2_ERR_FORMAT);
        free(copy);
    }
}

static void compressed_and_encrypted_entries_are_refused(void **state)
{
    test_zip *archive = *state;
    fill(archive, 0);
    test_zip_put16(archive, archive->central[1] + 10, 8);
    expect_refusal(archive, SA2_ERR_UNSUPPORTED,
                   "zip: entry a/c: compressed (method 8), only stored can be read");
    static const unsigned flags[] = {1, 1 << 6, 1 << 13};
    for (int i = 0; i < 3; i++) {
        fill(archive, 0);
        test_zip_put16(archive, archive->central[0] + 8, flags[i]);
        expect_refusal(archive, SA2_ERR_UNSUPPORTED, "zip: entry b: encrypted");
    }
}

static void entries_that_share_bytes_are_refused(void **state)
{
    test_zip *archive = *state;
    fill(archive, 0);
    /* b grows over the header of a/c, in both of its headers. */
    test_zip_put32(archive, archive->local[0] + 18, 64);
    test_zip_put32(archive, archive->local[0] + 22, 64);
    test_zip_put32(archive, archive->central[0] + 20, 64);
    test_zip_put32(archive, archive->central[0] + 24, 64);
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: entries b and a/c overlap");
    /* Two records for one header. */
    memset(archive, 0, sizeof *archive);
    test_zip_add(archive, "b", "hello", 5);
    test_zip_add(archive, "b", "xyz", 3);
    test_zip_finish(archive, 0);
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: two entries are called b");
    test_zip_put32(archive, archive->central[1] + 42, (uint32_t)archive->local[0]);
    test_zip_put32(archive, archive->central[1] + 20, 5);
    test_zip_put32(archive, archive->central[1] + 24, 5);
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: entries b and b overlap");
}

static void headers_that_do_not_agree_are_refused(void **state)
{
    test_zip *archive = *state;
    fill(archive, 0);
    test_zip_put32(archive, archive->central[1] + 20, 2);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: entry a/c: stored, but 2 bytes packed and 3 unpacked");
    test_zip_put32(archive, archive->central[1] + 24, 2);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: entry a/c: 2 bytes, method 0, flags 0 in the directory; 3, 0, 0 in the "
                   "header at byte 69");
    fill(archive, 0);
    archive->bytes[archive->local[0] + 30] = 'x';
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: entry b: header at byte 0 has another name");
    fill(archive, 0);
    archive->bytes[archive->local[0]] = 'x';
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: entry b: no header at byte 0");
}

static void entries_outside_the_file_are_refused(void **state)
{
    test_zip *archive = *state;
    fill(archive, 0);
    test_zip_put32(archive, archive->central[1] + 42, 4000000000u);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: entry a/c: header at byte 4000000000, the directory is at byte 131");
    fill(archive, 0);
    for (int header = 0; header < 2; header++) {
        size_t at = header ? archive->central[1] + 20 : archive->local[1] + 18;
        test_zip_put32(archive, at, 4);
        test_zip_put32(archive, at + 4, 4);
    }
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: entry a/c: 4 bytes of data, 3 lie before the directory");
    fill(archive, 0);
    test_zip_put16(archive, archive->local[1] + 28, 65535);
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: entry a/c: header at byte 69 leaves the file");
}

static void a_directory_that_is_not_where_it_is_said_is_refused(void **state)
{
    test_zip *archive = *state;
    fill(archive, 0);
    test_zip_put32(archive, archive->end + 16, 130);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: directory of 96 bytes at byte 130, its end record is at byte 227");
    fill(archive, 0);
    test_zip_put16(archive, archive->end + 8, 3);
    test_zip_put16(archive, archive->end + 10, 3);
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: 3 entries in a directory of 96 bytes");
    fill(archive, 0);
    test_zip_put16(archive, archive->end + 8, 1);
    test_zip_put16(archive, archive->end + 10, 1);
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: 49 bytes behind the last entry of the directory");
    fill(archive, 0);
    test_zip_put16(archive, archive->end + 4, 1);
    expect_refusal(archive, SA2_ERR_UNSUPPORTED, "zip: an archive in several parts");
    fill(archive, 0);
    test_zip_put16(archive, archive->central[0] + 28, 60000);
    expect_refusal(archive, SA2_ERR_FORMAT, "zip: the entry at byte 0 leaves the directory");
    fill(archive, 0);
    test_zip_put16(archive, archive->central[0] + 28, 0);
    expect_refusal(archive, SA2_ERR_LIMIT,
                   "zip: an entry's name has 0 bytes, 1 to 1024 can be read");
}

static void false_zip64_records_are_refused(void **state)
{
    test_zip *archive = *state;
    fill(archive, 1);
    size_t end64 = archive->end - 20 - 56;
    test_zip_put64(archive, end64 + 40, UINT64_MAX);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: directory of 18446744073709551615 bytes at byte 131, its end record is at "
                   "byte 227");
    fill(archive, 1);
    test_zip_put64(archive, end64 + 48, UINT64_MAX - 95);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: directory of 96 bytes at byte 18446744073709551520, its end record is at "
                   "byte 227");
    fill(archive, 1);
    test_zip_put64(archive, end64 + 24, UINT64_C(1) << 60);
    test_zip_put64(archive, end64 + 32, UINT64_C(1) << 60);
    test_zip_put16(archive, archive->end + 8, 0xffff);
    test_zip_put16(archive, archive->end + 10, 0xffff);
    expect_refusal(archive, SA2_ERR_LIMIT, "zip: 1152921504606846976 entries, 250000 can be read");
    fill(archive, 1);
    test_zip_put16(archive, archive->end + 8, 1);
    test_zip_put16(archive, archive->end + 10, 1);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip64: 2 entries, 96 bytes at byte 131; the plain end record says 1, 96, 131");
    fill(archive, 1);
    test_zip_put64(archive, archive->end - 12, UINT64_MAX);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip64: end record at byte 18446744073709551615, its locator is at byte 283");
    fill(archive, 1);
    test_zip_put64(archive, end64 + 4, 45);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip64: end record of 45 bytes, 44 lie before its locator");
    fill(archive, 0);
    test_zip_put32(archive, archive->central[0] + 20, 0xffffffff);
    test_zip_put32(archive, archive->central[0] + 24, 0xffffffff);
    expect_refusal(archive, SA2_ERR_FORMAT,
                   "zip: entry b: sizes are said to be in a zip64 field, there is none");
}

/* The sizes of an entry in a zip64 field of its record, where the record leaves them out. */
static void sizes_in_a_zip64_field_are_read(void **state)
{
    test_zip *archive = *state;
    static const unsigned char field[] = {1, 0, 16, 0, 5, 0, 0, 0, 0, 0,
                                          0, 0, 5,  0, 0, 0, 0, 0, 0, 0};
    for (int good = 0; good < 2; good++) {
        memset(archive, 0, sizeof *archive);
        test_zip_add(archive, "b", "hello", 5);
        test_zip_finish(archive, 0);
        test_zip_put32(archive, archive->central[0] + 20, 0xffffffff);
        test_zip_put32(archive, archive->central[0] + 24, 0xffffffff);
        test_zip_put16(archive, archive->central[0] + 30, good ? sizeof field : 12);
        size_t n = good ? sizeof field : 12;
        memmove(archive->bytes + archive->end + n, archive->bytes + archive->end, 22);
        memcpy(archive->bytes + archive->end, field, n);
        archive->bytes[archive->end + 2] = good ? 16 : 8;
        archive->n += n;
        archive->end += n;
        test_zip_put32(archive, archive->end + 12, (uint32_t)(47 + n));
        if (!good) {
            expect_refusal(archive, SA2_ERR_FORMAT,
                           "zip: entry b: zip64 field of 8 bytes for 2 numbers of 8 bytes");
            continue;
        }
        sa2_zip_directory zip;
        unsigned char *copy;
        sa2_error err = {0};
        assert_int_equal(open_copy(&zip, archive, &copy, &err), SA2_OK);
        assert_int_equal(zip.entries[0].bytes, 5);
        sa2_zip_directory_close(&zip);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_are_found_by_name, create, destroy),
        cmocka_unit_test_setup_teardown(an_empty_archive_has_no_entries, create, destroy),
        cmocka_unit_test_setup_teardown(an_archive_that_is_cut_short_is_refused_at_every_byte,
                                        create, destroy),
        cmocka_unit_test_setup_teardown(compressed_and_encrypted_entries_are_refused, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(entries_that_share_bytes_are_refused, create, destroy),
        cmocka_unit_test_setup_teardown(headers_that_do_not_agree_are_refused, create, destroy),
        cmocka_unit_test_setup_teardown(entries_outside_the_file_are_refused, create, destroy),
        cmocka_unit_test_setup_teardown(a_directory_that_is_not_where_it_is_said_is_refused, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(false_zip64_records_are_refused, create, destroy),
        cmocka_unit_test_setup_teardown(sizes_in_a_zip64_field_are_read, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
