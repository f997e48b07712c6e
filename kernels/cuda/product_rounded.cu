/* product_rounded.cu - the product of product.cuh with weights in 8 and 4 bits: which kernel has it. */
#include "kernels/cuda/product_thin.cuh"
#include "kernels/cuda/product_tiled.cuh"

namespace sa2_cuda
{
template <typename X, typename W>
static sa2_status run(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    if (p.rows <= 8)
        return launch_thin<X, W, 1>(s, op, p, err);
    if (p.rows <= 16)
        return launch_thin<X, W, 2>(s, op, p, err);
    return p.rows <= 32 ? launch_thin<X, W, 4>(s, op, p, err) : run_tiled<X, W>(s, op, p, err);
}

sa2_status run_product_rounded(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    if (p.steps == nullptr)
        return p.x_is_bf16 ? run<__nv_bfloat16, in_e4m3>(s, op, p, err)
                           : run<float, in_e4m3>(s, op, p, err);
    if (p.factors == nullptr)
        return p.x_is_bf16 ? run<__nv_bfloat16, in_8_bits>(s, op, p, err)
                           : run<float, in_8_bits>(s, op, p, err);
    return p.x_is_bf16 ? run<__nv_bfloat16, in_4_bits>(s, op, p, err)
                       : run<float, in_4_bits>(s, op, p, err);
}
} // namespace sa2_cuda
