/* product_tiled.cu - the product of product.cuh with weights in bf16 and more than 16 rows, on tensor cores.
 *
 * A block has 128 weights by 64 rows, a warp 32 by 64. Both operands pass through a ring of chunks of 32 columns in
 * shared memory (cp.async), from which a lane reads its registers 16 bytes at a time without a bank conflict. Where
 * that gives fewer blocks than there are processors, each slice of the columns is a block of its own and a second
 * kernel adds them, in the same order. The floor is 2 rows n k operations, for few rows the bytes of w.
 */
#include "kernels/cuda/product_mma.cuh"

namespace sa2_cuda
{
static constexpr int TILED_THREADS = 128, WEIGHTS = 128, ROWS = 64, JOIN_THREADS = 128;
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
    static constexpr int STAGES = sizeof(X) == 2 ? 4 : 3;        /* of the ring */
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

template <typename X, bool ALIGNED>
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
        if (ALIGNED)
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

/* Sums of a block, row by row; the rest of a row is for the banks. */
typedef float finished[ROWS][WEIGHTS + 4];

/* By way of shared memory, which is the ring's: so neighbouring threads write neighbouring elements, and what happens
 * to a sum stands once in the code. Unrolled it took longer than the product. */
static __device__ __forceinline__ void put_sums(const product &p, const sums &total, finished *room,
                                                int row0)
{
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    copy_async_wait<0>();
    __syncthreads(); /* all have left the ring */
#pragma unroll
    for (int j = 0; j < COLUMN_GROUPS; j++)
#pragma unroll
        for (int i = 0; i < WARP_TILES; i++)
#pragma unroll
            for (int n = 0; n < 4; n++)
                (*room)[8 * j + 2 * t + (n & 1)]
                       [(warp * WARP_TILES + i) * TILE_ROWS + g + 8 * (n >> 1)] = total[i][j][n];
    __syncthreads();
    bool swiglu = p.epilogue.swiglu;
    int outputs = swiglu ? WEIGHTS / 2 : WEIGHTS, cols = outputs_of(p);
#pragma unroll 1
    for (int at = (int)threadIdx.x; at < ROWS * outputs; at += TILED_THREADS) {
        int row = row0 + at / outputs, out = at % outputs;
        int col = (int)blockIdx.x * outputs + out;
        if (row >= p.rows || col >= cols)
            continue;
        const float *from = (*room)[at / outputs];
        int place = swiglu ? swiglu_row(out, false, TILE_ROWS) : out;
        put(p, span_of(p, row), row, col, from[place], swiglu ? from[place + TILE_ROWS / 2] : 0.0f);
    }
}

/* Sums of one slice, for join_slices(): partials [SLICES, rows, width]. */
static __device__ __forceinline__ void keep_sums(const product &p, float *partials, const sums &sum,
                                                 int row0)
{
    int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    int tile0 = (int)blockIdx.x * TILES + (int)threadIdx.x / WARP * WARP_TILES;
    long long width = width_of(p);
    partials += blockIdx.z * p.rows * width;
#pragma unroll
    for (int j = 0; j < COLUMN_GROUPS; j++)
#pragma unroll
        for (int i = 0; i < WARP_TILES; i++)
#pragma unroll
            for (int n = 0; n < 4; n++) {
                int row = row0 + 8 * j + 2 * t + (n & 1);
                int weight = (tile0 + i) * TILE_ROWS + g + 8 * (n >> 1);
                if (row < p.rows && weight < width)
                    partials[row * width + weight] = sum[i][j][n];
            }
}

/* grid: 128 weights; 64 rows; slices, or 1 for all of them in turn. */
template <typename X, bool IS_SPLIT, bool ALIGNED>
static __global__ void __launch_bounds__(TILED_THREADS) tiled_kernel(product p, float *partials)
{
    wait_for_earlier();
    constexpr int STAGES = loader<X>::STAGES;
    stage<X> *ring = (stage<X> *)shared_bytes();
    int chunks = parts_of(p.k, CHUNK), each = parts_of(chunks, SLICES),
        row0 = (int)blockIdx.y * ROWS;
    int chunk = IS_SPLIT ? (int)blockIdx.z * each : 0;
    int end = IS_SPLIT ? min(chunk + each, chunks) : chunks;
    loader<X> l;
    find_rows(l, p, row0);
#pragma unroll 1
    for (int i = 0; i < STAGES - 1; i++) {
        if (chunk + i < end)
            bring<X, ALIGNED>(&ring[i], p, l, chunk + i, chunks);
        copy_async_commit();
    }
    sums total = {}, sum = {};
    int border = each;
    for (int i = 0; chunk < end; i++, chunk++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads(); /* this chunk is there for all, and all have left the stage before it */
        if (chunk + STAGES - 1 < end)
            bring<X, ALIGNED>(&ring[(i + STAGES - 1) % STAGES], p, l, chunk + STAGES - 1, chunks);
        copy_async_commit();
        if (!IS_SPLIT && chunk == border) {
            add_slice(total, sum);
            border += each;
        }
        multiply_stage(sum, &ring[i % STAGES]);
    }
    if (IS_SPLIT) {
        keep_sums(p, partials, sum, row0);
    } else {
        add_slice(total, sum);
        put_sums(p, total, (finished *)ring, row0);
    }
}

/* grid: 128 outputs; rows. Adds the slices in order, as tiled_kernel does. */
static __global__ void __launch_bounds__(JOIN_THREADS) join_kernel(product p, const float *partials)
{
    wait_for_earlier();
    bool swiglu = p.epilogue.swiglu;
    int col = (int)(blockIdx.x * JOIN_THREADS + threadIdx.x), row = (int)blockIdx.y;
    if (col >= outputs_of(p))
        return;
    long long weight = swiglu ? swiglu_row(col, false, TILE_ROWS) : col;
    long long width = width_of(p), step = width * p.rows;
    const float *part = partials + row * width + weight;
    float total = 0.0f, up = 0.0f;
#pragma unroll
    for (int slice = 0; slice < SLICES; slice++) {
        total += part[slice * step];
        if (swiglu)
            up += part[slice * step + TILE_ROWS / 2];
    }
    put(p, span_of(p, row), row, col, total, up);
}

/* ---- launcher ---- */

template <typename X, bool ALIGNED>
static sa2_status run(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    dim3 grid(blocks_for(p.n, WEIGHTS), blocks_for(p.rows, ROWS));
    size_t shared = loader<X>::STAGES * sizeof(stage<X>);
    float *partials = queue_of(s)->partials;
    if (grid.x * grid.y >= FEW_BLOCKS / 2 || joined_bytes(p) > PARTIAL_BYTES)
        return launch(s, op, tiled_kernel<X, false, ALIGNED>, grid, TILED_THREADS, shared, err, p,
                      partials);
    grid.z = SLICES;
    sa2_status st = launch(s, op, tiled_kernel<X, true, ALIGNED>, grid, TILED_THREADS, shared, err,
                           p, partials);
    return st == SA2_OK ? join_slices(s, op, p, partials, err) : st;
}

sa2_status join_slices(sa2_stream *s, const char *op, const product &p, const float *partials,
                       sa2_error *err)
{
    dim3 outputs(blocks_for(outputs_of(p), JOIN_THREADS), (unsigned)p.rows);
    return launch(s, op, join_kernel, outputs, JOIN_THREADS, 0, err, p, partials);
}

sa2_status run_product_tiled(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    if (p.x_is_bf16)
        return p.is_aligned ? run<__nv_bfloat16, true>(s, op, p, err)
                            : run<__nv_bfloat16, false>(s, op, p, err);
    return p.is_aligned ? run<float, true>(s, op, p, err) : run<float, false>(s, op, p, err);
}
} // namespace sa2_cuda
