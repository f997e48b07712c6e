/* ptx_hopper.cuh - instructions of compute capability 9.0a: the products of a warpgroup (wgmma).
 *
 * PTX ISA 9.7.15. A warpgroup is 4 warps, the first a multiple of 4. Warp w of it has rows 16 w to 16 w + 15 of a and d,
 * in registers as mma's (ptx.cuh): d[4 j + i] is row g + 8 (i >> 1), column 8 j + 2 t + (i & 1). b lies in shared memory.
 *
 * In code for another device HAS_WGMMA is false, and what stands behind `if constexpr (HAS_WGMMA)` is not compiled.
 */
#ifndef SA2_KERNELS_CUDA_PTX_HOPPER_CUH
#define SA2_KERNELS_CUDA_PTX_HOPPER_CUH

#include "kernels/cuda/ptx.cuh"

namespace sa2_cuda
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
static constexpr bool HAS_WGMMA = true;
#else
static constexpr bool HAS_WGMMA = false;
#endif

/* b [16, N] as core matrices of 8 columns by 8 k, 128 bytes each: a column's 8 k are 16 neighbouring bytes. `next_k` and
 * `next_n`: bytes from one matrix to the next 8 k, to the next 8 columns. */
static __device__ __forceinline__ uint64_t wgmma_matrix(const void *b, int next_k, int next_n)
{
    return (uint64_t)((shared_address(b) & 0x3ffff) >> 4) | (uint64_t)(next_k >> 4) << 16 |
           (uint64_t)(next_n >> 4) << 32;
}

/* Before the first product, and after registers of a or d were written. */
static __device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until all but the newest GROUPS groups are done. */
template <int GROUPS> static __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GROUPS) : "memory");
}

/* Generic writes to shared memory before this are seen by wgmma after the next barrier. */
static __device__ __forceinline__ void publish_to_async()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* d = a b, onto d when `add`. */
static __device__ __forceinline__ void wgmma_bf16(float (&d)[4], const uint32_t (&a)[4], uint64_t b,
                                                  int add)
{
    asm volatile("{.reg .pred p; setp.ne.b32 p, %9, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, %8, p, 1, 1, 0;}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}
} // namespace sa2_cuda

#endif
