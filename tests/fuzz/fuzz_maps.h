/* fuzz_maps.h - the values of a map of tensors that was made of any bytes.
 */
#ifndef SA2_TESTS_FUZZ_FUZZ_MAPS_H
#define SA2_TESTS_FUZZ_FUZZ_MAPS_H

#include "loader/tensor_map.h"
#include "tests/fuzz/fuzz.h"

/* Reads every value, whole as a part of the model does and in two pieces, which must be the same;
 * NULL is fine. */
static inline void fuzz_read_all(sa2_tensor_map *map)
{
    for (int i = 0; map != NULL && i < sa2_tensor_map_count(map); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
        int64_t n = sa2_tensor_count(&entry->tensor), half = n / 2;
        size_t size = sa2_dtype_bytes(entry->tensor.dtype);
        sa2_tensor whole;
        sa2_error err = {0};
        sa2_status st = sa2_tensor_map_expect(map, entry->name, entry->tensor.ndim,
                                              entry->tensor.shape, &whole, &err);
        fuzz_expect_message(st, &err);
        if (st == SA2_OK && n > 0) {
            char *pieces = malloc((size_t)n * size);
            fuzz_expect(pieces != NULL, "memory for values that were in memory once");
            sa2_tensor_map_read(map, entry, 0, half, pieces, &err);
            sa2_tensor_map_read(map, entry, half, n - half, pieces + (size_t)half * size, &err);
            fuzz_expect(memcmp(pieces, whole.data, (size_t)n * size) == 0, "one value, read twice");
            free(pieces);
        }
        sa2_tensor_map_release(map);
    }
}

#endif
