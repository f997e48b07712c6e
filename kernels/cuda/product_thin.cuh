/* product_thin.cuh - the product of product.cuh for few rows, on tensor cores: product_mma.cu, product_rounded.cu.
 *
 * A block has a tile of 16 weights, a warp one slice of its columns. Weights go from global memory straight into
 * registers, 16 bytes a lane and in the order of memory, eight loads in flight; x comes from the caches. The floor is
 * the bytes of w.
 */
#ifndef SA2_KERNELS_CUDA_PRODUCT_THIN_CUH
#define SA2_KERNELS_CUDA_PRODUCT_THIN_CUH

#include "kernels/cuda/product_mma.cuh"
#include "kernels/cuda/product_weights.cuh"

namespace sa2_cuda
{
/* The next bundles of `left`, as many as there is room for. */
template <typename W, int AHEAD>
static __device__ __forceinline__ void load_weights(bundle<W> (&weights)[AHEAD],
                                                    const bundle_place<W> &place, int left)
{
#pragma unroll
    for (int i = 0; i < AHEAD; i++)
        if (i < left)
            load(weights[i], place, i);
}

/* Blocks that a processor is to have room for: more would leave too few registers for what is on its way. */
template <typename X, typename W, int GROUPS> static constexpr int thin_blocks()
{
    bool has_more = sizeof(X) == 4 && (bundle<W>::HAS_STEPS || bundle<W>::HAS_FACTORS);
    return GROUPS == 4 ? 2 : GROUPS == 2 || has_more ? 3 : 4;
}

/* grid: tiles of 16 weights; groups of 8 GROUPS rows. The first weights come while earlier kernels end. */
template <typename X, typename W, int GROUPS, bool ALIGNED>
static __global__ void __launch_bounds__(SLICES *WARP, thin_blocks<X, W, GROUPS>())
    thin_kernel(product p)
{
    constexpr int ROWS = 8 * GROUPS, AHEAD = bundle<W>::AHEAD, CHUNKS = bundle<W>::CHUNKS;
    float(*partial)[ROWS][TILE_ROWS + 1] = (float(*)[ROWS][TILE_ROWS + 1]) shared_bytes();
    int slice = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    int bundles = bundles_of<W>(p), each = parts_of(bundles, SLICES);
    int at = slice * each, end = min(at + each, bundles), row0 = (int)blockIdx.y * ROWS;
    bundle_place<W> place;
    find_place(place, p, blockIdx.x, at);
    bundle<W> weights[AHEAD];
    load_weights(weights, place, end - at);
    wait_for_earlier();
    long long start[GROUPS];
#pragma unroll
    for (int j = 0; j < GROUPS; j++)
        start[j] = row0 + 8 * j + g < p.rows ? x_start(p, row0 + 8 * j + g) : -1;
    float sum[GROUPS][4] = {};
    while (at < end) {
#pragma unroll
        for (int i = 0; i < AHEAD * CHUNKS; i++) {
            int chunk = at * CHUNKS + i;
            if (at + i / CHUNKS >= end)
                break;
            uint4 first, second;
            unpack(first, second, weights[i / CHUNKS], i % CHUNKS);
#pragma unroll
            for (int j = 0; j < GROUPS; j++) {
                columns<X> x = {};
                if (start[j] >= 0)
                    load_columns<ALIGNED>(x, p, start[j], chunk * CHUNK + 8 * t);
                multiply_chunk(sum[j], first, second, x);
            }
        }
        at += AHEAD;
        move_on(place, AHEAD);
        load_weights(weights, place, end - at);
    }
#pragma unroll
    for (int j = 0; j < GROUPS; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            partial[slice][8 * j + 2 * t + (i & 1)][g + 8 * (i >> 1)] = sum[j][i];
    __syncthreads();
    int outputs = p.epilogue.swiglu ? TILE_ROWS / 2 : TILE_ROWS;
    int cols = p.epilogue.swiglu ? p.n / 2 : p.n;
    for (int i = (int)threadIdx.x; i < outputs * ROWS; i += SLICES * WARP) {
        int weight = i % outputs, r = i / outputs, row = row0 + r;
        int col = (int)blockIdx.x * outputs + weight;
        if (row >= p.rows || col >= cols)
            continue;
        float total = 0.0f, up = 0.0f;
        for (int n = 0; n < SLICES; n++)
            total += partial[n][r][weight];
        if (p.epilogue.swiglu)
            for (int n = 0; n < SLICES; n++)
                up += partial[n][r][weight + TILE_ROWS / 2];
        long long of = (long long)blockIdx.x * TILE_ROWS + weight;
        total = times_step<W>(p, of, total);
        if (p.epilogue.swiglu)
            up = times_step<W>(p, of + TILE_ROWS / 2, up);
        put(p, span_of(p, row), row, col, total, up);
    }
}

/* ---- launcher ---- */

template <typename X, typename W, int GROUPS>
static sa2_status launch_thin(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    dim3 grid(blocks_for(p.n, TILE_ROWS), blocks_for(p.rows, 8 * GROUPS));
    size_t partial = SLICES * 8 * GROUPS * (TILE_ROWS + 1) * sizeof(float);
    return launch(s, op,
                  p.is_aligned ? thin_kernel<X, W, GROUPS, true> : thin_kernel<X, W, GROUPS, false>,
                  grid, SLICES * WARP, partial, err, p);
}
} // namespace sa2_cuda

#endif
