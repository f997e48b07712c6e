/* capture_probe.cu - contract: probe.h, for streams that are captured: sections "Stream Capture" and "CUDA Graphs" of the
 * CUDA C++ Programming Guide, and the runtime API's pages of these calls.
 */
#include "probe.h"

#include <stdio.h>

#include <kernels/cuda/ptx.cuh>

using namespace sa2_cuda;

namespace
{
struct bench {
    cudaStream_t stream;
    cudaEvent_t event;
    int *cell; /* of the device */
    char found[96];
};

__global__ void add_kernel(int *cell, int n)
{
    wait_for_earlier();
    *cell = *cell * 10 + n;
}

cudaError_t add(const bench *b, cudaStream_t stream, int n)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(1);
    config.blockDim = dim3(1);
    config.stream = stream;
    return cudaLaunchKernelEx(&config, add_kernel, b->cell, n);
}

int cell(bench *b)
{
    int value = -1;
    cudaMemcpyAsync(&value, b->cell, sizeof value, cudaMemcpyDeviceToHost, b->stream);
    cudaStreamSynchronize(b->stream);
    return value;
}

bool expect(bench *b, const char *what, long long found, long long expected)
{
    if (found == expected)
        return true;
    snprintf(b->found, sizeof b->found, "%s: %lld, %lld expected", what, found, expected);
    return false;
}

bool begin(bench *b)
{
    return expect(b, "begin", cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal),
                  0);
}

/* Nothing runs in a capture; a launch runs the kernels in order, with the arguments that they were given; again and again. */
bool replays(bench *b)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaMemsetAsync(b->cell, 0, sizeof *b->cell, b->stream);
    int n = 1;
    if (!begin(b) || !expect(b, "first", add(b, b->stream, n), 0))
        return false;
    n = 2;
    if (!expect(b, "second", add(b, b->stream, n), 0) ||
        !expect(b, "end", cudaStreamEndCapture(b->stream, &graph), 0) ||
        !expect(b, "what a capture ran", cell(b), 0) ||
        !expect(b, "instantiate", cudaGraphInstantiate(&exec, graph, 0), 0))
        return false;
    cudaGraphDestroy(graph);
    bool same = expect(b, "launch", cudaGraphLaunch(exec, b->stream), 0) &&
                expect(b, "once", cell(b), 12) &&
                expect(b, "launch", cudaGraphLaunch(exec, b->stream), 0) &&
                expect(b, "twice", cell(b), 1212);
    cudaGraphExecDestroy(exec);
    return same;
}

/* What may not be done while the stream captures, and that the capture's end says so. */
bool refused(bench *b, const char *what, cudaError_t found)
{
    cudaGraph_t graph;
    bool same = expect(b, what, found, cudaErrorStreamCaptureUnsupported) &&
                expect(b, "the end behind it", cudaStreamEndCapture(b->stream, &graph),
                       cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    return same;
}

bool refuses_waiting(bench *b)
{
    return begin(b) && refused(b, "cudaStreamSynchronize", cudaStreamSynchronize(b->stream)) &&
           begin(b) && refused(b, "cudaStreamQuery", cudaStreamQuery(b->stream));
}

bool refuses_allocation(bench *b)
{
    void *memory = nullptr;
    return begin(b) && refused(b, "cudaMalloc", cudaMalloc(&memory, 64));
}

bool refuses_events(bench *b)
{
    cudaGraph_t graph;
    bool same = begin(b) && expect(b, "record", cudaEventRecord(b->event, b->stream), 0) &&
                expect(b, "wait", cudaEventSynchronize(b->event), cudaErrorCapturedEvent);
    if (cudaStreamEndCapture(b->stream, &graph) == cudaSuccess)
        cudaGraphDestroy(graph);
    cudaGetLastError();
    return same;
}

bool refuses_the_wrong_state(bench *b)
{
    cudaGraph_t graph;
    return expect(b, "end", cudaStreamEndCapture(b->stream, &graph), cudaErrorIllegalState) &&
           expect(b, "default stream",
                  cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal),
                  cudaErrorStreamCaptureUnsupported);
}

/* An ordinary stream and the default stream wait for each other, so the latter may not be used. */
bool refuses_the_default_stream(bench *b)
{
    cudaStream_t dependent;
    cudaGraph_t graph;
    if (!expect(b, "create", cudaStreamCreateWithFlags(&dependent, cudaStreamDefault), 0))
        return false;
    bool same = expect(b, "begin",
                       cudaStreamBeginCapture(dependent, cudaStreamCaptureModeThreadLocal), 0) &&
                expect(b, "launch", add(b, nullptr, 1), cudaErrorStreamCaptureImplicit) &&
                expect(b, "the end behind it", cudaStreamEndCapture(dependent, &graph),
                       cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    cudaStreamDestroy(dependent);
    return same;
}

const struct {
    const char *what;
    bool (*judge)(bench *b);
} facts[] = {
    {"capture: nothing runs until the graph is launched, then in order", replays},
    {"capture: waiting for the stream is refused", refuses_waiting},
    {"capture: cudaMalloc is refused", refuses_allocation},
    {"capture: waiting for an event in it is refused", refuses_events},
    {"capture: begun and ended once, not of the default stream", refuses_the_wrong_state},
    {"capture: the default stream may not depend on it", refuses_the_default_stream},
};
} // namespace

extern "C" int sa2_probe_captures(void (*tell)(const char *fact, const char *found))
{
    bench b = {};
    int differ = 0;
    if (cudaStreamCreateWithFlags(&b.stream, cudaStreamNonBlocking) != cudaSuccess ||
        cudaEventCreateWithFlags(&b.event, cudaEventDisableTiming) != cudaSuccess ||
        cudaMalloc((void **)&b.cell, sizeof *b.cell) != cudaSuccess)
        return -1;
    for (auto &fact : facts) {
        bool same = fact.judge(&b);
        tell(fact.what, same ? nullptr : b.found);
        differ += !same;
    }
    cudaFree(b.cell);
    cudaEventDestroy(b.event);
    cudaStreamDestroy(b.stream);
    return differ;
}
