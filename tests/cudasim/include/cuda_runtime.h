/* cuda_runtime.h - the CUDA language and runtime, as far as our kernels and their launchers use them,
 * for a simulated device: with this folder in front of the include path, g++ compiles kernels/cuda/.
 *
 * A name means here what it means in CUDA. Where CUDA leaves something undefined (a lane outside the mask,
 * two barriers at one time, memory that nobody wrote) the simulator stops the program and says so.
 */
#ifndef CUDASIM_CUDA_RUNTIME_H
#define CUDASIM_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tuple>
#include <type_traits>

/* ---- the language ---- */

#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n)    __attribute__((aligned(n)))

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

static inline float2 make_float2(float x, float y)
{
    return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

namespace cudasim
{
/* Where a kernel runs: set by the scheduler for the thread that it resumes. */
struct place {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
    unsigned char *shared; /* dynamic shared memory of the block */
};
extern place here;

/* Where a call stands in the source, for messages. */
struct at {
    const char *file;
    int line;
    constexpr at(const char *f = __builtin_FILE(), int l = __builtin_LINE()) : file(f), line(l)
    {
    }
};

enum class shuffle { FROM, UP, DOWN, XOR };

void block_barrier(at where);
void warp_barrier(unsigned mask, at where);
uint64_t warp_shuffle(shuffle kind, unsigned mask, uint64_t value, int lane, int width, at where);
unsigned warp_ballot(unsigned mask, bool predicate, at where);

void atomic(const void *p, size_t bytes, const void *pc); /* told before it is done */

template <typename T>
static inline T shuffled(shuffle kind, unsigned mask, T value, int lane, int width, at where)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = warp_shuffle(kind, mask, bits, lane, width, where);
    memcpy(&value, &bits, sizeof value);
    return value;
}
} // namespace cudasim

static constexpr const uint3 &threadIdx = cudasim::here.thread;
static constexpr const uint3 &blockIdx = cudasim::here.block;
static constexpr const dim3 &blockDim = cudasim::here.block_dim;
static constexpr const dim3 &gridDim = cudasim::here.grid_dim;

static inline void __syncthreads(cudasim::at where = {})
{
    cudasim::block_barrier(where);
}
static inline void __syncwarp(unsigned mask = ~0u, cudasim::at where = {})
{
    cudasim::warp_barrier(mask, where);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, cudasim::at where = {})
{
    return cudasim::warp_ballot(mask, predicate != 0, where);
}
template <typename T>
static inline T __shfl_sync(unsigned mask, T x, int lane, int width = 32, cudasim::at where = {})
{
    return cudasim::shuffled(cudasim::shuffle::FROM, mask, x, lane, width, where);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T x, unsigned n, int width = 32,
                               cudasim::at where = {})
{
    return cudasim::shuffled(cudasim::shuffle::UP, mask, x, (int)n, width, where);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T x, unsigned n, int width = 32,
                                 cudasim::at where = {})
{
    return cudasim::shuffled(cudasim::shuffle::DOWN, mask, x, (int)n, width, where);
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T x, int n, int width = 32, cudasim::at where = {})
{
    return cudasim::shuffled(cudasim::shuffle::XOR, mask, x, n, width, where);
}

__attribute__((noinline)) int atomicCAS(int *p, int expected, int value);
__attribute__((noinline)) int atomicAdd(int *p, int value);
__attribute__((noinline)) int atomicMax(int *p, int value);
__attribute__((noinline)) unsigned long long atomicMin(unsigned long long *p,
                                                       unsigned long long value);

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}

static inline unsigned __float_as_uint(float x)
{
    return __builtin_bit_cast(unsigned, x);
}
static inline float __uint_as_float(unsigned x)
{
    return __builtin_bit_cast(float, x);
}
static inline int __float_as_int(float x)
{
    return __builtin_bit_cast(int, x);
}
static inline float __int_as_float(int x)
{
    return __builtin_bit_cast(float, x);
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline float __fmul_rn(float a, float b)
{
    return a * b; /* built with -ffp-contract=off */
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
/* Correctly rounded here; within 2 units in the last place on a device. */
static inline float sinpif(float x)
{
    return (float)sin(M_PI * (double)x);
}
static inline float cospif(float x)
{
    return (float)cos(M_PI * (double)x);
}
static inline double cospi(double x)
{
    return cos(M_PI * x);
}
static inline int min(int a, int b)
{
    return b < a ? b : a;
}
static inline int max(int a, int b)
{
    return a < b ? b : a;
}

/* ---- the runtime ---- */

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorIllegalState = 401,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureImplicit = 906,
    cudaErrorCapturedEvent = 907,
    cudaErrorStreamCaptureWrongThread = 908,
} cudaError_t;

const char *cudaGetErrorName(cudaError_t error);
const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError(void);

typedef struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int managedMemory;
} cudaDeviceProp;

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaSetDevice(int device);

/* Device memory holds NaN until somebody writes it, and the checker knows which bytes nobody wrote. */
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
enum { cudaMemAttachGlobal = 1 };
cudaError_t cudaMallocManaged(void **p, size_t bytes, unsigned flags = cudaMemAttachGlobal);
enum { cudaHostAllocDefault = 0 };
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
enum { cudaHostRegisterDefault = 0 };
cudaError_t cudaHostRegister(void *p, size_t bytes,
                             unsigned flags); /* copies reach all memory anyway */
cudaError_t cudaHostUnregister(void *p);

/* Work is done when it is submitted, unless it is put off (cudasim.h). */
typedef struct cudasim_stream *cudaStream_t;
typedef struct cudasim_event *cudaEvent_t;
enum {
    cudaStreamDefault = 0,
    cudaStreamNonBlocking = 1,
    cudaEventDefault = 0,
    cudaEventDisableTiming = 2
};
typedef enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
} cudaMemcpyKind;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream); /* cudaErrorNotReady where work is put off */
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);

typedef struct cudasim_graph *cudaGraph_t;
typedef struct cudasim_graph_exec *cudaGraphExec_t;
typedef enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal = 0,
    cudaStreamCaptureModeThreadLocal, /* here Global is the same: one thread captures */
    cudaStreamCaptureModeRelaxed,
} cudaStreamCaptureMode;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

typedef enum cudaLaunchAttributeID {
    cudaLaunchAttributeClusterDimension = 4,
    cudaLaunchAttributeProgrammaticStreamSerialization = 6,
} cudaLaunchAttributeID;
typedef struct cudaLaunchAttribute {
    cudaLaunchAttributeID id;
    union {
        int programmaticStreamSerializationAllowed;
        struct {
            unsigned x, y, z;
        } clusterDim; /* y and z are 1 here */
    } val;
} cudaLaunchAttribute;

typedef struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
} cudaLaunchConfig_t;

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

namespace cudasim
{
typedef void (*entry)(void *kernel, const void *arguments);
cudaError_t launch(const cudaLaunchConfig_t *config, void *kernel, entry run, const void *arguments,
                   size_t argument_bytes);
cudaError_t allow_shared(const void *kernel, int bytes);
cudaError_t max_clusters(int *clusters, const cudaLaunchConfig_t *config);
} // namespace cudasim

template <typename K>
static inline cudaError_t cudaFuncSetAttribute(K *kernel, cudaFuncAttribute, int value)
{
    return cudasim::allow_shared((const void *)kernel, value);
}

template <typename K>
static inline cudaError_t cudaOccupancyMaxActiveClusters(int *clusters, K *,
                                                         const cudaLaunchConfig_t *config)
{
    return cudasim::max_clusters(clusters, config);
}

typedef struct cudaFuncAttributes {
    int ptxVersion; /* 10 times the capability that the code is for */
} cudaFuncAttributes;
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *kernel);

/* Arguments are evaluated once and copied, as on the device. */
template <typename... Formal, typename... Actual>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config,
                                             void (*kernel)(Formal...), Actual &&...actual)
{
    using arguments = std::tuple<std::decay_t<Formal>...>;
    arguments copied(static_cast<Formal>(actual)...);
    return cudasim::launch(
        config, (void *)kernel,
        [](void *k, const void *a) { std::apply((void (*)(Formal...))k, *(const arguments *)a); },
        &copied, sizeof copied);
}

#endif
