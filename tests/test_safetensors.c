/* Safetensors: what is read, and what a hostile or broken file is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/safetensors.h"
#include "tests/support/test_files.h"

/* ---- files made on the spot ---- */

/* Length, header and n data bytes 0, 1, 2, ... in one block. */
static unsigned char *make_file(const char *header, size_t n_data, size_t *n)
{
    size_t length = strlen(header);
    unsigned char *file = malloc(8 + length + n_data);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)(length >> 8 * i);
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < n_data; i++)
        file[8 + length + i] = (unsigned char)i;
    *n = 8 + length + n_data;
    return file;
}

static void write_file(const char *folder, const char *name, const char *header, size_t n_data)
{
    char path[512];
    size_t n;
    unsigned char *file = make_file(header, n_data, &n);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    test_write_file(path, file, n);
    free(file);
}

static sa2_status parse(sa2_tensor_map **map, unsigned char **file, const char *header,
                        size_t n_data, sa2_error *err)
{
    size_t n;
    *map = NULL;
    *file = make_file(header, n_data, &n);
    return sa2_safetensors_parse(map, *file, n, "f", err);
}

static void expect_refusal(const char *header, size_t n_data, sa2_status status,
                           const char *message)
{
    sa2_tensor_map *map;
    unsigned char *file;
    sa2_error err = {0};
    sa2_status st = parse(&map, &file, header, n_data, &err);
    assert_string_equal(err.message, message);
    assert_int_equal(st, status);
    assert_int_equal(err.status, status);
    sa2_tensor_map_destroy(map);
    free(file);
}

/* ---- reading ---- */

static void tensors_metadata_and_scalars_are_read(void **state)
{
    (void)state;
    sa2_tensor_map *map;
    unsigned char *file;
    sa2_error err = {0};
    const char *header =
        "{\"__metadata__\":{\"part\":\"mel\",\"seed\":\"0\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[8,8]},"
        "\"scalar\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]},"
        "\"byte\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[10,11]},"
        "\"odd\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[11,15]}}      ";
    assert_int_equal(parse(&map, &file, header, 15, &err), SA2_OK);
    assert_string_equal(sa2_tensor_map_metadata(map, "part"), "mel");
    assert_null(sa2_tensor_map_metadata(map, "case"));
    assert_int_equal(sa2_tensor_map_count(map), 5);
    sa2_tensor t;
    assert_int_equal(sa2_tensor_map_expect(map, "scalar", 1, (int64_t[]){1}, &t, &err), SA2_OK);
    assert_int_equal(*(uint16_t *)t.data, 0x0908);
    assert_int_equal(sa2_tensor_map_expect(map, "none", 2, (int64_t[]){0, 3}, &t, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_expect(map, "odd", 1, (int64_t[]){1}, &t, &err), SA2_OK);
    assert_int_equal((uintptr_t)t.data % 4, 0); /* copied, as it does not lie so in the file */
    assert_int_equal(*(int32_t *)t.data, 0x0e0d0c0b);
    sa2_tensor_map_destroy(map);
    free(file);
}

static void wide_integers_become_narrow_or_are_refused(void **state)
{
    (void)state;
    sa2_tensor_map *map;
    unsigned char *file;
    sa2_error err = {0};
    sa2_tensor t;
    const char *header = "{\"i\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]}}";
    assert_int_equal(parse(&map, &file, header, 16, &err), SA2_OK);
    int64_t values[2] = {-5, 1 << 20};
    memcpy(file + 8 + strlen(header), values, sizeof values);
    assert_int_equal(sa2_tensor_map_expect(map, "i", 1, (int64_t[]){2}, &t, &err), SA2_OK);
    assert_int_equal(t.dtype, SA2_I32);
    assert_int_equal(((int32_t *)t.data)[0], -5);
    assert_int_equal(((int32_t *)t.data)[1], 1 << 20);
    sa2_tensor_map_release(map);
    values[1] = (int64_t)1 << 31;
    memcpy(file + 8 + strlen(header), values, sizeof values);
    assert_int_equal(sa2_tensor_map_expect(map, "i", 1, (int64_t[]){2}, &t, &err),
                     SA2_ERR_UNSUPPORTED);
    assert_string_equal(err.message, "i: element 1 is 2147483648, which 32 bits do not hold, in f");
    sa2_tensor_map_destroy(map);
    free(file);
}

static void wrong_tensors_are_named_all_at_once(void **state)
{
    (void)state;
    expect_refusal(
        "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2,-1],\"data_offsets\":[0,4]},"
        "\"c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]},"
        "\"d\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]},"
        "\"e\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
        "\"f\":[],"
        "\"g\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]},"
        "\"h\":{\"dtype\":\"F32\",\"shape\":[0,4611686018427387904,4],\"data_offsets\":[0,0]},"
        "\"i\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]},"
        "\"j\":{\"shape\":[1],\"data_offsets\":[0,4]}}",
        8, SA2_ERR_UNSUPPORTED,
        "a: dtype F32, BF16, I32, I64, U8 or BOOL expected, F16 in f\n"
        "b: size 1 of its shape is no size in f\n"
        "c: 8 bytes expected for its shape, 4 in f\n"
        "d: data_offsets [begin, end] expected in f\n"
        "e: ends at byte 16 of the data, f has 8 (cut short?)\n"
        "f: a description expected in f\n"
        "g: size 0 of its shape is no size in f\n"
        "h: its shape overflows in f\n"
        "i: a shape of 0 to 4 dimensions expected in f\n"
        "j: dtype F32, BF16, I32, I64, U8 or BOOL expected, none in f");
}

static void every_byte_belongs_to_one_tensor(void **state)
{
    (void)state;
    expect_refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
                   SA2_ERR_FORMAT,
                   "a: starts at byte 4 of the data, the header ends at 0 (hole) in f");
    expect_refusal("{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                   12, SA2_ERR_FORMAT,
                   "b: starts at byte 4 of the data, a ends at 8 (overlap) in f");
    expect_refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9,
                   SA2_ERR_FORMAT, "f: 1 bytes after the last tensor");
}

static void a_header_that_is_none_is_refused(void **state)
{
    (void)state;
    expect_refusal("[]", 0, SA2_ERR_FORMAT, "f: the header is not a JSON object");
    expect_refusal("{", 0, SA2_ERR_FORMAT,
                   "f: header, byte 1: string or '}' expected near end of file");
    expect_refusal("{\"a\":1,\"a\":2}", 0, SA2_ERR_FORMAT,
                   "f: header, byte 10: duplicate object key near '\"a\"'");
    expect_refusal("{\"__metadata__\":{\"n\":3}}", 0, SA2_ERR_FORMAT,
                   "f: __metadata__ n is not a string");

    sa2_tensor_map *map;
    sa2_error err = {0};
    static const unsigned char long_header[] = {8, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    static const unsigned char huge_header[] = {0, 0, 0, 0, 0, 0, 0, 128, '{', '}'};
    assert_int_equal(sa2_tensor_map_create(&map, NULL), SA2_OK);
    assert_int_equal(sa2_safetensors_add(map, long_header, 7, false, "f", &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_safetensors_add(map, long_header, 10, false, "f", &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_safetensors_add(map, huge_header, 10, false, "f", &err), SA2_ERR_LIMIT);
    assert_string_equal(err.message,
                        "f: 7 bytes, no safetensors file\n"
                        "f: a header of 8 bytes in a file of 10 (cut short?)\n"
                        "f: a header of 9223372036854775808 bytes, at most 104857600 expected");
    sa2_tensor_map_destroy(map);
}

/* ---- folders ---- */

#define ONE(name, begin, end)                                                                      \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" begin "," end "]}"

static void shards_of_an_index_make_one_map(void **state)
{
    (void)state;
    char folder[256], path[512];
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    write_file(folder, "m-1", "{" ONE("a", "0", "4") "}", 4);
    write_file(folder, "m-2", "{" ONE("b", "0", "4") "," ONE("c", "4", "8") "}", 8);
    const char *index = "{\"weight_map\":{\"a\":\"m-1\",\"b\":\"m-2\",\"c\":\"m-2\"}}";
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    test_write_file(path, index, strlen(index));
    assert_int_equal(sa2_safetensors_open(&map, folder, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_count(map), 3);
    sa2_tensor t;
    assert_int_equal(sa2_tensor_map_expect(map, "c", 1, (int64_t[]){4}, &t, &err), SA2_OK);
    assert_memory_equal(t.data, "\4\5\6\7", 4);
    assert_string_equal(sa2_tensor_map_find(map, "c")->origin, "m-2");
    sa2_tensor_map_release(map);
    assert_memory_equal(t.data, "\4\5\6\7", 4); /* pages that went come back */
    sa2_tensor_map_destroy(map);
    test_folder_remove(folder);
}

static void all_mistakes_of_an_index_are_one_report(void **state)
{
    (void)state;
    char folder[256], path[512], message[2048];
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    write_file(folder, "m-1", "{" ONE("a", "0", "4") "," ONE("extra", "4", "8") "}", 8);
    write_file(folder, "m-2", "{" ONE("a", "0", "4") "," ONE("b", "4", "8") "}", 8);
    write_file(folder, "m-3", "{" ONE("cut", "0", "4") "}", 3);
    const char *index = "{\"weight_map\":{\"a\":\"m-1\",\"b\":\"m-1\",\"cut\":\"m-3\","
                        "\"lost\":\"m-4\",\"none\":\"m-1\",\"up\":\"../m-1\",\"two\":\"m-2\"}}";
    snprintf(path, sizeof path, "%s/index.json", folder);
    test_write_file(path, index, strlen(index));
    assert_int_equal(sa2_safetensors_open(&map, path, &err), SA2_ERR_FORMAT);
    assert_null(map);
    snprintf(message, sizeof message,
             "%s: up: the name of a file beside it expected\n"
             "cut: ends at byte 4 of the data, m-3 has 3 (cut short?)\n"
             "%s/m-4: No such file or directory\n"
             "a: in m-1 and again in m-2\n"
             "b: in m-1 by the index, found in m-2\n"
             "none: in m-1 by the index, found in no shard\n"
             "extra: in m-1 and not in the index",
             path, folder);
    assert_string_equal(err.message, message);
    test_folder_remove(folder);
}

static void a_folder_or_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    char folder[256], path[512], message[2048];
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    assert_int_equal(sa2_safetensors_open(&map, folder, &err), SA2_ERR_IO);
    snprintf(message, sizeof message,
             "%s: model.safetensors.index.json or model.safetensors expected, neither found",
             folder);
    assert_string_equal(err.message, message);

    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    test_write_file(path, "", 0);
    assert_int_equal(sa2_safetensors_open(&map, folder, &err), SA2_ERR_FORMAT);
    snprintf(message, sizeof message, "%s: the file is empty", path);
    assert_string_equal(err.message, message);

    snprintf(path, sizeof path, "%s/none.safetensors", folder);
    assert_int_equal(sa2_safetensors_open(&map, path, &err), SA2_ERR_IO);
    snprintf(message, sizeof message, "%s: No such file or directory", path);
    assert_string_equal(err.message, message);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_metadata_and_scalars_are_read),
        cmocka_unit_test(wide_integers_become_narrow_or_are_refused),
        cmocka_unit_test(wrong_tensors_are_named_all_at_once),
        cmocka_unit_test(every_byte_belongs_to_one_tensor),
        cmocka_unit_test(a_header_that_is_none_is_refused),
        cmocka_unit_test(shards_of_an_index_make_one_map),
        cmocka_unit_test(all_mistakes_of_an_index_are_one_report),
        cmocka_unit_test(a_folder_or_file_that_cannot_be_read_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
