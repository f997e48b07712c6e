/* attention_core.cu - attention of any head size in f32 arithmetic; contract: attention.cuh.
 *
 * A block of 128 threads has one tile and one head of keys. Scores of 16 queries by 32 keys are summed over pieces of
 * DIMS dimensions of the keys, which pass through shared memory; a warp then does the softmax of a row, a lane a key;
 * the values pass through the same memory and are added to the rows' sums, which stay in shared memory. With few tiles
 * each range of keys is a block of its own and a second kernel joins them. The floor is the bytes of keys and values
 * for decoding, 4 rows keys d operations a head for a prompt.
 */
#include "kernels/cuda/attention.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 128, WARPS = THREADS / WARP, DIMS = 64, RANGE = 512;
static constexpr int MAX_DIM = 1024, NARROW_DIM = 256; /* up to which a tile has 16 rows, else 4 */

/* The block's shared memory, in floats. */
template <int ROWS> struct room {
    float *q, *with_w;    /* [ROWS, d]: q, or q + u and q + w */
    float *part, *total;  /* [ROWS, d] of this range, of those before */
    float (*p)[STEP + 1]; /* [ROWS] scores, then weights */
    float (*piece)[DIMS + 1];
    float *most, *sum, *total_most, *total_sum, *factor; /* [ROWS] */
};

template <int ROWS> static __host__ __device__ __forceinline__ size_t room_floats(int d)
{
    return (size_t)4 * ROWS * d + ROWS * (STEP + 1) + STEP * (DIMS + 1) + 5 * ROWS;
}

template <int ROWS> static __device__ __forceinline__ room<ROWS> room_of(int d)
{
    room<ROWS> m;
    m.q = (float *)shared_bytes();
    m.with_w = m.q + ROWS * d;
    m.part = m.with_w + ROWS * d;
    m.total = m.part + ROWS * d;
    m.p = (float(*)[STEP + 1])(m.total + ROWS * d);
    m.piece = (float(*)[DIMS + 1])(m.p + ROWS);
    m.most = (float *)(m.piece + STEP);
    m.sum = m.most + ROWS;
    m.total_most = m.sum + ROWS;
    m.total_sum = m.total_most + ROWS;
    m.factor = m.total_sum + ROWS;
    return m;
}

static __device__ __forceinline__ float value_at(const float *data, long long at)
{
    return data[at];
}

static __device__ __forceinline__ float value_at(const __nv_bfloat16 *data, long long at)
{
    return __bfloat162float(data[at]);
}

static __device__ __forceinline__ float value_at(const int8_t *data, long long at)
{
    return (float)data[at];
}

/* Dimensions [from, from + DIMS) of keys [key, key + STEP), or of their values; zeros beyond either end. */
template <typename T, int ROWS>
static __device__ __forceinline__ void bring(const room<ROWS> &m, const attention_call &a,
                                             const work &w, int key, int end, int from, bool values)
{
    int lane = (int)threadIdx.x % WARP;
    for (int j = (int)threadIdx.x / WARP; j < STEP; j += WARPS) {
        bool there = key + j < end;
        key_place place = there ? place_of(a, w, key + j) : key_place{};
        const void *data = values ? place.v : place.k;
        long long at = (values ? place.v_at : place.k_at) + from;
        float step = 1.0f;
        if constexpr (sizeof(T) == 1)
            if (there)
                step = step_in_page(a, w, key + j)[values ? a.page_size : 0];
#pragma unroll
        for (int e = lane; e < DIMS; e += WARP)
            m.piece[j][e] =
                there && from + e < a.d ? value_at((const T *)data, at + e) * step : 0.0f;
    }
}

template <int ROWS>
static __device__ __forceinline__ void load_queries(const room<ROWS> &m, const attention_call &a,
                                                    const work &w)
{
    for (int i = (int)threadIdx.x; i < ROWS * a.d; i += THREADS) {
        int row = i / a.d, e = i % a.d;
        float q = row < w.rows ? load_value(a.q, a.is_bf16, q_at(a, w, row, a.q_stride) + e) : 0.0f;
        bool relative = a.u != nullptr;
        m.q[i] = relative ? q + a.u[w.head * a.d + e] : q;
        m.with_w[i] = relative ? q + a.w[w.head * a.d + e] : 0.0f;
        m.total[i] = 0.0f;
    }
    if (threadIdx.x < ROWS) {
        m.total_most[threadIdx.x] = -INFINITY;
        m.total_sum[threadIdx.x] = 0.0f;
    }
}

/* p [ROWS, STEP] = scaled scores: a lane is a key, a warp takes every fourth row. */
template <typename T, int ROWS>
static __device__ __forceinline__ void score(const room<ROWS> &m, const attention_call &a,
                                             const work &w, int key, int end)
{
    constexpr int EACH = ROWS / WARPS;
    int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
    float sum[EACH] = {};
    for (int from = 0; from < a.d; from += DIMS) {
        bring<T>(m, a, w, key, end, from, false);
        __syncthreads();
        int n = min(DIMS, a.d - from);
        for (int e = 0; e < n; e++)
#pragma unroll
            for (int i = 0; i < EACH; i++)
                sum[i] = fmaf(m.q[(warp + i * WARPS) * a.d + from + e], m.piece[lane][e], sum[i]);
        __syncthreads(); /* the piece is free again */
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int row = warp + i * WARPS, t = (w.first + row) / a.group;
        if (a.u != nullptr && row < w.rows && key + lane < end) {
            long long r = (a.reach - 1 + w.sequence.position + t - key - lane) * a.r_stride +
                          (long long)w.head * a.d;
            for (int e = 0; e < a.d; e++)
                sum[i] = fmaf(m.with_w[row * a.d + e], value_at((const T *)a.r, r + e), sum[i]);
        }
        m.p[row][lane] = sum[i] * a.scale;
    }
}

static __device__ __forceinline__ float warp_max(float x)
{
#pragma unroll
    for (int n = WARP / 2; n > 0; n /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, n));
    return x;
}

/* Scores become weights about the new maximum of their row. */
template <int ROWS>
static __device__ __forceinline__ void weigh(const room<ROWS> &m, const attention_call &a,
                                             const work &w, int key)
{
    int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
#pragma unroll
    for (int i = 0; i < ROWS / WARPS; i++) {
        int row = warp + i * WARPS;
        bool seen = row < w.rows && key + lane < limit_of(w.sequence, (w.first + row) / a.group);
        float score = m.p[row][lane], was = m.most[row], sum = m.sum[row];
        float most = fmaxf(was, warp_max(seen ? score : -INFINITY));
        float weight = seen ? exp2f(score - most) : 0.0f;
        float factor = was == most ? 1.0f : exp2f(was - most);
        float all = warp_sum(weight);
        m.p[row][lane] = weight;
        __syncwarp(); /* every lane has read the row's maximum and sum */
        if (lane == 0) {
            m.most[row] = most;
            m.sum[row] = fmaf(sum, factor, all);
            m.factor[row] = factor;
        }
    }
}

/* part = part * factor + weights times values: a thread has one dimension of every second row. */
template <typename T, int ROWS>
static __device__ __forceinline__ void add_values(const room<ROWS> &m, const attention_call &a,
                                                  const work &w, int key, int end)
{
    constexpr int TOGETHER = THREADS / DIMS, EACH = ROWS / TOGETHER;
    int e = (int)threadIdx.x % DIMS, first = (int)threadIdx.x / DIMS;
    for (int from = 0; from < a.d; from += DIMS) {
        bring<T>(m, a, w, key, end, from, true);
        __syncthreads(); /* the piece, and at first the weights, are there */
        if (from + e < a.d) {
            float sum[EACH];
#pragma unroll
            for (int i = 0; i < EACH; i++)
                sum[i] = m.part[(first + i * TOGETHER) * a.d + from + e] *
                         m.factor[first + i * TOGETHER];
            for (int j = 0; j < STEP; j++)
#pragma unroll
                for (int i = 0; i < EACH; i++)
                    sum[i] = fmaf(m.p[first + i * TOGETHER][j], m.piece[j][e], sum[i]);
#pragma unroll
            for (int i = 0; i < EACH; i++)
                m.part[(first + i * TOGETHER) * a.d + from + e] = sum[i];
        }
        __syncthreads();
    }
}

template <typename T, int ROWS>
static __device__ __forceinline__ void run_range(const room<ROWS> &m, const attention_call &a,
                                                 const work &w, int first, int end)
{
    __syncthreads(); /* the last range has been joined */
    for (int i = (int)threadIdx.x; i < ROWS * a.d; i += THREADS)
        m.part[i] = 0.0f;
    if (threadIdx.x < ROWS) {
        m.most[threadIdx.x] = -INFINITY;
        m.sum[threadIdx.x] = 0.0f;
    }
    for (int key = first; key < end; key += STEP) {
        score<T>(m, a, w, key, end);
        __syncthreads();
        weigh(m, a, w, key);
        add_values<T>(m, a, w, key, end);
    }
    __syncthreads();
}

template <int ROWS>
static __device__ __forceinline__ void join_part(const room<ROWS> &m, const attention_call &a)
{
    for (int i = (int)threadIdx.x; i < ROWS * a.d; i += THREADS) {
        int row = i / a.d;
        float most = m.total_most[row], sum = m.total_sum[row];
        join j = join_range(most, sum, m.most[row], m.sum[row]);
        m.total[i] = join_value(j, m.total[i], m.part[i]);
    }
    __syncthreads();
    if (threadIdx.x < ROWS)
        join_range(m.total_most[threadIdx.x], m.total_sum[threadIdx.x], m.most[threadIdx.x],
                   m.sum[threadIdx.x]);
}

/* grid: tiles; heads of keys; ranges, or 1 for all of them in turn. */
template <typename T, int ROWS>
static __global__ void __launch_bounds__(THREADS, 4) attention_kernel(attention_call a)
{
    wait_for_earlier();
    room<ROWS> m = room_of<ROWS>(a.d);
    work w = work_of(a, ROWS);
    int end = limit_of_row(a, w, w.rows - 1);
    load_queries(m, a, w);
    if (a.n_ranges > 1) {
        int first = (int)blockIdx.z * RANGE;
        run_range<T>(m, a, w, first, min(first + RANGE, end));
        long long at = (long long)(blockIdx.x * gridDim.y + blockIdx.y) * a.n_ranges + blockIdx.z;
        float *out = a.partial + at * ROWS * (a.d + 2);
        for (int i = (int)threadIdx.x; i < w.rows * a.d; i += THREADS)
            out[i / a.d * (a.d + 2) + 2 + i % a.d] = m.part[i];
        if ((int)threadIdx.x < w.rows) {
            out[threadIdx.x * (a.d + 2)] = m.most[threadIdx.x];
            out[threadIdx.x * (a.d + 2) + 1] = m.sum[threadIdx.x];
        }
        return;
    }
    for (int first = 0; first < end; first += RANGE) {
        run_range<T>(m, a, w, first, min(first + RANGE, end));
        join_part(m, a);
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < w.rows * a.d; i += THREADS) {
        float sum = m.total_sum[i / a.d];
        store_value(a.y, a.y_is_bf16, q_at(a, w, i / a.d, a.y_stride) + i % a.d,
                    sum == 0.0f ? 0.0f : m.total[i] / sum);
    }
}

/* ---- the host's side ---- */

template <typename T, int ROWS>
static sa2_status run_tiles(sa2_stream *s, const char *op, attention_call *a,
                            const attention_sequence *sequences, int n, int longest, sa2_error *err)
{
    sa2_status st = list_tiles(s, op, a, sequences, n, {ROWS, 1, INT64_MAX}, err);
    if (st != SA2_OK || a->n_tiles == 0)
        return st;
    choose_ranges(s, a, ROWS, longest, RANGE);
    dim3 grid((unsigned)a->n_tiles, (unsigned)a->kv_heads, (unsigned)a->n_ranges);
    st = launch(s, op, attention_kernel<T, ROWS>, grid, THREADS,
                room_floats<ROWS>(a->d) * sizeof(float), err, *a);
    return st == SA2_OK ? join_ranges(s, op, a, ROWS, err) : st;
}

template <typename T>
static sa2_status run_of(sa2_stream *s, const char *op, attention_call *a,
                         const attention_sequence *sequences, int n, int longest, sa2_error *err)
{
    return a->d <= NARROW_DIM ? run_tiles<T, 16>(s, op, a, sequences, n, longest, err)
                              : run_tiles<T, 4>(s, op, a, sequences, n, longest, err);
}

sa2_status run_attention(sa2_stream *s, const char *op, attention_call *a,
                         const attention_sequence *sequences, int n, int longest, sa2_error *err)
{
    if (a->d > MAX_DIM)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: heads of %d, up to %d are possible", op, a->d,
                        MAX_DIM);
    a->sequences = (const attention_sequence *)list_to_device(s, op, sequences,
                                                              (size_t)n * sizeof *sequences, err);
    if (a->sequences == nullptr)
        return failure_of(err);
    bool pairs = (uintptr_t)a->q % 4 == 0 && a->q_stride % 2 == 0;
    if (a->is_bf16 && (a->d == 64 || a->d == 128) && a->u == nullptr && a->is_aligned && pairs)
        return run_attention_mma(s, op, a, sequences, n, longest, err);
    if (a->in_8_bits)
        return run_of<int8_t>(s, op, a, sequences, n, longest, err);
    return a->is_bf16 ? run_of<__nv_bfloat16>(s, op, a, sequences, n, longest, err)
                      : run_of<float>(s, op, a, sequences, n, longest, err);
}
} // namespace sa2_cuda
