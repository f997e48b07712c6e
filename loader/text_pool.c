#include "loader/text_pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10 };

struct sa2_text_block {
    sa2_text_block *previous;
    size_t used, bytes;
    char text[];
};

static sa2_text_block *add_block(sa2_text_pool *pool, size_t bytes)
{
    if (bytes < BLOCK_BYTES)
        bytes = BLOCK_BYTES;
    if (bytes > SIZE_MAX - sizeof(sa2_text_block))
        return NULL;
    sa2_text_block *block = malloc(sizeof *block + bytes);
    if (block == NULL)
        return NULL;
    *block = (sa2_text_block){.previous = pool->last, .bytes = bytes};
    pool->last = block;
    return block;
}

const char *sa2_text_pool_copy(sa2_text_pool *pool, const char *text, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    sa2_text_block *block = pool->last;
    if (block == NULL || n + 1 > block->bytes - block->used)
        block = add_block(pool, n + 1);
    if (block == NULL)
        return NULL;
    char *copy = block->text + block->used;
    memcpy(copy, text, n);
    copy[n] = '\0';
    block->used += n + 1;
    return copy;
}

void sa2_text_pool_destroy(sa2_text_pool *pool)
{
    while (pool->last != NULL) {
        sa2_text_block *block = pool->last;
        pool->last = block->previous;
        free(block);
    }
}
