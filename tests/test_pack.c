/* Native files: what is in a good one, and that no other is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader/little_endian.h"
#include "loader/pack_format.h"
#include "loader/pack_writer.h"
#include "runtime/pack_map.h"
#include "tests/support/native_bytes.h"
#include "tests/support/test_files.h"

enum { PATH = 512, ROWS = 4, COLS = 6, KERNEL = 3, BINS = 2 };

/* A folder with the small file, and its bytes, aligned as a mapped file is. */
typedef struct world {
    char folder[256], path[PATH];
    unsigned char *bytes;
    size_t n;
} world;

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    test_folder_create(w->folder, sizeof w->folder);
    snprintf(w->path, sizeof w->path, "%s/small.sa2", w->folder);
    assert_true(test_native_write(w->path));
    char *text = test_read_file(w->path, &w->n);
    w->bytes = aligned_alloc(64, (w->n + 63) / 64 * 64);
    assert_non_null(w->bytes);
    memcpy(w->bytes, text, w->n);
    free(text);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    test_folder_remove(w->folder);
    free(w->bytes);
    free(w);
    return 0;
}

/* Opens bytes in memory and reads all that is in them, as whoever uses the file would. */
static sa2_status read_all(const void *bytes, size_t n, sa2_error *err)
{
    static const char *const parts[] = {SA2_PACK_MODEL, SA2_PACK_FLOW};
    sa2_pack *pack = NULL;
    sa2_status st = sa2_pack_parse(&pack, bytes, n, "small.sa2", err);
    if (st == SA2_OK)
        st = sa2_pack_check_all(pack, 2, NULL, err);
    for (size_t p = 0; st == SA2_OK && p < 2; p++) {
        sa2_tensor_map *map = NULL;
        st = sa2_pack_map_open(&map, pack, parts[p], err);
        for (int i = 0; st == SA2_OK && i < sa2_tensor_map_count(map); i++) {
            const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
            void *values = malloc(sa2_tensor_bytes(&entry->tensor));
            assert_non_null(values);
            st = sa2_tensor_map_read(map, entry, 0, sa2_tensor_count(&entry->tensor), values, err);
            free(values);
        }
        sa2_tensor_map_destroy(map);
    }
    sa2_pack_close(pack);
    return st;
}

static void expect_refusal(const world *w, sa2_status status, const char *part)
{
    sa2_error err = {0};
    sa2_status st = read_all(w->bytes, w->n, &err);
    if (st != status || strstr(err.message, part) == NULL)
        fail_msg("\"%s\" expected, found %s: %s", part, sa2_status_name(st), err.message);
}

/* ---- what a good file holds ---- */

static void blocks_begin_where_kernels_can_read_them(void **state)
{
    world *w = *state;
    sa2_pack *pack = NULL;
    sa2_error err = {0};
    if (sa2_pack_open(&pack, w->path, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_true(sa2_pack_is(w->path));
    assert_int_equal(sa2_pack_n_blocks(pack), 6);
    for (int i = 0; i < sa2_pack_n_blocks(pack); i++) {
        const sa2_pack_block *block = sa2_pack_get_block(pack, i);
        uintptr_t align = block->bytes >= SA2_PACK_LONG_ALIGN ? 4096 : 64;
        assert_int_equal((uintptr_t)block->data % align, 0);
        assert_ptr_equal(sa2_pack_find(pack, block->name), block);
        assert_int_equal(sa2_pack_check(pack, block, 1, NULL), SA2_OK);
    }
    assert_null(sa2_pack_find(pack, "model/nothing"));
    const char *text;
    size_t n;
    assert_int_equal(sa2_pack_file(pack, "a.txt", &text, &n, NULL), SA2_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(text, "text", 4);
    assert_int_equal(sa2_pack_file(pack, "b.txt", &text, &n, NULL), SA2_OK);
    assert_null(text);
    assert_string_equal(sa2_pack_get_source(pack, 0)->name, "a.txt");
    assert_int_equal(sa2_pack_get_source(pack, 0)->hash, 5);
    sa2_pack_close(sa2_pack_share(pack)); /* of two owners one is left */
    assert_int_equal(sa2_pack_check_all(pack, 2, NULL, NULL), SA2_OK);
    sa2_pack_close(pack);
}

/* Values [first, first + count) of a tensor of bf16. */
static void expect_values(const sa2_tensor_map *map, const char *name, int64_t n,
                          float (*want)(int64_t i))
{
    const sa2_tensor_entry *entry = sa2_tensor_map_find(map, name);
    uint16_t found[128];
    assert_non_null(entry);
    assert_int_equal(entry->tensor.dtype, SA2_BF16);
    assert_int_equal(sa2_tensor_count(&entry->tensor), n);
    for (int64_t first = 0; first < n; first += 5) { /* pieces that begin inside rows */
        int64_t count = n - first < 5 ? n - first : 5;
        assert_int_equal(sa2_tensor_map_read(map, entry, first, count, found, NULL), SA2_OK);
        for (int64_t i = 0; i < count; i++)
            if (found[i] != sa2_f32_to_bf16(want(first + i)))
                fail_msg("%s[%d]: %g expected, found %g", name, (int)(first + i),
                         (double)want(first + i), (double)sa2_bf16_to_f32(found[i]));
    }
}

static float counted(int64_t i)
{
    return (float)(i + 1);
}

static float last_rows(int64_t i)
{
    return (float)(i + 1 + (ROWS - 2) * COLS);
}

static float upper_half(int64_t i)
{
    return (float)(i + 1 + ROWS * COLS);
}

/* Element [o, i * BINS + b, k] lies at [o, k, b, i]. */
static float taps(int64_t i)
{
    enum { IN = COLS / BINS };
    int64_t o = i / (COLS * KERNEL), rest = i % (COLS * KERNEL);
    int64_t in = rest / KERNEL / BINS, bin = rest / KERNEL % BINS, k = rest % KERNEL;
    return (float)(o * COLS * KERNEL + (k * BINS + bin) * IN + in + 1);
}

static void tensors_come_back_from_every_form(void **state)
{
    world *w = *state;
    sa2_pack *pack = NULL;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    if (sa2_pack_open(&pack, w->path, &err) != SA2_OK ||
        sa2_pack_map_open(&map, pack, SA2_PACK_MODEL, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_pack_close(pack); /* the map keeps it */
    assert_int_equal(sa2_tensor_map_count(map), 5);
    expect_values(map, "vector", ROWS, counted);
    expect_values(map, "matrix", 2 * COLS, last_rows);
    expect_values(map, "gate", ROWS * COLS, counted);
    expect_values(map, "up", ROWS * COLS, upper_half);
    expect_values(map, "taps", ROWS * COLS * KERNEL, taps);
    sa2_tensor_map_destroy(map);
}

/* ---- damage ---- */

static void every_changed_bit_is_noticed(void **state)
{
    world *w = *state;
    assert_int_equal(read_all(w->bytes, w->n, NULL), SA2_OK);
    for (size_t i = 0; i < w->n; i++) {
        unsigned char bit = (unsigned char)(1u << (i % 8));
        sa2_error err = {0};
        w->bytes[i] ^= bit;
        if (read_all(w->bytes, w->n, &err) == SA2_OK || err.message[0] == '\0')
            fail_msg("byte %zu of %zu: changed, and nobody noticed", i, w->n);
        w->bytes[i] ^= bit;
    }
}

static void every_other_length_is_refused(void **state)
{
    world *w = *state;
    for (size_t n = 0; n < w->n; n += n < 128 || n + 128 > w->n ? 1 : 97) {
        unsigned char *piece = aligned_alloc(64, (n + 64) / 64 * 64);
        assert_non_null(piece);
        memcpy(piece, w->bytes, n);
        sa2_error err = {0};
        assert_int_equal(read_all(piece, n, &err), SA2_ERR_FORMAT);
        assert_non_null(strstr(err.message, "small.sa2"));
        free(piece);
    }
    unsigned char *longer = aligned_alloc(64, (w->n + 128) / 64 * 64);
    assert_non_null(longer);
    memcpy(longer, w->bytes, w->n);
    longer[w->n] = 0;
    sa2_error err = {0};
    assert_int_equal(read_all(longer, w->n + 1, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "cut short, or longer"));
    free(longer);
}

static void another_version_is_refused_with_the_command_that_helps(void **state)
{
    world *w = *state;
    sa2_put_le32(w->bytes + 8, SA2_PACK_VERSION + 1);
    test_native_seal(w->bytes, w->n);
    expect_refusal(w, SA2_ERR_UNSUPPORTED,
                   "version 2 found; make it again: sa2 convert FOLDER small.sa2");
}

static unsigned char *index_of(const world *w)
{
    return w->bytes + sa2_le64(w->bytes + 24);
}

/* The first place of a text behind the records. */
static unsigned char *find_text(const world *w, const char *text)
{
    size_t n = strlen(text) + 1;
    for (unsigned char *at = index_of(w); at + n <= w->bytes + w->n; at++)
        if (memcmp(at, text, n) == 0)
            return at;
    fail_msg("no text %s", text);
    return NULL;
}

static void an_unknown_order_or_dtype_is_refused_with_the_command_that_helps(void **state)
{
    world *w = *state;
    unsigned char *order = find_text(w, "cpu-bf16-16x2-1"), *dtype = find_text(w, "bf16");
    order[14] = '2';
    test_native_seal(w->bytes, w->n);
    expect_refusal(w, SA2_ERR_UNSUPPORTED,
                   "model/matrix is in the order cpu-bf16-16x2-2, which this build does not know");
    order[14] = '1';
    memcpy(dtype, "int4", 4);
    test_native_seal(w->bytes, w->n);
    expect_refusal(w, SA2_ERR_UNSUPPORTED, "values of dtype int4");
}

static void blocks_in_another_order_are_refused(void **state)
{
    world *w = *state;
    unsigned char *first = index_of(w) + SA2_PACK_INDEX_HEAD_BYTES + SA2_PACK_BLOCK_BYTES;
    unsigned char record[SA2_PACK_BLOCK_BYTES];
    memcpy(record, first, sizeof record);
    memcpy(first, first + sizeof record, sizeof record);
    memcpy(first + sizeof record, record, sizeof record);
    test_native_seal(w->bytes, w->n);
    expect_refusal(w, SA2_ERR_FORMAT, "does not lie behind the block before it");
}

static void a_name_that_is_there_twice_is_refused(void **state)
{
    world *w = *state;
    unsigned char *record = index_of(w) + SA2_PACK_INDEX_HEAD_BYTES + SA2_PACK_BLOCK_BYTES;
    memcpy(record + SA2_PACK_BLOCK_BYTES, record, 4);
    test_native_seal(w->bytes, w->n);
    expect_refusal(w, SA2_ERR_FORMAT, "model/vector is there twice");
}

/* Every number of the index in turn, with checksums that agree: refused, or read without a byte too far. */
static void numbers_that_lie_lead_nowhere(void **state)
{
    static const uint64_t lies[] = {
        0, 1, 2, 3, 5, 63, 64, 1 << 16, UINT32_MAX, INT64_MAX, UINT64_MAX, 1ull << 47, 1ull << 62};
    world *w = *state;
    unsigned char *index = index_of(w), *end = w->bytes + w->n;
    int refused = 0;
    for (unsigned char *at = w->bytes + 8; at + 8 <= end; at = at == w->bytes + 48 ? index : at + 4)
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++)
            for (int bytes = 4; bytes <= 8; bytes += 4) {
                unsigned char before[8];
                sa2_error err = {0};
                memcpy(before, at, sizeof before);
                bytes == 4 ? sa2_put_le32(at, (uint32_t)lies[i]) : sa2_put_le64(at, lies[i]);
                test_native_seal(w->bytes, w->n);
                if (read_all(w->bytes, w->n, &err) != SA2_OK) {
                    assert_true(err.message[0] != '\0');
                    refused++;
                }
                memcpy(at, before, sizeof before);
                test_native_seal(w->bytes, w->n);
            }
    assert_true(refused > 1000);
    assert_int_equal(read_all(w->bytes, w->n, NULL), SA2_OK);
}

static void a_tensor_that_leaves_its_block_is_refused(void **state)
{
    world *w = *state;
    unsigned char *tensors = index_of(w) + SA2_PACK_INDEX_HEAD_BYTES + 6 * SA2_PACK_BLOCK_BYTES;
    unsigned char *matrix = tensors + SA2_PACK_TENSOR_BYTES;
    sa2_put_le64(matrix + 56, ROWS - 1); /* two rows from the last one on */
    test_native_seal(w->bytes, w->n);
    expect_refusal(w, SA2_ERR_FORMAT, "model/matrix does not lie in model/matrix as it says");
    sa2_put_le64(matrix + 56, 0);
    sa2_put_le32(matrix + 8, 5); /* the block of another part */
    test_native_seal(w->bytes, w->n);
    expect_refusal(w, SA2_ERR_FORMAT, "model/matrix does not lie in flow/table as it says");
}

/* ---- writing ---- */

static const sa2_pack_block one_block = {.name = "model/x",
                                         .layout = SA2_PACK_ROWS,
                                         .dtype = SA2_U8,
                                         .ndim = 1,
                                         .shape = {5},
                                         .data = (const unsigned char *)"hello",
                                         .bytes = 5};

static void what_is_unfinished_is_no_native_file(void **state)
{
    world *w = *state;
    char path[PATH], partial[PATH + 16];
    sa2_pack_writer *writer = NULL;
    sa2_pack *pack = NULL;
    sa2_error err = {0};
    snprintf(path, sizeof path, "%s/b.sa2", w->folder);
    snprintf(partial, sizeof partial, "%s.partial", path);
    assert_int_equal(sa2_pack_writer_create(&writer, path, NULL, NULL), SA2_OK);
    assert_int_equal(sa2_pack_writer_block(writer, &one_block, NULL, NULL), SA2_OK);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(sa2_pack_open(&pack, partial, &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "never finished"));
    sa2_pack_writer_destroy(writer);
    assert_int_equal(access(partial, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);
}

static void two_writers_of_one_file_do_not_meet(void **state)
{
    world *w = *state;
    char path[PATH];
    sa2_pack_writer *first = NULL, *second = NULL;
    sa2_error err = {0};
    snprintf(path, sizeof path, "%s/b.sa2", w->folder);
    assert_int_equal(sa2_pack_writer_create(&first, path, NULL, NULL), SA2_OK);
    assert_int_equal(sa2_pack_writer_create(&second, path, NULL, &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "another process is writing it"));
    assert_null(second);
    assert_int_equal(sa2_pack_writer_block(first, &one_block, NULL, NULL), SA2_OK);
    assert_int_equal(sa2_pack_writer_block(first, &one_block, NULL, &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_pack_writer_finish(first, 1, NULL), SA2_OK);
    sa2_pack_writer_destroy(first);
    assert_true(sa2_pack_is(path));
}

static void a_folder_or_a_device_is_not_replaced(void **state)
{
    world *w = *state;
    sa2_pack_writer *writer = NULL;
    sa2_error err = {0};
    assert_int_equal(sa2_pack_writer_create(&writer, w->folder, NULL, &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "a file expected, a folder found"));
    assert_int_equal(sa2_pack_writer_create(&writer, "/dev/null", NULL, &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "a device or a pipe"));
    assert_int_equal(sa2_pack_writer_create(&writer, "/nowhere/b.sa2", NULL, &err), SA2_ERR_IO);
}

static bool give_up(void *context, int64_t bytes)
{
    (void)context;
    (void)bytes;
    return false;
}

static void who_gives_up_leaves_nothing(void **state)
{
    world *w = *state;
    char path[PATH], partial[PATH + 16];
    const sa2_pack_progress progress = {.go_on = give_up};
    sa2_pack_writer *writer = NULL;
    snprintf(path, sizeof path, "%s/b.sa2", w->folder);
    snprintf(partial, sizeof partial, "%s.partial", path);
    assert_int_equal(sa2_pack_writer_create(&writer, path, &progress, NULL), SA2_OK);
    assert_int_equal(sa2_pack_writer_block(writer, &one_block, NULL, NULL), SA2_ERR_CANCELLED);
    sa2_pack_writer_destroy(writer);
    assert_int_equal(access(partial, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_begin_where_kernels_can_read_them, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(tensors_come_back_from_every_form, open_world, close_world),
        cmocka_unit_test_setup_teardown(every_changed_bit_is_noticed, open_world, close_world),
        cmocka_unit_test_setup_teardown(every_other_length_is_refused, open_world, close_world),
        cmocka_unit_test_setup_teardown(another_version_is_refused_with_the_command_that_helps,
                                        open_world, close_world),
        cmocka_unit_test_setup_teardown(
            an_unknown_order_or_dtype_is_refused_with_the_command_that_helps, open_world,
            close_world),
        cmocka_unit_test_setup_teardown(blocks_in_another_order_are_refused, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(a_name_that_is_there_twice_is_refused, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(numbers_that_lie_lead_nowhere, open_world, close_world),
        cmocka_unit_test_setup_teardown(a_tensor_that_leaves_its_block_is_refused, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(what_is_unfinished_is_no_native_file, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(two_writers_of_one_file_do_not_meet, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(a_folder_or_a_device_is_not_replaced, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(who_gives_up_leaves_nothing, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
