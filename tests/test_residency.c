/* Residency: memory comes beside the work of others, keeps what they wrote, and the thread ends when it is told to. */
#define _DEFAULT_SOURCE /* mincore */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "runtime/serving/residency.h"

enum { FEW = 3 << 20, MANY = 1 << 30 };

static size_t resident_bytes(const sa2_arena *arena)
{
    static unsigned char pages[MANY / 4096];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = arena->owned_bytes / page, there = 0;
    assert_true(n <= sizeof pages);
    assert_int_equal(mincore(arena->base, arena->owned_bytes, pages), 0);
    for (size_t i = 0; i < n; i++)
        there += pages[i] & 1u;
    return there * page;
}

/* Looked for again and again: the thread rests between its pieces. */
static void wait_until_resident(const sa2_arena *arena)
{
    for (int i = 0; i < 6000 && resident_bytes(arena) < arena->owned_bytes; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_int_equal(resident_bytes(arena), arena->owned_bytes);
}

static void every_arena_becomes_resident_and_keeps_what_was_written(void **state)
{
    (void)state;
    sa2_arena a, b;
    assert_int_equal(sa2_arena_create(&a, FEW, NULL), SA2_OK);
    assert_int_equal(sa2_arena_reserve(&b, FEW, NULL), SA2_OK);
    memset(b.base, 7, 5000);
    sa2_residency residency = {.arenas = {&a, &b}};
    sa2_residency_start(&residency);
    memset(b.base + FEW - 5000, 9, 5000);
    wait_until_resident(&a);
    wait_until_resident(&b);
    sa2_residency_stop(&residency);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(b.base[i], 7);
        assert_int_equal(b.base[FEW - 5000 + i], 9);
    }
    sa2_arena_destroy(&a);
    sa2_arena_destroy(&b);
}

static void it_stops_before_all_is_done(void **state)
{
    (void)state;
    sa2_arena large;
    assert_int_equal(sa2_arena_reserve(&large, MANY, NULL), SA2_OK);
    sa2_residency residency = {.arenas = {&large}};
    sa2_residency_start(&residency);
    sa2_residency_stop(&residency);
    assert_true(resident_bytes(&large) < MANY / 2);
    sa2_residency_stop(&residency); /* again: nothing to be done */
    sa2_arena_destroy(&large);
}

static void borrowed_memory_is_left_alone(void **state)
{
    (void)state;
    static _Alignas(SA2_ARENA_ALIGN) unsigned char memory[1024];
    sa2_arena arena;
    sa2_arena_init(&arena, memory, sizeof memory);
    sa2_residency residency = {.arenas = {&arena}};
    sa2_residency_start(&residency);
    sa2_residency_stop(&residency);
    sa2_residency none = {0};
    sa2_residency_stop(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_arena_becomes_resident_and_keeps_what_was_written),
        cmocka_unit_test(it_stops_before_all_is_done),
        cmocka_unit_test(borrowed_memory_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
