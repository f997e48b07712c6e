/* planted.cu - a kernel that sums the rows of a matrix through everything the checker watches, and one of a cluster, once
 * right and once with each mistake of planted.h.
 */
#include "planted.h"

#include <stdlib.h>

#include "cluster_rows.cuh"

enum { ROWS = 2, THREADS = 64, COLS = 4 * THREADS, WARPS = THREADS / 32 };

struct room {
    float row[COLS];
    float lanes[THREADS];
    float sums[WARPS];
};

static __device__ void exchange(float *lanes, int mistake)
{
    int me = (int)threadIdx.x;
    float own = lanes[me];
    if (mistake != PLANTED_NO_WARP_BARRIER)
        __syncwarp();
    float other = lanes[me ^ 1];
    __syncwarp();
    lanes[me] = 0.5f * (own + other); /* the sum stays */
    __syncwarp();
}

static __global__ void copy_rows(float *to, const float *from)
{
    sa2_cuda::wait_for_earlier();
    for (int i = (int)threadIdx.x; i < COLS; i += THREADS)
        to[blockIdx.x * COLS + i] = from[blockIdx.x * COLS + i];
}

static __global__ void row_sums(float *y, const float *x, int mistake)
{
    room *shared = (room *)sa2_cuda::shared_bytes();
    int me = (int)threadIdx.x;
    if (mistake == PLANTED_NOT_WAITED && blockIdx.x == 1)
        return;
    if (mistake == PLANTED_WRITE_TOO_EARLY && me == 0)
        y[blockIdx.x] = 0.0f;
    if (mistake != PLANTED_READ_TOO_EARLY)
        sa2_cuda::wait_for_earlier();
    const float *row = x + (size_t)blockIdx.x * COLS + (mistake == PLANTED_MISALIGNED ? 1 : 0);
    sa2_cuda::copy_async_16(&shared->row[4 * me], row + 4 * me, true);
    sa2_cuda::copy_async_commit();
    if (mistake != PLANTED_COPY_NOT_WAITED)
        sa2_cuda::copy_async_wait<0>();
    if (mistake != PLANTED_COPY_OF_OTHERS && mistake != PLANTED_COPY_NOT_WAITED)
        __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < 4; i++)
        sum += shared->row[me + i * THREADS];
    if (mistake == PLANTED_PAST_THE_END)
        sum += x[ROWS * COLS + me];
    shared->lanes[me] = sum;
    exchange(shared->lanes, mistake);
    sum = shared->lanes[me];
    if (mistake == PLANTED_HALF_A_SHUFFLE && me % 32 >= 16)
        return;
    for (int n = 16; n > 0; n /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, n);
    if (me % 32 == 0)
        shared->sums[me / 32] = sum;
    if (mistake == PLANTED_TWO_BARRIERS && me < 32)
        __syncthreads();
    else if (mistake != PLANTED_NO_BARRIER)
        __syncthreads();
    if (me == 0) {
        sum = mistake == PLANTED_UNWRITTEN_GLOBAL ? y[blockIdx.x] : 0.0f;
        for (int w = 0; w < WARPS; w++)
            sum += shared->sums[w];
        if (mistake == PLANTED_UNWRITTEN_SHARED)
            sum += ((const float *)(shared + 1))[0];
        y[mistake == PLANTED_TWO_BLOCKS ? 0 : blockIdx.x] = sum;
    }
}

static int run_cluster(int mistake)
{
    uint32_t host[CLUSTER_ROWS * CLUSTER_COLS], got[CLUSTER_WORDS], *x, *y;
    for (uint32_t i = 0; i < CLUSTER_ROWS * CLUSTER_COLS; i++)
        host[i] = i * 2654435761u;
    cudaMalloc((void **)&x, sizeof host);
    cudaMalloc((void **)&y, sizeof got);
    cudaMemcpyAsync(x, host, sizeof host, cudaMemcpyHostToDevice, nullptr);
    if (cluster_rows_launch(y, x, mistake) != cudaSuccess)
        return 1;
    cudaMemcpyAsync(got, y, sizeof got, cudaMemcpyDeviceToHost, nullptr);
    return cluster_rows_wrong(got, host) != 0;
}

static int run_rows(int mistake)
{
    float host[ROWS * COLS], got[ROWS], *from, *x, *y;
    for (int i = 0; i < ROWS * COLS; i++)
        host[i] = (float)(i % 7);
    cudaMalloc((void **)&from, sizeof host);
    cudaMalloc((void **)&x, sizeof host);
    cudaMalloc((void **)&y, sizeof got);
    cudaMemcpyAsync(from, host, sizeof host, cudaMemcpyHostToDevice, nullptr);
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(ROWS);
    config.blockDim = dim3(THREADS);
    config.attrs = &early;
    config.numAttrs = 1;
    if (cudaLaunchKernelEx(&config, copy_rows, x, from) != cudaSuccess)
        return 1;
    if (mistake == PLANTED_FREED)
        cudaFree(x);
    size_t extra = mistake == PLANTED_UNWRITTEN_SHARED ? sizeof(float) : 0;
    size_t less = mistake == PLANTED_SHARED_TOO_SMALL ? sizeof(float) : 0;
    config.dynamicSmemBytes = sizeof(room) + extra - less;
    if (mistake == PLANTED_HOST_POINTER)
        x = (float *)aligned_alloc(16, sizeof host);
    if (cudaLaunchKernelEx(&config, row_sums, y, x, mistake) != cudaSuccess)
        return 1;
    cudaMemcpyAsync(got, y, sizeof got, cudaMemcpyDeviceToHost, nullptr);
    for (int r = 0; r < ROWS; r++) {
        float want = 0.0f;
        for (int i = 0; i < COLS; i++)
            want += host[r * COLS + i];
        if (got[r] != want)
            return 1;
    }
    return 0;
}

extern "C" int planted_run(int mistake)
{
    int status = mistake < PLANTED_CLUSTER ? run_rows(mistake) : 0;
    if (status == 0 && (mistake == PLANTED_NONE || mistake >= PLANTED_CLUSTER))
        status = run_cluster(mistake == PLANTED_NONE ? CLUSTER_RIGHT
                                                     : mistake - PLANTED_CLUSTER + CLUSTER_NOT_MET);
    return status;
}
