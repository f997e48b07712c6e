/* product_mma.cu - the product of product.cuh with weights in bf16 and up to 16 rows, on tensor cores.
 *
 * A block has a tile of 16 weights, a warp one slice of its columns. Weights go from global memory straight into
 * registers, 16 bytes a lane and in the order of memory, eight loads in flight; x comes from the caches. The floor is
 * the bytes of w.
 */
#include "kernels/cuda/product_mma.cuh"

namespace sa2_cuda
{
static constexpr int AHEAD = 4; /* chunks whose weights are on their way at one time */

/* The next AHEAD of `left` chunks. */
static __device__ __forceinline__ void load_weights(uint4 (&weights)[AHEAD][2], const uint4 *w,
                                                    int left)
{
#pragma unroll
    for (int c = 0; c < AHEAD; c++)
        if (c < left) {
            weights[c][0] = load_once(w + c * 2 * WARP);
            weights[c][1] = load_once(w + c * 2 * WARP + WARP);
        }
}

/* grid: tiles of 16 weights; groups of 8 GROUPS rows. The first weights come while earlier kernels end. */
template <typename X, int GROUPS, bool ALIGNED>
static __global__ void __launch_bounds__(SLICES *WARP, GROUPS == 1 ? 4 : 3) thin_kernel(product p)
{
    constexpr int ROWS = 8 * GROUPS;
    float(*partial)[ROWS][TILE_ROWS + 1] = (float(*)[ROWS][TILE_ROWS + 1]) shared_bytes();
    int slice = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    int chunks = parts_of(p.k, CHUNK), each = parts_of(chunks, SLICES);
    int chunk = slice * each, end = min(chunk + each, chunks), row0 = (int)blockIdx.y * ROWS;
    const uint4 *w =
        (const uint4 *)p.w + ((long long)blockIdx.x * chunks + chunk) * 2 * WARP + lane;
    uint4 weights[AHEAD][2];
    load_weights(weights, w, end - chunk);
    wait_for_earlier();
    long long start[GROUPS];
#pragma unroll
    for (int j = 0; j < GROUPS; j++)
        start[j] = row0 + 8 * j + g < p.rows ? x_start(p, row0 + 8 * j + g) : -1;
    float sum[GROUPS][4] = {};
    while (chunk < end) {
#pragma unroll
        for (int c = 0; c < AHEAD; c++) {
            if (chunk + c >= end)
                break;
#pragma unroll
            for (int j = 0; j < GROUPS; j++) {
                columns<X> x = {};
                if (start[j] >= 0)
                    load_columns<ALIGNED>(x, p, start[j], (chunk + c) * CHUNK + 8 * t);
                multiply_chunk(sum[j], weights[c][0], weights[c][1], x);
            }
        }
        chunk += AHEAD;
        w += AHEAD * 2 * WARP;
        load_weights(weights, w, end - chunk);
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
        put(p, span_of(p, row), row, col, total, up);
    }
}

/* ---- launcher ---- */

template <typename X, bool ALIGNED>
static sa2_status run(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    dim3 grid(blocks_for(p.n, TILE_ROWS));
    size_t partial = SLICES * 8 * (TILE_ROWS + 1) * sizeof(float);
    if (p.rows <= 8)
        return launch(s, op, thin_kernel<X, 1, ALIGNED>, grid, SLICES * WARP, partial, err, p);
    return launch(s, op, thin_kernel<X, 2, ALIGNED>, grid, SLICES * WARP, 2 * partial, err, p);
}

sa2_status run_product_mma(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    if (can_wgmma(s, p))
        return run_product_wgmma(s, op, p, err);
    if (p.rows > THIN_ROWS)
        return run_product_tiled(s, op, p, err);
    if (p.x_is_bf16)
        return p.is_aligned ? run<__nv_bfloat16, true>(s, op, p, err)
                            : run<__nv_bfloat16, false>(s, op, p, err);
    return p.is_aligned ? run<float, true>(s, op, p, err) : run<float, false>(s, op, p, err);
}
} // namespace sa2_cuda
