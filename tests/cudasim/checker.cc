/* checker.cc - what each byte of the device is, and who touched it last.
 *
 * Kernels are compiled with -fsanitize=thread but not linked with its library: the hooks at the end of this file
 * receive each of their loads and stores and know which thread of which block makes it. They stop the program at
 *   a byte outside every allocation, or that a test has poisoned for the address sanitizer;
 *   a byte that nobody has written; a byte that an asynchronous copy is still to write;
 *   two accesses that nothing orders, one of them a write: by lanes without __syncwarp, by warps without
 *   __syncthreads, by blocks at all;
 *   in a kernel that starts early, before its wait_for_earlier(): a write to global memory, or a read of what a kernel
 *   wrote that may not have ended.
 *
 * Order inside a block: every thread has the number of block barriers so far, and for each lane of its warp the
 * last of that lane's own steps which it knows of; __syncwarp joins these. A block that uses mbarriers, and a cluster,
 * has the same for each of its threads.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <string>

extern char __executable_start, _end;
extern "C" __attribute__((weak)) int __asan_address_is_poisoned(const volatile void *p);

namespace cudasim
{
enum : uint8_t { ALLOCATED = 1, WRITTEN = 2, IN_FLIGHT = 4 };

/* One of the last accesses to eight bytes. */
struct trace {
    uint32_t launch; /* 0: none; shared memory counts blocks */
    uint32_t block, barriers, step, pc;
    uint16_t thread;
    uint8_t bytes; /* of the eight, a bit each */
    access kind;
};
enum { TRACES = 4 };

struct space {
    const char *name;
    uintptr_t base;
    size_t bytes;
    uint8_t *what;           /* [bytes] */
    trace (*traces)[TRACES]; /* [bytes / 8] */
    uint32_t launch;
};

static const size_t DEVICE_BYTES = (size_t)32
                                   << 30; /* of address space; freed addresses do not come back */
enum { ALLOCATION_ALIGN = 256, PAGE = 4096 };

static space global, shared;
static std::map<uintptr_t, size_t> *allocations;
static size_t top;
static uint32_t turn, counter;
static uint32_t *writers;  /* of eight bytes of global memory each: the last kernel */
static uint32_t all_ended; /* every kernel up to this one has */
static uintptr_t argument_base;
static size_t argument_bytes;

static uint32_t barriers[MAX_BLOCKS]; /* of each block that runs */
static uint32_t steps[MAX_WARPS][WARP][WARP];
static bool crossing; /* clusters, and blocks that use mbarriers */
static uint32_t (*seen)[MAX_THREADS];

static void *reserve(size_t bytes)
{
    void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        stop("memory", "%zu bytes of address space are not to be had", bytes);
    return p;
}

static space make_space(const char *name, void *base, size_t bytes)
{
    return {name,
            (uintptr_t)base,
            bytes,
            (uint8_t *)reserve(bytes),
            (trace(*)[TRACES])reserve(bytes / 8 * sizeof(trace[TRACES])),
            0};
}

void check_open()
{
    if (global.bytes != 0)
        return;
    global = make_space("global memory", reserve(DEVICE_BYTES), DEVICE_BYTES);
    writers = (uint32_t *)reserve(DEVICE_BYTES / 8 * sizeof *writers);
    allocations = new std::map<uintptr_t, size_t>;
}

/* ---- allocations ---- */

void *check_allocate(size_t bytes, bool initialised)
{
    check_open();
    size_t at = (top + ALLOCATION_ALIGN - 1) / ALLOCATION_ALIGN * ALLOCATION_ALIGN;
    if (bytes > DEVICE_BYTES - at - PAGE)
        return nullptr;
    top = at + bytes + ALLOCATION_ALIGN;
    unsigned char *p = (unsigned char *)global.base + at;
    if (!initialised)
        memset(p, 0xff, bytes);
    memset(global.what + at, initialised ? ALLOCATED | WRITTEN : ALLOCATED, bytes);
    (*allocations)[(uintptr_t)p] = bytes;
    return p;
}

/* Whole pages go back to the system. */
static void drop_pages(uintptr_t first, uintptr_t end)
{
    first = (first + PAGE - 1) / PAGE * PAGE;
    end = end / PAGE * PAGE;
    if (first < end)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

bool check_free(void *p)
{
    auto found = allocations->find((uintptr_t)p);
    if (found == allocations->end())
        return false;
    size_t at = found->first - global.base, bytes = found->second;
    memset(global.what + at, 0, bytes);
    drop_pages(global.base + at, global.base + at + bytes);
    drop_pages((uintptr_t)(global.what + at), (uintptr_t)(global.what + at + bytes));
    drop_pages((uintptr_t)(global.traces + at / 8), (uintptr_t)(global.traces + (at + bytes) / 8));
    drop_pages((uintptr_t)(writers + at / 8), (uintptr_t)(writers + (at + bytes) / 8));
    allocations->erase(found);
    return true;
}

void check_host_copy(const void *p, size_t bytes, access kind)
{
    uintptr_t at = (uintptr_t)p - global.base;
    if (at >= global.bytes)
        return; /* memory of the host */
    for (size_t i = 0; i < bytes; i++) {
        uint8_t *what = &global.what[at + i];
        if ((*what & ALLOCATED) == 0)
            stop("bounds", "a copy of %zu bytes leaves its allocation at byte %zu", bytes, i);
        if (kind == access::WRITE)
            *what |= WRITTEN;
        else if ((*what & WRITTEN) == 0)
            stop("unwritten", "a copy reads byte %zu, which nobody wrote", i);
    }
}

void check_device_copy(void *to, const void *from, size_t bytes)
{
    uint8_t *to_what = &global.what[(uintptr_t)to - global.base];
    const uint8_t *from_what = &global.what[(uintptr_t)from - global.base];
    for (size_t i = 0; i < bytes; i++) {
        if ((to_what[i] & from_what[i] & ALLOCATED) == 0)
            stop("bounds", "a copy of %zu bytes leaves its allocation at byte %zu", bytes, i);
        to_what[i] = (uint8_t)((to_what[i] & ~WRITTEN) | (from_what[i] & WRITTEN));
    }
}

/* ---- order ---- */

void check_all_ended()
{
    all_ended = counter;
}

void check_library_start()
{
    check_all_ended();
    global.launch = ++counter;
}

void check_library_access(const void *p, size_t bytes, access kind)
{
    check_host_copy(p, bytes, kind);
    uintptr_t at = (uintptr_t)p - global.base;
    if (at >= global.bytes || bytes == 0)
        stop("bounds", "a library leaves the memory of the device");
    for (size_t i = at / 8; kind == access::WRITE && i <= (at + bytes - 1) / 8; i++)
        writers[i] = global.launch;
}

void check_launch(const void *arguments, size_t bytes)
{
    argument_base = (uintptr_t)arguments;
    argument_bytes = bytes;
    if (shared.bytes == 0)
        shared = make_space("shared memory", running.shared, (size_t)MAX_BLOCKS * SHARED_STRIDE);
    global.launch = ++counter;
}

void check_cluster()
{
    shared.launch = ++counter;
    for (int rank = 0; rank < running.n_blocks; rank++) {
        uint8_t *what = shared.what + (size_t)rank * SHARED_STRIDE;
        memset(what, ALLOCATED, running.shared_bytes);
        memset(what + running.shared_bytes, 0, SHARED_STRIDE - running.shared_bytes);
        barriers[rank] = 0;
    }
    crossing = false;
    memset(steps, 0, sizeof steps[0] * (size_t)running.n_warps);
    for (int w = 0; w < running.n_warps; w++)
        for (int lane = 0; lane < WARP; lane++)
            steps[w][lane][lane] = 1;
    if (running.n_blocks > 1)
        check_crossing();
}

static uint32_t later(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Lanes know afterwards what any of them knew. */
static void join_seen(int w, unsigned lanes)
{
    uint32_t joined[MAX_THREADS] = {0};
    for (unsigned left = lanes; left != 0; left &= left - 1)
        for (int i = 0; i < running.n_threads; i++) {
            joined[i] = later(joined[i], seen[w * WARP + __builtin_ctz(left)][i]);
        }
    for (unsigned left = lanes; left != 0; left &= left - 1)
        memcpy(seen[w * WARP + __builtin_ctz(left)], joined,
               sizeof(uint32_t) * (size_t)running.n_threads);
}

void check_warp_sync(int w, unsigned lanes)
{
    uint32_t joined[WARP] = {0};
    for (unsigned left = lanes; left != 0; left &= left - 1)
        for (int i = 0; i < WARP; i++) {
            joined[i] = later(joined[i], steps[w][__builtin_ctz(left)][i]);
        }
    for (unsigned left = lanes; left != 0; left &= left - 1) {
        int lane = __builtin_ctz(left);
        memcpy(steps[w][lane], joined, sizeof joined);
        steps[w][lane][lane]++;
    }
    if (crossing)
        join_seen(w, lanes);
}

/* In a cluster, what any of its threads knew and did is known to all of them, and to whom they tell it. */
void check_block_sync(int rank)
{
    barriers[rank]++;
    if (running.n_blocks == 1)
        return;
    int first = rank * running.block_threads, end = first + running.block_threads;
    std::vector<uint32_t> known((size_t)running.n_threads);
    for (int i = 0; i < running.n_threads; i++)
        for (int t = first; t < end; t++)
            known[(size_t)i] = later(known[(size_t)i], seen[t][i]);
    for (int t = first; t < end; t++)
        known[(size_t)t] = steps[t / WARP][t % WARP][t % WARP]++;
    for (int t = first; t < end; t++)
        memcpy(seen[t], known.data(), known.size() * sizeof known[0]);
}

/* ---- order that mbarriers and clusters make ---- */

void check_crossing()
{
    if (crossing)
        return;
    if (seen == nullptr)
        seen = (uint32_t(*)[MAX_THREADS])reserve(sizeof(uint32_t[MAX_THREADS][MAX_THREADS]));
    for (int i = 0; i < running.n_threads; i++)
        memset(seen[i], 0, sizeof(uint32_t) * (size_t)running.n_threads);
    crossing = true;
}

void check_release(std::vector<uint32_t> &clock)
{
    const thread *me = running.current;
    for (int i = 0; i < running.n_threads; i++)
        clock[(size_t)i] = later(clock[(size_t)i], seen[me->linear][i]);
    for (int lane = 0; lane < WARP && me->warp * WARP + lane < running.n_threads; lane++) {
        uint32_t &known = clock[(size_t)(me->warp * WARP + lane)];
        known = later(known, steps[me->warp][me->lane][lane]);
    }
    steps[me->warp][me->lane][me->lane]++;
}

void check_acquire(const std::vector<uint32_t> &clock)
{
    const thread *me = running.current;
    for (int i = 0; i < running.n_threads; i++)
        seen[me->linear][i] = later(seen[me->linear][i], clock[(size_t)i]);
}

uint32_t check_step()
{
    const thread *me = running.current;
    return steps[me->warp][me->lane][me->lane];
}

bool check_knows(int thread, uint32_t step)
{
    return crossing && seen[running.current->linear][thread] >= step;
}

bool check_block_knows(int rank, int thread, uint32_t step)
{
    int first = rank * running.block_threads, end = first + running.block_threads;
    for (int t = first; t < end; t++)
        if (seen[t][thread] >= step)
            return true;
    return false;
}

/* ---- one access ---- */

/* "rms_norm.cu:41" from the debug information. */
static std::string place_of(uint32_t pc)
{
    char command[160], line[512] = "";
    snprintf(command, sizeof command, "addr2line -e /proc/%d/exe 0x%x 2>/dev/null", (int)getpid(),
             pc - 1);
    FILE *pipe = popen(command, "r");
    if (pipe != nullptr) {
        if (fgets(line, sizeof line, pipe) == nullptr)
            line[0] = '\0';
        pclose(pipe);
    }
    line[strcspn(line, " \n")] = '\0';
    const char *slash = strrchr(line, '/');
    return slash != nullptr ? slash + 1 : line;
}

static const char *name_of(access kind)
{
    return kind == access::READ ? "read" : kind == access::WRITE ? "write" : "atomic";
}

[[noreturn]] static void refuse(const char *kind, const space *s, uintptr_t p, size_t bytes,
                                access how, uint32_t pc, const char *why)
{
    char object[96] = "";
    if (s == &global) {
        auto next = allocations->upper_bound(p);
        if (next != allocations->begin()) {
            --next;
            snprintf(object, sizeof object, ", byte %zu of an allocation of %zu",
                     (size_t)(p - next->first), next->second);
        }
    }
    stop(kind, "%s of %zu bytes in %s at %zu%s: %s (%s)", name_of(how), bytes, s->name,
         (size_t)(p - s->base), object, why, place_of(pc).c_str());
}

static void judge_bytes(space *s, uintptr_t p, size_t bytes, access how, uint32_t pc)
{
    uint8_t *what = s->what + (p - s->base);
    for (size_t i = 0; i < bytes; i++) {
        if ((what[i] & ALLOCATED) == 0)
            refuse("bounds", s, p + i, bytes, how, pc, "outside every allocation");
        if ((what[i] & IN_FLIGHT) != 0)
            refuse("flight", s, p + i, bytes, how, pc, "a copy into it was not waited for");
        if (how != access::WRITE && (what[i] & WRITTEN) == 0)
            refuse("unwritten", s, p + i, bytes, how, pc, "nobody wrote it");
        if (how != access::READ)
            what[i] |= WRITTEN;
    }
    if (s == &global && __asan_address_is_poisoned != nullptr)
        for (size_t i = 0; i < bytes; i += 8)
            if (__asan_address_is_poisoned((void *)(p + i)) ||
                __asan_address_is_poisoned((void *)(p + bytes - 1)))
                refuse("bounds", s, p + i, bytes, how, pc, "in the guard of a tensor");
}

/* Does `before` happen before what thread t does now? */
static bool is_ordered(const trace *before, const thread *t)
{
    if (before->block != running.index)
        return false;
    bool same = before->thread / running.block_threads == t->rank;
    if (before->thread == t->linear || (same && before->barriers < barriers[t->rank]))
        return true;
    if (before->thread / WARP == t->warp &&
        before->step <= steps[t->warp][t->lane][before->thread % WARP])
        return true;
    return crossing && before->step <= seen[t->linear][before->thread];
}

static bool conflict(access a, access b)
{
    return (a != access::READ || b != access::READ) &&
           !(a == access::ATOMIC && b == access::ATOMIC);
}

static void judge_order(space *s, uintptr_t p, size_t bytes, access how, uint32_t pc)
{
    const thread *t = running.current;
    trace now = {s->launch,
                 running.index,
                 barriers[t->rank],
                 steps[t->warp][t->lane][t->lane],
                 pc,
                 (uint16_t)t->linear,
                 0,
                 how};
    while (bytes > 0) {
        size_t in = p & 7, n = bytes < 8 - in ? bytes : 8 - in;
        now.bytes = (uint8_t)(((1u << n) - 1) << in);
        trace *row = s->traces[(p - s->base) >> 3];
        int put = -1;
        for (int i = 0; i < TRACES; i++) {
            trace *old = &row[i];
            bool mine =
                old->launch != s->launch ||
                (old->block == now.block && old->thread == now.thread &&
                 (old->bytes & ~now.bytes) == 0 && (old->kind == how || how == access::WRITE));
            if (mine && put < 0)
                put = i;
            if (old->launch != s->launch || (old->bytes & now.bytes) == 0 ||
                !conflict(old->kind, how) || is_ordered(old, t))
                continue;
            char why[160];
            snprintf(why, sizeof why, "not ordered after the %s by thread %d of block %u at %s",
                     name_of(old->kind), old->thread % running.block_threads,
                     old->block + (unsigned)(old->thread / running.block_threads),
                     place_of(old->pc).c_str());
            refuse("race", s, p, bytes, how, pc, why);
        }
        row[put >= 0 ? put : (int)(turn++ % TRACES)] = now;
        p += n;
        bytes -= n;
    }
}

/* In global memory: may an earlier kernel still be at it? */
static void judge_start(uintptr_t p, size_t bytes, access how, uint32_t pc)
{
    bool early = running.starts_early && !running.current->has_waited;
    if (early && how != access::READ)
        refuse("early", &global, p, bytes, how, pc, "before wait_for_earlier()");
    for (size_t i = (p - global.base) / 8; i <= (p + bytes - 1 - global.base) / 8; i++) {
        if (early && writers[i] > all_ended)
            refuse("early", &global, p, bytes, how, pc,
                   "an earlier kernel writes it, and wait_for_earlier() was not called");
        if (how != access::READ)
            writers[i] = global.launch;
    }
}

static space *space_of(uintptr_t p)
{
    if (p - shared.base < shared.bytes)
        return &shared;
    return p - global.base < global.bytes ? &global : nullptr;
}

static uint32_t offset_of(const void *pc)
{
    return (uint32_t)((uintptr_t)pc - (uintptr_t)&__executable_start);
}

/* Its own variables, the arguments, and tables of the program. */
static bool is_private(uintptr_t p)
{
    return p - (uintptr_t)running.current->stack < (size_t)(64 << 10) ||
           p - argument_base < argument_bytes ||
           p - (uintptr_t)&__executable_start < (uintptr_t)&_end - (uintptr_t)&__executable_start;
}

/* With what no thread may do for itself: touch the shared memory of another block. */
static void judge(const void *address, size_t bytes, access how, const void *pc)
{
    if (running.current == nullptr)
        return; /* a launcher */
    uintptr_t p = (uintptr_t)address;
    space *s = space_of(p);
    if (s == nullptr) {
        if (!is_private(p))
            stop("pointer", "%s of %zu bytes at %p, which is no memory of the device (%s)",
                 name_of(how), bytes, address, place_of(offset_of(pc)).c_str());
        return;
    }
    if (bytes <= 16 && (bytes & (bytes - 1)) == 0 && p % bytes != 0)
        refuse("alignment", s, p, bytes, how, offset_of(pc), "misaligned");
    judge_bytes(s, p, bytes, how, offset_of(pc));
    judge_order(s, p, bytes, how, offset_of(pc));
    if (s == &global)
        judge_start(p, bytes, how, offset_of(pc));
}

void check_access(const void *address, size_t bytes, access how, const void *pc)
{
    uintptr_t p = (uintptr_t)address;
    if (running.current != nullptr && p - shared.base < shared.bytes &&
        (p - shared.base) / SHARED_STRIDE != (uintptr_t)running.current->rank)
        refuse("cluster", &shared, p, bytes, how, offset_of(pc), "of another block");
    judge(address, bytes, how, pc);
}

void check_peer(const void *p, size_t bytes, const void *pc)
{
    judge(p, bytes, access::READ, pc);
}

/* ---- copies in flight ---- */

static void set_flight(void *to, size_t bytes, bool in_flight)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t *what = &shared.what[(uintptr_t)to - shared.base + i];
        *what = (uint8_t)(in_flight ? *what | IN_FLIGHT : *what & ~IN_FLIGHT);
    }
}

void check_copy_issued(void *to, const void *from, int bytes, const void *pc)
{
    if (space_of((uintptr_t)to) != &shared)
        stop("pointer", "cp.async to %p, which is not shared memory", to);
    check_access(to, 16, access::WRITE, pc);
    if (bytes > 0)
        check_access(from, (size_t)bytes, access::READ, pc);
    set_flight(to, 16, true);
}

void check_copy_done(void *to)
{
    set_flight(to, 16, false);
    check_access(to, 16, access::WRITE, nullptr);
}

void check_bulk_issued(void *to, const void *from, size_t bytes, const void *pc)
{
    if (space_of((uintptr_t)to) != &shared || space_of((uintptr_t)from) != &global)
        stop("pointer", "a bulk copy from %p to %p: not from global to shared memory", from, to);
    for (size_t i = 0; i < bytes; i += 16) {
        judge((unsigned char *)to + i, 16, access::WRITE, pc);
        judge((const unsigned char *)from + i, 16, access::READ, pc);
    }
    set_flight(to, bytes, true);
}

void check_bulk_done(void *to, size_t bytes)
{
    set_flight(to, bytes, false);
}
} // namespace cudasim

/* ---- what the compiler calls ---- */

using cudasim::access;
#define HOOK extern "C" __attribute__((visibility("default"), noinline)) void
#define HOOKS(n)                                                                                   \
    HOOK __tsan_read##n(void *p)                                                                   \
    {                                                                                              \
        cudasim::check_access(p, n, access::READ, __builtin_return_address(0));                    \
    }                                                                                              \
    HOOK __tsan_write##n(void *p)                                                                  \
    {                                                                                              \
        cudasim::check_access(p, n, access::WRITE, __builtin_return_address(0));                   \
    }                                                                                              \
    HOOK __tsan_unaligned_read##n(void *p)                                                         \
    {                                                                                              \
        cudasim::check_access(p, n, access::READ, __builtin_return_address(0));                    \
    }                                                                                              \
    HOOK __tsan_unaligned_write##n(void *p)                                                        \
    {                                                                                              \
        cudasim::check_access(p, n, access::WRITE, __builtin_return_address(0));                   \
    }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
HOOK __tsan_read_range(void *p, size_t n)
{
    cudasim::check_access(p, n, access::READ, __builtin_return_address(0));
}
HOOK __tsan_write_range(void *p, size_t n)
{
    cudasim::check_access(p, n, access::WRITE, __builtin_return_address(0));
}
HOOK __tsan_init(void)
{
}
HOOK __tsan_func_entry(void *)
{
}
HOOK __tsan_func_exit(void)
{
}
