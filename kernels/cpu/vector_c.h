/* vector_c.h - vector.h in the compiler's own vectors: four floats on any machine.
 */
#ifndef SA2_KERNELS_CPU_VECTOR_C_H
#define SA2_KERNELS_CPU_VECTOR_C_H

#include <math.h>
#include <string.h>

#include "kernels/base/tensor.h"

enum { VF_WIDTH = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
typedef vi vm; /* all bits of a lane or none */

static inline vf v_set(float x)
{
    return (vf){x, x, x, x};
}

static inline vf v_zero(void)
{
    return (vf){0};
}

static inline vf v_load_part(const float *p, int n)
{
    vf v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

static inline void v_store_part(float *p, vf v, int n)
{
    memcpy(p, &v, (size_t)n * sizeof *p);
}

static inline vf v_load(const float *p)
{
    return v_load_part(p, VF_WIDTH);
}

static inline void v_store(float *p, vf v)
{
    v_store_part(p, v, VF_WIDTH);
}

static inline vf v_load_bf16_part(const uint16_t *p, int n)
{
    vf v = {0};
    for (int i = 0; i < n; i++)
        v[i] = sa2_bf16_to_f32(p[i]);
    return v;
}

static inline void v_store_bf16_part(uint16_t *p, vf v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = sa2_f32_to_bf16(v[i]);
}

static inline vf v_load_bf16(const uint16_t *p)
{
    return v_load_bf16_part(p, VF_WIDTH);
}

static inline void v_store_bf16(uint16_t *p, vf v)
{
    v_store_bf16_part(p, v, VF_WIDTH);
}

static inline void v_load_pairs(const uint16_t *p, vf *even, vf *odd)
{
    for (int i = 0; i < VF_WIDTH; i++) {
        (*even)[i] = sa2_bf16_to_f32(p[2 * i]);
        (*odd)[i] = sa2_bf16_to_f32(p[2 * i + 1]);
    }
}

static inline vf v_fma(vf a, vf b, vf c)
{
    return a * b + c;
}

static inline vf v_fused(vf a, vf b, vf c)
{
    for (int i = 0; i < VF_WIDTH; i++)
        c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}

static inline vm v_less(vf a, vf b)
{
    return a < b;
}

static inline vf v_select(vm m, vf a, vf b)
{
    return (vf)((m & (vi)a) | (~m & (vi)b));
}

static inline vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
}

static inline vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}

static inline vf v_sqrt(vf v)
{
    for (int i = 0; i < VF_WIDTH; i++)
        v[i] = sqrtf(v[i]);
    return v;
}

/* Beyond 2^23 a float has no fraction: adding and taking away 1.5 * 2^23 rounds. */
static inline vf v_round(vf v)
{
    vf big = v_set(0x1.8p23f);
    return v + big - big;
}

static inline vf v_power_of_2(vi n)
{
    return (vf)((n + 127) << 23);
}

/* In two steps: 2^n itself may have no float. A NaN in n takes some n; v is NaN then. */
static inline vf v_scale(vf v, vf n)
{
    vf known = v_select(n < n + 1.0f, n, v_zero());
    vi whole = __builtin_convertvector(known, vi);
    vi half = whole >> 1;
    return v * v_power_of_2(half) * v_power_of_2(whole - half);
}

static inline vf v_split(vf v, vf *n)
{
    *n = __builtin_convertvector((vi)((vu)v >> 23) - 127, vf);
    return (vf)(((vu)v & 0x7fffffu) | 0x3f800000u);
}

static inline vf v_abs(vf v)
{
    return (vf)((vu)v & 0x7fffffffu);
}

static inline vf v_copysign(vf v, vf sign)
{
    return (vf)(((vu)v & 0x7fffffffu) | ((vu)sign & 0x80000000u));
}

static inline vm v_is_odd(vf v)
{
    vf half = v * 0.5f;
    return v_round(half) != half;
}

static inline bool v_all(vm m)
{
    return (m[0] & m[1] & m[2] & m[3]) != 0;
}

static inline uint32_t v_bits(vm m)
{
    return (m[0] & 1u) | (m[1] & 2u) | (m[2] & 4u) | (m[3] & 8u);
}

static inline float v_sum(vf v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

typedef struct vd {
    double lane[VF_WIDTH];
} vd;

static inline vd v_wide_zero(void)
{
    return (vd){{0.0}};
}

static inline vd v_wide_add(vd sum, vf v)
{
    for (int i = 0; i < VF_WIDTH; i++)
        sum.lane[i] += (double)v[i];
    return sum;
}

static inline double v_wide_sum(vd sum)
{
    return (sum.lane[0] + sum.lane[2]) + (sum.lane[1] + sum.lane[3]);
}

static inline float v_largest(vf v)
{
    return fmaxf(fmaxf(v[0], v[2]), fmaxf(v[1], v[3]));
}

#endif
