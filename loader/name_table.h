/* name_table.h - from a string to a number, by hash.
 */
#ifndef SA2_LOADER_NAME_TABLE_H
#define SA2_LOADER_NAME_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sa2_name_slot {
    const char *name; /* NULL: free */
    int32_t value;
} sa2_name_slot;

/* Zero-initialise it. */
typedef struct sa2_name_table {
    sa2_name_slot *slots; /* open addressing, at most half full */
    size_t size;          /* a power of two, or 0 */
    size_t n;
} sa2_name_table;

/* The value of a name, or -1. */
int32_t sa2_name_table_find(const sa2_name_table *table, const char *name);

/* Adds a name that is not there yet; the string must outlive the table. value >= 0.
 * False when memory ran out: the table is then as before. */
bool sa2_name_table_put(sa2_name_table *table, const char *name, int32_t value);

void sa2_name_table_destroy(sa2_name_table *table);

#endif
