/* product_tiled.cuh - the product of product.cuh for many rows, by mma.sync: product_tiled.cu, product_rounded.cu.
 *
 * A block has 128 weights by 64 rows, a warp 32 by 64. Both operands pass through a ring of 32 or 64 columns at a time in
 * shared memory (cp.async), from which a lane reads its registers 16 bytes at a time without a bank conflict; weights of
 * few bits become bf16 on that way, each by one lane. Where that gives fewer blocks than there are processors, each
 * slice of the columns is a block of its own and a second kernel adds them, in the same order. The floor is 2 rows n k
 * operations, for few rows the bytes of w.
 */
#ifndef SA2_KERNELS_CUDA_PRODUCT_TILED_CUH
#define SA2_KERNELS_CUDA_PRODUCT_TILED_CUH

#include "kernels/cuda/product_mma.cuh"
#include "kernels/cuda/product_weights.cuh"

namespace sa2_cuda
{
static constexpr int TILED_THREADS = 128, WEIGHTS = 128, ROWS = 64;
static constexpr int TILES = WEIGHTS / TILE_ROWS, WARP_TILES = 2, COLUMN_GROUPS = ROWS / 8;

/* A bundle of each lane of the weights' tiles. */
template <typename W, bool HAS_FACTORS = bundle<W>::HAS_FACTORS> struct tiles {
    uint4 word[TILES][bundle<W>::WORDS][WARP];
};

template <typename W> struct tiles<W, true> {
    uint4 word[TILES][bundle<W>::WORDS][WARP];
    uint4 factors[TILES]; /* u8 [8, 2]: of rows g and g + 8 */
};

/* The same columns of both operands. */
template <typename X, typename W> struct stage {
    tiles<W> w;
    uint4 x[bundle<W>::CHUNKS][ROWS][CHUNK * sizeof(X) / 16];
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

/* One bundle of columns of the weights. */
template <typename W>
static __device__ __forceinline__ void bring_words(tiles<W> &to, const product &p, int column,
                                                   int columns)
{
    constexpr int EACH = bundle<W>::WORDS * WARP; /* of a tile */
    int me = (int)threadIdx.x, n = parts_of(p.n, TILE_ROWS);
#pragma unroll
    for (int i = 0; i < TILES * EACH / TILED_THREADS; i++) {
        int at = i * TILED_THREADS + me, tile = at / EACH;
        long long of = (long long)blockIdx.x * TILES + tile;
        bool there = of < n;
        copy_async_16(&to.word[tile][at / WARP % bundle<W>::WORDS][at % WARP],
                      (const uint4 *)p.w + ((there ? of : 0) * columns + column) * EACH + at % EACH,
                      there);
    }
}

template <typename W>
static __device__ __forceinline__ void bring_weights(tiles<W> &to, const product &p, int column,
                                                     int columns)
{
    bring_words(to, p, column, columns);
    if constexpr (bundle<W>::HAS_FACTORS)
        if (threadIdx.x < TILES) {
            long long of = (long long)blockIdx.x * TILES + threadIdx.x;
            bool there = of < parts_of(p.n, TILE_ROWS);
            copy_async_16(&to.factors[threadIdx.x],
                          (const uint4 *)p.factors + (there ? of : 0) * columns + column, there);
        }
}

/* A chunk of rows of x. */
template <typename X, bool ALIGNED>
static __device__ __forceinline__ void bring_rows(uint4 (&to)[ROWS][CHUNK * sizeof(X) / 16],
                                                  const product &p, const loader<X> &l, int chunk)
{
#pragma unroll
    for (int i = 0; i < loader<X>::COPIES; i++) {
        int at = i * TILED_THREADS + (int)threadIdx.x, row = at / loader<X>::PIECES;
        int piece = at % loader<X>::PIECES, k = chunk * CHUNK + piece * loader<X>::COLUMNS;
        uint4 *place = &to[row][placed<X>(row, piece)];
        bool there = l.start[i] >= 0 && k < p.k;
        if (ALIGNED)
            copy_async_16(place, (const X *)p.x + (there ? l.start[i] + x_offset(p, k) : 0), there);
        else
            *place = there ? gather(p, l.start[i], k, X()) : make_uint4(0, 0, 0, 0);
    }
}

template <typename X, typename W, bool ALIGNED>
static __device__ __forceinline__ void bring(stage<X, W> *to, const product &p, const loader<X> &l,
                                             int column, int columns)
{
    bring_weights(to->w, p, column, columns);
#pragma unroll(ALIGNED ? bundle <W>::CHUNKS : 1)
    for (int c = 0; c < bundle<W>::CHUNKS; c++)
        bring_rows<X, ALIGNED>(to->x[c], p, l, column * bundle<W>::CHUNKS + c);
}

template <typename X> using rows_of_chunk = uint4[ROWS][CHUNK * sizeof(X) / 16];

static __device__ __forceinline__ void
read_columns(columns<__nv_bfloat16> &c, const rows_of_chunk<__nv_bfloat16> &x, int row, int t)
{
    c.part[0] = x[row][t];
}

static __device__ __forceinline__ void
read_columns(columns<float> &c, const rows_of_chunk<float> &from, int row, int t)
{
    uint4 a = from[row][placed<float>(row, 2 * t)], b = from[row][placed<float>(row, 2 * t + 1)];
    float x[PACK] = {__uint_as_float(a.x), __uint_as_float(a.y), __uint_as_float(a.z),
                     __uint_as_float(a.w), __uint_as_float(b.x), __uint_as_float(b.y),
                     __uint_as_float(b.z), __uint_as_float(b.w)};
    c = columns_of(x);
}

template <typename W>
static __device__ __forceinline__ void read_bundle(bundle<W> &b, const tiles<W> &from, int tile)
{
#pragma unroll
    for (int n = 0; n < bundle<W>::WORDS; n++)
        b.word[n] = from.word[tile][n][threadIdx.x % WARP];
    if constexpr (bundle<W>::HAS_FACTORS)
        b.factors = ((const uint16_t *)&from.factors[tile])[threadIdx.x % WARP / 4];
}

typedef float sums[WARP_TILES][COLUMN_GROUPS][4];

template <typename X, typename W>
static __device__ __forceinline__ void multiply_stage(sums &sum, const stage<X, W> *from)
{
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    bundle<W> b[WARP_TILES];
#pragma unroll
    for (int i = 0; i < WARP_TILES; i++)
        read_bundle(b[i], from->w, warp * WARP_TILES + i);
#pragma unroll(sizeof(X) == 2 ? bundle <W>::CHUNKS : 1) /* three parts of x need the registers */
    for (int chunk = 0; chunk < bundle<W>::CHUNKS; chunk++) {
        uint4 w[WARP_TILES][2];
#pragma unroll
        for (int i = 0; i < WARP_TILES; i++)
            unpack(w[i][0], w[i][1], b[i], chunk);
#pragma unroll
        for (int j = 0; j < COLUMN_GROUPS; j++) {
            columns<X> c;
            read_columns(c, from->x[chunk], 8 * j + lane / 4, lane % 4);
#pragma unroll
            for (int i = 0; i < WARP_TILES; i++)
                multiply_chunk(sum[i][j], w[i][0], w[i][1], c);
        }
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
template <typename W>
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
        int place = swiglu ? (int)swiglu_row(out, false, TILE_ROWS) : out;
        long long weight = (long long)blockIdx.x * WEIGHTS + place;
        float up = 0.0f;
        if (swiglu)
            up = times_step<W>(p, weight + TILE_ROWS / 2, from[place + TILE_ROWS / 2]);
        put(p, span_of(p, row), row, col, times_step<W>(p, weight, from[place]), up);
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
template <typename X, typename W, bool IS_SPLIT, bool ALIGNED>
static __global__ void __launch_bounds__(TILED_THREADS) tiled_kernel(product p, float *partials)
{
    wait_for_earlier();
    constexpr int STAGES = loader<X>::STAGES;
    stage<X, W> *ring = (stage<X, W> *)shared_bytes();
    int columns = bundles_of<W>(p), each = parts_of(columns, SLICES), row0 = (int)blockIdx.y * ROWS;
    int at = IS_SPLIT ? (int)blockIdx.z * each : 0;
    int end = IS_SPLIT ? min(at + each, columns) : columns;
    loader<X> l;
    find_rows(l, p, row0);
#pragma unroll 1
    for (int i = 0; i < STAGES - 1; i++) {
        if (at + i < end)
            bring<X, W, ALIGNED>(&ring[i], p, l, at + i, columns);
        copy_async_commit();
    }
    sums total = {}, sum = {};
    int border = each;
    for (int i = 0; at < end; i++, at++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads(); /* these columns are there for all, and all have left the stage before them */
        if (at + STAGES - 1 < end)
            bring<X, W, ALIGNED>(&ring[(i + STAGES - 1) % STAGES], p, l, at + STAGES - 1, columns);
        copy_async_commit();
        if (!IS_SPLIT && at == border) {
            add_slice(total, sum);
            border += each;
        }
        multiply_stage(sum, &ring[i % STAGES]);
    }
    if (IS_SPLIT) {
        keep_sums(p, partials, sum, row0);
    } else {
        add_slice(total, sum);
        put_sums<W>(p, total, (finished *)ring, row0);
    }
}

/* ---- launcher ---- */

template <typename X, typename W, bool ALIGNED>
static sa2_status launch_tiled(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    dim3 grid(blocks_for(p.n, WEIGHTS), blocks_for(p.rows, ROWS));
    constexpr size_t RING = loader<X>::STAGES * sizeof(stage<X, W>);
    size_t shared = RING > sizeof(finished) ? RING : sizeof(finished);
    float *partials = queue_of(s)->partials;
    if (grid.x * grid.y >= FEW_BLOCKS / 2 || joined_bytes(p) > PARTIAL_BYTES)
        return launch(s, op, tiled_kernel<X, W, false, ALIGNED>, grid, TILED_THREADS, shared, err,
                      p, partials);
    grid.z = SLICES;
    sa2_status st = launch(s, op, tiled_kernel<X, W, true, ALIGNED>, grid, TILED_THREADS, shared,
                           err, p, partials);
    return st == SA2_OK ? join_slices(s, op, p, partials, err) : st;
}

template <typename X, typename W>
static sa2_status run_tiled(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    return p.is_aligned ? launch_tiled<X, W, true>(s, op, p, err)
                        : launch_tiled<X, W, false>(s, op, p, err);
}
} // namespace sa2_cuda

#endif
