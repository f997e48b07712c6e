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

template <bool ALIGNED>
static __device__ __forceinline__ void load_columns(columns<__nv_bfloat16> &c, const product &p,
                                                    long long start, int k)
{
    if (!ALIGNED)
        c.part[0] = gather_bf16(p, start, k);
    else if (k < p.k)
        c.part[0] = *(const uint4 *)((const __nv_bfloat16 *)p.x + start + x_offset(p, k));
    else
        c.part[0] = make_uint4(0, 0, 0, 0);
}

template <bool ALIGNED>
static __device__ __forceinline__ float4 load_quad(const product &p, long long start, int k)
{
    if (!ALIGNED)
        return gather_f32(p, start, k);
    return k < p.k ? *(const float4 *)((const float *)p.x + start + x_offset(p, k))
                   : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

template <bool ALIGNED>
static __device__ __forceinline__ void load_columns(columns<float> &c, const product &p,
                                                    long long start, int k)
{
    float4 a = load_quad<ALIGNED>(p, start, k), b = load_quad<ALIGNED>(p, start, k + 4);
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

static __host__ __device__ __forceinline__ int outputs_of(const product &p)
{
    return p.epilogue.swiglu ? p.n / 2 : p.n;
}

template <int KIND>
static __device__ __forceinline__ void activate_each(float (&x)[PACK], float slope)
{
#pragma unroll
    for (int i = 0; i < PACK; i++)
        x[i] = activate_one(x[i], KIND, slope);
}

/* activate_one() eight times. The kind is asked for once: code that is jumped over must be fetched all the same. */
static __device__ __forceinline__ void activate_eight(float (&x)[PACK], int kind, float slope)
{
    switch (kind) {
    case SA2_ACT_RELU:
        return activate_each<SA2_ACT_RELU>(x, slope);
    case SA2_ACT_GELU:
        return activate_each<SA2_ACT_GELU>(x, slope);
    case SA2_ACT_SILU:
        return activate_each<SA2_ACT_SILU>(x, slope);
    case SA2_ACT_NONE:
        return;
    default:
#pragma unroll
        for (int i = 0; i < PACK; i++)
            x[i] = activate_one(x[i], kind, slope);
    }
}

static __device__ __forceinline__ void add_eight(float (&x)[PACK], const float (&y)[PACK])
{
#pragma unroll
    for (int i = 0; i < PACK; i++)
        x[i] += y[i];
}

/* finish() of eight neighbours: the same operations in the same order, each on all of them. */
static __device__ __forceinline__ void finish_eight(const product &p, const float *gate, int col,
                                                    float (&sum)[PACK], float (&up)[PACK],
                                                    const float (&before)[PACK])
{
    const epilogue &e = p.epilogue;
#pragma unroll
    for (int i = 0; e.bias != nullptr && i < PACK; i++)
        sum[i] += e.bias[e.bias_cols == 0 ? col + i : (col + i) % e.bias_cols];
    if (e.swiglu) {
#pragma unroll
        for (int i = 0; e.bias != nullptr && i < PACK; i++)
            up[i] += e.bias[p.n / 2 + col + i];
        activate_each<SA2_ACT_SILU>(sum, 0.0f);
#pragma unroll
        for (int i = 0; i < PACK; i++)
            sum[i] = __fmul_rn(sum[i], up[i]);
    }
    if (e.residual)
        add_eight(sum, before);
    activate_eight(sum, e.activation, e.slope);
#pragma unroll
    for (int i = 0; gate != nullptr && i < PACK; i++)
        sum[i] = __fmul_rn(sum[i], gate[col + i]);
    if (e.accumulate)
        add_eight(sum, before);
}

/* Eight neighbours of a row of y from column col on, as put() would write one by one; sums lie in shared memory at
 * multiples of 16 bytes. */
static __device__ __forceinline__ void put_eight(const product &p, int row, int col,
                                                 const float *sums, const float *ups)
{
    row_span span = span_of(p, row);
    int cols = outputs_of(p);
    long long at = span.y + (row - span.first) * p.y_step + col;
    bool is_whole = col + PACK <= cols && at >= span.y_first && at + PACK <= span.y_last &&
                    at % PACK == 0 && (uintptr_t)p.y % 16 == 0;
    if (!is_whole) {
#pragma unroll 1
        for (int i = 0; i < PACK && col + i < cols; i++)
            put(p, span, row, col + i, sums[i], ups[i]);
        return;
    }
    const float *gate;
    if (!find_gate(p.epilogue, row, &gate))
        return;
    vectors_view y = {p.y, 0, PACK, 1, p.y_is_bf16, true},
                 room = {nullptr, 0, PACK, 1, false, true};
    float before[PACK] = {}, sum[PACK], up[PACK] = {};
    if (adds_y(p.epilogue))
        load_pack(before, y, at, 0);
    room.data = (void *)sums;
    load_pack(sum, room, 0, 0);
    room.data = (void *)ups;
    if (p.epilogue.swiglu)
        load_pack(up, room, 0, 0);
    finish_eight(p, gate, col, sum, up, before);
    store_pack(y, at, 0, sum);
}

/* Weights in whole tiles: a row of partial sums has so many. */
static __host__ __device__ __forceinline__ long long width_of(const product &p)
{
    return (long long)parts_of(p.n, TILE_ROWS) * TILE_ROWS;
}

static inline size_t joined_bytes(const product &p)
{
    return SLICES * (size_t)p.rows * (size_t)width_of(p) * sizeof(float);
}

/* y from partials [SLICES, rows, width], joined_bytes() of them: adds the slices in order. */
sa2_status join_slices(sa2_stream *s, const char *op, const product &p, const float *partials,
                       sa2_error *err);

/* More than THIN_ROWS rows. */
sa2_status run_product_tiled(sa2_stream *s, const char *op, const product &p, sa2_error *err);

/* The same, where can_wgmma() says that this device does this product. */
bool can_wgmma(sa2_stream *s, const product &p);
sa2_status run_product_wgmma(sa2_stream *s, const char *op, const product &p, sa2_error *err);
} // namespace sa2_cuda

#endif
