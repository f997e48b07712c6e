/* memory.cc - allocations, copies, streams and events of the runtime; work is done when it is submitted, or as late as
 * it may be: when it is waited for.
 *
 * cudasim_fail() of cudasim.h makes a call of the runtime fail, so that tests see what a device can do to us.
 */
#include "sim.h"

#include <atomic>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cudasim.h"

using namespace cudasim;

struct cudasim_event {
    double seconds; /* of the host's clock, when it was recorded */
    bool captured;  /* in a graph: nobody can wait for it */
    cudaStream_t stream;
    uint64_t n_before; /* of the stream's work that was put off */
};

/* ---- failures on request ---- */

static struct {
    char call[64];
    int after;
    cudaError_t error;
} planned;

static cudaError_t last_error;

cudaError_t cudasim::told(cudaError_t error)
{
    return last_error = error;
}

static int n_calls;
static char counted[64];

int cudasim_count(const char *call)
{
    int n = n_calls;
    snprintf(counted, sizeof counted, "%s", call);
    n_calls = 0;
    return n;
}

void cudasim_fail(const char *call, int after, int error)
{
    snprintf(planned.call, sizeof planned.call, "%s", call);
    planned.after = after;
    planned.error = (cudaError_t)error;
}

static struct {
    int after;
    cudaError_t error;
} lost;

void cudasim_lose(int after, int error)
{
    lost.after = after;
    lost.error = (cudaError_t)error;
}

cudaError_t cudasim::outcome(const char *call)
{
    n_calls += strcmp(counted, call) == 0;
    if (lost.error != cudaSuccess && lost.after-- <= 0) {
        lost.after = 0;
        return last_error = lost.error;
    }
    if (strcmp(planned.call, call) != 0 || planned.after-- > 0)
        return cudaSuccess;
    planned.call[0] = '\0';
    last_error = planned.error;
    return planned.error;
}

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

const char *cudaGetErrorName(cudaError_t error)
{
    for (auto &e : errors)
        if (e.error == error)
            return e.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    for (auto &e : errors)
        if (e.error == error)
            return e.text;
    return "unrecognized error code";
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

/* ---- libraries on the device ---- */

void cudasim_library_starts(void)
{
    check_library_start();
}

void cudasim_library_access(const void *p, size_t bytes, bool writes)
{
    check_library_access(p, bytes, writes ? access::WRITE : access::READ);
}

/* ---- devices: two, so that ordinals mean something ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 2;
    return outcome("cudaGetDeviceCount");
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    if (device < 0 || device > 1)
        return cudaErrorInvalidDevice;
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "simulated");
    p->major = 9;
    p->multiProcessorCount = PROCESSORS;
    p->totalGlobalMem = (size_t)8 << 30;
    p->sharedMemPerBlockOptin = SHARED_BYTES;
    p->managedMemory = 1;
    return outcome("cudaGetDeviceProperties");
}

/* One block a processor. */
cudaError_t cudasim::max_clusters(int *clusters, const cudaLaunchConfig_t *config)
{
    *clusters = PROCESSORS / (int)cluster_of(config);
    return outcome("cudaOccupancyMaxActiveClusters");
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, const void *)
{
    a->ptxVersion = 90;
    return outcome("cudaFuncGetAttributes");
}

static thread_local int current_device; /* as the runtime has it: 0 in a new thread */

cudaError_t cudaSetDevice(int device)
{
    if (device != 0 && device != 1)
        return cudaErrorInvalidDevice;
    cudaError_t error = outcome("cudaSetDevice");
    if (error == cudaSuccess)
        current_device = device;
    return error;
}

cudaError_t cudasim::judge_device(cudaStream_t stream)
{
    int device = stream != nullptr ? stream->device : current_device;
    return device == current_device ? cudaSuccess : told(cudaErrorInvalidResourceHandle);
}

/* ---- memory ---- */

static cudaError_t allocate(const char *call, void **p, size_t bytes, bool initialised)
{
    cudaError_t error = outcome(call);
    if (error == cudaSuccess)
        error = judge_unsafe_call();
    if (error == cudaSuccess && (*p = check_allocate(bytes, initialised)) == nullptr)
        error = cudaErrorMemoryAllocation;
    return error;
}

static cudaError_t release(void *p)
{
    cudaError_t error = judge_unsafe_call();
    if (error != cudaSuccess)
        return error;
    return p == nullptr || check_free(p) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    return allocate("cudaMalloc", p, bytes, false);
}

cudaError_t cudaMallocManaged(void **p, size_t bytes, unsigned)
{
    return allocate("cudaMallocManaged", p, bytes, true);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    return allocate("cudaHostAlloc", p, bytes, true);
}

cudaError_t cudaHostRegister(void *, size_t, unsigned)
{
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *)
{
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    return release(p);
}

cudaError_t cudaFreeHost(void *p)
{
    return release(p);
}

/* ---- work that is put off ---- */

static std::atomic<int> puts_off{-1}; /* -1: as the environment says */

void cudasim_put_off(int on)
{
    puts_off = on;
}

bool cudasim::is_put_off(cudaStream_t stream)
{
    if (puts_off < 0)
        puts_off = getenv("SA2_CUDASIM_LATE") != nullptr;
    return stream != nullptr && (puts_off > 0 || !stream->later.empty());
}

cudaError_t cudasim::submit(cudaStream_t stream, std::function<cudaError_t()> work)
{
    cudaError_t error = judge_stream(stream);
    if (error != cudaSuccess)
        return error;
    if (is_captured(stream))
        return add_node(stream, std::move(work));
    if (!is_put_off(stream))
        return work();
    stream->later.push_back(std::move(work));
    return cudaSuccess;
}

/* Does what is put off, until n of all that ever was are done. */
static void catch_up(cudaStream_t stream, uint64_t n)
{
    while (stream != nullptr && !stream->later.empty() && stream->n_done < n) {
        auto work = std::move(stream->later.front());
        stream->later.pop_front();
        stream->n_done++;
        work();
    }
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    cudaError_t error = outcome("cudaMemcpyAsync");
    if (error != cudaSuccess)
        return error;
    return submit(stream, [=] {
        check_all_ended();
        if (kind == cudaMemcpyDeviceToDevice) {
            check_device_copy(to, from, bytes);
        } else {
            check_host_copy(from, bytes, access::READ);
            check_host_copy(to, bytes, access::WRITE);
        }
        memcpy(to, from, bytes);
        return cudaSuccess;
    });
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    cudaError_t error = outcome("cudaMemsetAsync");
    if (error != cudaSuccess)
        return error;
    return submit(stream, [=] {
        check_all_ended();
        check_host_copy(to, bytes, access::WRITE);
        memset(to, value, bytes);
        return cudaSuccess;
    });
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    *stream = new cudasim_stream();
    (*stream)->device = current_device;
    (*stream)->independent = flags == cudaStreamNonBlocking;
    return outcome("cudaStreamCreateWithFlags");
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    catch_up(stream, UINT64_MAX);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    cudaError_t error = judge_wait(stream);
    if (error != cudaSuccess)
        return error;
    catch_up(stream, UINT64_MAX);
    check_all_ended();
    return outcome("cudaStreamSynchronize");
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    cudaError_t error = judge_wait(stream);
    if (error == cudaSuccess)
        error = outcome("cudaStreamQuery");
    if (error != cudaSuccess || stream == nullptr || stream->later.empty())
        return error;
    catch_up(stream, stream->n_done + 1); /* so that who asks again and again comes to an end */
    return cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new cudasim_event();
    return outcome("cudaEventCreateWithFlags");
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    event->captured = is_captured(stream);
    event->stream = stream;
    event->n_before = stream != nullptr ? stream->n_done + stream->later.size() : 0;
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    event->seconds = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    return outcome("cudaEventRecord");
}

/* What the simulation took, on the clock of the host. */
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    if (start->captured || end->captured)
        return told(cudaErrorCapturedEvent);
    *milliseconds = (float)(1e3 * (end->seconds - start->seconds));
    return outcome("cudaEventElapsedTime");
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->captured)
        return told(cudaErrorCapturedEvent);
    catch_up(event->stream, event->n_before);
    return outcome("cudaEventSynchronize");
}
