/* merge_table.h - which two neighbouring tokens merge into which, and how early.
 *
 * Open addressing, at most half full, 16 bytes a slot, so that a look-up is one cache line as a rule.
 */
#ifndef SA2_TOKENIZER_MERGE_TABLE_H
#define SA2_TOKENIZER_MERGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sa2_merge {
    int32_t left; /* -1: an empty slot */
    int32_t right;
    uint32_t rank; /* lower merges first */
    int32_t result;
} sa2_merge;

typedef struct sa2_merge_table {
    sa2_merge *slots;
    uint32_t shift; /* of the hash, to a slot */
    uint32_t mask;  /* slots - 1; a power of two of them */
} sa2_merge_table;

/* The room that n merges need, and a table over that much memory of the caller. */
size_t sa2_merge_table_bytes(size_t n);
void sa2_merge_table_init(sa2_merge_table *table, void *block, size_t n);

/* False, and nothing is added, when the pair is there already. */
bool sa2_merge_table_add(sa2_merge_table *table, sa2_merge merge);

/* The slot of the pair, or the empty slot where it would be. */
static inline sa2_merge *sa2_merge_slot(const sa2_merge_table *table, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint32_t i = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> table->shift);
    while (table->slots[i].left >= 0 &&
           (table->slots[i].left != left || table->slots[i].right != right))
        i = (i + 1) & table->mask;
    return &table->slots[i];
}

/* NULL when the two do not merge. */
static inline const sa2_merge *sa2_merge_find(const sa2_merge_table *table, int32_t left,
                                              int32_t right)
{
    const sa2_merge *slot = sa2_merge_slot(table, left, right);
    return slot->left >= 0 ? slot : NULL;
}

#endif
