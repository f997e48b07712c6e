/* finite.h - are all values of a tensor numbers? A NaN in the weights is refused before the first token.
 */
#ifndef SA2_LOADER_FINITE_H
#define SA2_LOADER_FINITE_H

#include "kernels/base/tensor.h"

/* Index of the first NaN or infinity among n values of f32 or bf16, or -1; other dtypes have none. */
int64_t sa2_first_not_finite(const void *values, sa2_dtype dtype, int64_t n);

#endif
