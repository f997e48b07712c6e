/* PyTorch checkpoints: a file of torch.save(), tensors of every kind, broken archives, our own files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/token2wav_tensors.h"
#include "loader/torch_zip.h"
#include "loader/torch_zip_writer.h"
#include "tests/support/pickle_bytes.h"
#include "tests/support/synthetic_values.h"
#include "tests/support/test_files.h"
#include "tests/support/zip_bytes.h"

/* ---- archives made on the spot ---- */

typedef struct archive {
    test_pickle pickle;
    test_zip zip;
    unsigned char *copy; /* page-aligned as a mapped file is, but of exact size */
} archive;

static int create(void **state)
{
    *state = calloc(1, sizeof(archive));
    return *state == NULL;
}

static int destroy(void **state)
{
    archive *a = *state;
    free(a->copy);
    free(a);
    return 0;
}

static void begin(archive *a)
{
    free(a->copy);
    memset(a, 0, sizeof *a);
    test_pickle_begin(&a->pickle);
}

/* The archive r/ of the pickle and one storage r/data/0. */
static void finish(archive *a, const void *storage, size_t n)
{
    test_pickle_end(&a->pickle);
    test_zip_add(&a->zip, "r/data.pkl", a->pickle.bytes, a->pickle.n);
    test_zip_add(&a->zip, "r/byteorder", "little", 6);
    test_zip_add(&a->zip, "r/data/0", storage, n);
    test_zip_add(&a->zip, "r/version", "3\n", 2);
    test_zip_finish(&a->zip, 1);
}

static sa2_status parse(archive *a, const char *prefix, sa2_tensor_map **map, sa2_error *err)
{
    a->copy = aligned_alloc(64, (a->zip.n + 63) / 64 * 64);
    assert_non_null(a->copy);
    memcpy(a->copy, a->zip.bytes, a->zip.n);
    return sa2_torch_zip_parse(map, a->copy, a->zip.n, "f.pt", prefix, err);
}

static void expect_refusal(archive *a, sa2_status status, const char *message)
{
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    sa2_status st = parse(a, NULL, &map, &err);
    assert_string_equal(err.message, message);
    assert_int_equal(st, status);
    assert_null(map);
}

/* ---- a file of torch.save() ---- */

static void a_file_of_torch_holds_the_synthetic_values(void **state)
{
    (void)state;
    char path[512];
    sa2_tensor_map *map = NULL;
    sa2_tensor_list list = {0};
    sa2_vocoder_dims dims = {0};
    sa2_error err = {0};
    test_data(path, sizeof path, "golden/tiny_checkpoint/token2wav/hift.pt");
    assert_int_equal(sa2_torch_zip_open(&map, path, "generator.", &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_count(map), 328);
    assert_int_equal(sa2_vocoder_dims_find(&dims, map, &err), SA2_OK);
    assert_int_equal(sa2_vocoder_tensors(&list, &dims, &err), SA2_OK);
    test_expect_synthetic(map, &list, "hift", 0);
    for (int i = 0; i < sa2_tensor_map_count(map); i++)
        assert_non_null(sa2_tensor_map_entry(map, i)->tensor.data); /* taken where they lie */
    sa2_tensor_list_destroy(&list);
    sa2_tensor_map_destroy(map);
}

/* ---- tensors of every kind ---- */

static void strides_and_offsets_are_honoured(void **state)
{
    archive *a = *state;
    static const float storage[] = {0, 1, 2, 3, 4, 5, 6};
    static const float turned[] = {1, 4, 2, 5, 3, 6}; /* [3, 2] with strides 1 and 3 from 1 on */
    float found[6];
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    begin(a);
    test_pickle_tensor(&a->pickle, "turned", "FloatStorage", "0", 7, 1, 2, (int64_t[]){3, 2},
                       (int64_t[]){1, 3});
    test_pickle_tensor(&a->pickle, "tail", "FloatStorage", "0", 7, 3, 2, (int64_t[]){1, 4},
                       (int64_t[]){99, 1});
    test_pickle_tensor(&a->pickle, "scalar", "FloatStorage", "0", 7, 5, 0, NULL, NULL);
    finish(a, storage, sizeof storage);
    assert_int_equal(parse(a, NULL, &map, &err), SA2_OK);

    const sa2_tensor_entry *entry = sa2_tensor_map_find(map, "turned");
    assert_int_equal(entry->tensor.shape[0], 3);
    assert_int_equal(sa2_tensor_map_read(map, entry, 0, 6, found, &err), SA2_OK);
    assert_memory_equal(found, turned, sizeof turned);
    assert_int_equal(sa2_tensor_map_read(map, entry, 3, 2, found, &err), SA2_OK);
    assert_memory_equal(found, turned + 3, 2 * sizeof *turned);
    entry = sa2_tensor_map_find(map, "tail");
    assert_ptr_equal(entry->tensor.data, a->copy + a->zip.data[2] + 3 * sizeof(float));
    entry = sa2_tensor_map_find(map, "scalar");
    assert_int_equal(entry->tensor.ndim, 1);
    assert_int_equal(entry->tensor.shape[0], 1);
    assert_true(*(const float *)entry->tensor.data == 5.0f);
    sa2_tensor_map_destroy(map);
}

static void other_number_formats_become_ours(void **state)
{
    static const struct {
        const char *type;
        int64_t n;
        unsigned char bytes[64];
        size_t n_bytes;
        sa2_dtype dtype;
        uint32_t want[6]; /* bits */
    } cases[] = {
        /* one, minus two, the least subnormal, a tenth, infinity, minus zero */
        {"HalfStorage",
         6,
         {0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x66, 0x2e, 0x00, 0x7c, 0x00, 0x80},
         12,
         SA2_F32,
         {0x3f800000, 0xc0000000, 0x33800000, 0x3dccc000, 0x7f800000, 0x80000000}},
        {"DoubleStorage",
         2,
         {0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf},
         16,
         SA2_F32,
         {0x3dcccccd, 0xbf800000}},
        {"LongStorage",
         2,
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0},
         16,
         SA2_I32,
         {0xffffffff, 0x7fffffff}},
        {"IntStorage", 1, {1, 2, 3, 4}, 4, SA2_I32, {0x04030201}},
    };
    archive *a = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t found[6];
        sa2_tensor_map *map = NULL;
        sa2_error err = {0};
        begin(a);
        test_pickle_tensor(&a->pickle, "x", cases[i].type, "0", cases[i].n, 0, 1, &cases[i].n,
                           (int64_t[]){1});
        finish(a, cases[i].bytes, cases[i].n_bytes);
        assert_int_equal(parse(a, NULL, &map, &err), SA2_OK);
        const sa2_tensor_entry *entry = sa2_tensor_map_find(map, "x");
        assert_int_equal(entry->tensor.dtype, cases[i].dtype);
        assert_int_equal(sa2_tensor_map_read(map, entry, 0, cases[i].n, found, &err), SA2_OK);
        assert_memory_equal(found, cases[i].want, (size_t)cases[i].n * 4);
        sa2_tensor_map_destroy(map);
    }
}

static void a_number_of_64_bits_that_does_not_fit_is_refused(void **state)
{
    archive *a = *state;
    int32_t found[1];
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    begin(a);
    test_pickle_tensor(&a->pickle, "x", "LongStorage", "0", 1, 0, 1, (int64_t[]){1},
                       (int64_t[]){1});
    finish(a, "\0\0\0\0\1\0\0\0", 8);
    assert_int_equal(parse(a, NULL, &map, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_read(map, sa2_tensor_map_find(map, "x"), 0, 1, found, &err),
                     SA2_ERR_FORMAT);
    assert_string_equal(err.message,
                        "f.pt: x element 0: value 4294967296, only 32 bits can be used");
    sa2_tensor_map_destroy(map);
}

static void a_prefix_is_taken_off_where_it_is(void **state)
{
    archive *a = *state;
    static const float storage[] = {1, 2};
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    begin(a);
    test_pickle_tensor(&a->pickle, "generator.a", "FloatStorage", "0", 2, 0, 1, (int64_t[]){1},
                       (int64_t[]){1});
    test_pickle_tensor(&a->pickle, "generators.b", "FloatStorage", "0", 2, 1, 1, (int64_t[]){1},
                       (int64_t[]){1});
    finish(a, storage, sizeof storage);
    assert_int_equal(parse(a, "generator.", &map, &err), SA2_OK);
    assert_non_null(sa2_tensor_map_find(map, "a"));
    assert_non_null(sa2_tensor_map_find(map, "generators.b"));
    sa2_tensor_map_destroy(map);
}

/* ---- what is refused ---- */

static void add_one(archive *a, const char *name, const char *key)
{
    test_pickle_tensor(&a->pickle, name, "FloatStorage", key, 2, 0, 1, (int64_t[]){2},
                       (int64_t[]){1});
}

static void storages_that_do_not_fit_are_refused(void **state)
{
    archive *a = *state;
    begin(a);
    add_one(a, "x", "7");
    finish(a, "12345678", 8);
    expect_refusal(a, SA2_ERR_FORMAT, "f.pt: x: storage r/data/7 is missing");
    begin(a);
    add_one(a, "x", "0");
    finish(a, "1234567", 7);
    expect_refusal(a, SA2_ERR_FORMAT,
                   "f.pt: x: storage r/data/0: 2 elements of 4 bytes expected, 7 bytes found");
    begin(a);
    add_one(a, "x", "0");
    finish(a, "123456789abc", 12);
    expect_refusal(a, SA2_ERR_FORMAT,
                   "f.pt: x: storage r/data/0: 2 elements of 4 bytes expected, 12 bytes found");
}

static void a_name_twice_is_refused(void **state)
{
    archive *a = *state;
    begin(a);
    add_one(a, "x", "0");
    add_one(a, "x", "0");
    finish(a, "12345678", 8);
    expect_refusal(a, SA2_ERR_FORMAT, "f.pt: x: in f.pt and again in f.pt");
}

static void archives_of_something_else_are_refused(void **state)
{
    archive *a = *state;
    begin(a);
    test_zip_add(&a->zip, "word/document.xml", "<x/>", 4);
    test_zip_finish(&a->zip, 0);
    expect_refusal(a, SA2_ERR_FORMAT,
                   "f.pt: no data.pkl among 1 entries: not a file of torch.save");
    begin(a);
    test_zip_add(&a->zip, "a/data.pkl", "", 0);
    test_zip_add(&a->zip, "b/data.pkl", "", 0);
    test_zip_finish(&a->zip, 0);
    expect_refusal(a, SA2_ERR_FORMAT, "f.pt: two dicts, a/data.pkl and b/data.pkl");
    begin(a);
    test_zip_add(&a->zip, "a/data.pkl", "", 0);
    test_zip_add(&a->zip, "a/byteorder", "big", 3);
    test_zip_finish(&a->zip, 0);
    expect_refusal(a, SA2_ERR_UNSUPPORTED, "f.pt: byte order big, little can be read");
    begin(a);
    test_pickle_bytes(&a->pickle, "\x80\x02", 2);
    a->pickle.n = 2;
    test_pickle_global(&a->pickle, "os\nsystem\n");
    finish(a, "", 0);
    expect_refusal(a, SA2_ERR_UNSUPPORTED,
                   "f.pt: pickle: byte 2, GLOBAL (0x63): os.system is not what a tensor needs");
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    assert_int_equal(sa2_torch_zip_open(&map, "/nowhere/flow.pt", NULL, &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "/nowhere/flow.pt"));
}

/* ---- writing ---- */

static sa2_status make_nothing(const void *context, const sa2_tensor_entry *entry, int64_t first,
                               int64_t count, void *out, sa2_error *err)
{
    (void)context;
    (void)first;
    (void)count;
    (void)out;
    return sa2_fail(err, SA2_ERR_FORMAT, "%s cannot be made", entry->name);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    char folder[256], path[512];
    static const float values[] = {1.5f, -2.0f, 3.25f, 0.0f, -0.0f, 1e-40f};
    static const uint16_t halves[] = {0x3f80, 0xc000};
    sa2_tensor_map *map = NULL, *again = NULL;
    sa2_error err = {0};
    float *own = malloc(sizeof values);
    uint16_t *own_halves = malloc(sizeof halves);
    assert_non_null(own);
    assert_non_null(own_halves);
    memcpy(own, values, sizeof values);
    memcpy(own_halves, halves, sizeof halves);
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/some.pt", folder);
    assert_int_equal(sa2_tensor_map_create(&map, &err), SA2_OK);
    sa2_tensor_map_add(map, "a.weight", "o", sa2_tensor_3d(own, SA2_F32, 1, 2, 3), &err);
    sa2_tensor_map_add(map, "b", "o", sa2_tensor_1d(own_halves, SA2_BF16, 2), &err);
    assert_int_equal(sa2_torch_zip_write(path, map, (sa2_write_progress){0}, &err), SA2_OK);

    assert_int_equal(sa2_torch_zip_open(&again, path, NULL, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_count(again), 2);
    const sa2_tensor_entry *entry = sa2_tensor_map_entry(again, 0);
    assert_string_equal(entry->name, "a.weight");
    assert_int_equal(entry->tensor.ndim, 3);
    assert_int_equal((uintptr_t)entry->tensor.data % 64, 0);
    assert_memory_equal(entry->tensor.data, values, sizeof values);
    entry = sa2_tensor_map_entry(again, 1);
    assert_int_equal(entry->tensor.dtype, SA2_BF16);
    assert_memory_equal(entry->tensor.data, halves, sizeof halves);
    sa2_tensor_map_destroy(again);
    sa2_tensor_map_destroy(map);
    free(own);
    free(own_halves);
    test_folder_remove(folder);
}

static void nothing_is_left_of_a_file_that_fails(void **state)
{
    (void)state;
    char folder[256], path[512];
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    sa2_tensor shape = sa2_tensor_1d(NULL, SA2_F32, 3);
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/some.pt", folder);
    assert_int_equal(sa2_tensor_map_create(&map, &err), SA2_OK);
    sa2_tensor_map_add_made(map, "a", "o", shape, make_nothing, NULL, &err);
    assert_int_equal(sa2_torch_zip_write(path, map, (sa2_write_progress){0}, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "a cannot be made");
    assert_int_equal(remove(path), -1);
    snprintf(path, sizeof path, "%s/some.pt.partial", folder);
    assert_int_equal(remove(path), -1);
    assert_int_equal(sa2_torch_zip_write("/nowhere/x.pt", map, (sa2_write_progress){0}, &err),
                     SA2_ERR_IO);
    assert_string_equal(err.message, "/nowhere/x.pt.partial: No such file or directory");
    sa2_tensor_map_destroy(map);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_torch_holds_the_synthetic_values),
        cmocka_unit_test_setup_teardown(strides_and_offsets_are_honoured, create, destroy),
        cmocka_unit_test_setup_teardown(other_number_formats_become_ours, create, destroy),
        cmocka_unit_test_setup_teardown(a_number_of_64_bits_that_does_not_fit_is_refused, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(a_prefix_is_taken_off_where_it_is, create, destroy),
        cmocka_unit_test_setup_teardown(storages_that_do_not_fit_are_refused, create, destroy),
        cmocka_unit_test_setup_teardown(a_name_twice_is_refused, create, destroy),
        cmocka_unit_test_setup_teardown(archives_of_something_else_are_refused, create, destroy),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(nothing_is_left_of_a_file_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
