/* little_endian.h - numbers from and to bytes of any alignment, least significant byte first.
 */
#ifndef SA2_LOADER_LITTLE_ENDIAN_H
#define SA2_LOADER_LITTLE_ENDIAN_H

#include <stdint.h>

static inline uint16_t sa2_le16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t sa2_le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t sa2_le64(const unsigned char *p)
{
    return (uint64_t)sa2_le32(p) | (uint64_t)sa2_le32(p + 4) << 32;
}

/* Each returns the byte behind the number. */
static inline unsigned char *sa2_put_le16(unsigned char *p, uint16_t x)
{
    p[0] = (unsigned char)x;
    p[1] = (unsigned char)(x >> 8);
    return p + 2;
}

static inline unsigned char *sa2_put_le32(unsigned char *p, uint32_t x)
{
    return sa2_put_le16(sa2_put_le16(p, (uint16_t)x), (uint16_t)(x >> 16));
}

static inline unsigned char *sa2_put_le64(unsigned char *p, uint64_t x)
{
    return sa2_put_le32(sa2_put_le32(p, (uint32_t)x), (uint32_t)(x >> 32));
}

#endif
