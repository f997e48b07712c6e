/* stft.cu - contracts: sa2_spectrum(), sa2_log_floor() and sa2_clamp_to_range() in kernels/ops.h.
 *
 * A thread has one element; the largest of a sequence is found by a first kernel with an atomic maximum, whose result
 * no order can change. The floor is the bytes, once for each sweep.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

static __global__ void __launch_bounds__(THREADS)
    spectrum_kernel(vectors_view y, vectors_view z, long long count, bool magnitude, float eps)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    long long row = i / y.n, bin = i % y.n;
    const float *from = (const float *)z.data + row * z.stride + bin;
    float re = from[0], im = from[y.n], power = re * re + im * im;
    ((float *)y.data)[row * y.stride + bin] = magnitude ? sqrtf(power + eps) : power;
}

sa2_status spectrum(sa2_stream *s, sa2_tensor y, sa2_tensor z, bool magnitude, float eps,
                    sa2_error *err)
{
    int64_t count = sa2_tensor_count(&y);
    if (count == 0)
        return SA2_OK;
    return launch(s, "spectrum", spectrum_kernel, dim3(blocks_for(count, THREADS)), THREADS, 0, err,
                  rows_of(y), rows_of(z), count, magnitude, eps);
}

static __global__ void __launch_bounds__(THREADS)
    log_kernel(vectors_view y, long long count, bool decimal, float floor)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    float *at = (float *)y.data + i / y.n * y.stride + i % y.n;
    float x = *at < floor ? floor : *at; /* NaN stays */
    *at = decimal ? log10f(x) : logf(x);
}

sa2_status log_floor(sa2_stream *s, sa2_tensor y, sa2_log_kind kind, float floor, sa2_error *err)
{
    int64_t count = sa2_tensor_count(&y);
    if (count == 0)
        return SA2_OK;
    return launch(s, "log_floor", log_kernel, dim3(blocks_for(count, THREADS)), THREADS, 0, err,
                  rows_of(y), count, kind == SA2_LOG_10, floor);
}

/* ---- clamping ---- */

struct range_args {
    vectors_view y;
    const int32_t *offsets;
    int *largest; /* [n], as ordered() gives it */
    int n;
    long long count;
    float range, shift, scale;
};

/* Integers in the order of the floats, and back. */
static __device__ __forceinline__ int ordered(float x)
{
    int bits = __float_as_int(x);
    return bits >= 0 ? bits : bits ^ 0x7fffffff;
}

static __device__ __forceinline__ float unordered(int bits)
{
    return __int_as_float(bits >= 0 ? bits : bits ^ 0x7fffffff);
}

/* A warp has a row: one atomic each. */
static __global__ void __launch_bounds__(THREADS) largest_kernel(range_args a)
{
    wait_for_earlier();
    long long row = (long long)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row * a.y.n >= a.count)
        return;
    int lane = (int)threadIdx.x % WARP, most = ordered(-INFINITY);
    const float *y = (const float *)a.y.data + row * a.y.stride;
    for (int c = lane; c < a.y.n; c += WARP)
        most = max(most, ordered(y[c]));
#pragma unroll
    for (int n = WARP / 2; n > 0; n /= 2)
        most = max(most, __shfl_xor_sync(ALL_LANES, most, n));
    if (lane == 0)
        atomicMax(&a.largest[sequence_of(a.offsets, a.n, row)], most);
}

static __global__ void __launch_bounds__(THREADS) range_kernel(range_args a)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.count)
        return;
    long long row = i / a.y.n;
    float *y = (float *)a.y.data + row * a.y.stride + i % a.y.n;
    float low = unordered(a.largest[sequence_of(a.offsets, a.n, row)]) - a.range;
    *y = ((*y < low ? low : *y) + a.shift) * a.scale;
}

sa2_status clamp_to_range(sa2_stream *s, sa2_tensor y, sa2_rows sequences, float range, float shift,
                          float scale, sa2_error *err)
{
    size_t bytes = (size_t)sequences.n * sizeof(int);
    int *least = (int *)host_room(s, "clamp_to_range", bytes, err);
    if (least == nullptr)
        return failure_of(err);
    for (int i = 0; i < sequences.n; i++)
        least[i] = INT32_MIN;
    range_args a = {.y = rows_of(y),
                    .offsets = offsets_to_device(s, "clamp_to_range", sequences, err),
                    .largest = (int *)to_device(s, "clamp_to_range", least, bytes, err),
                    .n = sequences.n,
                    .count = sa2_tensor_count(&y),
                    .range = range,
                    .shift = shift,
                    .scale = scale};
    if (a.offsets == nullptr || a.largest == nullptr)
        return failure_of(err);
    if (a.count == 0)
        return SA2_OK;
    sa2_status st = launch(s, "clamp_to_range", largest_kernel,
                           dim3(blocks_for(y.shape[0], THREADS / WARP)), THREADS, 0, err, a);
    if (st == SA2_OK)
        st = launch(s, "clamp_to_range", range_kernel, dim3(blocks_for(a.count, THREADS)), THREADS,
                    0, err, a);
    return st;
}
} // namespace sa2_cuda
