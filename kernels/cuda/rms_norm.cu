/* rms_norm.cu - contract: sa2_rms_norm() in kernels/ops.h.
 *
 * One block per vector. The first KEPT packs of a thread stay in registers between the sum and the scaling, so
 * that a vector of up to 4096 elements is read once; the floor is the bytes of x and y.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;
static constexpr int KEPT = 2; /* 256 threads * 2 packs * 8 elements */

static __device__ __forceinline__ float sum_squares(const float (&x)[PACK])
{
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PACK; i++)
        sum += x[i] * x[i];
    return sum;
}

template <bool ALIGNED>
static __device__ __forceinline__ void store_scaled(const vectors_view &y,
                                                    const vectors_view &weight, long long start,
                                                    int at, const float (&x)[PACK], float factor)
{
    float w[PACK], out[PACK];
    load_pack<ALIGNED>(w, weight, 0, at);
#pragma unroll
    for (int i = 0; i < PACK; i++)
        out[i] = x[i] * factor * w[i];
    store_pack<ALIGNED>(y, start, at, out);
}

/* x, y: vectors of n = weight.n elements, gridDim.x of them. */
template <bool ALIGNED>
static __global__ void __launch_bounds__(THREADS)
    rms_norm_kernel(vectors_view y, vectors_view x, vectors_view weight, float eps)
{
    wait_for_earlier();
    float *room = (float *)shared_bytes();
    long long from = start_of(x, blockIdx.x), to = start_of(y, blockIdx.x);
    float kept[KEPT][PACK];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < KEPT; i++) {
        int at = (i * THREADS + (int)threadIdx.x) * PACK;
        if (at < x.n) {
            load_pack<ALIGNED>(kept[i], x, from, at);
            sum += sum_squares(kept[i]);
        }
    }
    for (int at = (KEPT * THREADS + (int)threadIdx.x) * PACK; at < x.n; at += THREADS * PACK) {
        float again[PACK];
        load_pack<ALIGNED>(again, x, from, at);
        sum += sum_squares(again);
    }
    float factor = 1.0f / sqrtf(block_sum<THREADS>(sum, room) / (float)x.n + eps);
#pragma unroll
    for (int i = 0; i < KEPT; i++) {
        int at = (i * THREADS + (int)threadIdx.x) * PACK;
        if (at < x.n)
            store_scaled<ALIGNED>(y, weight, to, at, kept[i], factor);
    }
    for (int at = (KEPT * THREADS + (int)threadIdx.x) * PACK; at < x.n; at += THREADS * PACK) {
        float again[PACK];
        load_pack<ALIGNED>(again, x, from, at);
        store_scaled<ALIGNED>(y, weight, to, at, again, factor);
    }
}

sa2_status rms_norm(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor weight, float eps,
                    sa2_error *err)
{
    int64_t vectors = vector_count(x);
    if (vectors == 0)
        return SA2_OK;
    vectors_view to = vectors_of(y), from = vectors_of(x), by = vectors_of(weight);
    auto kernel = to.is_aligned && from.is_aligned && by.is_aligned ? rms_norm_kernel<true>
                                                                    : rms_norm_kernel<false>;
    return launch(s, "rms_norm", kernel, dim3((unsigned)vectors), THREADS,
                  THREADS / WARP * sizeof(float), err, to, from, by, eps);
}
} // namespace sa2_cuda
