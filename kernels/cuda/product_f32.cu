/* product_f32.cu - the product of product.cuh with weights in f32, in plain multiply-adds: every sum is rounded as the
 * CPU's are.
 *
 * Thin, up to 16 rows: a block has 32 weights and 8 rows, a warp one slice of the columns, a lane one weight. Weights
 * are read once, 16 bytes a lane; x is the same for a whole warp. The floor is the bytes of w.
 *
 * Tiled, more rows: a block of 256 threads has 64 weights by 64 rows, a thread 4 by 4. Both operands pass through a ring
 * of STAGES times 32 columns in shared memory (cp.async). The floor is 2 rows n k operations of f32.
 */
#include "kernels/cuda/product.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

static __device__ __forceinline__ float4 gather(const product &p, long long start, int k)
{
    const float *x = (const float *)p.x + start;
    float v[QUAD];
#pragma unroll
    for (int i = 0; i < QUAD; i++)
        v[i] = k + i < p.k ? x[x_offset(p, k + i)] : 0.0f;
    return make_float4(v[0], v[1], v[2], v[3]);
}

static __device__ __forceinline__ float dot(float sum, const float4 &x, const float4 &w)
{
    sum = fmaf(x.x, w.x, sum);
    sum = fmaf(x.y, w.y, sum);
    sum = fmaf(x.z, w.z, sum);
    return fmaf(x.w, w.w, sum);
}

/* ---- thin ---- */

static constexpr int GROUP = 8; /* rows of a block */
static constexpr int AHEAD = 4; /* loads of weights that are on their way at one time */

/* The next AHEAD of `left` quads. */
static __device__ __forceinline__ void load_weights(uint4 (&bits)[AHEAD], const uint4 *w, int left)
{
#pragma unroll
    for (int i = 0; i < AHEAD; i++)
        if (i < left)
            bits[i] = load_once(w + i * STRIP_ROWS);
}

/* grid: strips of 32 weights; groups of 8 rows. The first weights come while earlier kernels end. */
template <bool ALIGNED> static __global__ void __launch_bounds__(THREADS) thin_kernel_f32(product p)
{
    float(*partial)[GROUP][STRIP_ROWS] = (float(*)[GROUP][STRIP_ROWS])shared_bytes();
    int slice = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    int quads = parts_of(p.k, QUAD), each = parts_of(quads, SLICES);
    int quad = slice * each, end = min(quad + each, quads), row0 = (int)blockIdx.y * GROUP;
    int rows = min(GROUP, p.rows - row0);
    const uint4 *w =
        (const uint4 *)p.w + ((long long)blockIdx.x * quads + quad) * STRIP_ROWS + lane;
    uint4 bits[AHEAD];
    load_weights(bits, w, end - quad);
    wait_for_earlier();
    long long start[GROUP];
#pragma unroll
    for (int r = 0; r < GROUP; r++)
        start[r] = r < rows ? x_start(p, row0 + r) : 0;
    float sum[GROUP] = {};
    while (quad < end) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (quad + i >= end)
                break;
            float4 weight = make_float4(__uint_as_float(bits[i].x), __uint_as_float(bits[i].y),
                                        __uint_as_float(bits[i].z), __uint_as_float(bits[i].w));
            int k = (quad + i) * QUAD;
#pragma unroll
            for (int r = 0; r < GROUP; r++)
                if (r < rows)
                    sum[r] = dot(
                        sum[r],
                        ALIGNED ? *(const float4 *)((const float *)p.x + start[r] + x_offset(p, k))
                                : gather(p, start[r], k),
                        weight);
        }
        quad += AHEAD;
        w += AHEAD * STRIP_ROWS;
        load_weights(bits, w, end - quad);
    }
#pragma unroll
    for (int r = 0; r < GROUP; r++)
        partial[slice][r][lane] = sum[r];
    __syncthreads();
    int outputs = p.epilogue.swiglu ? STRIP_ROWS / 2 : STRIP_ROWS;
    int cols = p.epilogue.swiglu ? p.n / 2 : p.n;
    int weight = (int)threadIdx.x % outputs, r = (int)threadIdx.x / outputs;
    int col = (int)blockIdx.x * outputs + weight;
    if (r >= rows || col >= cols)
        return;
    float total = 0.0f, up = 0.0f;
    for (int n = 0; n < SLICES; n++)
        total += partial[n][r][weight];
    if (p.epilogue.swiglu)
        for (int n = 0; n < SLICES; n++)
            up += partial[n][r][weight + STRIP_ROWS / 2];
    put(p, span_of(p, row0 + r), row0 + r, col, total, up);
}

/* ---- tiled ---- */

static constexpr int WEIGHTS = 64, ROWS = 64, QUADS = 8, STAGES = 3, SIDE = 16, EACH = 4;

struct stage {
    float4 w[WEIGHTS / STRIP_ROWS][QUADS][STRIP_ROWS];
    float4 x[ROWS][QUADS];
};

static constexpr int COPIES = ROWS * QUADS / THREADS; /* of a thread, of either operand */

template <bool ALIGNED>
static __device__ __forceinline__ void bring(stage *to, const product &p,
                                             const long long (&start)[COPIES], int quad0, int quads)
{
    int me = (int)threadIdx.x, strips = parts_of(p.n, STRIP_ROWS);
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
        int at = i * THREADS + me, lane = at % STRIP_ROWS, quad = at / STRIP_ROWS % QUADS;
        int strip = at / (STRIP_ROWS * QUADS);
        long long of = (long long)blockIdx.x * (WEIGHTS / STRIP_ROWS) + strip;
        bool there = of < strips && quad0 + quad < quads;
        copy_async_16(&to->w[strip][quad][lane],
                      (const float4 *)p.w +
                          (there ? (of * quads + quad0 + quad) * STRIP_ROWS + lane : 0),
                      there);
    }
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
        int at = i * THREADS + me, row = at / QUADS, quad = at % QUADS, k = (quad0 + quad) * QUAD;
        bool there = start[i] >= 0 && k < p.k;
        if (ALIGNED)
            copy_async_16(&to->x[row][quad],
                          (const float *)p.x + (there ? start[i] + x_offset(p, k) : 0), there);
        else
            to->x[row][quad] = there ? gather(p, start[i], k) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
}

typedef float sums[EACH][EACH]; /* weights SIDE apart, rows SIDE apart */

static __device__ __forceinline__ void multiply_quad(sums &sum, const stage *from, int quad)
{
    int tx = (int)threadIdx.x % SIDE, ty = (int)threadIdx.x / SIDE;
    float4 w[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++)
        w[i] = from->w[i / 2][quad][i % 2 * SIDE + tx];
#pragma unroll
    for (int r = 0; r < EACH; r++) {
        float4 x = from->x[r * SIDE + ty][quad];
#pragma unroll
        for (int i = 0; i < EACH; i++)
            sum[i][r] = dot(sum[i][r], x, w[i]);
    }
}

static __device__ __forceinline__ void add_slice(sums &total, sums &sum)
{
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int r = 0; r < EACH; r++) {
            total[i][r] += sum[i][r];
            sum[i][r] = 0.0f;
        }
}

/* Sums of a block, row by row. */
typedef float finished[ROWS][WEIGHTS];

/* By way of shared memory, as in product_tiled.cu. */
static __device__ __forceinline__ void put_sums(const product &p, const sums &total, finished *room,
                                                int row0)
{
    int tx = (int)threadIdx.x % SIDE, ty = (int)threadIdx.x / SIDE;
    copy_async_wait<0>();
    __syncthreads(); /* all have left the ring */
#pragma unroll
    for (int r = 0; r < EACH; r++)
#pragma unroll
        for (int i = 0; i < EACH; i++)
            (*room)[r * SIDE + ty][i * SIDE + tx] = total[i][r];
    __syncthreads();
    bool swiglu = p.epilogue.swiglu;
    int outputs = swiglu ? WEIGHTS / 2 : WEIGHTS, cols = swiglu ? p.n / 2 : p.n;
#pragma unroll 1
    for (int at = (int)threadIdx.x; at < ROWS * outputs; at += THREADS) {
        int row = row0 + at / outputs, out = at % outputs;
        int col = (int)blockIdx.x * outputs + out;
        if (row >= p.rows || col >= cols)
            continue;
        const float *from = (*room)[at / outputs];
        int place = swiglu ? (int)swiglu_row(out, false, STRIP_ROWS) : out;
        put(p, span_of(p, row), row, col, from[place],
            swiglu ? from[place + STRIP_ROWS / 2] : 0.0f);
    }
}

/* grid: 64 weights; 64 rows. */
template <bool ALIGNED>
static __global__ void __launch_bounds__(THREADS) tiled_kernel_f32(product p)
{
    wait_for_earlier();
    stage *ring = (stage *)shared_bytes();
    int quads = parts_of(p.k, QUAD), each = parts_of(quads, SLICES), row0 = (int)blockIdx.y * ROWS;
    int steps = parts_of(quads, QUADS);
    long long start[COPIES];
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
        int row = row0 + (i * THREADS + (int)threadIdx.x) / QUADS;
        start[i] = row < p.rows ? x_start(p, row) : -1;
    }
#pragma unroll 1
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps)
            bring<ALIGNED>(&ring[i], p, start, i * QUADS, quads);
        copy_async_commit();
    }
    sums total = {}, sum = {};
    int border = each;
    for (int step = 0; step < steps; step++) {
        copy_async_wait<STAGES - 2>();
        __syncthreads(); /* this stage is there for all, and all have left the one before it */
        int next = step + STAGES - 1;
        if (next < steps)
            bring<ALIGNED>(&ring[next % STAGES], p, start, next * QUADS, quads);
        copy_async_commit();
        for (int quad = 0; quad < QUADS && step * QUADS + quad < quads; quad++) {
            if (step * QUADS + quad == border) {
                add_slice(total, sum);
                border += each;
            }
            multiply_quad(sum, &ring[step % STAGES], quad);
        }
    }
    add_slice(total, sum);
    put_sums(p, total, (finished *)ring, row0);
}

sa2_status run_product_f32(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    if (p.rows <= THIN_ROWS) {
        dim3 grid(blocks_for(p.n, STRIP_ROWS), blocks_for(p.rows, GROUP));
        return launch(s, op, p.is_aligned ? thin_kernel_f32<true> : thin_kernel_f32<false>, grid,
                      THREADS, SLICES * GROUP * STRIP_ROWS * sizeof(float), err, p);
    }
    dim3 grid(blocks_for(p.n, WEIGHTS), blocks_for(p.rows, ROWS));
    return launch(s, op, p.is_aligned ? tiled_kernel_f32<true> : tiled_kernel_f32<false>, grid,
                  THREADS, STAGES * sizeof(stage), err, p);
}
} // namespace sa2_cuda
