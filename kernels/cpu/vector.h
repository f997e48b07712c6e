/* vector.h - one register of floats under one set of names, for whatever instruction set the
 * including file is compiled for.
 *
 * A kernel body is written once on these names, in a header, and compiled in <op>_c.c,
 * <op>_avx2.c and <op>_avx512.c (kernels/CMakeLists.txt has the flags). vf is a register of
 * VF_WIDTH floats, vi of as many int32, vm a mask; + - * / work on vf as on floats, and no two of them fuse.
 *
 *   v_set(x), v_zero()               every lane x, or 0
 *   v_load(p), v_store(p, v)         no alignment asked for
 *   v_load_part(p, n)                the first n lanes, 0 in the rest; reads nothing beyond
 *   v_store_part(p, v, n)            writes the first n lanes only
 *   v_load_bf16 ... v_store_bf16_part  the same from and to bf16, rounded to nearest even
 *   v_load_pairs(p, &even, &odd)     bf16 p[0], p[2], ... and p[1], p[3], ...
 *   v_fma(a, b, c)                   a * b + c; one rounding where the set has it, else two
 *   v_fused(a, b, c)                 the same with one rounding in every set
 *   v_max(a, b), v_min(a, b)         b when either is NaN
 *   v_round(v)                       nearest integer, |v| below 2^22
 *   v_is_odd(v)                      of an integer in a float, |v| below 2^22
 *   v_scale(v, n)                    v * 2^n for integers n in [-252, 254] held in floats
 *   v_split(v, &n)                   m and n with v = m * 2^n and 1 <= m < 2, of a normal v above 0
 *   v_abs(v), v_copysign(v, sign)
 *   v_less(a, b), v_select(m, a, b)  a where m, else b
 *   v_all(m), v_bits(m)              are all lanes set? Bit i: is lane i?
 *   v_sum(v), v_largest(v)           over the lanes, in one order; v_largest: v without NaN
 *   v_wide_zero(), v_wide_add(s, v), v_wide_sum(s)  sums of lanes in double: vd
 */
#ifndef SA2_KERNELS_CPU_VECTOR_H
#define SA2_KERNELS_CPU_VECTOR_H

#if defined(__AVX512F__)
#include "kernels/cpu/vector_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/vector_avx2.h"
#else
#include "kernels/cpu/vector_c.h"
#endif

/* f32 or bf16 by `dtype`, the first n lanes of a place counted in elements. */
static inline vf v_load_as(sa2_dtype dtype, const void *p, int64_t at, int n)
{
    if (dtype == SA2_F32)
        return n == VF_WIDTH ? v_load((const float *)p + at)
                             : v_load_part((const float *)p + at, n);
    return n == VF_WIDTH ? v_load_bf16((const uint16_t *)p + at)
                         : v_load_bf16_part((const uint16_t *)p + at, n);
}

static inline void v_store_as(sa2_dtype dtype, void *p, int64_t at, vf v, int n)
{
    if (dtype == SA2_F32) {
        if (n == VF_WIDTH)
            v_store((float *)p + at, v);
        else
            v_store_part((float *)p + at, v, n);
    } else if (n == VF_WIDTH) {
        v_store_bf16((uint16_t *)p + at, v);
    } else {
        v_store_bf16_part((uint16_t *)p + at, v, n);
    }
}

#endif
