/* synthetic_values.h - does a map hold what the rule of synthetic.h gives, bit for bit?
 */
#ifndef SA2_TESTS_SUPPORT_SYNTHETIC_VALUES_H
#define SA2_TESTS_SUPPORT_SYNTHETIC_VALUES_H

#include <stdint.h>

#include "loader/tensor_list.h"
#include "loader/tensor_map.h"

/* Fails the test when names or shapes are not those of the list, or a value (f32) is another. */
void test_expect_synthetic(const sa2_tensor_map *map, const sa2_tensor_list *list, const char *role,
                           uint64_t seed);

#endif
