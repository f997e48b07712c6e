/* values.cuh - rows of f32 or bf16 in packs of eight, sums over a block, and activations.
 *
 * A pack is read and written in pieces of 16 bytes where the row allows that and one by one where not; which
 * thread sees which pack depends on the length of the row alone, and so does the order of a sum.
 */
#ifndef SA2_KERNELS_CUDA_VALUES_CUH
#define SA2_KERNELS_CUDA_VALUES_CUH

#include "kernels/cuda/cuda.cuh"

namespace sa2_cuda
{
enum { PACK = 8, WARP = 32 };
static constexpr unsigned ALL_LANES = 0xffffffffu;

/* Vectors of n elements: per_row of them lie together in each index of a tensor's first dimension. */
struct vectors_view {
    void *data;       /* NULL: absent */
    long long stride; /* elements from one index of the first dimension to the next */
    int n, per_row;
    bool is_bf16,
        is_aligned; /* aligned: every pack of every vector is whole and at a multiple of 16 bytes */
};

static inline vectors_view make_view(const sa2_tensor &x, int64_t n, int64_t per_row)
{
    bool aligned = n % PACK == 0 && x.stride % PACK == 0 && (uintptr_t)x.data % 16 == 0;
    return {x.data, x.stride, (int)n, (int)per_row, x.dtype == SA2_BF16, aligned};
}

/* Along the last dimension; a tensor of one dimension is one vector. */
static inline vectors_view vectors_of(const sa2_tensor &x)
{
    int64_t n = x.shape[x.ndim - 1];
    if (x.ndim == 1)
        return {x.data,
                0,
                (int)n,
                1,
                x.dtype == SA2_BF16,
                n % PACK == 0 && (uintptr_t)x.data % 16 == 0};
    return make_view(x, n, n > 0 ? sa2_tensor_row_count(&x) / n : 0);
}

static inline int64_t vector_count(const sa2_tensor &x)
{
    int64_t n = x.shape[x.ndim - 1];
    return n > 0 ? sa2_tensor_count(&x) / n : 0;
}

/* Each index of the first dimension as one vector. */
static inline vectors_view rows_of(const sa2_tensor &x)
{
    return make_view(x, sa2_tensor_row_count(&x), 1);
}

/* Where vector i begins, in elements from data. */
static __device__ __forceinline__ long long start_of(const vectors_view &v, long long i)
{
    if (v.per_row == 1)
        return i * v.stride;
    return i / v.per_row * v.stride + i % v.per_row * v.n;
}

static __device__ __forceinline__ float low_half(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}

static __device__ __forceinline__ float high_half(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

static __device__ __forceinline__ uint32_t bf16_pair(float low, float high)
{
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *(uint32_t *)&pair;
}

static __device__ __forceinline__ __nv_bfloat162 as_pair(uint32_t bits)
{
    return *(__nv_bfloat162 *)&bits;
}

static __device__ __forceinline__ uint32_t as_bits(__nv_bfloat162 pair)
{
    return *(uint32_t *)&pair;
}

static constexpr uint32_t PAIR_OF_128 = 0x43004300; /* in bf16, whose next numbers are 1 apart */

/* Bytes 0 and 2 (half 0), or 1 and 3, of a word as bf16, exactly: the low seven bits above 128, less 128, or less 256 where
 * the sign is set. */
static __device__ __forceinline__ uint32_t pair_of_bytes(uint32_t word, int half)
{
    word >>= 8 * half;
    return as_bits(__hsub2(as_pair((word & 0x007f007f) | PAIR_OF_128),
                           as_pair((word & 0x00800080) | PAIR_OF_128)));
}

/* Elements [first, first + 8) of the vector that begins at `start`; 0 beyond its end. ALIGNED: a kernel's promise that all its
 * vectors are, which keeps what is never run out of its code. */
template <bool ALIGNED = false>
static __device__ __forceinline__ void load_pack(float (&x)[PACK], const vectors_view &v,
                                                 long long start, int first)
{
    const __nv_bfloat16 *half = (const __nv_bfloat16 *)v.data + start + first;
    const float *p = (const float *)v.data + start + first;
    if constexpr (!ALIGNED)
        if (!v.is_aligned) {
#pragma unroll
            for (int i = 0; i < PACK; i++)
                x[i] = first + i >= v.n ? 0.0f : v.is_bf16 ? __bfloat162float(half[i]) : p[i];
            return;
        }
    if (v.is_bf16) {
        uint4 q = *(const uint4 *)half;
        uint32_t pair[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[2 * i] = low_half(pair[i]);
            x[2 * i + 1] = high_half(pair[i]);
        }
    } else {
        float4 a = *(const float4 *)p, b = *(const float4 *)(p + 4);
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
        x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    }
}

template <bool ALIGNED = false>
static __device__ __forceinline__ void store_pack(const vectors_view &v, long long start, int first,
                                                  const float (&x)[PACK])
{
    __nv_bfloat16 *half = (__nv_bfloat16 *)v.data + start + first;
    float *p = (float *)v.data + start + first;
    if constexpr (!ALIGNED)
        if (!v.is_aligned) {
#pragma unroll
            for (int i = 0; i < PACK; i++)
                if (first + i < v.n && v.is_bf16)
                    half[i] = __float2bfloat16_rn(x[i]);
                else if (first + i < v.n)
                    p[i] = x[i];
            return;
        }
    if (v.is_bf16) {
        *(uint4 *)half = make_uint4(bf16_pair(x[0], x[1]), bf16_pair(x[2], x[3]),
                                    bf16_pair(x[4], x[5]), bf16_pair(x[6], x[7]));
    } else {
        *(float4 *)p = make_float4(x[0], x[1], x[2], x[3]);
        *(float4 *)(p + 4) = make_float4(x[4], x[5], x[6], x[7]);
    }
}

/* ---- sums: every thread of the block gets the result ---- */

static __device__ __forceinline__ float warp_sum(float x)
{
#pragma unroll
    for (int n = WARP / 2; n > 0; n /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, n);
    return x;
}

/* `room` [THREADS / 32] is in shared memory and free again after the block's next barrier. */
template <int THREADS> static __device__ __forceinline__ float block_sum(float x, float *room)
{
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0)
        room[threadIdx.x / WARP] = x;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < THREADS / WARP; w++)
        sum += room[w];
    return sum;
}

/* ---- functions of one value ---- */

/* sin(x), exact to the rounding of a few: the reduction is in double, so no argument is slow. */
static __device__ __forceinline__ float sine(float x)
{
    double half_turns = (double)x * 0.31830988618379067154; /* 1 / pi */
    return sinpif((float)(half_turns - 2.0 * rint(0.5 * half_turns)));
}

static __device__ __forceinline__ float cosine(float x)
{
    double half_turns = (double)x * 0.31830988618379067154;
    return cospif((float)(half_turns - 2.0 * rint(0.5 * half_turns)));
}

static __device__ __forceinline__ float snake(float x, float alpha)
{
    float s = sine(alpha * x);
    return x + s * s / (alpha + 1e-9f);
}

/* Those of sa2_activation without a parameter per channel. */
static __device__ __forceinline__ float activate_one(float x, int kind, float slope)
{
    switch (kind) {
    case SA2_ACT_RELU:
        return x < 0.0f ? 0.0f : x; /* NaN stays */
    case SA2_ACT_GELU:
        return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case SA2_ACT_GELU_TANH:
        return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case SA2_ACT_SILU:
        return x / (1.0f + expf(-x));
    case SA2_ACT_ELU:
        return x > 0.0f ? x : expm1f(x);
    case SA2_ACT_MISH:
        return x * tanhf(log1pf(expf(x)));
    case SA2_ACT_LEAKY:
        return x > 0.0f ? x : slope * x;
    case SA2_ACT_ABS:
        return fabsf(x);
    case SA2_ACT_SIGMOID:
        return 1.0f / (1.0f + expf(-x));
    default:
        return x;
    }
}
} // namespace sa2_cuda

#endif
