/* launch.cc - a grid runs block after block, or cluster after cluster, each from its first thread to its last.
 */
#include "sim.h"

#include "cudasim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <mutex>

#include <kernels/cuda/ptx_hopper.cuh>

namespace cudasim
{
place here;
cluster running;

static std::mutex one_launch;
static int widest = 1; /* of the clusters that ran lately */

/* The launch that is running. */
static struct {
    void *kernel;
    entry run;
    const void *arguments;
} job;

void stop(const char *kind, const char *format, ...)
{
    fflush(stdout);
    fprintf(stderr, "cudasim: %s: ", kind);
    if (running.kernel != nullptr)
        fprintf(stderr, "block (%u, %u, %u), ", here.block.x, here.block.y, here.block.z);
    if (running.current != nullptr)
        fprintf(stderr, "thread (%u, %u, %u): ", here.thread.x, here.thread.y, here.thread.z);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(stderr);
    _exit(66);
}

/* ---- the barriers of a block and of a cluster ---- */

static void let_go(state from, int rank) /* -1: of all blocks */
{
    for (int i = 0; i < running.n_threads; i++) {
        thread *t = &running.threads[i];
        if (t->now == from && (rank < 0 || t->rank == rank))
            set_runnable(t->warp, 1u << t->lane);
    }
}

static void release_barrier(block &b)
{
    int rank = (int)(&b - running.blocks);
    check_block_sync(rank);
    b.n_at_barrier = 0;
    let_go(state::AT_BARRIER, rank);
}

void block_barrier(at where)
{
    thread *me = running.current;
    block &b = own_block();
    if (b.n_at_barrier == 0)
        b.barrier = where;
    else if (b.barrier.line != where.line || strcmp(b.barrier.file, where.file) != 0)
        stop("barrier", "__syncthreads at %s:%d while others are in the one at %s:%d", where.file,
             where.line, b.barrier.file, b.barrier.line);
    me->what = "__syncthreads";
    me->where = where;
    me->now = state::AT_BARRIER;
    if (++b.n_at_barrier == b.n_alive) {
        release_barrier(b);
        give_way();
    } else {
        wait_here(state::AT_BARRIER);
    }
}

/* What those knew who came to the barrier of the cluster: so far, the last time. */
static std::vector<uint32_t> coming, came;

static void release_cluster()
{
    came = coming;
    running.n_at_barrier = 0;
    let_go(state::AT_CLUSTER, -1);
}

static void cluster_barrier(at where)
{
    thread *me = running.current;
    if (running.n_blocks == 1)
        stop("cluster", "cluster_sync at %s:%d in a launch without clusters", where.file,
             where.line);
    me->what = "cluster_sync";
    me->where = where;
    me->now = state::AT_CLUSTER;
    check_release(coming);
    if (++running.n_at_barrier == running.n_alive) {
        release_cluster();
        give_way();
    } else {
        wait_here(state::AT_CLUSTER);
    }
    check_acquire(came);
}

/* Threads that have returned are no longer waited for. */
void barrier_after_exit(block &b)
{
    if (b.n_at_barrier > 0 && b.n_at_barrier == b.n_alive)
        release_barrier(b);
    if (running.n_at_barrier > 0 && running.n_at_barrier == running.n_alive)
        release_cluster();
}

/* ---- threads, clusters, grids ---- */

static void thread_body()
{
    job.run(job.kernel, job.arguments);
    thread *me = running.current;
    if (running.starts_early && !me->has_waited)
        stop("early", "it ends without wait_for_earlier(), and so may before earlier kernels do");
    finish_copies(me, me->copies.size());
    me->now = state::EXITED;
    running.n_alive--;
    own_block().n_alive--;
    running.warps[me->warp].alive &= ~(1u << me->lane);
    running.warps[me->warp].runnable &= ~(1u << me->lane);
    warp_after_exit(me->warp);
    barrier_after_exit(own_block());
    fiber_exit();
}

/* From block `first` of the grid, neighbours along x. */
static void run_cluster(unsigned first)
{
    dim3 size = here.block_dim, grid = here.grid_dim;
    memset(running.warps, 0, sizeof running.warps);
    running.index = first;
    running.n_alive = running.n_threads;
    running.n_at_barrier = 0;
    coming.assign(MAX_THREADS, 0);
    for (int rank = 0; rank < running.n_blocks; rank++) {
        unsigned b = first + (unsigned)rank;
        unsigned char *room = running.shared + (size_t)rank * SHARED_STRIDE;
        running.blocks[rank] = {{b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)},
                                running.block_threads,
                                0,
                                {},
                                room};
        memset(room, 0xff, running.shared_bytes);
    }
    check_cluster();
    for (int i = 0; i < running.n_threads; i++) {
        thread *t = &running.threads[i];
        unsigned in_block = (unsigned)(i % running.block_threads);
        t->linear = i;
        t->rank = i / running.block_threads;
        t->warp = i / WARP;
        t->lane = i % WARP;
        t->index = {in_block % size.x, in_block / size.x % size.y, in_block / (size.x * size.y)};
        t->has_waited = false;
        t->copies.clear();
        t->groups.clear();
        running.warps[t->warp].alive |= 1u << t->lane;
        fiber_start(t, thread_body);
    }
    fibers_run();
    barriers_end();
    warpgroups_end();
}

/* What a kernel was allowed by cudaFuncSetAttribute(). */
static std::map<const void *, int> &allowed()
{
    static std::map<const void *, int> *table = new std::map<const void *, int>;
    return *table;
}

cudaError_t allow_shared(const void *kernel, int bytes)
{
    if (bytes > SHARED_BYTES)
        return cudaErrorInvalidValue;
    std::lock_guard<std::mutex> lock(one_launch);
    allowed()[kernel] = bytes;
    return cudaSuccess;
}

static const cudaLaunchAttribute *attribute_of(const cudaLaunchConfig_t *c,
                                               cudaLaunchAttributeID id)
{
    for (unsigned i = 0; i < c->numAttrs; i++)
        if (c->attrs[i].id == id)
            return &c->attrs[i];
    return nullptr;
}

static bool starts_early(const cudaLaunchConfig_t *c)
{
    const cudaLaunchAttribute *early =
        attribute_of(c, cudaLaunchAttributeProgrammaticStreamSerialization);
    return early != nullptr && early->val.programmaticStreamSerializationAllowed != 0;
}

unsigned cluster_of(const cudaLaunchConfig_t *c)
{
    const cudaLaunchAttribute *cluster = attribute_of(c, cudaLaunchAttributeClusterDimension);
    return cluster != nullptr ? cluster->val.clusterDim.x : 1;
}

/* The limits of compute capability 9.0. */
static bool can_launch(const cudaLaunchConfig_t *c, const void *kernel)
{
    uint64_t threads = (uint64_t)c->blockDim.x * c->blockDim.y * c->blockDim.z;
    size_t most = allowed().count(kernel) != 0 ? (size_t)allowed()[kernel] : (size_t)SHARED_FREE;
    return threads >= 1 && threads <= BLOCK_THREADS && c->blockDim.z <= 64 && c->gridDim.x >= 1 &&
           c->gridDim.x <= 0x7fffffffu && c->gridDim.y >= 1 && c->gridDim.y <= 65535 &&
           c->gridDim.z >= 1 && c->gridDim.z <= 65535 &&
           c->dynamicSmemBytes <= (most > SHARED_FREE ? most : (size_t)SHARED_FREE) &&
           cluster_of(c) >= 1 && cluster_of(c) <= MAX_BLOCKS && c->gridDim.x % cluster_of(c) == 0;
}

/* A launch that was judged, with the lock held. */
static void run_grid(const cudaLaunchConfig_t *c, bool early, unsigned cluster, void *kernel,
                     entry run, const void *arguments, size_t argument_bytes)
{
    check_open();
    fibers_open();
    if (running.shared == nullptr)
        running.shared = (unsigned char *)aligned_alloc(1024, (size_t)MAX_BLOCKS * SHARED_STRIDE);
    const char *seed = getenv("SA2_CUDASIM_SEED");
    uint64_t n = seed != nullptr ? strtoull(seed, nullptr, 10) : 0;
    job = {kernel, run, arguments};
    here = {{0, 0, 0}, {0, 0, 0}, c->blockDim, c->gridDim, running.shared};
    running.kernel = "";
    running.block_threads = (int)(c->blockDim.x * c->blockDim.y * c->blockDim.z);
    running.n_blocks = (int)cluster;
    widest = running.n_blocks > widest ? running.n_blocks : widest;
    running.n_threads = running.n_blocks * running.block_threads;
    if (cluster > 1 && (running.n_threads > MAX_THREADS || running.block_threads % 128 != 0))
        stop("cluster", "%u blocks of %d threads: whole warpgroups and %d threads are simulated",
             cluster, running.block_threads, (int)MAX_THREADS);
    running.n_warps = (running.n_threads + WARP - 1) / WARP;
    running.shared_bytes = c->dynamicSmemBytes;
    running.in_order = n == 0;
    running.starts_early = early;
    if (!running.starts_early)
        check_all_ended();
    check_launch(arguments, argument_bytes);
    unsigned clusters = c->gridDim.x * c->gridDim.y * c->gridDim.z / cluster;
    for (unsigned i = 0; i < clusters; i++) {
        unsigned first = cluster * (running.in_order ? i : clusters - 1 - i); /* in any order */
        running.random = (n + 1) * 0x9e3779b97f4a7c15u ^ (first + 1) * 0xd1b54a32d192ed03u;
        run_cluster(first);
    }
    running.kernel = nullptr;
}

/* Arguments by value, as a graph keeps them, and a launch that is put off. */
struct kept_arguments {
    size_t bytes;
    void *at;
    kept_arguments(const void *arguments, size_t n)
        : bytes(n), at(aligned_alloc(64, (n + 63) / 64 * 64))
    {
        memcpy(at, arguments, n);
    }
    kept_arguments(const kept_arguments &) = delete;
    ~kept_arguments()
    {
        free(at);
    }
};

cudaError_t launch(const cudaLaunchConfig_t *c, void *kernel, entry run, const void *arguments,
                   size_t argument_bytes)
{
    std::lock_guard<std::mutex> lock(one_launch);
    cudaError_t error =
        can_launch(c, kernel) ? outcome("cudaLaunchKernelEx") : told(cudaErrorInvalidValue);
    if (error == cudaSuccess)
        error = judge_device(c->stream);
    if (error == cudaSuccess)
        error = judge_stream(c->stream);
    if (error != cudaSuccess)
        return error;
    bool early = starts_early(c);
    unsigned cluster = cluster_of(c);
    if (is_captured(c->stream) || is_put_off(c->stream)) {
        auto kept = std::make_shared<kept_arguments>(arguments, argument_bytes);
        return submit(c->stream, [config = *c, early, cluster, kernel, run, kept] {
            std::lock_guard<std::mutex> alone(one_launch);
            run_grid(&config, early, cluster, kernel, run, kept->at, kept->bytes);
            return cudaSuccess;
        });
    }
    run_grid(c, early, cluster, kernel, run, arguments, argument_bytes);
    return cudaSuccess;
}
} // namespace cudasim

using namespace cudasim;

int cudasim_widest_cluster(void)
{
    std::lock_guard<std::mutex> lock(one_launch);
    int found = widest;
    widest = 1;
    return found;
}

void sa2_cuda::wait_for_earlier()
{
    running.current->has_waited = true;
}

void sa2_cuda::cluster_sync(at where)
{
    cluster_barrier(where);
}

int sa2_cuda::cluster_rank()
{
    return running.current->rank;
}
