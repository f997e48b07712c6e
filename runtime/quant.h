/* quant.h - to how many bits the decoder's weights are rounded.
 *
 * Only linear layers are; norms, biases and the table of embeddings stay as they are. kernels/ops.h says how.
 */
#ifndef SA2_RUNTIME_QUANT_H
#define SA2_RUNTIME_QUANT_H

#include <stdbool.h>

#include "kernels/base/tensor.h"

typedef enum sa2_quant {
    SA2_QUANT_NONE = 0, /* bf16; out of a native file, what it holds */
    SA2_QUANT_INT8,
    SA2_QUANT_INT4,
    SA2_QUANT_FP8,
    SA2_QUANTS
} sa2_quant;

typedef struct sa2_quant_options {
    sa2_quant layers;
    sa2_quant head; /* lm_head */
    int only_layer; /* this layer alone is rounded, from 1; 0: all */
} sa2_quant_options;

const char *sa2_quant_name(sa2_quant quant); /* "none", "int8", "int4", "fp8" */
bool sa2_quant_find(sa2_quant *quant, const char *name);

/* Of the matrices. */
sa2_dtype sa2_quant_dtype(sa2_quant quant, sa2_dtype plain);

#endif
