/* probes.cu - contract: sa2_stream_probe() in kernels/backend.h: what the memory and the arithmetic units of a device
 * give at most, as the ceilings of benches.
 *
 * Blocks of 256 threads, up to eight on each processor of an H200. Reading: eight loads of 16 bytes a thread in flight.
 * Computing: eight sums a thread or warp that do not wait for each other.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256, AT_ONCE = 8, MOST_BLOCKS = 4 * FEW_BLOCKS;

/* `out` is written when the sum is one certain value: so that nothing is left out. */
static __global__ void __launch_bounds__(THREADS)
    read_kernel(const uint4 *from, long long pieces, unsigned *out)
{
    wait_for_earlier();
    unsigned sum = 0;
    long long step = (long long)gridDim.x * THREADS * AT_ONCE;
    for (long long at = (long long)blockIdx.x * THREADS * AT_ONCE + threadIdx.x; at < pieces;
         at += step) {
        uint4 v[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            v[i] = at + i * THREADS < pieces ? load_once(from + at + i * THREADS)
                                             : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            sum ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
    }
    if (sum == 0x9e3779b9u)
        *out = sum;
}

static __global__ void __launch_bounds__(THREADS)
    copy_kernel(uint4 *to, const uint4 *from, long long pieces)
{
    wait_for_earlier();
    long long step = (long long)gridDim.x * THREADS * AT_ONCE;
    for (long long at = (long long)blockIdx.x * THREADS * AT_ONCE + threadIdx.x; at < pieces;
         at += step) {
        uint4 v[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (at + i * THREADS < pieces)
                v[i] = load_once(from + at + i * THREADS);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (at + i * THREADS < pieces)
                to[at + i * THREADS] = v[i];
    }
}

static __global__ void __launch_bounds__(THREADS) f32_kernel(float *out, int rounds, float factor)
{
    wait_for_earlier();
    float sum[AT_ONCE];
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
        sum[i] = (float)((int)threadIdx.x + i);
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            sum[i] = fmaf(sum[i], factor, 1e-7f);
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
        all += sum[i];
    if (all == 1.0f)
        *out = all;
}

static __global__ void __launch_bounds__(THREADS)
    bf16_kernel(float *out, int rounds, uint32_t factor)
{
    wait_for_earlier();
    float sum[AT_ONCE][4] = {};
    const uint32_t a[4] = {factor, factor, factor, factor};
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            mma_bf16(sum[i], a, {factor, factor + (uint32_t)i});
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
        all += sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
    if (all == 1.0f)
        *out = all;
}

sa2_status probe(sa2_stream *s, sa2_probe what, void *memory, size_t bytes, double *work,
                 sa2_error *err)
{
    const size_t of_block = (size_t)THREADS * AT_ONCE * sizeof(uint4);
    size_t half = bytes / 2 / sizeof(uint4) * sizeof(uint4);
    unsigned most = blocks_for((int64_t)bytes, (int64_t)of_block);
    dim3 grid(most < MOST_BLOCKS ? most : MOST_BLOCKS);
    int rounds = (int)(bytes >> 16) > 0 ? (int)(bytes >> 16) : 1;
    float *out = queue_of(s)->partials;
    switch (what) {
    case SA2_PROBE_READ:
        *work = (double)(bytes / sizeof(uint4) * sizeof(uint4));
        return launch(s, "probe", read_kernel, grid, THREADS, 0, err, (const uint4 *)memory,
                      (long long)(bytes / sizeof(uint4)), (unsigned *)out);
    case SA2_PROBE_COPY:
        *work = 2.0 * (double)half;
        return launch(s, "probe", copy_kernel, grid, THREADS, 0, err,
                      (uint4 *)((char *)memory + half), (const uint4 *)memory,
                      (long long)(half / sizeof(uint4)));
    case SA2_PROBE_F32:
        *work = 2.0 * AT_ONCE * THREADS * (double)grid.x * rounds;
        return launch(s, "probe", f32_kernel, grid, THREADS, 0, err, out, rounds, 0.999999f);
    case SA2_PROBE_BF16:
        *work = 2.0 * 16 * 8 * 16 * AT_ONCE * (THREADS / WARP) * (double)grid.x * rounds;
        return launch(s, "probe", bf16_kernel, grid, THREADS, 0, err, out, rounds, 0x3c003c00u);
    }
    return sa2_fail(err, SA2_ERR_ARG, "probe: no such one: %d", (int)what);
}
} // namespace sa2_cuda
