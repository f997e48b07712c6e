/* Any bytes as the pickle of a state dict: refused with a message, or tensors inside their storages. */
#include "loader/pickle.h"
#include "tests/fuzz/fuzz.h"

static void judge(const sa2_pickle_tensor *t, const char *pickle, size_t n)
{
    int64_t last = t->offset;
    fuzz_expect(t->name >= pickle && t->name_bytes <= n && t->key >= pickle && t->key_bytes <= n,
                "names inside the pickle");
    fuzz_expect(t->ndim >= 0 && t->ndim <= SA2_MAX_DIMS, "dimensions that a tensor can have");
    for (int d = 0; d < t->ndim; d++) {
        fuzz_expect(t->shape[d] >= 1 && t->stride[d] >= 0, "sizes above 0 and no way back");
        last += (t->shape[d] - 1) * t->stride[d]; /* overflow would be reported */
    }
    fuzz_expect(t->offset >= 0 && last < t->storage_count, "a tensor inside its storage");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    sa2_pickle_state_dict dict;
    sa2_error err = {0};
    char *pickle = fuzz_copy(data, n);
    sa2_status st = sa2_pickle_open(&dict, pickle, n, &err);
    fuzz_expect_message(st, &err);
    for (size_t i = 0; st == SA2_OK && i < dict.n_tensors; i++)
        judge(&dict.tensors[i], pickle, n);
    if (st == SA2_OK)
        sa2_pickle_close(&dict);
    free(pickle);
    return 0;
}
