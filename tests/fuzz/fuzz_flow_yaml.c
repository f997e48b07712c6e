/* Any bytes as flow.yaml: refused with a message, or dimensions that a list of tensors can be made of. */
#include "loader/flow_yaml.h"
#include "loader/token2wav_tensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    sa2_flow_config config;
    sa2_error err = {0};
    char *text = fuzz_copy(data, n);
    sa2_status st = sa2_flow_yaml_parse(&config, text, n, "f", &err);
    fuzz_expect_message(st, &err);
    if (st == SA2_OK) {
        sa2_tensor_list list = {0};
        int layers = config.layers + config.up_layers;
        fuzz_expect(sa2_flow_tensors(&list, &config, &err) == SA2_OK &&
                        list.n == 21 + 19 * layers + 10 + 24 * config.dit_blocks,
                    "as many tensors as there are layers for");
        sa2_tensor_list_destroy(&list);
    }
    free(text);
    return 0;
}
