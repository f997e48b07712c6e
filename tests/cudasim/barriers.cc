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
    int arrivals, pending; /* of each phase; of this one */
    int64_t bytes;         /* that are promised and have not come */
    uint32_t phase;
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
    check_access(barrier, sizeof *barrier, access::READ, pc);
    auto found = barriers().find(barrier);
    if (found == barriers().end())
        stop("mbarrier", "%s at %s:%d: not a barrier", what, where.file, where.line);
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

void barriers_end()
{
    for (auto &b : barriers())
        if (!b.second.copies.empty())
            stop("flight", "a block ended before its bulk copies");
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

void sa2_cuda::copy_bulk(void *to, const void *from, int bytes, uint64_t *barrier, at where)
{
    const void *pc = __builtin_return_address(0);
    mbarrier &b = find(barrier, "copy_bulk", where, pc);
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
