/* statistics.cu - contracts: sa2_segment_context() and sa2_mean_deviation() in kernels/ops.h.
 *
 * A block has one sequence and CHANNELS channels, a channel a lane; its WORKERS warps take rows or segments in turn
 * and their sums are added in order. x is read once or twice; the floor is its bytes.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int CHANNELS = WARP, WORKERS = 8, THREADS = CHANNELS * WORKERS;

struct statistics_args {
    vectors_view y, x;
    const int32_t *offsets, *y_offsets;
    int segment;
    bool whole_divisor; /* a short last segment is divided by `segment` too */
};

/* The sum of all workers' values of this channel, in the order of the workers. */
static __device__ __forceinline__ float sum_workers(float (*room)[CHANNELS], float x)
{
    int lane = (int)threadIdx.x % CHANNELS;
    __syncthreads(); /* the room is free */
    room[threadIdx.x / CHANNELS][lane] = x;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < WORKERS; i++)
        sum += room[i][lane];
    return sum;
}

/* grid: groups of channels; sequences. */
static __global__ void __launch_bounds__(THREADS) context_kernel(statistics_args a)
{
    wait_for_earlier();
    float(*room)[CHANNELS] = (float(*)[CHANNELS])shared_bytes();
    int worker = (int)threadIdx.x / CHANNELS, i = (int)blockIdx.y;
    int c = (int)blockIdx.x * CHANNELS + (int)threadIdx.x % CHANNELS;
    int first = a.offsets[i], end = a.offsets[i + 1];
    const float *x = (const float *)a.x.data + c;
    float *y = (float *)a.y.data + a.y_offsets[i] * a.y.stride + c;
    float all = 0.0f;
    for (int k = worker; c < a.x.n && first + k * a.segment < end; k += WORKERS) {
        int from = first + k * a.segment, to = min(from + a.segment, end);
        float sum = 0.0f;
        for (int t = from; t < to; t++)
            sum += x[t * a.x.stride];
        all += sum;
        y[k * a.y.stride] = sum / (float)(a.whole_divisor ? a.segment : to - from);
    }
    float mean = sum_workers(room, all) / (float)(end - first);
    for (int k = worker; c < a.x.n && first + k * a.segment < end; k += WORKERS)
        y[k * a.y.stride] += mean;
}

static __global__ void __launch_bounds__(THREADS) deviation_kernel(statistics_args a)
{
    wait_for_earlier();
    float(*room)[CHANNELS] = (float(*)[CHANNELS])shared_bytes();
    int worker = (int)threadIdx.x / CHANNELS, i = (int)blockIdx.y;
    int c = (int)blockIdx.x * CHANNELS + (int)threadIdx.x % CHANNELS;
    int first = a.offsets[i], end = a.offsets[i + 1];
    const float *x = (const float *)a.x.data + c;
    float sum = 0.0f, squares = 0.0f;
    for (int t = first + worker; c < a.x.n && t < end; t += WORKERS)
        sum += x[t * a.x.stride];
    float mean = sum_workers(room, sum) / (float)(end - first);
    for (int t = first + worker; c < a.x.n && t < end; t += WORKERS) {
        float apart = x[t * a.x.stride] - mean;
        squares += apart * apart;
    }
    squares = sum_workers(room, squares);
    if (worker > 0 || c >= a.x.n)
        return;
    float *y = (float *)a.y.data + i * a.y.stride + c;
    y[0] = mean;
    y[a.x.n] = sqrtf(squares / (float)(end - first - 1));
}

static sa2_status run(sa2_stream *s, const char *op, void (*kernel)(statistics_args),
                      statistics_args a, sa2_rows sequences, sa2_error *err)
{
    a.offsets = offsets_to_device(s, op, sequences, err);
    if (a.offsets == nullptr)
        return failure_of(err);
    dim3 grid(blocks_for(a.x.n, CHANNELS), (unsigned)sequences.n);
    if (a.x.n == 0)
        return SA2_OK;
    return launch(s, op, kernel, grid, THREADS, THREADS * sizeof(float), err, a);
}

sa2_status segment_context(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                           int segment, sa2_partial_rule partial, sa2_error *err)
{
    statistics_args a = {};
    a.y = rows_of(y);
    a.x = rows_of(x);
    a.segment = segment;
    a.whole_divisor = partial == SA2_PARTIAL_KERNEL;
    a.y_offsets = part_offsets(s, "segment_context", sequences, segment, false, err);
    if (a.y_offsets == nullptr)
        return failure_of(err);
    return run(s, "segment_context", context_kernel, a, sequences, err);
}

sa2_status mean_deviation(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                          sa2_error *err)
{
    statistics_args a = {};
    a.y = rows_of(y);
    a.x = rows_of(x);
    return run(s, "mean_deviation", deviation_kernel, a, sequences, err);
}
} // namespace sa2_cuda
