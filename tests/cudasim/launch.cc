/* launch.cc - a grid runs block after block, each from its first thread to its last.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <mutex>

#include <kernels/cuda/ptx.cuh>

namespace cudasim
{
place here;
block running;

static std::mutex one_launch;

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

/* ---- the block barrier ---- */

static void release_barrier()
{
    check_block_sync();
    running.n_at_barrier = 0;
    for (int i = 0; i < running.n_threads; i++) {
        thread *t = &running.threads[i];
        if (t->now == state::AT_BARRIER)
            set_runnable(t->warp, 1u << t->lane);
    }
}

void block_barrier(at where)
{
    thread *me = running.current;
    if (running.n_at_barrier == 0)
        running.barrier = where;
    else if (running.barrier.line != where.line || strcmp(running.barrier.file, where.file) != 0)
        stop("barrier", "__syncthreads at %s:%d while others are in the one at %s:%d", where.file,
             where.line, running.barrier.file, running.barrier.line);
    me->what = "__syncthreads";
    me->where = where;
    me->now = state::AT_BARRIER;
    if (++running.n_at_barrier == running.n_alive) {
        release_barrier();
        give_way();
    } else {
        wait_here(state::AT_BARRIER);
    }
}

/* Threads that have returned are no longer waited for. */
void barrier_after_exit()
{
    if (running.n_at_barrier > 0 && running.n_at_barrier == running.n_alive)
        release_barrier();
}

/* ---- threads, blocks, grids ---- */

static void thread_body()
{
    job.run(job.kernel, job.arguments);
    thread *me = running.current;
    if (running.starts_early && !me->has_waited)
        stop("early", "it ends without wait_for_earlier(), and so may before earlier kernels do");
    finish_copies(me, me->copies.size());
    me->now = state::EXITED;
    running.n_alive--;
    running.warps[me->warp].alive &= ~(1u << me->lane);
    running.warps[me->warp].runnable &= ~(1u << me->lane);
    warp_after_exit(me->warp);
    barrier_after_exit();
    fiber_exit();
}

static void run_block()
{
    dim3 size = here.block_dim;
    memset(running.warps, 0, sizeof running.warps);
    running.n_alive = running.n_threads;
    running.n_at_barrier = 0;
    memset(running.shared, 0xff, running.shared_bytes);
    check_block();
    for (int i = 0; i < running.n_threads; i++) {
        thread *t = &running.threads[i];
        t->linear = i;
        t->warp = i / WARP;
        t->lane = i % WARP;
        t->index = {(unsigned)i % size.x, (unsigned)i / size.x % size.y,
                    (unsigned)i / (size.x * size.y)};
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

/* The limits of compute capability 9.0. */
static bool can_launch(const cudaLaunchConfig_t *c, const void *kernel)
{
    uint64_t threads = (uint64_t)c->blockDim.x * c->blockDim.y * c->blockDim.z;
    size_t most = allowed().count(kernel) != 0 ? (size_t)allowed()[kernel] : (size_t)SHARED_FREE;
    return threads >= 1 && threads <= MAX_THREADS && c->blockDim.z <= 64 && c->gridDim.x >= 1 &&
           c->gridDim.x <= 0x7fffffffu && c->gridDim.y >= 1 && c->gridDim.y <= 65535 &&
           c->gridDim.z >= 1 && c->gridDim.z <= 65535 &&
           c->dynamicSmemBytes <= (most > SHARED_FREE ? most : (size_t)SHARED_FREE);
}

static bool starts_early(const cudaLaunchConfig_t *c)
{
    for (unsigned i = 0; i < c->numAttrs; i++)
        if (c->attrs[i].id == cudaLaunchAttributeProgrammaticStreamSerialization &&
            c->attrs[i].val.programmaticStreamSerializationAllowed != 0)
            return true;
    return false;
}

/* A launch that was judged, with the lock held. */
static void run_grid(const cudaLaunchConfig_t *c, bool early, void *kernel, entry run,
                     const void *arguments, size_t argument_bytes)
{
    check_open();
    fibers_open();
    if (running.shared == nullptr)
        running.shared = (unsigned char *)aligned_alloc(1024, 228 << 10);
    const char *seed = getenv("SA2_CUDASIM_SEED");
    uint64_t n = seed != nullptr ? strtoull(seed, nullptr, 10) : 0;
    job = {kernel, run, arguments};
    here = {{0, 0, 0}, {0, 0, 0}, c->blockDim, c->gridDim, running.shared};
    running.kernel = "";
    running.n_threads = (int)(c->blockDim.x * c->blockDim.y * c->blockDim.z);
    running.n_warps = (running.n_threads + WARP - 1) / WARP;
    running.shared_bytes = c->dynamicSmemBytes;
    running.in_order = n == 0;
    running.starts_early = early;
    if (!running.starts_early)
        check_all_ended();
    check_launch(arguments, argument_bytes);
    unsigned blocks = c->gridDim.x * c->gridDim.y * c->gridDim.z;
    for (unsigned i = 0; i < blocks; i++) {
        unsigned b = running.in_order ? i : blocks - 1 - i; /* nothing may rely on the order */
        running.index = b;
        running.random = (n + 1) * 0x9e3779b97f4a7c15u ^ (b + 1) * 0xd1b54a32d192ed03u;
        here.block = {b % c->gridDim.x, b / c->gridDim.x % c->gridDim.y,
                      b / (c->gridDim.x * c->gridDim.y)};
        run_block();
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
    if (is_captured(c->stream) || is_put_off(c->stream)) {
        auto kept = std::make_shared<kept_arguments>(arguments, argument_bytes);
        return submit(c->stream, [config = *c, early, kernel, run, kept] {
            std::lock_guard<std::mutex> alone(one_launch);
            run_grid(&config, early, kernel, run, kept->at, kept->bytes);
            return cudaSuccess;
        });
    }
    run_grid(c, early, kernel, run, arguments, argument_bytes);
    return cudaSuccess;
}
} // namespace cudasim

void sa2_cuda::wait_for_earlier()
{
    cudasim::running.current->has_waited = true;
}
