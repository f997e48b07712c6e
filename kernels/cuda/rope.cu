/* rope.cu - contract: sa2_rope() in kernels/ops.h.
 *
 * A thread forms the angle of one pair once, before earlier kernels have ended, and turns that pair in some heads: in one
 * where there are few rows, for the time of a head after the other is all that a step of decoding would wait for.
 * The frequency of a pair is theta^(2i/d) rounded to f32, then its reciprocal, as every implementation of the
 * model forms it: at large positions its last bit decides about the angle. The floor is twice the bytes of x.
 */
#include <math.h>

#include "kernels/base/limits.h"
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int MAX_PAIRS = SA2_LIMIT_HEAD_DIM / 2;
static constexpr int64_t FEW_ROWS = 64;
static constexpr int MANY_HEADS = 4;

static __device__ __forceinline__ float load_one(const vectors_view &x, long long at)
{
    return x.is_bf16 ? __bfloat162float(((const __nv_bfloat16 *)x.data)[at])
                     : ((const float *)x.data)[at];
}

static __device__ __forceinline__ void store_one(const vectors_view &x, long long at, float value)
{
    if (x.is_bf16)
        ((__nv_bfloat16 *)x.data)[at] = __float2bfloat16_rn(value);
    else
        ((float *)x.data)[at] = value;
}

/* x [gridDim.x, heads, d]; a block has `width` threads for the pairs of a head, as often as it has room, and each
 * takes `each` heads. */
static __global__ void __launch_bounds__(MAX_PAIRS)
    rope_kernel(vectors_view x, const int32_t *positions, double theta, int width, int each)
{
    int pairs = x.n / 2, i = (int)threadIdx.x % width, slots = (int)blockDim.x / width;
    int first = ((int)blockIdx.y * slots + (int)threadIdx.x / width) * each;
    float frequency = 1.0f / (float)pow(theta, 2.0 * (double)i / (double)x.n);
    wait_for_earlier();
    if (i >= pairs)
        return;
    long long row = blockIdx.x * x.stride;
    float angle = (float)positions[blockIdx.x] * frequency, c = cosine(angle), s = sine(angle);
    int heads = min(each, x.per_row - first);
    float low[MANY_HEADS], high[MANY_HEADS]; /* of several heads at one time */
    row += (long long)first * x.n + i;
#pragma unroll
    for (int head = 0; head < MANY_HEADS; head++)
        if (head < heads) {
            low[head] = load_one(x, row + head * x.n);
            high[head] = load_one(x, row + head * x.n + pairs);
        }
#pragma unroll
    for (int head = 0; head < MANY_HEADS; head++)
        if (head < heads) {
            store_one(x, row + head * x.n, low[head] * c - high[head] * s);
            store_one(x, row + head * x.n + pairs, high[head] * c + low[head] * s);
        }
}

sa2_status rope(sa2_stream *s, sa2_tensor x, sa2_tensor positions, float theta, sa2_error *err)
{
    int64_t d = x.shape[2];
    if (d > 2 * MAX_PAIRS)
        return sa2_fail(err, SA2_ERR_LIMIT, "rope: heads of %lld, up to %d are possible",
                        (long long)d, 2 * MAX_PAIRS);
    if (sa2_tensor_count(&x) == 0)
        return SA2_OK;
    int width = (int)((d / 2 + WARP - 1) / WARP * WARP), slots = MAX_PAIRS / 2 / width;
    int each = x.shape[0] < FEW_ROWS ? 1 : MANY_HEADS;
    slots = slots > 0 ? slots : 1;
    dim3 grid((unsigned)x.shape[0], blocks_for(x.shape[1], (int64_t)slots * each));
    return launch(s, "rope", rope_kernel, grid, (unsigned)(slots * width), 0, err, vectors_of(x),
                  (const int32_t *)positions.data, (double)theta, width, each);
}
} // namespace sa2_cuda
