/* crc32.h - the checksum of zip archives: CRC-32 of ISO 3309, polynomial 0xedb88320 bit-reversed.
 *
 * Eight bytes at a time through eight tables (Kounavis & Berry 2005, "slicing by 8").
 */
#ifndef SA2_LOADER_CRC32_H
#define SA2_LOADER_CRC32_H

#include <stddef.h>
#include <stdint.h>

typedef struct sa2_crc32 {
    uint32_t table[8][256];
} sa2_crc32;

void sa2_crc32_init(sa2_crc32 *tables);

/* The checksum of what came before, 0 at first, followed by data[0, bytes). */
uint32_t sa2_crc32_add(const sa2_crc32 *tables, uint32_t crc, const void *data, size_t bytes);

#endif
