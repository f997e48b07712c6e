/* cuda.cuh - what the files of the CUDA backend share: the queue behind a stream, launches, and how a kernel
 * tells that an index is wrong.
 *
 * All is in namespace sa2_cuda, which the build for the simulated device renames: both may be in one program.
 */
#ifndef SA2_KERNELS_CUDA_CUDA_CUH
#define SA2_KERNELS_CUDA_CUDA_CUH

#include <new>
#include <tuple>

#include "kernels/cuda/ptx.cuh"

extern "C" {
#include "kernels/cuda/large_products.h"
#include "kernels/driver.h"
}

namespace sa2_cuda
{
/* ---- what a kernel may find wrong: an index in data, which only the device sees ---- */

enum class fault_kind : int {
    NONE = 0,
    EMBEDDING, /* an id */
    SCATTER_ROWS,
    COPY_ROWS_TO,
    COPY_ROWS_FROM,
    LAYER_NORM, /* a row of a table */
    LINEAR,
    CONV1D,
};

/* In memory of the host that the device writes: of the first op with a fault, the one of the lowest row. */
struct fault {
    int kind;
    int count;             /* values from 0 to count - 1 are right */
    unsigned long long at; /* the row and, in the low half, what was found; NOWHERE: no fault */
};

static constexpr unsigned long long NOWHERE = ~0ull;

/* True when 0 <= value < count. Otherwise the kernel leaves this row out, and sa2_stream_finish() tells. */
static __device__ __forceinline__ bool in_range(fault *f, fault_kind kind, int value,
                                                long long count, long long row)
{
    if (value >= 0 && value < count)
        return true;
    int before = atomicCAS(&f->kind, (int)fault_kind::NONE, (int)kind);
    if (before == (int)fault_kind::NONE)
        f->count = (int)count;
    if (before == (int)fault_kind::NONE || before == (int)kind)
        atomicMin(&f->at, (unsigned long long)row << 32 | (uint32_t)value);
    return false;
}

/* ---- the queue behind a stream ---- */

static constexpr int MAX_CLUSTER = 4; /* blocks of a cluster */
static constexpr int N_SLOTS = 4, MAX_DOWNLOADS = 64, N_SENT = 64, MAX_PINNED = 8;
static constexpr size_t SLOT_BYTES = 2 << 20, INBOX_BYTES = 8 << 20, PARTIAL_BYTES = 32 << 20;
static constexpr int FEW_BLOCKS =
    264; /* twice the processors of an H200: with fewer, work is cut finer */

/* Bytes that have come, or will have, to the inbox, and their place. */
struct download {
    void *to;
    size_t from, bytes;
};

/* A place in `lists` of which the contents are known. */
struct sent_list {
    size_t at, bytes;
};

struct device;
struct held; /* launches of a group (graph.cu) */

struct queue {
    const struct device *owner;
    int ordinal, processors; /* of the device */
    bool has_wgmma;
    int clusters[MAX_CLUSTER + 1]; /* of n blocks with a processor each: how many at one time */
    cudaStream_t stream;
    struct fault *fault;
    bool overlaps;      /* kernels start early: the code that runs has wait_for_earlier() */
    bool wrote_weights; /* by the last kernel: the next one reads them before it waits */

    /* Between host and device: slots of pinned memory, taken in turn, each free again after its event. */
    unsigned char *pinned; /* [N_SLOTS, SLOT_BYTES] */
    cudaEvent_t free[N_SLOTS], marks[2];
    int slot;
    size_t used; /* of that slot */

    /* Lists of one call in device memory, also taken in turn: the stream's order protects them. What was sent lately is
     * known here and found again: the layers of a model ask for the same lists. */
    unsigned char *lists; /* [SLOT_BYTES] */
    size_t lists_used;
    unsigned char *mirror; /* [SLOT_BYTES] of host memory: lists, as they were sent */
    sent_list sent[N_SENT];
    int n_sent; /* since the beginning of `lists`; of these the last N_SENT are known */

    float *partials; /* [PARTIAL_BYTES] of one op, in device memory */

    const sa2_large_products *large; /* the device's */
    unsigned char
        *plain; /* [PLAIN_BYTES + SUM_BYTES] for them (product_library.cuh); NULL: all are ours */

    /* Pinned, a ring as the list of what lies in it: downloads until they are handed over, by finish() or wait(). */
    unsigned char *inbox; /* [INBOX_BYTES] */
    size_t inbox_end;     /* behind the last download */
    download downloads[MAX_DOWNLOADS];
    uint64_t n_downloads, n_handed_over, n_marked[2]; /* since the queue opened; before each mark */

    struct held *held; /* NULL: there are no graphs */
    bool holds;        /* launches and lists go there */
};

/* Whether kernels can be compiled for 9.0a and this device runs them: asks once, when a queue opens (product_wgmma.cu). */
sa2_status find_wgmma(sa2_stream *s, sa2_error *err);

/* Makes a device the calling thread's, where it is not: what starts in a queue needs that. */
cudaError_t use_device(int ordinal);

/* Called by whatever works with a stream, before anything else. */
static inline queue *queue_of(sa2_stream *s)
{
    queue *q = (queue *)s->device;
    if (q != NULL)
        use_device(q->ordinal); /* a failure is that of the call behind it */
    return q;
}

/* "rms_norm: unspecified launch failure (cudaErrorLaunchFailure)" */
sa2_status failed(const char *what, cudaError_t error, sa2_error *err);

/* The next `bytes` of list memory, filled from `host`; NULL and the reason in err when there is no such room. */
void *to_device(sa2_stream *s, const char *op, const void *host, size_t bytes, sa2_error *err);

/* The same for a list that no kernel changes: if these very bytes were sent before and still lie there, there. */
const void *list_to_device(sa2_stream *s, const char *op, const void *host, size_t bytes,
                           sa2_error *err);

/* Memory of the host in which such a list may be made; good until the next few lists. */
void *host_room(sa2_stream *s, const char *op, size_t bytes, sa2_error *err);

/* ---- groups of launches that start as one (graph.cu) ---- */

/* One launch, without padding: they are compared as bytes. */
struct held_launch {
    const char *op;
    const void *kernel;
    cudaError_t (*start)(const cudaLaunchConfig_t *config, const void *kernel,
                         const void *arguments);
    uint32_t grid[3], threads;
    uint64_t shared;
    uint32_t early, cluster; /* of launch_form below */
    uint64_t at, bytes;      /* its arguments */
};

sa2_status held_create(sa2_stream *s, sa2_error *err);
void held_destroy(queue *q);
sa2_status group_begin(sa2_stream *s, const char *part, sa2_error *err);
sa2_status group_end(sa2_stream *s, sa2_error *err);

/* Starts what is held one by one; from here to its end the group holds nothing back. Whatever uses the cudaStream_t, but
 * launch(), asks for this first. */
sa2_status let_go(sa2_stream *s, sa2_error *err);

/* Room for one more launch and its arguments, or NULL when there is none. */
void *hold(queue *q, const held_launch *launch);

/* A list of host memory as kernels that are held will see it; NULL when there is no room. */
const void *hold_list(queue *q, const void *host, size_t bytes);

template <typename... Formal>
static cudaError_t start_held(const cudaLaunchConfig_t *config, const void *kernel,
                              const void *arguments)
{
    return std::apply(
        [=](const Formal &...a) {
            return cudaLaunchKernelEx(config, (void (*)(Formal...))kernel, a...);
        },
        *(const std::tuple<Formal...> *)arguments);
}

/* Blocks, and what each has. */
struct geometry {
    dim3 grid;
    unsigned threads;
    size_t shared; /* bytes */
    unsigned cluster = 1;
};

/* The runtime's words for it; they point into this. */
struct launch_form {
    cudaLaunchConfig_t config;
    cudaLaunchAttribute attributes[2];

    launch_form(cudaStream_t stream, const geometry &g, bool early) : config(), attributes()
    {
        config.gridDim = g.grid;
        config.blockDim = dim3(g.threads);
        config.dynamicSmemBytes = g.shared;
        config.stream = stream;
        config.attrs = attributes;
        if (early) {
            cudaLaunchAttribute *a = &attributes[config.numAttrs++];
            a->id = cudaLaunchAttributeProgrammaticStreamSerialization;
            a->val.programmaticStreamSerializationAllowed = 1;
        }
        if (g.cluster > 1) {
            cudaLaunchAttribute *a = &attributes[config.numAttrs++];
            a->id = cudaLaunchAttributeClusterDimension;
            a->val.clusterDim.x = g.cluster;
            a->val.clusterDim.y = a->val.clusterDim.z = 1;
        }
    }
    launch_form(const launch_form &) = delete;
};

/* False when there is no room for one more. */
template <typename... Formal, typename... Actual>
static inline bool hold_launch(queue *q, const char *op, const geometry &g, bool early,
                               const void *kernel, Actual... actual)
{
    using arguments = std::tuple<Formal...>;
    const held_launch launch = {.op = op,
                                .kernel = kernel,
                                .start = start_held<Formal...>,
                                .grid = {g.grid.x, g.grid.y, g.grid.z},
                                .threads = g.threads,
                                .shared = g.shared,
                                .early = early,
                                .cluster = g.cluster,
                                .at = 0,
                                .bytes = sizeof(arguments)};
    void *room = hold(q, &launch); /* zeros: launches are compared as bytes */
    if (room == NULL)
        return false;
    arguments *copy = new (room) arguments(static_cast<Formal>(actual)...);
    std::apply([](Formal &...a) { (__builtin_clear_padding(&a), ...); }, *copy);
    return true;
}

/* The status of what to_device() and host_room() have told. */
static inline sa2_status failure_of(const sa2_error *err)
{
    return err != NULL && err->status != SA2_OK ? err->status : SA2_ERR_DEVICE;
}

template <typename Kernel> static inline cudaError_t allow_shared(Kernel *kernel, size_t bytes)
{
    if (bytes <= 48 << 10)
        return cudaSuccess;
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

/* Starts a kernel in the order of the stream. On compute capability 9 it starts while the kernel before it is still
 * running, and so every kernel
 *   - calls wait_for_earlier() in every thread, also in those that then have nothing to do: when a kernel has ended,
 *     all before it have;
 *   - touches nothing before that but its arguments, shared memory, and weights, which only matrix.cu writes. The kernel
 *     behind one that did, wrote_weights, starts when that has ended.
 * Copies, events and the end of a stream wait for whole kernels, and kernels for them. */
template <typename... Formal, typename... Actual>
static inline sa2_status launch_as(sa2_stream *s, const char *op, void (*kernel)(Formal...),
                                   const geometry &g, sa2_error *err, Actual... actual)
{
    queue *q = queue_of(s);
    bool early = q->overlaps && !q->wrote_weights;
    q->wrote_weights = false;
    cudaError_t error = allow_shared(kernel, g.shared);
    if (error != cudaSuccess)
        return failed(op, error, err);
    if (q->holds && hold_launch<Formal...>(q, op, g, early, (const void *)kernel, actual...))
        return SA2_OK;
    sa2_status st = let_go(s, err);
    if (st != SA2_OK)
        return st;
    launch_form form(q->stream, g, early);
    error = cudaLaunchKernelEx(&form.config, kernel, static_cast<Formal>(actual)...);
    return error == cudaSuccess ? SA2_OK : failed(op, error, err);
}

/* The same, without clusters. */
template <typename... Formal, typename... Actual>
static inline sa2_status launch(sa2_stream *s, const char *op, void (*kernel)(Formal...), dim3 grid,
                                unsigned threads, size_t shared, sa2_error *err, Actual... actual)
{
    return launch_as(s, op, kernel, {grid, threads, shared}, err, actual...);
}

static inline unsigned blocks_for(int64_t n, int64_t each)
{
    return (unsigned)((n + each - 1) / each);
}
} // namespace sa2_cuda

#endif
