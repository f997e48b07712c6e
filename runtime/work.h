/* work.h - takes the activations of a forward pass out of the work arena, or only measures them.
 */
#ifndef SA2_RUNTIME_WORK_H
#define SA2_RUNTIME_WORK_H

#include "kernels/base/arena.h"
#include "kernels/base/tensor.h"

typedef struct sa2_work {
    sa2_arena *arena; /* NULL: measure */
    size_t bytes;     /* asked for so far, rounded */
    bool full;        /* something did not fit */
} sa2_work;

/* A dense tensor; its data is NULL while measuring and when it does not fit. */
static inline sa2_tensor sa2_work_take(sa2_work *work, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, dtype, rows, cols);
    work->bytes += sa2_arena_round(sa2_tensor_bytes(&x));
    if (work->arena != NULL) {
        x.data = sa2_arena_take(work->arena, sa2_tensor_bytes(&x));
        work->full = work->full || x.data == NULL;
    }
    return x;
}

#endif
