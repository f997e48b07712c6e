/* sim.h - what the parts of the simulated device know of each other.
 *
 *   fibers.cc       threads of the blocks of a cluster as fibers on one thread of the host, and who runs next
 *   launch.cc       grids, clusters, blocks, their barriers, the end of threads
 *   warp.cc         what the lanes of a warp do together: shuffles, votes, matrix loads and products
 *   warpgroup.cc    products of four warps
 *   copies.cc       cp.async, atomics
 *   barriers.cc     mbarrier, bulk copies
 *   memory.cc       allocations, and the runtime's copies, streams and events
 *   graphs.cc       capture of a stream, and graphs
 *   checker.cc      what each byte is and who touched it last; the hooks that the compiler calls
 *
 * One launch runs at a time. A launch ends before the call that started it returns, unless work is put off.
 */
#ifndef CUDASIM_SIM_H
#define CUDASIM_SIM_H

#include <deque>
#include <functional>
#include <vector>

#include <cuda_runtime.h>

struct cudasim_stream {
    int device;
    bool independent;       /* of the default stream */
    bool captures, spoiled; /* a call was refused: the capture's end will be */
    cudaStreamCaptureMode mode;
    std::deque<std::function<cudaError_t()>> later; /* what is put off, in its order */
    uint64_t n_done;                                /* of all that was put off */
};

namespace cudasim
{
enum { WARP = 32, BLOCK_THREADS = 1024 }; /* of a block, at most */
enum { MAX_BLOCKS = 8, MAX_THREADS = 2048, MAX_WARPS = MAX_THREADS / WARP }; /* of a cluster */
enum { PROCESSORS = 5 }; /* few, so that a block gets several tiles of small shapes */
enum { SHARED_BYTES = 227 << 10, SHARED_FREE = 48 << 10 }; /* of a block, on request and without */
enum { SHARED_STRIDE = 228 << 10 }; /* from one block of a cluster to the next */

enum class state : uint8_t { RUNNABLE, IN_WARP, AT_BARRIER, AT_CLUSTER, AT_MBARRIER, EXITED };

/* One 16-byte copy that a thread has asked for. */
struct pending_copy {
    unsigned char *to;
    const unsigned char *from;
    int bytes; /* that are read; the rest becomes zero */
};

struct thread {
    void *stack_pointer;
    char *stack;
    uint3 index;            /* in its block */
    int rank;               /* of its block */
    int linear, warp, lane; /* in the cluster, block after block */
    state now;
    bool has_waited; /* for earlier kernels */

    /* In a meeting of lanes, or at the barrier: what, with whom, where in the source. */
    const char *what;
    void (*act)(struct meeting &);
    void *payload;
    unsigned mask;
    at where;

    std::vector<pending_copy> copies;
    std::vector<size_t> groups; /* copies up to each commit */
};

struct warp {
    unsigned alive, runnable, meeting; /* lanes */
};

/* Lanes that have come together; act() reads and writes their payloads. */
struct meeting {
    int warp;
    unsigned lanes;
    void *payload[WARP];
    const thread *member[WARP];
};

struct block {
    uint3 index; /* in the grid */
    int n_alive, n_at_barrier;
    at barrier;
    unsigned char *shared;
};

/* The blocks that run now: one, where a kernel has no clusters. */
struct cluster {
    const char *kernel; /* NULL: no launch is running */
    bool starts_early;  /* the kernel, before those ahead of it have ended */
    thread *threads;    /* [MAX_THREADS] */
    thread *current;    /* NULL: not inside a kernel */
    warp warps[MAX_WARPS];
    block blocks[MAX_BLOCKS];
    int n_blocks, block_threads;     /* of each */
    int n_threads, n_warps, n_alive; /* of all */
    int n_at_barrier;                /* of the cluster */
    unsigned index;                  /* of the first block: linear, in the grid */
    unsigned char *shared;           /* [MAX_BLOCKS, SHARED_STRIDE] */
    size_t shared_bytes;             /* of each block */
    void *launcher;                  /* its stack pointer while fibers run */
    uint64_t random;
    bool in_order;
};
extern cluster running;

static inline block &own_block()
{
    return running.blocks[running.current->rank];
}

/* Prints "cudasim: <kind>: kernel K, block (x, y, z), thread (x, y, z): <message>" and ends the process. */
[[noreturn]] void stop(const char *kind, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- fibers.cc ---- */

void fibers_open();                          /* once */
void fiber_start(thread *t, void (*body)()); /* makes it runnable from the top of body */
void fibers_run();                           /* until the last thread has exited */
[[noreturn]] void fiber_exit();              /* the current one never runs again */
void set_runnable(int warp, unsigned lanes);
void wait_here(state why); /* the current thread gives way until it is runnable */
void give_way();           /* at random, another goes on first */
uint32_t random_bits();

/* ---- warp.cc ---- */

/* Waits for the lanes of mask; the last of them acts for all. */
void meet(const char *what, unsigned mask, void (*act)(meeting &), void *payload, at where);
void warp_after_exit(int warp); /* a lane has gone: the others may be complete now */

/* ---- warpgroup.cc ---- */

void warpgroups_end(); /* with the cluster */

/* ---- launch.cc ---- */

void barrier_after_exit(block &b);
unsigned cluster_of(const cudaLaunchConfig_t *config); /* blocks of a cluster, along x */

/* ---- copies.cc ---- */

void finish_copies(thread *t, size_t n);

/* ---- barriers.cc ---- */

void barriers_end(); /* with the cluster */

/* ---- memory.cc ---- */

cudaError_t outcome(const char *call); /* cudaSuccess, unless a test has planned something else */
cudaError_t
judge_device(cudaStream_t stream);   /* what starts there needs it to be the thread's current one */
cudaError_t told(cudaError_t error); /* that, which cudaGetLastError() will give */
bool is_put_off(cudaStream_t stream); /* what is submitted to it now */

/* As a node where the stream is captured, later where work is put off, else now. */
cudaError_t submit(cudaStream_t stream, std::function<cudaError_t()> work);

/* ---- graphs.cc ---- */

bool is_captured(cudaStream_t stream);
cudaError_t add_node(cudaStream_t stream, std::function<cudaError_t()> node);
cudaError_t judge_stream(cudaStream_t stream); /* may work be submitted to it? */
cudaError_t judge_wait(cudaStream_t stream);   /* may it be waited for? */
cudaError_t judge_unsafe_call();               /* one that may wait, as cudaMalloc() */

/* ---- checker.cc ---- */

enum class access : uint8_t { READ, WRITE, ATOMIC };

void check_open();
void *check_allocate(size_t bytes, bool initialised);
bool check_free(void *p); /* false: not an allocation */
void check_host_copy(const void *p, size_t bytes, access kind);
void check_device_copy(void *to, const void *from, size_t bytes); /* what nobody wrote stays so */
void check_all_ended(); /* kernels so far, before anything that follows starts */
void check_library_start();
void check_library_access(const void *p, size_t bytes, access kind);
void check_launch(const void *arguments, size_t bytes);
void check_cluster();
void check_access(const void *p, size_t bytes, access kind, const void *pc);
void check_copy_issued(void *to, const void *from, int bytes, const void *pc);
void check_copy_done(void *to);
void check_bulk_issued(void *to, const void *from, size_t bytes, const void *pc);
void check_bulk_done(void *to, size_t bytes);
void check_peer(const void *p, size_t bytes,
                const void *pc); /* a read in any block of the cluster */
void check_warp_sync(int warp, unsigned lanes);
void check_block_sync(int rank);

/* Order from thread to thread, in clusters, and in blocks that have called check_crossing(). A clock [MAX_THREADS] has for each thread
 * the last of its steps that is known. */
void check_crossing();
void check_release(std::vector<uint32_t> &clock); /* of what the current thread knows and did */
void check_acquire(const std::vector<uint32_t> &clock);
uint32_t check_step();                                       /* of the current thread, which ... */
bool check_knows(int thread, uint32_t step);                 /* ... another knows of, or not, */
bool check_block_knows(int rank, int thread, uint32_t step); /* or any of a block has known */
} // namespace cudasim

#endif
