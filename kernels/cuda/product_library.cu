/* product_library.cu - the product of product.cuh by cuBLASLt, for many rows of x in bf16.
 *
 * Weights lie in the order of mma's registers, which no order of the library describes, and a second copy of them would not
 * fit. So a piece of them becomes a plain matrix, rows by columns in bf16, that the library multiplies at once: of up to
 * 16 MB, which the second-level cache holds, or as many rows as give every processor a tile. What the library cannot do to
 * sums on their way to y a last kernel does. Weights of 8 and 4 bits become whole numbers of steps, as in
 * product_weights.cuh, and their step goes with the rest.
 *
 * The library's kernels are launched as ordinary ones: each starts when everything before it has ended. Ours behind them
 * may start early and wait, as always.
 */
#include "kernels/cuda/product_library.cuh"
#include "kernels/cuda/product_mma.cuh"
#include "kernels/cuda/product_weights.cuh"

namespace sa2_cuda
{
static constexpr int UNPACK_THREADS = 256, FINISH_THREADS = 128;

/* Tiles of the library's fastest kernels, about: rows of x by weights. */
static constexpr int LIBRARY_ROWS = 128, LIBRARY_WEIGHTS = 256;
static constexpr size_t CACHED_BYTES = 16 << 20;
/* So that sums of a piece have room for 1024 rows in bf16. */
static constexpr int MOST_WEIGHTS = 8192;

/* A plain matrix is in whole bundles of columns, the longest. */
static constexpr int PLAIN_COLUMNS = CHUNK * bundle<in_4_bits>::CHUNKS;

static __host__ __device__ __forceinline__ int plain_step(const product &p)
{
    return parts_of(p.k, PLAIN_COLUMNS) * PLAIN_COLUMNS;
}

/* ---- weights as a plain matrix ---- */

/* grid: tiles from `first` on; bundles. plain [16 tiles, step]: a warp has a bundle, a lane eight columns of two rows in
 * each chunk. The floor is the bytes of w, and of the plain matrix twice where the cache cannot hold it. */
template <typename W>
static __global__ void __launch_bounds__(UNPACK_THREADS)
    unpack_kernel(product p, int first, uint4 *plain, int step)
{
    constexpr int CHUNKS = bundle<W>::CHUNKS, PIECES = CHUNK / PACK; /* of 16 bytes, a chunk */
    int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    int at = (int)(blockIdx.y * UNPACK_THREADS + threadIdx.x) / WARP;
    bool is_there = at < bundles_of<W>(p);
    bundle_place<W> place;
    bundle<W> b = {};
    find_place(place, p, first + (int)blockIdx.x, at);
    if (is_there)
        load(b, place, 0);
    wait_for_earlier(); /* the piece before this one is being multiplied */
    if (!is_there)
        return;
    long long row = (long long)blockIdx.x * TILE_ROWS + g, pieces = step / PACK;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        uint4 w[2];
        unpack(w[0], w[1], b, chunk);
        uint4 *to = plain + row * pieces + (at * CHUNKS + chunk) * PIECES + t;
        to[0] = make_uint4(w[0].x, w[0].z, w[1].x, w[1].z);
        to[8 * pieces] = make_uint4(w[0].y, w[0].w, w[1].y, w[1].w);
    }
}

template <typename W>
static sa2_status unpack_piece(sa2_stream *s, const char *op, const product &p, int first, int n,
                               sa2_error *err)
{
    dim3 grid(blocks_for(n, TILE_ROWS), blocks_for(bundles_of<W>(p), UNPACK_THREADS / WARP));
    return launch(s, op, unpack_kernel<W>, grid, UNPACK_THREADS, 0, err, p, first / TILE_ROWS,
                  (uint4 *)queue_of(s)->plain, plain_step(p));
}

static sa2_status unpack_weights(sa2_stream *s, const char *op, const product &p, int first, int n,
                                 sa2_error *err)
{
    if (p.steps != nullptr)
        return p.factors != nullptr ? unpack_piece<in_4_bits>(s, op, p, first, n, err)
                                    : unpack_piece<in_8_bits>(s, op, p, first, n, err);
    return p.factors != nullptr ? unpack_piece<in_e4m3>(s, op, p, first, n, err)
                                : unpack_piece<__nv_bfloat16>(s, op, p, first, n, err);
}

/* ---- sums to results ---- */

/* Sums of some rows of x, from first_row on, by some rows of w: [rows, n] bf16 or f32. */
struct sums_part {
    void *sums;
    bool is_bf16;
    int first_row, rows, first, n;
};

static __host__ __device__ __forceinline__ int outputs_of(const product &p, const sums_part &part)
{
    return p.epilogue.swiglu ? part.n / 2 : part.n;
}

static __host__ __device__ __forceinline__ int first_output(const product &p, const sums_part &part)
{
    return p.epilogue.swiglu ? part.first / 2 : part.first;
}

static __device__ __forceinline__ float sum_of(const product &p, const sums_part &part, int row,
                                               int weight)
{
    long long at = (long long)row * part.n + weight;
    float sum = part.is_bf16 ? __bfloat162float(((const __nv_bfloat16 *)part.sums)[at])
                             : ((const float *)part.sums)[at];
    return p.steps != nullptr ? __fmul_rn(sum, p.steps[part.first + weight]) : sum;
}

/* grid: rows of the part; 128 outputs. */
static __global__ void __launch_bounds__(FINISH_THREADS) finish_kernel(product p, sums_part part)
{
    wait_for_earlier();
    bool swiglu = p.epilogue.swiglu;
    int row = (int)blockIdx.x, out = (int)(blockIdx.y * FINISH_THREADS + threadIdx.x);
    int col = first_output(p, part) + out;
    if (out >= outputs_of(p, part) || col >= outputs_of(p))
        return;
    int weight = swiglu ? (int)swiglu_row(out, false, TILE_ROWS) : out;
    float sum = sum_of(p, part, row, weight);
    float up = swiglu ? sum_of(p, part, row, weight + TILE_ROWS / 2) : 0.0f;
    put(p, span_of(p, part.first_row + row), part.first_row + row, col, sum, up);
}

static __device__ __forceinline__ void load_sums(float (&x)[PACK], const product &p,
                                                 const sums_part &part, int row, int weight)
{
    vectors_view from = {part.sums, 0, PACK, 1, part.is_bf16, true};
    load_pack<true>(x, from, (long long)row * part.n + weight, 0);
    if (p.steps == nullptr)
        return;
    vectors_view steps = {(void *)p.steps, 0, PACK, 1, false, true};
    float step[PACK];
    load_pack<true>(step, steps, part.first + weight, 0);
#pragma unroll
    for (int i = 0; i < PACK; i++)
        x[i] = __fmul_rn(x[i], step[i]);
}

/* The same where rows of y are whole packs of eight at multiples of 16 bytes. grid: rows; 128 packs. */
static __global__ void __launch_bounds__(FINISH_THREADS)
    finish_packs_kernel(product p, sums_part part)
{
    wait_for_earlier();
    bool swiglu = p.epilogue.swiglu;
    int out = (int)(blockIdx.y * FINISH_THREADS + threadIdx.x) * PACK;
    int row = part.first_row + (int)blockIdx.x, col = first_output(p, part) + out;
    const float *gate;
    if (out >= outputs_of(p, part) || col >= outputs_of(p) || !find_gate(p.epilogue, row, &gate))
        return;
    int weight = swiglu ? 2 * out : out;
    float sum[PACK], up[PACK] = {}, before[PACK] = {};
    load_sums(sum, p, part, (int)blockIdx.x, weight);
    if (swiglu)
        load_sums(up, p, part, (int)blockIdx.x, weight + TILE_ROWS / 2);
    vectors_view y = {p.y, 0, PACK, 1, p.y_is_bf16, true};
    long long at = row * p.y_step + col;
    if (adds_y(p.epilogue))
        load_pack<true>(before, y, at, 0);
    finish_eight(p, gate, col, sum, up, before);
    store_pack<true>(y, at, 0, sum);
}

static bool is_at_16(const void *data, long long step, size_t element)
{
    return (uintptr_t)data % 16 == 0 && step * (long long)element % 16 == 0;
}

static sa2_status finish_sums(sa2_stream *s, const char *op, const product &p,
                              const sums_part &part, sa2_error *err)
{
    int outputs = outputs_of(p, part);
    bool packs = outputs_of(p) % PACK == 0 && p.y_step % PACK == 0 && (uintptr_t)p.y % 16 == 0;
    dim3 grid((unsigned)part.rows, blocks_for(packs ? outputs / PACK : outputs, FINISH_THREADS));
    return launch(s, op, packs ? finish_packs_kernel : finish_kernel, grid, FINISH_THREADS, 0, err,
                  p, part);
}

/* ---- pieces ---- */

/* Whether the library's sums are results already, or are added to y. */
static bool gives_results(const product &p)
{
    const epilogue &e = p.epilogue;
    return e.bias == nullptr && !e.residual && !e.swiglu && e.activation == SA2_ACT_NONE &&
           e.gate == nullptr && p.steps == nullptr && is_at_16(p.y, p.y_step, p.y_is_bf16 ? 2 : 4);
}

/* Rows of w that PLAIN_BYTES hold, in whole tiles of the library; none: the product is ours. */
static int most_weights(const product &p)
{
    size_t row = (size_t)plain_step(p) * 2, most = PLAIN_BYTES / row;
    return (int)(most < MOST_WEIGHTS ? most : MOST_WEIGHTS) / LIBRARY_WEIGHTS * LIBRARY_WEIGHTS;
}

/* Rows of w that are unpacked and multiplied at a time: what the cache holds, or more to give every processor a tile; all
 * pieces about alike. */
static int piece_of(const product &p, const queue *q)
{
    size_t row = (size_t)plain_step(p) * 2;
    int most = most_weights(p), weights = (int)width_of(p);
    if (q->large->piece_rows > 0)
        return q->large->piece_rows < most ? q->large->piece_rows : most;
    int cached = (int)(CACHED_BYTES / row) / LIBRARY_WEIGHTS * LIBRARY_WEIGHTS;
    int filling = parts_of(q->processors, parts_of(p.rows, LIBRARY_ROWS)) * LIBRARY_WEIGHTS;
    int each = cached > filling ? cached : filling;
    each = each < most ? each : most;
    int n = parts_of(weights, each);
    return parts_of(parts_of(weights, n), LIBRARY_WEIGHTS) * LIBRARY_WEIGHTS;
}

static sa2_status multiply(sa2_stream *s, const char *op, const product &p, const sums_part &part,
                           long long y_step, bool accumulate, sa2_error *err)
{
    const queue *q = queue_of(s);
    const sa2_cublaslt_product product = {.m = part.rows,
                                          .n = part.n,
                                          .k = p.k,
                                          .y = part.sums,
                                          .x = (const __nv_bfloat16 *)p.x +
                                               part.first_row * p.x_step,
                                          .w = q->plain,
                                          .y_step = y_step,
                                          .x_step = p.x_step,
                                          .w_step = plain_step(p),
                                          .y_is_f32 = !part.is_bf16,
                                          .accumulate = accumulate,
                                          .queue = q->stream,
                                          .workspace = q->partials};
    sa2_status st = sa2_cublaslt_multiply(q->large->library, &product, err);
    return st == SA2_OK ? st
                        : sa2_wrap(err, st, "%s, %d rows, weights [%d, %d]", op, p.rows, p.n, p.k);
}

/* The piece that is unpacked, straight into y. */
static sa2_status multiply_results(sa2_stream *s, const char *op, const product &p, int first,
                                   int n, sa2_error *err)
{
    size_t element = p.y_is_bf16 ? 2 : 4;
    int left = p.n - first; /* without the rows that fill the last tile */
    const sums_part part = {
        (char *)p.y + (size_t)first * element, p.y_is_bf16, 0, p.rows, first, n < left ? n : left};
    return multiply(s, op, p, part, p.y_step, p.epilogue.accumulate, err);
}

/* The same by way of sums: of as many rows at a time as there is room for, about alike. Results in bf16 are made of sums
 * in bf16. */
static sa2_status multiply_sums(sa2_stream *s, const char *op, const product &p, int first, int n,
                                sa2_error *err)
{
    size_t row = (size_t)n * (p.y_is_bf16 ? 2 : 4);
    int each = parts_of(p.rows, parts_of(p.rows, (int)(SUM_BYTES / row)));
    sa2_status st = SA2_OK;
    for (int at = 0; at < p.rows && st == SA2_OK; at += each) {
        int rows = p.rows - at < each ? p.rows - at : each;
        const sums_part part = {queue_of(s)->plain + PLAIN_BYTES, p.y_is_bf16, at, rows, first, n};
        st = multiply(s, op, p, part, n, false, err);
        if (st == SA2_OK)
            st = finish_sums(s, op, p, part, err);
    }
    return st;
}

bool is_of_library(sa2_stream *s, const product &p)
{
    const sa2_large_products *l = queue_of(s)->large;
    return l->library != nullptr && p.rows >= l->from_rows && p.x_is_bf16 && p.is_aligned &&
           p.x_step >= p.k && p.n > 0 && most_weights(p) > 0;
}

sa2_status run_product_library(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    int weights = (int)width_of(p), each = piece_of(p, queue_of(s));
    sa2_status st = let_go(s, err); /* a group cannot hold what the library starts */
    for (int first = 0; first < weights && st == SA2_OK; first += each) {
        int n = weights - first < each ? weights - first : each;
        st = unpack_weights(s, op, p, first, n, err);
        if (st == SA2_OK)
            st = gives_results(p) ? multiply_results(s, op, p, first, n, err)
                                  : multiply_sums(s, op, p, first, n, err);
    }
    return st;
}
} // namespace sa2_cuda
