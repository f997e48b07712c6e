/* fibers.cc - the threads of a cluster as fibers, and who runs next.
 *
 * A thread runs until it waits: at a barrier, or for the other lanes of its warp. In order, the next lane of
 * the warp goes on; with a seed (SA2_CUDASIM_SEED=n, n > 0) any runnable thread may.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace cudasim
{
enum { STACK_BYTES = 64 << 10, PAGE = 4096 };

/* Saves the registers that a call must keep and the stack pointer, and goes on where `to` was saved. */
extern "C" void cudasim_switch(void **save, void *to);

#if defined(__x86_64__)
enum { SAVED_WORDS = 7 }; /* six registers and the address to return to */
asm(".text\n.globl cudasim_switch\n.type cudasim_switch,@function\ncudasim_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
    ".size cudasim_switch,.-cudasim_switch\n");
#elif defined(__aarch64__)
enum { SAVED_WORDS = 20 };
asm(".text\n.globl cudasim_switch\n.type cudasim_switch,%function\ncudasim_switch:\n"
    "sub sp,sp,#160\nstp x19,x20,[sp]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\n"
    "stp x25,x26,[sp,#48]\nstp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\nstp d8,d9,[sp,#96]\n"
    "stp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n"
    "mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"
    "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\n"
    "ldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\nadd sp,sp,#160\nret\n"
    ".size cudasim_switch,.-cudasim_switch\n");
#else
#error "a context switch for this processor is missing"
#endif

void fibers_open()
{
    if (running.threads != nullptr)
        return;
    size_t each = STACK_BYTES + PAGE;
    char *stacks = (char *)mmap(nullptr, each * MAX_THREADS, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED)
        stop("memory", "no stacks for %d threads", (int)MAX_THREADS);
    running.threads = new thread[MAX_THREADS]();
    for (int i = 0; i < MAX_THREADS; i++) {
        mprotect(stacks + (size_t)i * each, PAGE, PROT_NONE);
        running.threads[i].stack = stacks + (size_t)i * each + PAGE;
    }
}

void fiber_start(thread *t, void (*body)())
{
    /* Tops of stacks 832 bytes apart, or they would all share a few sets of the host's cache. */
    size_t shift = (size_t)t->linear * 832 % PAGE / 64 * 64;
    void **top = (void **)(t->stack + STACK_BYTES - 64 - shift);
#if defined(__x86_64__)
    *--top = nullptr;
    *--top = (void *)body;
    t->stack_pointer = top - (SAVED_WORDS - 1);
#else
    top -= SAVED_WORDS;
    for (int i = 0; i < SAVED_WORDS; i++)
        top[i] = nullptr;
    top[11] = (void *)body; /* x30 */
    t->stack_pointer = top;
#endif
    t->now = state::RUNNABLE;
    set_runnable(t->warp, 1u << t->lane);
}

uint32_t random_bits()
{
    uint64_t x = running.random; /* xorshift64, Marsaglia 2003 */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    running.random = x;
    return (uint32_t)(x >> 32);
}

void set_runnable(int w, unsigned lanes)
{
    running.warps[w].runnable |= lanes;
    for (unsigned m = lanes; m != 0; m &= m - 1)
        running.threads[w * WARP + __builtin_ctz(m)].now = state::RUNNABLE;
}

static int nth_lane(unsigned lanes, unsigned n)
{
    while (n-- > 0)
        lanes &= lanes - 1;
    return __builtin_ctz(lanes);
}

/* The first runnable lane at or after `lane` of warp w, else its first one; -1 when there is none. */
static int lane_from(int w, int lane)
{
    unsigned lanes = running.warps[w].runnable;
    if (lanes == 0)
        return -1;
    unsigned later = lane < WARP ? lanes & ~0u << lane : 0;
    return __builtin_ctz(later != 0 ? later : lanes);
}

static thread *next_in_order()
{
    thread *me = running.current;
    int w = me != nullptr ? me->warp : 0;
    for (int i = 0; i < running.n_warps; i++, w = (w + 1) % running.n_warps) {
        int lane = lane_from(w, i == 0 && me != nullptr ? me->lane + 1 : 0);
        if (lane >= 0)
            return &running.threads[w * WARP + lane];
    }
    return nullptr;
}

static thread *next_at_random()
{
    int first = (int)(random_bits() % (unsigned)running.n_warps);
    for (int i = 0; i < running.n_warps; i++) {
        int w = (first + i) % running.n_warps;
        unsigned lanes = running.warps[w].runnable;
        if (lanes != 0) {
            unsigned n = random_bits() % (unsigned)__builtin_popcount(lanes);
            return &running.threads[w * WARP + nth_lane(lanes, n)];
        }
    }
    return nullptr;
}

/* No thread can run: what do they wait for? */
[[noreturn]] static void deadlock()
{
    const thread *t = running.threads;
    for (int i = 0; i < running.n_threads; i++)
        if (running.threads[i].now != state::EXITED)
            t = &running.threads[i];
    running.current = nullptr;
    stop("deadlock", "%d of %d threads wait for ever, thread %d in %s at %s:%d", running.n_alive,
         running.n_threads, t->linear, t->what, t->where.file, t->where.line);
}

static thread *choose()
{
    thread *next = running.in_order ? next_in_order() : next_at_random();
    if (next == nullptr)
        deadlock();
    return next;
}

static void resume(thread *t, void **save)
{
    running.current = t;
    here.thread = t->index;
    here.block = running.blocks[t->rank].index;
    here.shared = running.blocks[t->rank].shared;
    cudasim_switch(save, t->stack_pointer);
}

void wait_here(state why)
{
    thread *me = running.current;
    me->now = why;
    running.warps[me->warp].runnable &= ~(1u << me->lane);
    thread *next = choose();
    if (next != me)
        resume(next, &me->stack_pointer);
}

void give_way()
{
    thread *me = running.current;
    thread *next = running.in_order ? me : choose();
    if (next != me)
        resume(next, &me->stack_pointer);
}

void fibers_run()
{
    running.current = nullptr;
    resume(choose(), &running.launcher);
}

[[noreturn]] void fiber_exit()
{
    void *never;
    if (running.n_alive == 0) {
        running.current = nullptr;
        cudasim_switch(&never, running.launcher);
    } else {
        resume(choose(), &never);
    }
    __builtin_unreachable();
}
} // namespace cudasim
