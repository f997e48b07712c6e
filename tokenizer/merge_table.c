#include "tokenizer/merge_table.h"

static uint32_t slot_bits(size_t n)
{
    uint32_t bits = 1;
    while ((size_t)1 << bits < 2 * n + 2)
        bits++;
    return bits;
}

size_t sa2_merge_table_bytes(size_t n)
{
    return sizeof(sa2_merge) << slot_bits(n);
}

void sa2_merge_table_init(sa2_merge_table *table, void *block, size_t n)
{
    uint32_t bits = slot_bits(n);
    *table = (sa2_merge_table){
        .slots = block, .shift = 64 - bits, .mask = (uint32_t)(((size_t)1 << bits) - 1)};
    for (size_t i = 0; i <= table->mask; i++)
        table->slots[i] = (sa2_merge){.left = -1};
}

bool sa2_merge_table_add(sa2_merge_table *table, sa2_merge merge)
{
    sa2_merge *slot = sa2_merge_slot(table, merge.left, merge.right);
    if (slot->left >= 0)
        return false;
    *slot = merge;
    return true;
}
