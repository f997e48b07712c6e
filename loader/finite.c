#include "loader/finite.h"

#include <stddef.h>
#include <string.h>

/* A float is NaN or infinite when all bits of its exponent are set. The blocks have no early exit, so
 * that the compiler turns them into vector code; the search inside a block runs only when one is bad. */
enum { BLOCK = 4096 };

static bool block_is_finite_f32(const unsigned char *values, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + i * sizeof bits, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

static bool block_is_finite_bf16(const unsigned char *values, size_t n)
{
    uint16_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, values + i * sizeof bits, sizeof bits);
        bad |= (uint16_t)((bits & 0x7f80u) == 0x7f80u);
    }
    return bad == 0;
}

int64_t sa2_first_not_finite(const void *values, sa2_dtype dtype, int64_t n)
{
    if (dtype != SA2_F32 && dtype != SA2_BF16)
        return -1;
    bool (*is_finite)(const unsigned char *, size_t) =
        dtype == SA2_F32 ? block_is_finite_f32 : block_is_finite_bf16;
    size_t size = sa2_dtype_bytes(dtype);
    const unsigned char *bytes = values;
    for (int64_t first = 0; first < n; first += BLOCK) {
        size_t count = (size_t)(n - first < BLOCK ? n - first : BLOCK);
        const unsigned char *block = bytes + (size_t)first * size;
        if (is_finite(block, count))
            continue;
        for (size_t i = 0; i < count; i++)
            if (!is_finite(block + i * size, 1))
                return first + (int64_t)i;
    }
    return -1;
}
