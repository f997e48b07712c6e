/* text_pool.h - many short strings that are freed together.
 */
#ifndef SA2_LOADER_TEXT_POOL_H
#define SA2_LOADER_TEXT_POOL_H

#include <stddef.h>

typedef struct sa2_text_block sa2_text_block;

/* Zero-initialise it. */
typedef struct sa2_text_pool {
    sa2_text_block *last; /* the block that is being filled */
} sa2_text_pool;

/* A copy of n bytes with a 0 after them; NULL when memory ran out. Valid until destroy. */
const char *sa2_text_pool_copy(sa2_text_pool *pool, const char *text, size_t n);

void sa2_text_pool_destroy(sa2_text_pool *pool);

#endif
