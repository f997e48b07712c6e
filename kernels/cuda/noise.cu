/* noise.cu - contract: sa2_normal() in kernels/ops.h.
 *
 * A thread has one block of the counter, which gives four numbers. The floor is the bytes of y.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256, WORDS = 4, ROUNDS = 10;
static constexpr uint32_t PURPOSE =
    1; /* last word of the counter: apart from numbers for anything else */

/* Salmon et al. 2011, table 2, and section 3.3 for what is added to the key each round. */
static __device__ __forceinline__ void make_words(uint32_t (&x)[WORDS], uint32_t key0,
                                                  uint32_t key1)
{
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p = (uint64_t)0xD2511F53u * x[0], q = (uint64_t)0xCD9E8D57u * x[2];
        uint32_t x1 = x[1], x3 = x[3];
        x[0] = (uint32_t)(q >> 32) ^ x1 ^ key0;
        x[1] = (uint32_t)q;
        x[2] = (uint32_t)(p >> 32) ^ x3 ^ key1;
        x[3] = (uint32_t)p;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

static __global__ void __launch_bounds__(THREADS)
    normal_kernel(float *y, long long n, uint64_t seed, uint32_t track, long long first)
{
    wait_for_earlier();
    long long block = first / WORDS + (long long)blockIdx.x * THREADS + threadIdx.x;
    long long at = block * WORDS - first; /* of y, for number 0 of the block */
    if (at >= n)
        return;
    uint32_t x[WORDS] = {(uint32_t)block, (uint32_t)((uint64_t)block >> 32), track, PURPOSE};
    make_words(x, (uint32_t)seed, (uint32_t)(seed >> 32));
#pragma unroll
    for (int pair = 0; pair < WORDS; pair += 2) { /* 24 bits each: u in (0, 1], v in [0, 1) */
        float u = (float)((x[pair] >> 8) + 1) * 0x1p-24f, v = (float)(x[pair + 1] >> 8) * 0x1p-24f;
        float radius = sqrtf(-2.0f * logf(u)); /* Box & Muller 1958 */
        float number[2] = {radius * cospif(2.0f * v), radius * sinpif(2.0f * v)};
#pragma unroll
        for (int i = 0; i < 2; i++)
            if (at + pair + i >= 0 && at + pair + i < n)
                y[at + pair + i] = number[i];
    }
}

sa2_status normal(sa2_stream *s, sa2_tensor y, uint64_t seed, uint32_t track, int64_t first,
                  sa2_error *err)
{
    int64_t n = sa2_tensor_count(&y);
    if (n == 0)
        return SA2_OK;
    int64_t blocks = (first + n - 1) / WORDS - first / WORDS + 1;
    return launch(s, "normal", normal_kernel, dim3(blocks_for(blocks, THREADS)), THREADS, 0, err,
                  (float *)y.data, n, seed, track, first);
}
} // namespace sa2_cuda
