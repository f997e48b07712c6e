/* Base: errors that add up, arenas that give back, views that stay inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/arena.h"
#include "kernels/base/status.h"
#include "kernels/base/tensor.h"

static void a_report_names_every_mistake_and_keeps_the_first_status(void **state)
{
    (void)state;
    sa2_error err = {0};
    assert_int_equal(sa2_fail_also(&err, SA2_ERR_FORMAT, "a: %d", 1), SA2_ERR_FORMAT);
    assert_int_equal(sa2_fail_also(&err, SA2_ERR_IO, "b: %d", 2), SA2_ERR_IO);
    assert_string_equal(err.message, "a: 1\nb: 2");
    assert_int_equal(err.status, SA2_ERR_FORMAT);
    sa2_wrap(&err, err.status, "folder %s", "x");
    assert_string_equal(err.message, "folder x: a: 1\nb: 2");
}

static void reports_merge_into_one(void **state)
{
    (void)state;
    sa2_error whole = {0}, none = {0}, part = {0};
    sa2_fail_merge(&whole, SA2_OK, &none);
    assert_int_equal(whole.status, SA2_OK);
    sa2_fail_also(&whole, SA2_ERR_IO, "a");
    sa2_fail_also(&part, SA2_ERR_FORMAT, "b");
    sa2_fail_also(&part, SA2_ERR_FORMAT, "c");
    assert_int_equal(sa2_fail_merge(&whole, SA2_ERR_FORMAT, &part), SA2_ERR_FORMAT);
    assert_string_equal(whole.message, "a\nb\nc");
    assert_int_equal(whole.status, SA2_ERR_IO);
}

static void lines_that_do_not_fit_are_counted(void **state)
{
    (void)state;
    sa2_error err = {0};
    for (int i = 0; i < SA2_ERROR_BYTES; i++)
        sa2_fail_also(&err, SA2_ERR_FORMAT, "mistake number %d", i);
    assert_true(strlen(err.message) < SA2_ERROR_BYTES);
    assert_true(err.n_unsaid > 0);
    sa2_wrap(&err, SA2_ERR_FORMAT, "prefix");
    assert_true(strlen(err.message) < SA2_ERROR_BYTES);
    assert_memory_equal(err.message, "prefix: mistake number 0\n", 25);
}

static void an_arena_refuses_what_does_not_fit_and_gives_back(void **state)
{
    (void)state;
    sa2_arena arena;
    assert_int_equal(sa2_arena_create(&arena, 1000, NULL), SA2_OK);
    size_t mark = sa2_arena_mark(&arena);
    void *first = sa2_arena_take(&arena, 100);
    assert_non_null(first);
    assert_int_equal((uintptr_t)sa2_arena_take(&arena, 1) % SA2_ARENA_ALIGN, 0);
    assert_null(sa2_arena_take(&arena, 1000));
    assert_null(sa2_arena_take(&arena, SIZE_MAX));
    sa2_arena_rewind(&arena, mark);
    assert_ptr_equal(sa2_arena_take(&arena, 1000), first);
    assert_null(sa2_arena_take(&arena, 1));
    sa2_arena_destroy(&arena);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(sa2_f32_to_bf16(1.0f), 0x3f80);
    assert_int_equal(sa2_f32_to_bf16(1.00390625f), 0x3f80); /* half way, even below */
    assert_int_equal(sa2_f32_to_bf16(1.01171875f), 0x3f82); /* half way, even above */
    assert_int_equal(sa2_f32_to_bf16(-1.0f), 0xbf80);
    float nan = sa2_bf16_to_f32(sa2_f32_to_bf16(__builtin_nanf("")));
    assert_true(nan != nan);
}

static void views_keep_stride_and_offset(void **state)
{
    (void)state;
    float data[6 * 8];
    sa2_tensor x = sa2_tensor_2d(data, SA2_F32, 6, 8);
    sa2_tensor y = sa2_tensor_cols(sa2_tensor_rows(x, 2, 3), 4, 4);
    assert_ptr_equal(y.data, data + 2 * 8 + 4);
    assert_int_equal(y.stride, 8);
    assert_false(sa2_tensor_is_dense(&y));
    sa2_tensor heads = sa2_tensor_heads(y, 2);
    assert_int_equal(heads.shape[1] * heads.shape[2], 4);
    char text[64];
    assert_string_equal(sa2_tensor_describe(&heads, text, sizeof text), "f32 [3, 2, 2]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_names_every_mistake_and_keeps_the_first_status),
        cmocka_unit_test(reports_merge_into_one),
        cmocka_unit_test(lines_that_do_not_fit_are_counted),
        cmocka_unit_test(an_arena_refuses_what_does_not_fit_and_gives_back),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(views_keep_stride_and_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
