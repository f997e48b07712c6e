/* Any bytes as an ONNX file of either model: refused with a message, or every value can be read. */
#include "loader/onnx_names.h"
#include "tests/fuzz/fuzz_maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    void *file = fuzz_copy(data, n);
    for (int model = SA2_ONNX_SPEECH_TOKENIZER; model <= SA2_ONNX_SPEAKER; model++) {
        sa2_tensor_map *map = NULL;
        sa2_error err = {0};
        fuzz_expect_message(sa2_onnx_map_parse(&map, (sa2_onnx_model)model, file, n, "f", &err),
                            &err);
        fuzz_read_all(map);
        sa2_tensor_map_destroy(map);
    }
    free(file);
    return 0;
}
