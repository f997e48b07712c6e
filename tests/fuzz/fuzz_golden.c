/* Any bytes as a golden case: refused with a message, or outputs that compare well with themselves. */
#include "tests/fuzz/fuzz.h"
#include "tools/golden_case.h"

static void ask_all(const sa2_golden_case *golden)
{
    int64_t seed = 0;
    sa2_error err = {0};
    fuzz_expect(sa2_golden_part(golden) != NULL && sa2_golden_name(golden) != NULL, "names");
    fuzz_expect_message(sa2_golden_number(golden, "seed", 0, 1000, &seed, &err), &err);
    sa2_golden_input(golden, "x");
    for (int i = 0; i < sa2_golden_outputs(golden); i++) {
        const char *name = sa2_golden_output_name(golden, i);
        sa2_tensor output = sa2_golden_output(golden, name);
        fuzz_expect(output.data != NULL, "outputs that are listed are there");
        for (int dtype = SA2_F32; dtype <= SA2_BF16; dtype++) {
            sa2_golden_result result;
            sa2_golden_compare(golden, name, (sa2_dtype)dtype, output, &result);
            fuzz_expect(result.ok == (result.n_wrong == 0) || result.why[0] != '\0',
                        "a reason for each failure");
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    sa2_golden_case *golden = NULL;
    sa2_error err = {0};
    void *file = fuzz_copy(data, n);
    sa2_status st = sa2_golden_case_parse(&golden, file, n, "g", &err);
    fuzz_expect_message(st, &err);
    if (st == SA2_OK)
        ask_all(golden);
    sa2_golden_case_close(golden);
    free(file);
    return 0;
}
