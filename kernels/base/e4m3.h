/* e4m3.h - numbers of 8 bits: a sign, 4 bits of exponent (bias 7), 3 of fraction.
 *
 * The E4M3 of the OCP 8-bit Floating Point Specification 1.0: no infinity, S.1111.111 is NaN, the largest is 448,
 * the smallest 2^-6 and below it eighths of that.
 */
#ifndef SA2_KERNELS_BASE_E4M3_H
#define SA2_KERNELS_BASE_E4M3_H

#include <math.h>
#include <stdint.h>

enum { SA2_E4M3_NAN = 0x7f, SA2_E4M3_MOST = 0x7e };

static inline float sa2_e4m3_to_f32(uint8_t code)
{
    int exponent = code >> 3 & 15, fraction = code & 7;
    float size = exponent == 0 ? ldexpf((float)fraction, -9)
                               : ldexpf((float)(8 + fraction), exponent - 7 - 3);
    if ((code & 0x7f) == SA2_E4M3_NAN)
        size = NAN;
    return code & 0x80 ? -size : size;
}

/* To nearest, ties to even; what is larger than 448, infinity too, becomes 448; NaN stays NaN. */
static inline uint8_t sa2_f32_to_e4m3(float value)
{
    union {
        float value;
        uint32_t bits;
    } u = {.value = fabsf(value)};
    uint8_t sign = signbit(value) ? 0x80 : 0;
    if (isnan(value))
        return sign | SA2_E4M3_NAN;
    if (u.value < 0x1p-6f) /* steps of 2^-9; eight of them are the code of 2^-6 */
        return sign | (uint8_t)nearbyintf(u.value * 0x1p9f);
    uint32_t code = ((u.bits + 0x7ffff + (u.bits >> 20 & 1)) >> 20) - ((127 - 7) << 3);
    return sign | (uint8_t)(code > SA2_E4M3_MOST ? (uint32_t)SA2_E4M3_MOST : code);
}

#endif
