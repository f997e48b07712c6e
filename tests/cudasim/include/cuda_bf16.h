/* cuda_bf16.h - the toolkit's header of this name, as far as our kernels use it, for the simulated device.
 */
#ifndef CUDASIM_CUDA_BF16_H
#define CUDASIM_CUDA_BF16_H

#include <stdint.h>

struct alignas(2) __nv_bfloat16 {
    uint16_t bits;
};

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 x)
{
    return __builtin_bit_cast(float, (uint32_t)x.bits << 16);
}

/* To nearest, ties to even; NaN becomes the one NaN that the device makes. */
static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    uint32_t bits = __builtin_bit_cast(uint32_t, x);
    if (x != x)
        return {0x7fff};
    return {(uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}

/* Rounded to float before bf16: once on a device, which makes no difference where the result is exact. */
static inline __nv_bfloat162 __hsub2(__nv_bfloat162 a, __nv_bfloat162 b)
{
    return __floats2bfloat162_rn(__bfloat162float(a.x) - __bfloat162float(b.x),
                                 __bfloat162float(a.y) - __bfloat162float(b.y));
}

static inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c)
{
    return __floats2bfloat162_rn(
        __bfloat162float(a.x) * __bfloat162float(b.x) + __bfloat162float(c.x),
        __bfloat162float(a.y) * __bfloat162float(b.y) + __bfloat162float(c.y));
}

#endif
