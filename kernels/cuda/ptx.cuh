/* ptx.cuh - instructions that CUDA C has no name for; the only inline PTX of the project.
 *
 * Layouts of registers: PTX ISA 9.7.14.5.8 (mma) and 9.7.14.5.15 (ldmatrix). With g = lane / 4 and t = lane % 4,
 * register q of a [16, 16] holds row g + 8 (q & 1), columns 2 t + 8 (q >> 1) and the next; register q of b
 * [16, 8] rows 2 t + 8 q and the next, column g; d[i] row g + 8 (i >> 1), column 2 t + (i & 1).
 *
 * tests/cudasim/include/ has a file of this name with the same functions for the simulated device.
 */
#ifndef SA2_KERNELS_CUDA_PTX_CUH
#define SA2_KERNELS_CUDA_PTX_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

namespace sa2_cuda
{
/* The dynamic shared memory of the block. */
static __device__ __forceinline__ unsigned char *shared_bytes()
{
    extern __shared__ __align__(128) unsigned char dynamic[];
    return dynamic;
}

/* ---- the kernels of a stream, of which one may start before the one ahead of it has ended (launch() in cuda.cuh) ---- */

/* Until every earlier kernel of the stream has ended and what it wrote is there. Each thread calls it before it reads
 * what a kernel may have written, and before it writes. */
static __device__ __forceinline__ void wait_for_earlier()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* ---- memory ---- */

static __device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes that no other block reads, and that nobody writes during the kernel, nor during those that it may overlap:
 * weights. Not volatile: the compiler may move it forward, even before wait_for_earlier(), and should. */
static __device__ __forceinline__ uint4 load_once(const uint4 *p)
{
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "l"(p));
    return v;
}

/* 16 bytes from global to shared memory, past the first-level cache; of `from` the first `bytes`, zeros behind. */
static __device__ __forceinline__ void copy_async_part(void *to, const void *from, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
}

static __device__ __forceinline__ void copy_async_16(void *to, const void *from, bool is_there)
{
    copy_async_part(to, from, is_there ? 16 : 0);
}

static __device__ __forceinline__ void copy_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until all but the newest GROUPS groups of this thread's copies have arrived. */
template <int GROUPS> static __device__ __forceinline__ void copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
}

/* d += a b, bf16 to f32. */
static __device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                const uint32_t (&b)[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8x8 matrices of 16-bit elements: lane i gives row i % 8 of matrix i / 8 and gets, of each, row
 * lane / 4, columns 2 (lane % 4) and the next; of the transpose in the second form. */
static __device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

static __device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
} // namespace sa2_cuda

#endif
