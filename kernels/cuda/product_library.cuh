/* product_library.cuh - products of many rows by cuBLASLt, where large_products.h asks for it.
 */
#ifndef SA2_KERNELS_CUDA_PRODUCT_LIBRARY_CUH
#define SA2_KERNELS_CUDA_PRODUCT_LIBRARY_CUH

#include "kernels/cuda/product.cuh"

namespace sa2_cuda
{
/* What a queue has for them beside its partial sums, which are the library's workspace: a piece of the weights as a
 * plain matrix in bf16, and sums that are no results yet. The piece has room for half of 3584 rows of 18944 columns. */
static constexpr size_t PLAIN_BYTES = 72 << 20, SUM_BYTES = 16 << 20;

/* Whether this product of a linear layer is the library's, and it. */
bool is_of_library(sa2_stream *s, const product &p);
sa2_status run_product_library(sa2_stream *s, const char *op, const product &p, sa2_error *err);
} // namespace sa2_cuda

#endif
