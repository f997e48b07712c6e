/* product_mma.cu - the product of product.cuh with weights in bf16: which kernel has it. */
#include "kernels/cuda/product_thin.cuh"

namespace sa2_cuda
{
template <typename X>
static sa2_status run_thin(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    return p.rows <= 8 ? launch_thin<X, __nv_bfloat16, 1>(s, op, p, err)
                       : launch_thin<X, __nv_bfloat16, 2>(s, op, p, err);
}

sa2_status run_product_mma(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    if (can_wgmma(s, p))
        return run_product_wgmma(s, op, p, err);
    if (p.rows > THIN_ROWS)
        return run_product_tiled(s, op, p, err);
    return p.x_is_bf16 ? run_thin<__nv_bfloat16>(s, op, p, err) : run_thin<float>(s, op, p, err);
}
} // namespace sa2_cuda
