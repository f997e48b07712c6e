/* ptx.cuh - the wrappers of kernels/cuda/ptx.cuh for the simulated device: this folder comes first.
 */
#ifndef SA2_KERNELS_CUDA_PTX_CUH
#define SA2_KERNELS_CUDA_PTX_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace cudasim
{
void copy_async(void *to, const void *from, int bytes, const void *pc);
void multiply_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], at where);
void load_matrix(uint32_t *registers, const void *row, int n, bool transposed, at where,
                 const void *pc);
} // namespace cudasim

namespace sa2_cuda
{
static inline unsigned char *shared_bytes()
{
    return cudasim::here.shared;
}

void wait_for_earlier();

static inline uint4 load_once(const uint4 *p)
{
    return *p;
}

/* Out of line in the simulator: the checker is told, no instrumentation sees the bytes. */
void copy_async_part(void *to, const void *from, int bytes);
void copy_async_16(void *to, const void *from, bool is_there);
void copy_async_commit();
void copy_async_wait_all_but(int groups);
template <int GROUPS> static inline void copy_async_wait()
{
    copy_async_wait_all_but(GROUPS);
}

static inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            cudasim::at where = {})
{
    cudasim::multiply_bf16(d, a, b, where);
}
void load_matrix_x4(uint32_t (&r)[4], const void *row, cudasim::at where = {});
void load_matrix_x4_transposed(uint32_t (&r)[4], const void *row, cudasim::at where = {});
} // namespace sa2_cuda

#endif
