/* copies.cc - cp.async and atomics.
 *
 * A copy spoils its destination when it is asked for and delivers when it is waited for, not before.
 */
#include "sim.h"

#include <kernels/cuda/ptx.cuh>

namespace cudasim
{
enum { COPY_BYTES = 16 };

void copy_async(void *to, const void *from, int bytes, const void *pc)
{
    if (((uintptr_t)to | (uintptr_t)from) % COPY_BYTES != 0)
        stop("alignment", "cp.async of 16 bytes from %p to %p", from, to);
    check_copy_issued(to, from, bytes, pc);
    memset(to, 0xff, COPY_BYTES);
    running.current->copies.push_back({(unsigned char *)to, (const unsigned char *)from, bytes});
}

void finish_copies(thread *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const pending_copy *c = &t->copies[i];
        memset(c->to, 0, COPY_BYTES);
        memcpy(c->to, c->from, (size_t)c->bytes);
        check_copy_done(c->to);
    }
    t->copies.erase(t->copies.begin(), t->copies.begin() + (ptrdiff_t)n);
}

/* Blocks run one after the other, so a plain read and write is atomic; the checker knows that it is meant. */
void atomic(const void *p, size_t bytes, const void *pc)
{
    check_access(p, bytes, access::ATOMIC, pc);
}
} // namespace cudasim

using namespace cudasim;

void sa2_cuda::copy_async_part(void *to, const void *from, int bytes)
{
    copy_async(to, from, bytes, __builtin_return_address(0));
}

void sa2_cuda::copy_async_16(void *to, const void *from, bool is_there)
{
    copy_async(to, from, is_there ? COPY_BYTES : 0, __builtin_return_address(0));
}

void sa2_cuda::copy_async_commit()
{
    running.current->groups.push_back(running.current->copies.size());
}

void sa2_cuda::copy_async_wait_all_but(int n)
{
    thread *me = running.current;
    if ((int)me->groups.size() <= n)
        return;
    size_t done = me->groups[me->groups.size() - (size_t)n - 1];
    finish_copies(me, done);
    me->groups.erase(me->groups.begin(), me->groups.end() - n);
    for (size_t &group : me->groups)
        group -= done;
}

int atomicCAS(int *p, int expected, int value)
{
    atomic(p, sizeof *p, __builtin_return_address(0));
    int old = *p;
    if (old == expected)
        *p = value;
    return old;
}

int atomicAdd(int *p, int value)
{
    atomic(p, sizeof *p, __builtin_return_address(0));
    int old = *p;
    *p += value;
    return old;
}

int atomicMax(int *p, int value)
{
    atomic(p, sizeof *p, __builtin_return_address(0));
    int old = *p;
    if (old < value)
        *p = value;
    return old;
}

unsigned long long atomicMin(unsigned long long *p, unsigned long long value)
{
    atomic(p, sizeof *p, __builtin_return_address(0));
    unsigned long long old = *p;
    if (old > value)
        *p = value;
    return old;
}
