/* product_tiled.cu - the product of product.cuh with weights in bf16 and more than 16 rows, by mma.sync, and the joining of
 * slices for every kernel that sums them in blocks of their own.
 */
#include "kernels/cuda/product_tiled.cuh"

namespace sa2_cuda
{
static constexpr int JOIN_THREADS = 128;

/* grid: 128 outputs; rows. Adds the slices in order, as tiled_kernel does. */
static __global__ void __launch_bounds__(JOIN_THREADS) join_kernel(product p, const float *partials)
{
    wait_for_earlier();
    bool swiglu = p.epilogue.swiglu;
    int col = (int)(blockIdx.x * JOIN_THREADS + threadIdx.x), row = (int)blockIdx.y;
    if (col >= outputs_of(p))
        return;
    long long weight = swiglu ? swiglu_row(col, false, TILE_ROWS) : col;
    long long width = width_of(p), step = width * p.rows;
    const float *part = partials + row * width + weight;
    float total = 0.0f, up = 0.0f;
#pragma unroll
    for (int slice = 0; slice < SLICES; slice++) {
        total += part[slice * step];
        if (swiglu)
            up += part[slice * step + TILE_ROWS / 2];
    }
    if (p.steps != nullptr) { /* as times_step() */
        total = __fmul_rn(total, p.steps[weight]);
        up = swiglu ? __fmul_rn(up, p.steps[weight + TILE_ROWS / 2]) : up;
    }
    put(p, span_of(p, row), row, col, total, up);
}

sa2_status join_slices(sa2_stream *s, const char *op, const product &p, const float *partials,
                       sa2_error *err)
{
    dim3 outputs(blocks_for(outputs_of(p), JOIN_THREADS), (unsigned)p.rows);
    return launch(s, op, join_kernel, outputs, JOIN_THREADS, 0, err, p, partials);
}

sa2_status run_product_tiled(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    return p.x_is_bf16 ? run_tiled<__nv_bfloat16, __nv_bfloat16>(s, op, p, err)
                       : run_tiled<float, __nv_bfloat16>(s, op, p, err);
}
} // namespace sa2_cuda
