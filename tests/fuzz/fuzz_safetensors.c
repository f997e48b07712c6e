/* Any bytes as a safetensors file: refused with a message, or every value can be read. */
#include "loader/safetensors.h"
#include "tests/fuzz/fuzz_maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    void *file = fuzz_copy(data, n);
    fuzz_expect_message(sa2_safetensors_parse(&map, file, n, "f", &err), &err);
    fuzz_read_all(map);
    sa2_tensor_map_destroy(map);
    free(file);
    return 0;
}
