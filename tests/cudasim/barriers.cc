/* barriers.cc - mbarrier, and the bulk copies that arrive there: PTX ISA 9.7.13.15 and 9.7.9.25.4.
 *
 * A copy spoils its destination when it is asked for and delivers when somebody waits at its barrier, not before. What
 * a thread did before it arrived happens before what another does after it has waited for that phase.
 */
#include "sim.h"

#include <map>

#include <kernels/cuda/ptx_hopper.cuh>

namespace cudasim
{
struct bulk_copy {
    unsigned char *to;
    const unsigned char *from;
    int bytes;
};

struct mbarrier {
    int maker; /* a thread, and at which of its steps */
    uint32_t made;
    int arrivals, pending; /* of each phase; of this one */
    int64_t bytes;         /* that are promised and have not come */
    uint32_t phase;
    std::map<int, uint32_t>
        visitors; /* threads of other blocks, and their steps when they last arrived */
    std::vector<bulk_copy> copies;
    std::vector<thread *> waiting;
    std::vector<uint32_t> clock,
        completed; /* what those knew who arrived: so far, for the last phase */
};

static std::map<uint64_t *, mbarrier> &barriers()
{
    static std::map<uint64_t *, mbarrier> *table = new std::map<uint64_t *, mbarrier>;
    return *table;
}

static mbarrier &find(uint64_t *barrier, const char *what, at where, const void *pc)
{
    running.current->what = what;
    running.current->where = where;
    check_peer(barrier, sizeof *barrier, pc);
    auto found = barriers().find(barrier);
    if (found == barriers().end())
        stop("mbarrier", "%s at %s:%d: not a barrier", what, where.file, where.line);
    const mbarrier &b = found->second;
    int rank = b.maker / running.block_threads;
    if (rank != running.current->rank && !check_knows(b.maker, b.made))
        stop("cluster", "%s at %s:%d: no cluster_sync says that the barrier of block %d is there",
             what, where.file, where.line, rank);
    return found->second;
}

static void end_phase(mbarrier &b)
{
    if (b.pending > 0 || b.bytes != 0)
        return;
    b.phase++;
    b.pending = b.arrivals;
    b.completed = b.clock;
    for (thread *t : b.waiting)
        set_runnable(t->warp, 1u << t->lane);
    b.waiting.clear();
}

static void deliver(mbarrier &b)
{
    for (const bulk_copy &c : b.copies) {
        memcpy(c.to, c.from, (size_t)c.bytes);
        check_bulk_done(c.to, (size_t)c.bytes);
        b.bytes -= c.bytes;
    }
    b.copies.clear();
    end_phase(b);
}

static void arrive(mbarrier &b, int bytes, at where)
{
    if (b.pending == 0)
        stop("mbarrier", "an arrival too many at %s:%d: %d are expected", where.file, where.line,
             b.arrivals);
    check_release(b.clock);
    b.bytes += bytes;
    b.pending--;
    if (!b.waiting.empty())
        deliver(b);
    end_phase(b);
}

/* The same place in the shared memory of another block of the cluster. */
template <typename T> static T *in_block(T *p, int rank, const char *what, at where)
{
    if (rank < 0 || rank >= running.n_blocks)
        stop("cluster", "%s at %s:%d: block %d of %d", what, where.file, where.line, rank,
             running.n_blocks);
    if (running.blocks[rank].n_alive == 0)
        stop("cluster", "%s at %s:%d: block %d of the cluster has ended", what, where.file,
             where.line, rank);
    return (T *)((unsigned char *)p - own_block().shared + running.blocks[rank].shared);
}

static void copy_to(void *to, const void *from, int bytes, uint64_t *barrier, const char *what,
                    at where, const void *pc)
{
    mbarrier &b = find(barrier, what, where, pc);
    if (((uintptr_t)to | (uintptr_t)from | (uintptr_t)bytes) % 16 != 0 || bytes <= 0)
        stop("alignment", "a bulk copy of %d bytes from %p to %p at %s:%d", bytes, from, to,
             where.file, where.line);
    check_bulk_issued(to, from, (size_t)bytes, pc);
    memset(to, 0xff, (size_t)bytes);
    b.copies.push_back({(unsigned char *)to, (const unsigned char *)from, bytes});
    check_release(b.clock);
    if (!b.waiting.empty())
        deliver(b);
}

void barriers_end()
{
    for (auto &[at, b] : barriers()) {
        if (!b.copies.empty())
            stop("flight", "a block or its cluster ended before its bulk copies");
        int rank = b.maker / running.block_threads;
        for (auto [thread, step] : b.visitors)
            if (!check_block_knows(rank, thread, step))
                stop("cluster",
                     "block %d of a cluster may end before thread %d of block %d arrives there",
                     rank, thread % running.block_threads, thread / running.block_threads);
    }
    barriers().clear();
}
} // namespace cudasim

using namespace cudasim;

void sa2_cuda::mbarrier_init(uint64_t *barrier, int arrivals, at where)
{
    check_access(barrier, sizeof *barrier, access::WRITE, __builtin_return_address(0));
    if (arrivals < 1 || arrivals >= 1 << 20 || barriers().count(barrier) != 0)
        stop("mbarrier", "init at %s:%d: %d arrivals, or a barrier already", where.file, where.line,
             arrivals);
    check_crossing();
    mbarrier b = {};
    b.maker = running.current->linear;
    b.made = check_step();
    b.arrivals = b.pending = arrivals;
    b.clock.resize(MAX_THREADS);
    b.completed = b.clock;
    barriers()[barrier] = b;
}

void sa2_cuda::mbarrier_arrive(uint64_t *barrier, at where)
{
    arrive(find(barrier, "mbarrier_arrive", where, __builtin_return_address(0)), 0, where);
}

void sa2_cuda::mbarrier_arrive_expect(uint64_t *barrier, int bytes, at where)
{
    arrive(find(barrier, "mbarrier_arrive_expect", where, __builtin_return_address(0)), bytes,
           where);
}

void sa2_cuda::mbarrier_wait(uint64_t *barrier, uint32_t parity, at where)
{
    mbarrier &b = find(barrier, "mbarrier_wait", where, __builtin_return_address(0));
    give_way();
    deliver(b);
    while ((b.phase & 1) == parity) {
        running.current->what = "mbarrier_wait";
        b.waiting.push_back(running.current);
        wait_here(state::AT_MBARRIER);
    }
    check_acquire(b.completed);
}

void sa2_cuda::mbarrier_arrive_at(uint64_t *barrier, int rank, at where)
{
    const char *what = "mbarrier_arrive_at";
    uint64_t *there = in_block(barrier, rank, what, where);
    mbarrier &b = find(there, what, where, __builtin_return_address(0));
    if (rank != running.current->rank)
        b.visitors[running.current->linear] = check_step();
    arrive(b, 0, where);
}

void sa2_cuda::copy_bulk(void *to, const void *from, int bytes, uint64_t *barrier, at where)
{
    copy_to(to, from, bytes, barrier, "copy_bulk", where, __builtin_return_address(0));
}

void sa2_cuda::copy_bulk_to_all(void *to, const void *from, int bytes, uint64_t *barrier,
                                int blocks, at where)
{
    const char *what = "copy_bulk_to_all";
    if (blocks != running.n_blocks)
        stop("cluster", "%s at %s:%d: %d blocks, the cluster has %d", what, where.file, where.line,
             blocks, running.n_blocks);
    for (int rank = 0; rank < blocks; rank++)
        copy_to(in_block(to, rank, what, where), from, bytes, in_block(barrier, rank, what, where),
                what, where, __builtin_return_address(0));
}
