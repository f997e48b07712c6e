/* product_mma.cu - the product of product.cuh with weights in bf16, on tensor cores. Weights are the 16-row side of
 * mma, rows of x the 8-column side.
 *
 * Thin, up to 16 rows: a block has a tile of 16 weights, a warp one slice of its columns. Weights go from global memory
 * straight into registers, 16 bytes a lane and in the order of memory, eight loads in flight; x comes from the caches.
 * The floor is the bytes of w.
 *
 * Tiled, more rows: a block has 128 weights by 64 rows, a warp 32 by 64. Both operands pass through a ring of
 * STAGES chunks of 32 columns in shared memory (cp.async), from which a lane reads its registers 16 bytes at a time
 * without a bank conflict. The floor is 2 rows n k operations.
 *
 * x in f32 is taken apart into three numbers of bf16 whose sum it is, exactly; three products, then, of full precision.
 */
#include "kernels/cuda/product.cuh"

namespace sa2_cuda
{
/* Eight columns of one row of x as b of both steps: PARTS times {step 0: x, y; step 1: z, w}. */
template <typename X> struct columns;

template <> struct columns<__nv_bfloat16> {
    static constexpr int PARTS = 1, STAGES = 4;
    uint4 part[PARTS];
};

template <> struct columns<float> {
    static constexpr int PARTS = 3, STAGES = 3;
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

/* ---- thin ---- */

static constexpr int AHEAD = 4; /* chunks whose weights are on their way at one time */

/* grid: tiles of 16 weights; groups of 8 GROUPS rows. */
template <typename X, int GROUPS>
static __global__ void __launch_bounds__(SLICES *WARP) thin_kernel(product p)
{
    constexpr int ROWS = 8 * GROUPS;
    float(*partial)[ROWS][TILE_ROWS + 1] = (float(*)[ROWS][TILE_ROWS + 1]) shared_bytes();
    int slice = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    int chunks = parts_of(p.k, CHUNK), each = parts_of(chunks, SLICES);
    int chunk = slice * each, end = min(chunk + each, chunks), row0 = (int)blockIdx.y * ROWS;
    const uint4 *w =
        (const uint4 *)p.w + ((long long)blockIdx.x * chunks + chunk) * 2 * WARP + lane;
    long long start[GROUPS];
#pragma unroll
    for (int j = 0; j < GROUPS; j++)
        start[j] = row0 + 8 * j + g < p.rows ? x_start(p, row0 + 8 * j + g) : -1;
    float sum[GROUPS][4] = {};
    for (; chunk < end; chunk += AHEAD, w += AHEAD * 2 * WARP) {
        uint4 weights[AHEAD][2];
#pragma unroll
        for (int c = 0; c < AHEAD; c++)
            if (chunk + c < end) {
                weights[c][0] = load_once(w + c * 2 * WARP);
                weights[c][1] = load_once(w + c * 2 * WARP + WARP);
            }
#pragma unroll
        for (int c = 0; c < AHEAD; c++) {
            if (chunk + c >= end)
                break;
#pragma unroll
            for (int j = 0; j < GROUPS; j++) {
                columns<X> x = {};
                if (start[j] >= 0)
                    load_columns(x, p, start[j], (chunk + c) * CHUNK + 8 * t);
                multiply_chunk(sum[j], weights[c][0], weights[c][1], x);
            }
        }
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

/* ---- tiled ---- */

static constexpr int TILED_THREADS = 128, WEIGHTS = 128, ROWS = 64;
static constexpr int TILES = WEIGHTS / TILE_ROWS, WARP_TILES = 2, COLUMN_GROUPS = ROWS / 8;

/* A chunk of 32 columns of both operands. */
template <typename X> struct stage {
    uint4 w[TILES][2][WARP];
    uint4 x[ROWS][CHUNK * sizeof(X) / 16];
};

/* Where 16-byte piece `piece` of a row of x lies: in f32, pieces of neighbouring rows in turn, for the banks. */
template <typename X> static __device__ __forceinline__ int placed(int row, int piece)
{
    return sizeof(X) == 4 ? piece ^ (row & 1) : piece;
}

/* The rows of x that this thread brings in. */
template <typename X> struct loader {
    static constexpr int PIECES = CHUNK * sizeof(X) / 16;        /* of a row */
    static constexpr int COPIES = ROWS * PIECES / TILED_THREADS; /* of a thread */
    static constexpr int COLUMNS = 16 / sizeof(X);               /* of a piece */
    long long start[COPIES];                                     /* -1: no such row */
};

template <typename X>
static __device__ __forceinline__ void find_rows(loader<X> &l, const product &p, int row0)
{
#pragma unroll
    for (int i = 0; i < loader<X>::COPIES; i++) {
        int row = row0 + (i * TILED_THREADS + (int)threadIdx.x) / loader<X>::PIECES;
        l.start[i] = row < p.rows ? x_start(p, row) : -1;
    }
}

static __device__ __forceinline__ uint4 gather(const product &p, long long start, int k,
                                               __nv_bfloat16)
{
    return gather_bf16(p, start, k);
}

static __device__ __forceinline__ uint4 gather(const product &p, long long start, int k, float)
{
    float4 v = gather_f32(p, start, k);
    return make_uint4(__float_as_uint(v.x), __float_as_uint(v.y), __float_as_uint(v.z),
                      __float_as_uint(v.w));
}

template <typename X>
static __device__ __forceinline__ void bring(stage<X> *to, const product &p, const loader<X> &l,
                                             int chunk, int chunks)
{
    int me = (int)threadIdx.x, tiles = parts_of(p.n, TILE_ROWS);
    const uint4 *w = (const uint4 *)p.w;
#pragma unroll
    for (int i = 0; i < TILES * 2 * WARP / TILED_THREADS; i++) {
        int at = i * TILED_THREADS + me, tile = at / (2 * WARP);
        long long of = (long long)blockIdx.x * TILES + tile;
        bool there = of < tiles;
        copy_async_16(&to->w[tile][at / WARP % 2][at % WARP],
                      w + ((there ? of : 0) * chunks + chunk) * 2 * WARP + at % (2 * WARP), there);
    }
#pragma unroll
    for (int i = 0; i < loader<X>::COPIES; i++) {
        int at = i * TILED_THREADS + me, row = at / loader<X>::PIECES;
        int piece = at % loader<X>::PIECES, k = chunk * CHUNK + piece * loader<X>::COLUMNS;
        uint4 *place = &to->x[row][placed<X>(row, piece)];
        bool there = l.start[i] >= 0 && k < p.k;
        if (p.is_aligned)
            copy_async_16(place, (const X *)p.x + (there ? l.start[i] + x_offset(p, k) : 0), there);
        else
            *place = there ? gather(p, l.start[i], k, X()) : make_uint4(0, 0, 0, 0);
    }
}

static __device__ __forceinline__ void
read_columns(columns<__nv_bfloat16> &c, const stage<__nv_bfloat16> *from, int row, int t)
{
    c.part[0] = from->x[row][t];
}

static __device__ __forceinline__ void read_columns(columns<float> &c, const stage<float> *from,
                                                    int row, int t)
{
    uint4 a = from->x[row][placed<float>(row, 2 * t)],
          b = from->x[row][placed<float>(row, 2 * t + 1)];
    float x[PACK] = {__uint_as_float(a.x), __uint_as_float(a.y), __uint_as_float(a.z),
                     __uint_as_float(a.w), __uint_as_float(b.x), __uint_as_float(b.y),
                     __uint_as_float(b.z), __uint_as_float(b.w)};
    c = columns_of(x);
}

typedef float sums[WARP_TILES][COLUMN_GROUPS][4];

template <typename X>
static __device__ __forceinline__ void multiply_stage(sums &sum, const stage<X> *from)
{
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    uint4 w[WARP_TILES][2];
#pragma unroll
    for (int i = 0; i < WARP_TILES; i++)
#pragma unroll
        for (int step = 0; step < 2; step++)
            w[i][step] = from->w[warp * WARP_TILES + i][step][lane];
#pragma unroll
    for (int j = 0; j < COLUMN_GROUPS; j++) {
        columns<X> c;
        read_columns(c, from, 8 * j + lane / 4, lane % 4);
#pragma unroll
        for (int i = 0; i < WARP_TILES; i++)
            multiply_chunk(sum[i][j], w[i][0], w[i][1], c);
    }
}

static __device__ __forceinline__ void add_slice(sums &total, sums &sum)
{
#pragma unroll
    for (int i = 0; i < WARP_TILES; i++)
#pragma unroll
        for (int j = 0; j < COLUMN_GROUPS; j++)
#pragma unroll
            for (int n = 0; n < 4; n++) {
                total[i][j][n] += sum[i][j][n];
                sum[i][j][n] = 0.0f;
            }
}

static __device__ __forceinline__ void put_sums(const product &p, const sums &total, int row0)
{
    int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    int tile0 = (int)blockIdx.x * TILES + (int)threadIdx.x / WARP * WARP_TILES;
#pragma unroll
    for (int j = 0; j < COLUMN_GROUPS; j++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int row = row0 + 8 * j + 2 * t + r;
            if (row >= p.rows)
                continue;
            row_span span = span_of(p, row);
#pragma unroll
            for (int i = 0; i < WARP_TILES; i++) {
                float low = total[i][j][r], high = total[i][j][2 + r];
                if (p.epilogue.swiglu) {
                    int col = (tile0 + i) * (TILE_ROWS / 2) + g;
                    if (col < p.n / 2)
                        put(p, span, row, col, low, high);
                    continue;
                }
                int col = (tile0 + i) * TILE_ROWS + g;
                if (col < p.n)
                    put(p, span, row, col, low, 0.0f);
                if (col + 8 < p.n)
                    put(p, span, row, col + 8, high, 0.0f);
            }
        }
}

/* grid: 128 weights; 64 rows. */
template <typename X>
static __global__ void __launch_bounds__(TILED_THREADS) tiled_kernel(product p)
{
    constexpr int STAGES = columns<X>::STAGES;
    stage<X> *ring = (stage<X> *)shared_bytes();
    int chunks = parts_of(p.k, CHUNK), each = parts_of(chunks, SLICES),
        row0 = (int)blockIdx.y * ROWS;
    loader<X> l;
    find_rows(l, p, row0);
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < chunks)
            bring(&ring[i], p, l, i, chunks);
        copy_async_commit();
    }
    sums total = {}, sum = {};
    int border = each;
    for (int chunk = 0; chunk < chunks; chunk++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads(); /* this chunk is there for all, and all have left the stage before it */
        if (chunk + STAGES - 1 < chunks)
            bring(&ring[(chunk + STAGES - 1) % STAGES], p, l, chunk + STAGES - 1, chunks);
        copy_async_commit();
        if (chunk == border) {
            add_slice(total, sum);
            border += each;
        }
        multiply_stage(sum, &ring[chunk % STAGES]);
    }
    add_slice(total, sum);
    put_sums(p, total, row0);
}

/* ---- launcher ---- */

template <typename X>
static sa2_status run(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    unsigned tiles = blocks_for(p.n, TILE_ROWS);
    size_t partial = SLICES * 8 * (TILE_ROWS + 1) * sizeof(float);
    if (p.rows <= 8)
        return launch(s, op, thin_kernel<X, 1>, dim3(tiles), SLICES * WARP, partial, err, p);
    if (p.rows <= THIN_ROWS)
        return launch(s, op, thin_kernel<X, 2>, dim3(tiles), SLICES * WARP, 2 * partial, err, p);
    dim3 grid(blocks_for(p.n, WEIGHTS), blocks_for(p.rows, ROWS));
    return launch(s, op, tiled_kernel<X>, grid, TILED_THREADS,
                  columns<X>::STAGES * sizeof(stage<X>), err, p);
}

sa2_status run_product_mma(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    return p.x_is_bf16 ? run<__nv_bfloat16>(s, op, p, err) : run<float>(s, op, p, err);
}
} // namespace sa2_cuda
