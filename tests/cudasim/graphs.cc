/* graphs.cc - stream capture: what is submitted between begin and end becomes a node of a graph, with its arguments as
 * they were, and runs when the graph is launched.
 *
 * A call that would wait for captured work, or that might, is refused as in CUDA and spoils the capture: its end says so.
 */
#include "sim.h"

#include <functional>

using namespace cudasim;

struct cudasim_graph {
    std::vector<std::function<cudaError_t()>> nodes; /* in their order */
};
struct cudasim_graph_exec {
    cudasim_graph graph;
};

/* What this thread captures: one stream at a time is enough. */
static thread_local cudaStream_t captures_here;
static thread_local cudasim_graph *captured;

static cudaError_t spoil(cudaError_t error)
{
    captures_here->spoiled = true;
    return told(error);
}

bool cudasim::is_captured(cudaStream_t stream)
{
    return stream != nullptr && stream->captures;
}

cudaError_t cudasim::add_node(cudaStream_t stream, std::function<cudaError_t()> node)
{
    if (stream != captures_here)
        return told(cudaErrorStreamCaptureWrongThread);
    if (stream->spoiled)
        return told(cudaErrorStreamCaptureInvalidated);
    captured->nodes.push_back(std::move(node));
    return cudaSuccess;
}

/* The default stream waits for every stream that was not made to be independent of it. */
cudaError_t cudasim::judge_stream(cudaStream_t stream)
{
    if (stream == nullptr && captures_here != nullptr && !captures_here->independent)
        return spoil(cudaErrorStreamCaptureImplicit);
    return cudaSuccess;
}

cudaError_t cudasim::judge_wait(cudaStream_t stream)
{
    if (!is_captured(stream))
        return judge_stream(stream);
    stream->spoiled = true;
    return told(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudasim::judge_unsafe_call()
{
    if (captures_here == nullptr || captures_here->mode == cudaStreamCaptureModeRelaxed)
        return cudaSuccess;
    return spoil(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    cudaError_t error = outcome("cudaStreamBeginCapture");
    if (error != cudaSuccess)
        return error;
    if (stream == nullptr)
        return told(cudaErrorStreamCaptureUnsupported);
    if (stream->captures || captures_here != nullptr)
        return told(cudaErrorIllegalState);
    stream->captures = true;
    stream->spoiled = false;
    stream->mode = mode;
    captures_here = stream;
    captured = new cudasim_graph();
    return cudaSuccess;
}

/* The capture is over whatever this returns. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = nullptr;
    if (stream == nullptr || !stream->captures)
        return told(cudaErrorIllegalState);
    if (stream != captures_here)
        return told(cudaErrorStreamCaptureWrongThread);
    cudaError_t error = outcome("cudaStreamEndCapture");
    if (error == cudaSuccess && stream->spoiled)
        error = told(cudaErrorStreamCaptureInvalidated);
    stream->captures = false;
    captures_here = nullptr;
    if (error == cudaSuccess)
        *graph = captured;
    else
        delete captured;
    captured = nullptr;
    return error;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    cudaError_t error = outcome("cudaGraphInstantiate");
    if (error == cudaSuccess && graph == nullptr)
        error = told(cudaErrorInvalidValue);
    if (error == cudaSuccess)
        *exec = new cudasim_graph_exec{*graph};
    return error;
}

/* Waits for all work before it, and work behind it for all of it; between its kernels it is as in a stream. */
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t error = outcome("cudaGraphLaunch");
    if (error == cudaSuccess)
        error = judge_device(stream);
    if (error == cudaSuccess && is_captured(stream))
        error = told(cudaErrorStreamCaptureUnsupported); /* a graph in a graph: ours do without */
    if (error != cudaSuccess)
        return error;
    return submit(stream, [nodes = exec->graph.nodes] { /* which outlives the graph */
                                                        check_all_ended();
                                                        for (auto &node : nodes) {
                                                            cudaError_t failure = node();
                                                            if (failure != cudaSuccess)
                                                                return failure;
                                                        }
                                                        check_all_ended();
                                                        return cudaSuccess;
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}
