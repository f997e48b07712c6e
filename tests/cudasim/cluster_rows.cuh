/* cluster_rows.cuh - a kernel of one cluster: each block brings a part of every row for all, and each reads them whole. For
 * the probe, and with mistakes for the simulator's own test.
 */
#ifndef CUDASIM_CLUSTER_ROWS_CUH
#define CUDASIM_CLUSTER_ROWS_CUH

#include <kernels/cuda/ptx_hopper.cuh>

enum { CLUSTER = 4, CLUSTER_THREADS = 128, CLUSTER_COLS = 256, CLUSTER_ROWS = 5 };
enum { CLUSTER_WORDS = CLUSTER * CLUSTER_ROWS * CLUSTER_THREADS };
enum cluster_mistake {
    CLUSTER_RIGHT = 0,
    CLUSTER_NOT_MET, /* others use a block's barriers before they are made */
    CLUSTER_LEFT,    /* a block ends before others have arrived there */
    CLUSTER_UNTOLD,  /* a block tells nobody else that it has read its row */
};

struct cluster_room {
    uint32_t row[CLUSTER_COLS];
    uint64_t full, empty;
};

static __host__ __device__ __forceinline__ uint32_t cluster_word(const uint32_t *row, int i,
                                                                 int rank)
{
    return row[i] + 5 * row[i + CLUSTER_THREADS] + (uint32_t)rank;
}

/* x [CLUSTER_ROWS, CLUSTER_COLS], y [CLUSTER, CLUSTER_ROWS, CLUSTER_THREADS]. */
static __global__ void cluster_rows(uint32_t *y, const uint32_t *x, int mistake)
{
    using namespace sa2_cuda;
    if constexpr (HAS_WGMMA) { /* code for 9.0 */
        constexpr int PART = CLUSTER_COLS / CLUSTER;
        cluster_room *r = (cluster_room *)shared_bytes();
        int me = (int)threadIdx.x, rank = cluster_rank();
        if (me == 0) {
            mbarrier_init(&r->full, 1);
            mbarrier_init(&r->empty, CLUSTER);
        }
        __syncthreads();
        if (mistake != CLUSTER_NOT_MET)
            cluster_sync();
        wait_for_earlier();
        for (int i = 0; i < CLUSTER_ROWS; i++) {
            if (me == 0) {
                mbarrier_wait_in_cluster(&r->empty, (uint32_t)(i + 1) % 2);
                mbarrier_arrive_expect(&r->full, (int)sizeof r->row);
                copy_bulk_to_all(r->row + rank * PART, x + i * CLUSTER_COLS + rank * PART,
                                 PART * (int)sizeof r->row[0], &r->full, CLUSTER);
            }
            mbarrier_wait(&r->full, (uint32_t)i % 2);
            y[(rank * CLUSTER_ROWS + i) * CLUSTER_THREADS + me] = cluster_word(r->row, me, rank);
            __syncthreads();
            if (me < CLUSTER)
                mbarrier_arrive_at(&r->empty, mistake == CLUSTER_UNTOLD ? rank : me);
        }
        if (mistake != CLUSTER_LEFT)
            cluster_sync();
    }
}

static inline cudaError_t cluster_rows_launch(uint32_t *y, const uint32_t *x, int mistake)
{
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = CLUSTER;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(CLUSTER);
    config.blockDim = dim3(CLUSTER_THREADS);
    config.dynamicSmemBytes = sizeof(cluster_room);
    config.attrs = &cluster;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, cluster_rows, y, x, mistake);
}

/* How many words of y are other ones. */
static inline int cluster_rows_wrong(const uint32_t *y, const uint32_t *x)
{
    int n_wrong = 0;
    for (int at = 0; at < CLUSTER_WORDS; at++) {
        int row = at / CLUSTER_THREADS % CLUSTER_ROWS;
        n_wrong += y[at] != cluster_word(x + row * CLUSTER_COLS, at % CLUSTER_THREADS,
                                         at / CLUSTER_THREADS / CLUSTER_ROWS);
    }
    return n_wrong;
}

#endif
