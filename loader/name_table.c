#include "loader/name_table.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FIRST_SIZE = 128 };

/* The slot that holds the name, or the free one where it would go. */
static sa2_name_slot *slot_of(const sa2_name_table *table, const char *name)
{
    size_t mask = table->size - 1;
    size_t at = (size_t)XXH3_64bits(name, strlen(name)) & mask;
    while (table->slots[at].name != NULL && strcmp(table->slots[at].name, name) != 0)
        at = (at + 1) & mask;
    return &table->slots[at];
}

int32_t sa2_name_table_find(const sa2_name_table *table, const char *name)
{
    if (table->n == 0)
        return -1;
    const sa2_name_slot *slot = slot_of(table, name);
    return slot->name != NULL ? slot->value : -1;
}

static bool grow(sa2_name_table *table)
{
    sa2_name_table larger = {.size = table->size > 0 ? 2 * table->size : FIRST_SIZE, .n = table->n};
    larger.slots = calloc(larger.size, sizeof *larger.slots);
    if (larger.slots == NULL)
        return false;
    for (size_t i = 0; i < table->size; i++)
        if (table->slots[i].name != NULL)
            *slot_of(&larger, table->slots[i].name) = table->slots[i];
    free(table->slots);
    *table = larger;
    return true;
}

bool sa2_name_table_put(sa2_name_table *table, const char *name, int32_t value)
{
    if (2 * (table->n + 1) > table->size && !grow(table))
        return false;
    *slot_of(table, name) = (sa2_name_slot){.name = name, .value = value};
    table->n++;
    return true;
}

void sa2_name_table_destroy(sa2_name_table *table)
{
    free(table->slots);
    *table = (sa2_name_table){0};
}
