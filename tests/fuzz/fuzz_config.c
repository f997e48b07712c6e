/* Any bytes as config.json: refused with a message, or dimensions that a list of tensors can be made of. */
#include "loader/expected_tensors.h"
#include "loader/model_config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    sa2_model_config config;
    sa2_error err = {0};
    char *text = fuzz_copy(data, n);
    sa2_status st = sa2_model_config_parse(&config, text, n, "c", &err);
    fuzz_expect_message(st, &err);
    if (st == SA2_OK) {
        sa2_tensor_list list = {0};
        config.encoder.ffn = 4 * config.encoder.width;
        config.adaptor.inner = 1;
        fuzz_expect(sa2_expected_tensors(&list, &config, &err) == SA2_OK &&
                        list.n == 16 + 12 * config.decoder.layers + 15 * config.encoder.blocks,
                    "as many tensors as there are layers for");
        sa2_tensor_list_destroy(&list);
    }
    free(text);
    return 0;
}
