/* failing_memory.h - allocations that fail on purpose, for tests whose name ends in _memory.
 *
 * Counted are malloc, calloc, realloc, strdup, mmap and pthread_create as our code calls them, from any thread.
 */
#ifndef SA2_TESTS_SUPPORT_FAILING_MEMORY_H
#define SA2_TESTS_SUPPORT_FAILING_MEMORY_H

/* The n-th allocation from now on fails, 1 is the next one; 0: none does. Counting starts again. */
void test_fail_allocation(int n);

/* Allocations since then, and those of them that other threads than the caller of test_fail_allocation() made. */
int test_allocations(void);
int test_allocations_of_others(void);

#endif
