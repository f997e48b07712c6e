#include "tests/support/synthetic_values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "loader/synthetic.h"

static void expect_tensor(const sa2_tensor_map *map, const sa2_tensor_list_item *item,
                          const char *role, uint64_t seed)
{
    const sa2_tensor_entry *entry = sa2_tensor_map_find(map, item->name);
    sa2_error err = {0};
    int64_t n = sa2_tensor_count(&item->shape);
    assert_int_equal(entry->tensor.dtype, SA2_F32);
    uint32_t *found = malloc((size_t)n * sizeof *found), *want = malloc((size_t)n * sizeof *want);
    assert_non_null(found);
    assert_non_null(want);
    /* In two parts, so that a maker which cannot begin in the middle is seen. */
    int64_t half = n / 2 + (n > 2 ? 1 : 0);
    assert_int_equal(sa2_tensor_map_read(map, entry, 0, half, found, &err), SA2_OK);
    assert_int_equal(sa2_tensor_map_read(map, entry, half, n - half, found + half, &err), SA2_OK);
    sa2_synthetic_fill(want, role, item->name, &item->shape, seed, 0, n);
    for (int64_t i = 0; i < n; i++)
        if (found[i] != want[i])
            fail_msg("%s element %lld: %08x found, %08x expected", item->name, (long long)i,
                     found[i], want[i]);
    free(found);
    free(want);
}

void test_expect_synthetic(const sa2_tensor_map *map, const sa2_tensor_list *list, const char *role,
                           uint64_t seed)
{
    sa2_error err = {0};
    if (sa2_tensor_map_check(map, list, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sa2_tensor_map_count(map), list->n);
    for (int i = 0; i < list->n; i++)
        expect_tensor(map, &list->items[i], role, seed);
}
