/* Tensor maps: weights by name and shape, and reports that name every mistake. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/limits.h"
#include "loader/finite.h"
#include "loader/tensor_map.h"

static sa2_tensor_map *make_map(void)
{
    sa2_tensor_map *map = NULL;
    assert_int_equal(sa2_tensor_map_create(&map, NULL), SA2_OK);
    return map;
}

static void every_added_tensor_is_found_and_no_other(void **state)
{
    (void)state;
    enum { N = 5000 };
    sa2_tensor_map *map = make_map();
    static float value = 1.0f;
    char name[32];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "layers.%d.weight", i);
        assert_int_equal(
            sa2_tensor_map_add(map, name, "a.safetensors", sa2_tensor_1d(&value, SA2_F32, 1), NULL),
            SA2_OK);
    }
    assert_int_equal(sa2_tensor_map_count(map), N);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "layers.%d.weight", i);
        assert_ptr_equal(sa2_tensor_map_find(map, name), sa2_tensor_map_entry(map, i));
        assert_string_equal(sa2_tensor_map_entry(map, i)->name, name);
    }
    assert_null(sa2_tensor_map_find(map, "layers.5000.weight"));
    sa2_tensor_map_destroy(map);
}

static void a_part_gets_one_report_of_all_that_is_wrong(void **state)
{
    (void)state;
    sa2_tensor_map *map = make_map();
    float good[6] = {0}, bad[4] = {0, 1, NAN, 3};
    uint16_t infinite[2] = {0x3f80, 0xff80};
    sa2_tensor_map_add(map, "good", "m-1", sa2_tensor_2d(good, SA2_F32, 2, 3), NULL);
    sa2_tensor_map_add(map, "nan", "m-1", sa2_tensor_1d(bad, SA2_F32, 4), NULL);
    sa2_tensor_map_add(map, "inf", "m-2", sa2_tensor_1d(infinite, SA2_BF16, 2), NULL);
    sa2_tensor_map_add(map, "other", "m-2", sa2_tensor_1d(good, SA2_F32, 6), NULL);

    sa2_tensor t;
    sa2_error err = {0};
    assert_int_equal(sa2_tensor_map_expect(map, "good", 2, (int64_t[]){2, 3}, &t, &err), SA2_OK);
    assert_ptr_equal(t.data, good);
    assert_int_equal(sa2_tensor_map_expect(map, "good", 2, (int64_t[]){3, 2}, &t, &err),
                     SA2_ERR_FORMAT);
    assert_null(t.data);
    sa2_tensor_map_expect(map, "good", 1, (int64_t[]){2}, &t, &err);
    sa2_tensor_map_expect(map, "none", 3, (int64_t[]){1, 2, 3}, &t, &err);
    sa2_tensor_map_expect(map, "nan", 1, (int64_t[]){4}, &t, &err);
    sa2_tensor_map_expect(map, "inf", 1, (int64_t[]){2}, &t, &err);
    assert_int_equal(sa2_tensor_map_unused(map, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "good: [3, 2] expected, [2, 3] in m-1\n"
                                     "good: [2] expected, [2, 3] in m-1\n"
                                     "none: [1, 2, 3] expected, no such tensor\n"
                                     "nan: NaN or infinity at element 2 in m-1\n"
                                     "inf: NaN or infinity at element 1 in m-2\n"
                                     "other: [6] in m-2, no such tensor expected");
    sa2_tensor_map_mark_used(map, "other");
    assert_int_equal(sa2_tensor_map_unused(map, NULL), SA2_OK);
    sa2_tensor_map_destroy(map);
}

static sa2_status count_up(const void *context, const sa2_tensor_entry *entry, int64_t first,
                           int64_t count, void *out, sa2_error *err)
{
    (void)entry;
    int64_t limit = *(const int64_t *)context;
    if (first + count > limit)
        return sa2_fail(err, SA2_ERR_IO, "element %d cannot be made", (int)limit);
    for (int64_t i = 0; i < count; i++)
        ((int32_t *)out)[i] = (int32_t)(first + i);
    return SA2_OK;
}

static void values_are_made_when_asked_for_and_again_after_release(void **state)
{
    (void)state;
    enum { N = 3000001 }; /* several ranges, the last one short */
    sa2_tensor_map *map = make_map();
    int64_t limit = N;
    sa2_tensor_map_add_made(map, "x", "rule", sa2_tensor_1d(NULL, SA2_I32, N), count_up, &limit,
                            NULL);
    for (int threads = 1; threads <= 3; threads++) {
        sa2_tensor t;
        sa2_tensor_map_set_threads(map, threads);
        assert_int_equal(sa2_tensor_map_expect(map, "x", 1, (int64_t[]){N}, &t, NULL), SA2_OK);
        for (int i = 0; i < N; i++)
            if (((int32_t *)t.data)[i] != i)
                fail_msg("element %d is %d", i, ((int32_t *)t.data)[i]);
        sa2_tensor_map_release(map);
    }
    assert_null(sa2_tensor_map_find(map, "x")->tensor.data);
    sa2_tensor_map_destroy(map);
}

static void a_maker_that_fails_is_a_line_of_the_report(void **state)
{
    (void)state;
    sa2_tensor_map *map = make_map();
    int64_t limit = 5;
    sa2_tensor t;
    sa2_error err = {0};
    sa2_tensor_map_add_made(map, "x", "rule", sa2_tensor_1d(NULL, SA2_I32, 9), count_up, &limit,
                            NULL);
    assert_int_equal(sa2_tensor_map_expect(map, "x", 1, (int64_t[]){9}, &t, &err), SA2_ERR_IO);
    assert_string_equal(err.message, "element 5 cannot be made");
    assert_null(t.data);
    sa2_tensor_map_destroy(map);
}

static void a_range_reads_alike_from_memory_and_from_a_maker(void **state)
{
    (void)state;
    sa2_tensor_map *map = make_map();
    int32_t values[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, a[3], b[3];
    int64_t limit = 9;
    sa2_tensor_map_add(map, "lies", "m", sa2_tensor_1d(values, SA2_I32, 9), NULL);
    sa2_tensor_map_add_made(map, "made", "m", sa2_tensor_1d(NULL, SA2_I32, 9), count_up, &limit,
                            NULL);
    sa2_tensor_map_read(map, sa2_tensor_map_find(map, "lies"), 4, 3, a, NULL);
    sa2_tensor_map_read(map, sa2_tensor_map_find(map, "made"), 4, 3, b, NULL);
    assert_memory_equal(a, values + 4, sizeof a);
    assert_memory_equal(b, values + 4, sizeof b);
    sa2_tensor_map_destroy(map);
}

static void a_name_twice_is_refused_with_both_files(void **state)
{
    (void)state;
    sa2_tensor_map *map = make_map();
    float value = 0.0f;
    sa2_error err = {0};
    sa2_tensor one = sa2_tensor_1d(&value, SA2_F32, 1);
    assert_int_equal(sa2_tensor_map_add(map, "x", "m-1", one, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_add(map, "x", "m-2", one, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "x: in m-1 and again in m-2");
    char name[SA2_LIMIT_TENSOR_NAME_BYTES + 2];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(sa2_tensor_map_add(map, name, "m-2", one, &err), SA2_ERR_LIMIT);
    sa2_tensor_map_destroy(map);
}

static void a_list_names_missing_misshaped_and_other_tensors(void **state)
{
    (void)state;
    sa2_tensor_map *map = make_map();
    sa2_tensor_list list = {0};
    float values[8] = {0};
    sa2_error err = {0};
    sa2_tensor_map_add(map, "a", "m", sa2_tensor_2d(values, SA2_F32, 2, 4), NULL);
    sa2_tensor_map_add(map, "c", "m", sa2_tensor_1d(values, SA2_F32, 8), NULL);
    sa2_tensor_list_add(&list, SA2_BF16, 2, (int64_t[]){2, 4}, NULL, "%s", "a");
    assert_int_equal(sa2_tensor_map_check(map, &list, &err), SA2_ERR_FORMAT);
    sa2_tensor_list_add(&list, SA2_BF16, 1, (int64_t[]){8}, NULL, "%s", "c");
    assert_int_equal(sa2_tensor_map_check(map, &list, NULL), SA2_OK);
    sa2_tensor_list_add(&list, SA2_BF16, 1, (int64_t[]){4}, NULL, "b.%d", 1);
    assert_int_equal(sa2_tensor_map_check(map, &list, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "c: [8] in m, no such tensor expected\n"
                                     "b.1: [4] expected, no such tensor");
    sa2_tensor_list_destroy(&list);
    sa2_tensor_map_destroy(map);
}

static int destroyed;

static void count_destroyed(void *thing)
{
    assert_int_equal(*(int *)thing, ++destroyed);
}

static void what_a_map_keeps_goes_with_it_last_first(void **state)
{
    (void)state;
    int second = 1, first = 2;
    sa2_tensor_map *map = make_map();
    sa2_tensor_map_keep(map, &first, count_destroyed, NULL);
    sa2_tensor_map_keep(map, &second, count_destroyed, NULL);
    sa2_tensor_map_destroy(map);
    assert_int_equal(destroyed, 2);
}

static void the_first_value_that_is_no_number_is_found_anywhere(void **state)
{
    (void)state;
    enum { N = 9001 };
    float *f = calloc(N, sizeof *f);
    uint16_t *b = calloc(N, sizeof *b);
    assert_int_equal(sa2_first_not_finite(f, SA2_F32, N), -1);
    static const int places[] = {9000, 8192, 4096, 4095, 17, 0};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        f[places[i]] = i % 2 == 0 ? INFINITY : -NAN;
        b[places[i]] = i % 2 == 0 ? 0xff80 : 0x7fc1;
        assert_int_equal(sa2_first_not_finite(f, SA2_F32, N), places[i]);
        assert_int_equal(sa2_first_not_finite(b, SA2_BF16, N), places[i]);
    }
    f[0] = 3e38f; /* the largest that are numbers */
    b[0] = 0x7f7f;
    assert_int_equal(sa2_first_not_finite(f, SA2_F32, 17), -1);
    assert_int_equal(sa2_first_not_finite(b, SA2_BF16, 17), -1);
    assert_int_equal(sa2_first_not_finite(f, SA2_I32, N), -1);
    free(b);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_added_tensor_is_found_and_no_other),
        cmocka_unit_test(a_part_gets_one_report_of_all_that_is_wrong),
        cmocka_unit_test(values_are_made_when_asked_for_and_again_after_release),
        cmocka_unit_test(a_maker_that_fails_is_a_line_of_the_report),
        cmocka_unit_test(a_range_reads_alike_from_memory_and_from_a_maker),
        cmocka_unit_test(a_name_twice_is_refused_with_both_files),
        cmocka_unit_test(a_list_names_missing_misshaped_and_other_tensors),
        cmocka_unit_test(what_a_map_keeps_goes_with_it_last_first),
        cmocka_unit_test(the_first_value_that_is_no_number_is_found_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
