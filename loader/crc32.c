#include "loader/crc32.h"

#include "loader/little_endian.h"

void sa2_crc32_init(sa2_crc32 *tables)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        tables->table[0][i] = crc;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++) {
            uint32_t before = tables->table[t - 1][i];
            tables->table[t][i] = before >> 8 ^ tables->table[0][before & 0xff];
        }
}

uint32_t sa2_crc32_add(const sa2_crc32 *tables, uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    const uint32_t(*t)[256] = tables->table;
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint32_t a = crc ^ sa2_le32(p), b = sa2_le32(p + 4);
        crc = t[7][a & 0xff] ^ t[6][a >> 8 & 0xff] ^ t[5][a >> 16 & 0xff] ^ t[4][a >> 24] ^
              t[3][b & 0xff] ^ t[2][b >> 8 & 0xff] ^ t[1][b >> 16 & 0xff] ^ t[0][b >> 24];
    }
    for (; bytes > 0; bytes--, p++)
        crc = crc >> 8 ^ t[0][(crc ^ *p) & 0xff];
    return ~crc;
}
