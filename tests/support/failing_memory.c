#include "tests/support/failing_memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/types.h>

/* What the linker puts in the place of the allocators, and where it keeps them. */
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t n);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *address, size_t n, int protection, int flags, int file, off_t offset);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context);
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t n);
char *__real_strdup(const char *text);
void *__real_mmap(void *address, size_t n, int protection, int flags, int file, off_t offset);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context);

static struct {
    atomic_int n, n_others, failing;
    pthread_t own;
} count;

void test_fail_allocation(int n)
{
    count.own = pthread_self();
    atomic_store(&count.n, 0);
    atomic_store(&count.n_others, 0);
    atomic_store(&count.failing, n);
}

int test_allocations(void)
{
    return atomic_load(&count.n);
}

int test_allocations_of_others(void)
{
    return atomic_load(&count.n_others);
}

static bool fails(void)
{
    if (!pthread_equal(pthread_self(), count.own))
        atomic_fetch_add(&count.n_others, 1);
    return atomic_fetch_add(&count.n, 1) + 1 == atomic_load(&count.failing);
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *block, size_t n)
{
    return fails() ? NULL : __real_realloc(block, n);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

void *__wrap_mmap(void *address, size_t n, int protection, int flags, int file, off_t offset)
{
    return fails() ? (void *)-1 : __real_mmap(address, n, protection, flags, file, offset);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attributes, run, context);
}
