/* ptx_hopper.cuh - the wrappers of kernels/cuda/ptx_hopper.cuh for the simulated device: this folder comes first.
 */
#ifndef SA2_KERNELS_CUDA_PTX_HOPPER_CUH
#define SA2_KERNELS_CUDA_PTX_HOPPER_CUH

#include <stdlib.h>
#include <string.h>

#include "ptx.cuh"

namespace cudasim
{
void multiply_group(float *d, const uint32_t a[4], uint64_t b, int n, bool add, at where);
} // namespace cudasim

namespace sa2_cuda
{
static constexpr bool HAS_WGMMA = true;

/* A device without it on request: SA2_CUDASIM_WGMMA=0. */
static inline bool has_wgmma()
{
    const char *wanted = getenv("SA2_CUDASIM_WGMMA");
    return wanted == nullptr || strcmp(wanted, "0") != 0;
}

void mbarrier_init(uint64_t *barrier, int arrivals, cudasim::at where = {});
void mbarrier_arrive(uint64_t *barrier, cudasim::at where = {});
void mbarrier_arrive_expect(uint64_t *barrier, int bytes, cudasim::at where = {});
void mbarrier_wait(uint64_t *barrier, uint32_t parity, cudasim::at where = {});
void copy_bulk(void *to, const void *from, int bytes, uint64_t *barrier, cudasim::at where = {});

void cluster_sync(cudasim::at where = {});
int cluster_rank();
void mbarrier_arrive_at(uint64_t *barrier, int rank, cudasim::at where = {});
void copy_bulk_to_all(void *to, const void *from, int bytes, uint64_t *barrier, int blocks,
                      cudasim::at where = {});
static inline void mbarrier_wait_in_cluster(uint64_t *barrier, uint32_t parity,
                                            cudasim::at where = {})
{
    mbarrier_wait(barrier, parity, where);
}

template <int REGISTERS> static inline void keep_registers()
{
}

template <int REGISTERS> static inline void take_registers()
{
}

uint64_t wgmma_matrix(const void *b, int next_k, int next_n);
void wgmma_fence(cudasim::at where = {});
void wgmma_commit(cudasim::at where = {});
void wgmma_wait_all_but(int groups, cudasim::at where);
template <int GROUPS> static inline void wgmma_wait(cudasim::at where = {})
{
    wgmma_wait_all_but(GROUPS, where);
}

template <int COUNT> static inline void wgmma_hold(float (&)[COUNT])
{
}

static inline void publish_to_async()
{
}

template <int COUNT>
static inline void wgmma_bf16(float (&d)[COUNT], const uint32_t (&a)[4], uint64_t b, int add,
                              cudasim::at where = {})
{
    static_assert(COUNT == 4 || COUNT == 16 || COUNT == 32 || COUNT == 64 || COUNT == 96,
                  "as on the device");
    cudasim::multiply_group(d, a, b, 2 * COUNT, add != 0, where);
}
} // namespace sa2_cuda

#endif
