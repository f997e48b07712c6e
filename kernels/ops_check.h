/* ops_check.h - what the checks of ops.c and its neighbours share. A check returns NULL or what is wrong.
 */
#ifndef SA2_KERNELS_OPS_CHECK_H
#define SA2_KERNELS_OPS_CHECK_H

#include "kernels/stream.h"

typedef struct sa2_named {
    const char *name;
    const sa2_tensor *x;
} sa2_named;

/* Marks the stream: "op: what: y f32 [7, 8], x f32 [7, 9]", without those that are absent. */
void sa2_refuse(sa2_stream *s, const char *op, const char *what, int n, const sa2_named *tensors);

static inline bool is_float(const sa2_tensor *x)
{
    return x->dtype == SA2_F32 || x->dtype == SA2_BF16;
}

static inline bool absent(const sa2_tensor *x)
{
    return x->data == NULL;
}

static inline bool are_sequences(sa2_rows sequences, int64_t rows)
{
    if (sequences.n < 1 || sequences.offsets == NULL || sequences.offsets[0] != 0 ||
        sequences.offsets[sequences.n] != rows)
        return false;
    for (int i = 0; i < sequences.n; i++)
        if (sequences.offsets[i + 1] < sequences.offsets[i])
            return false;
    return true;
}

#endif
