#include "runtime/quant.h"

#include <string.h>

static const struct {
    const char *name;
    sa2_dtype dtype;
} quants[SA2_QUANTS] = {
    [SA2_QUANT_NONE] = {"none", SA2_F32},
    [SA2_QUANT_INT8] = {"int8", SA2_I8},
    [SA2_QUANT_INT4] = {"int4", SA2_I4},
    [SA2_QUANT_FP8] = {"fp8", SA2_E4M3},
};

const char *sa2_quant_name(sa2_quant quant)
{
    return quants[quant].name;
}

bool sa2_quant_find(sa2_quant *quant, const char *name)
{
    for (int i = 0; i < SA2_QUANTS; i++)
        if (strcmp(quants[i].name, name) == 0) {
            *quant = (sa2_quant)i;
            return true;
        }
    return false;
}

sa2_dtype sa2_quant_dtype(sa2_quant quant, sa2_dtype plain)
{
    return quant == SA2_QUANT_NONE ? plain : quants[quant].dtype;
}
