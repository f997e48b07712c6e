#define _GNU_SOURCE
#include "kernels/base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>

void sa2_arena_init(sa2_arena *arena, void *base, size_t bytes)
{
    assert((uintptr_t)base % SA2_ARENA_ALIGN == 0);
    *arena = (sa2_arena){.base = base, .bytes = bytes};
}

static sa2_status map_block(sa2_arena *arena, size_t bytes, size_t whole, sa2_error *err)
{
    *arena = (sa2_arena){0};
    void *block = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return sa2_fail(err, SA2_ERR_NOMEM, "memory: %zu bytes asked for, the system has no room",
                        bytes);
    sa2_arena_init(arena, block, bytes);
    arena->owned_bytes = whole;
    return SA2_OK;
}

sa2_status sa2_arena_create(sa2_arena *arena, size_t bytes, sa2_error *err)
{
    enum { LARGE_PAGE = 2 << 20 };
    *arena = (sa2_arena){0};
    size_t whole = bytes < SA2_ARENA_ALIGN ? SA2_ARENA_ALIGN : bytes;
    if (whole > SIZE_MAX - LARGE_PAGE)
        return sa2_fail(err, SA2_ERR_NOMEM, "memory: %zu bytes asked for", bytes);
    if (whole >= LARGE_PAGE)
        whole = (whole + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    sa2_status st = map_block(arena, bytes, whole, err);
    if (st == SA2_OK)
        madvise(arena->base, whole, MADV_HUGEPAGE); /* a wish: smaller pages serve too */
    return st;
}

sa2_status sa2_arena_reserve(sa2_arena *arena, size_t bytes, sa2_error *err)
{
    size_t whole = bytes < SA2_ARENA_ALIGN ? SA2_ARENA_ALIGN : bytes;
    sa2_status st = map_block(arena, bytes, whole, err);
    if (st == SA2_OK)
        madvise(arena->base, whole, MADV_NOHUGEPAGE);
    return st;
}

void sa2_arena_commit(const sa2_arena *arena, size_t at, size_t bytes)
{
    size_t left = at < arena->owned_bytes ? arena->owned_bytes - at : 0;
    if (left > 0) /* a wish as well */
        madvise(arena->base + at, bytes < left ? bytes : left, MADV_POPULATE_WRITE);
}

void sa2_arena_destroy(sa2_arena *arena)
{
    if (arena->owned_bytes > 0)
        munmap(arena->base, arena->owned_bytes);
    *arena = (sa2_arena){0};
}

size_t sa2_arena_round(size_t bytes)
{
    return (bytes + SA2_ARENA_ALIGN - 1) / SA2_ARENA_ALIGN * SA2_ARENA_ALIGN;
}

void *sa2_arena_take(sa2_arena *arena, size_t bytes)
{
    if (bytes > arena->bytes - arena->used)
        return NULL;
    void *block = arena->base + arena->used;
    size_t room = sa2_arena_round(bytes);
    size_t left = arena->bytes - arena->used;
    arena->used += room < left ? room : left;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return block;
}

size_t sa2_arena_mark(const sa2_arena *arena)
{
    return arena->used;
}

void sa2_arena_rewind(sa2_arena *arena, size_t mark)
{
    assert(mark <= arena->used);
    arena->used = mark;
}
