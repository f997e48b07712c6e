/* pool.cu - contracts: sa2_mean_pool() and sa2_depthwise_memory() in kernels/ops.h.
 *
 * A thread has one element of y and goes over its few rows of x, neighbours along the channels. The floor is the bytes
 * of x and y.
 */
#include "kernels/base/limits.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

struct pool_args {
    vectors_view y, x;
    const int32_t *y_offsets, *x_offsets; /* of the sequences */
    int n, kernel;
    long long count; /* elements of y */
};

static __global__ void __launch_bounds__(THREADS) pool_kernel(pool_args a)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.count)
        return;
    long long row = i / a.y.n, c = i % a.y.n;
    int sequence = sequence_of(a.y_offsets, a.n, row);
    long long from = a.x_offsets[sequence] + (row - a.y_offsets[sequence]) * a.kernel;
    float sum = 0.0f;
    for (int k = 0; k < a.kernel; k++)
        sum += load_value(a.x.data, a.x.is_bf16, (from + k) * a.x.stride + c);
    store_value(a.y.data, a.y.is_bf16, row * a.y.stride + c, sum * (1.0f / (float)a.kernel));
}

sa2_status mean_pool(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int kernel,
                     sa2_error *err)
{
    pool_args a = {.y = rows_of(y),
                   .x = rows_of(x),
                   .y_offsets = part_offsets(s, "mean_pool", sequences, kernel, true, err),
                   .x_offsets = offsets_to_device(s, "mean_pool", sequences, err),
                   .n = sequences.n,
                   .kernel = kernel,
                   .count = sa2_tensor_count(&y)};
    if (a.y_offsets == nullptr || a.x_offsets == nullptr)
        return failure_of(err);
    if (a.count == 0)
        return SA2_OK;
    return launch(s, "mean_pool", pool_kernel, dim3(blocks_for(a.count, THREADS)), THREADS, 0, err,
                  a);
}

/* ---- FSMN memory ---- */

struct memory_args {
    vectors_view y, x, w;
    const int32_t *offsets;
    int n, kernel, pad_left;
    long long count;
};

static __global__ void __launch_bounds__(THREADS) memory_kernel(memory_args a)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.count)
        return;
    long long t = i / a.x.n, c = i % a.x.n;
    int sequence = sequence_of(a.offsets, a.n, t);
    const float *x = (const float *)a.x.data + c, *w = (const float *)a.w.data + c * a.w.stride;
    float sum = x[t * a.x.stride];
    for (int k = 0; k < a.kernel; k++) {
        long long from = t + k - a.pad_left;
        if (from >= a.offsets[sequence] && from < a.offsets[sequence + 1])
            sum += w[k] * x[from * a.x.stride];
    }
    ((float *)a.y.data)[t * a.y.stride + c] = sum;
}

sa2_status depthwise_memory(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                            sa2_rows sequences, int pad_left, sa2_error *err)
{
    int64_t kernel = w.shape[1];
    if (kernel > SA2_LIMIT_KERNEL)
        return sa2_fail(err, SA2_ERR_LIMIT, "depthwise_memory: kernel %lld, up to %d are possible",
                        (long long)kernel, SA2_LIMIT_KERNEL);
    memory_args a = {.y = rows_of(y),
                     .x = rows_of(x),
                     .w = rows_of(w),
                     .offsets = offsets_to_device(s, "depthwise_memory", sequences, err),
                     .n = sequences.n,
                     .kernel = (int)kernel,
                     .pad_left = pad_left,
                     .count = sa2_tensor_count(&y)};
    if (a.offsets == nullptr)
        return failure_of(err);
    if (a.count == 0)
        return SA2_OK;
    return launch(s, "depthwise_memory", memory_kernel, dim3(blocks_for(a.count, THREADS)), THREADS,
                  0, err, a);
}
} // namespace sa2_cuda
