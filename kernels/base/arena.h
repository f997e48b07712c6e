/* arena.h - one block of memory handed out from front to back and given back all at once.
 *
 * Every block of memory in sa2 has one owner, an arena with a lifetime: model (weights), cache (KV
 * pages), work (activations, rewound each step), request (host). An arena over memory of a device
 * only does arithmetic on addresses; it never touches the bytes.
 */
#ifndef SA2_KERNELS_BASE_ARENA_H
#define SA2_KERNELS_BASE_ARENA_H

#include <stddef.h>

#include "kernels/base/status.h"

enum { SA2_ARENA_ALIGN = 64 }; /* bytes: a cache line, and the widest vector */

typedef struct sa2_arena {
    unsigned char *base; /* SA2_ARENA_ALIGN aligned */
    size_t bytes;        /* of the block */
    size_t used;
    size_t peak;        /* largest `used` so far */
    size_t owned_bytes; /* of the mapping that sa2_arena_destroy() gives back; 0: borrowed */
} sa2_arena;

/* Over memory that the caller owns and that outlives the arena; `base` must be aligned. */
void sa2_arena_init(sa2_arena *arena, void *base, size_t bytes);

/* Over host memory of its own, in large pages where the system has them; zeroed.
 * Errors: SA2_ERR_NOMEM, with the number of bytes asked for. */
sa2_status sa2_arena_create(sa2_arena *arena, size_t bytes, sa2_error *err);

/* The same in small pages, which exist only once they are touched: for memory planned for the worst case. */
sa2_status sa2_arena_reserve(sa2_arena *arena, size_t bytes, sa2_error *err);
void sa2_arena_destroy(sa2_arena *arena);

/* Up to `bytes` of memory of its own from `at` on, a multiple of a page, become resident now instead of when they are
 * touched, where the system can do that. What lies there stays. Any thread may ask, beside those that use the memory. */
void sa2_arena_commit(const sa2_arena *arena, size_t at, size_t bytes);

/* `bytes` at an aligned address, or NULL when they do not fit; 0 bytes are a valid address.
 * The content is what was there before. */
void *sa2_arena_take(sa2_arena *arena, size_t bytes);

/* The room that n bytes need inside an arena: rounded up to the alignment. */
size_t sa2_arena_round(size_t bytes);

/* mark = sa2_arena_mark(a); ...; sa2_arena_rewind(a, mark) gives back all that was taken between. */
size_t sa2_arena_mark(const sa2_arena *arena);
void sa2_arena_rewind(sa2_arena *arena, size_t mark);

#endif
