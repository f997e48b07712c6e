/* product_mma.cuh - columns of x as tensor cores take them, for the products with weights in bf16: product_mma.cu and
 * product_tiled.cu. Weights are the 16-row side of mma, rows of x the 8-column side.
 *
 * x in f32 is taken apart into three numbers of bf16 whose sum it is, exactly; three products, then, of full precision.
 */
#ifndef SA2_KERNELS_CUDA_PRODUCT_MMA_CUH
#define SA2_KERNELS_CUDA_PRODUCT_MMA_CUH

#include "kernels/cuda/product.cuh"

namespace sa2_cuda
{
/* Eight columns of one row of x as b of both steps: PARTS times {step 0: x, y; step 1: z, w}. */
template <typename X> struct columns;

template <> struct columns<__nv_bfloat16> {
    static constexpr int PARTS = 1;
    uint4 part[PARTS];
};

template <> struct columns<float> {
    static constexpr int PARTS = 3;
    uint4 part[PARTS];
};

/* high + middle + low = x, each the nearest bf16 to what is left. */
static __device__ __forceinline__ void take_apart(float x, float &high, float &middle, float &low)
{
    high = __bfloat162float(__float2bfloat16_rn(x));
    middle = __bfloat162float(__float2bfloat16_rn(x - high));
    low = x - high - middle;
}

static __device__ __forceinline__ columns<float> columns_of(const float (&x)[PACK])
{
    uint32_t pair[3][4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float high[2], middle[2], low[2];
        take_apart(x[2 * i], high[0], middle[0], low[0]);
        take_apart(x[2 * i + 1], high[1], middle[1], low[1]);
        pair[0][i] = bf16_pair(high[0], high[1]);
        pair[1][i] = bf16_pair(middle[0], middle[1]);
        pair[2][i] = bf16_pair(low[0], low[1]);
    }
    columns<float> c;
#pragma unroll
    for (int p = 0; p < 3; p++)
        c.part[p] = make_uint4(pair[p][0], pair[p][1], pair[p][2], pair[p][3]);
    return c;
}

/* Columns [k, k + 8) of the row at `start`, one by one. */
static __device__ __forceinline__ uint4 gather_bf16(const product &p, long long start, int k)
{
    const uint16_t *x = (const uint16_t *)p.x + start;
    uint32_t pair[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t low = k + 2 * i < p.k ? x[x_offset(p, k + 2 * i)] : 0;
        uint32_t high = k + 2 * i + 1 < p.k ? x[x_offset(p, k + 2 * i + 1)] : 0;
        pair[i] = low | high << 16;
    }
    return make_uint4(pair[0], pair[1], pair[2], pair[3]);
}

static __device__ __forceinline__ float4 gather_f32(const product &p, long long start, int k)
{
    const float *x = (const float *)p.x + start;
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = k + i < p.k ? x[x_offset(p, k + i)] : 0.0f;
    return make_float4(v[0], v[1], v[2], v[3]);
}

static __device__ __forceinline__ void load_columns(columns<__nv_bfloat16> &c, const product &p,
                                                    long long start, int k)
{
    if (!p.is_aligned)
        c.part[0] = gather_bf16(p, start, k);
    else if (k < p.k)
        c.part[0] = *(const uint4 *)((const __nv_bfloat16 *)p.x + start + x_offset(p, k));
    else
        c.part[0] = make_uint4(0, 0, 0, 0);
}

static __device__ __forceinline__ float4 load_quad(const product &p, long long start, int k)
{
    if (!p.is_aligned)
        return gather_f32(p, start, k);
    return k < p.k ? *(const float4 *)((const float *)p.x + start + x_offset(p, k))
                   : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

static __device__ __forceinline__ void load_columns(columns<float> &c, const product &p,
                                                    long long start, int k)
{
    float4 a = load_quad(p, start, k), b = load_quad(p, start, k + 4);
    float x[PACK] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
    c = columns_of(x);
}

/* Both steps of 16 columns. */
template <typename X>
static __device__ __forceinline__ void multiply_chunk(float (&sum)[4], const uint4 &first,
                                                      const uint4 &second, const columns<X> &c)
{
    const uint32_t a[2][4] = {{first.x, first.y, first.z, first.w},
                              {second.x, second.y, second.z, second.w}};
#pragma unroll
    for (int i = 0; i < columns<X>::PARTS; i++)
        mma_bf16(sum, a[0], {c.part[i].x, c.part[i].y});
#pragma unroll
    for (int i = 0; i < columns<X>::PARTS; i++)
        mma_bf16(sum, a[1], {c.part[i].z, c.part[i].w});
}

/* More than THIN_ROWS rows. */
sa2_status run_product_tiled(sa2_stream *s, const char *op, const product &p, sa2_error *err);
} // namespace sa2_cuda

#endif
