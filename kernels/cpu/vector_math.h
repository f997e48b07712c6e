/* vector_math.h - exp, tanh, erf, sine and the activations on a register of floats.
 *
 * Polynomials are minimax fits made for this file (error of each beside it); the rest of the error
 * is rounding, 1 to 2 units in the last place, tests/test_vector_math.c. NaN stays NaN.
 */
#ifndef SA2_KERNELS_CPU_VECTOR_MATH_H
#define SA2_KERNELS_CPU_VECTOR_MATH_H

#include <math.h>

#include "kernels/cpu/vector.h"
#include "kernels/ops.h"

/* c[0] + c[1] x + ... + c[n - 1] x^(n-1) */
static inline vf v_polynomial(vf x, const float *c, int n)
{
    vf sum = v_set(c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        sum = v_fma(sum, x, v_set(c[i]));
    return sum;
}

/* x = n ln 2 + r with |r| <= ln 2 / 2; returns e^r - 1 and n. The upper part of ln 2 has 15 bits,
 * so that n times it is exact. */
static inline vf v_expm1_reduced(vf x, vf *n)
{
    /* (e^r - 1 - r) / r^2, relative error of e^r 3.1e-9 */
    static const float c[] = {4.999999345e-01f, 1.666652064e-01f, 4.166838793e-02f,
                              8.368715412e-03f, 1.381459987e-03f};
    *n = v_round(x * v_set(1.44269504f));
    vf r = v_fma(*n, v_set(-0x1.62e4p-1f), x);
    r = v_fma(*n, v_set(-0x1.7f7d1cp-20f), r);
    return v_fma(r * r, v_polynomial(r, c, 5), r);
}

/* 0 below -104, infinity above 88.73. */
static inline vf v_exp(vf x)
{
    vf n;
    vf less_1 = v_expm1_reduced(v_min(v_set(89.0f), v_max(v_set(-104.0f), x)), &n);
    return v_scale(less_1 + v_set(1.0f), n);
}

/* e^x - 1 for x below 88, exact to rounding near 0 too. */
static inline vf v_expm1(vf x)
{
    vf n;
    vf less_1 = v_expm1_reduced(v_min(v_set(88.0f), v_max(v_set(-104.0f), x)), &n);
    vf scale = v_scale(v_set(1.0f), n);
    return v_fma(scale, less_1, scale - v_set(1.0f));
}

static inline vf v_sigmoid(vf x)
{
    return v_set(1.0f) / (v_set(1.0f) + v_exp(v_zero() - x));
}

static inline vf v_silu(vf x)
{
    return x / (v_set(1.0f) + v_exp(v_zero() - x));
}

static inline vf v_tanh(vf x)
{
    /* (tanh(x) / x - 1) / x^2 over x^2, relative error 4.1e-9 for |x| < 0.625 */
    static const float c[] = {-3.333328392e-01f, 1.333149125e-01f, -5.374349526e-02f,
                              2.065057899e-02f, -5.717036547e-03f};
    vf a = v_abs(x);
    vf z = x * x;
    vf small = v_fma(x * z, v_polynomial(z, c, 5), x);
    vf large = v_set(1.0f) - v_set(2.0f) / (v_exp(a + a) + v_set(1.0f));
    return v_select(v_less(a, v_set(0.625f)), small, v_copysign(large, x));
}

static inline vf v_erf(vf x)
{
    /* erf(x) / x - 1 over x^2, relative error 1.2e-9 for |x| < 1 */
    static const float c[] = {1.283791657e-01f,  -3.761262582e-01f, 1.128358515e-01f,
                              -2.685381181e-02f, 5.188327443e-03f,  -8.010191494e-04f,
                              7.853854317e-05f};
    /* ln(1 - erf(x)) for 1 <= x <= 4, absolute error of erf 1.0e-9; erf(4) is 1 in f32 */
    static const float d[] = {-3.537089108e-04f, -1.127040080e+00f, -6.382256022e-01f,
                              -1.030374356e-01f, 2.180535121e-02f,  -2.939615750e-03f,
                              1.855748947e-04f};
    vf a = v_abs(x);
    vf small = v_fma(x, v_polynomial(x * x, c, 7), x);
    vf large = v_set(1.0f) - v_exp(v_polynomial(v_min(v_set(4.0f), a), d, 7));
    return v_select(v_less(a, v_set(1.0f)), small, v_copysign(large, x));
}

/* Lanes beyond `far`, where the reduction below would lose bits, one by one. */
static inline vf v_far(vf x, vf near, vf far, float (*f)(float))
{
    float lanes[VF_WIDTH], results[VF_WIDTH], limits[VF_WIDTH];
    v_store(lanes, x);
    v_store(results, near);
    v_store(limits, far);
    for (int i = 0; i < VF_WIDTH; i++)
        if (!(fabsf(lanes[i]) < limits[i]))
            results[i] = f(lanes[i]);
    return v_load(results);
}

static inline vf v_sin(vf x)
{
    /* (sin(r) / r - 1) / r^2 over r^2, relative error 2.4e-11 for |r| <= pi / 2 */
    static const float c[] = {-1.666666663e-01f, 8.333331062e-03f, -1.984086193e-04f,
                              2.752505465e-06f, -2.388297730e-08f};
    /* pi in four parts, three of 9 bits: n times those is exact for n below 2^15. */
    vf far = v_set(1e5f);
    vf n = v_round(v_min(far, v_max(v_zero() - far, x)) * v_set(0.318309886f));
    vf r = v_fma(n, v_set(-3.140625f), x);
    r = v_fma(n, v_set(-0x1.fbp-11f), r);
    r = v_fma(n, v_set(-0x1.51p-21f), r);
    r = v_fma(n, v_set(-0x1.0b461ap-33f), r);
    vf z = r * r;
    vf sine = v_fma(r * z, v_polynomial(z, c, 5), r);
    sine = v_select(v_is_odd(n), v_zero() - sine, sine);
    return v_all(v_less(v_abs(x), far)) ? sine : v_far(x, sine, far, sinf);
}

/* cos(x) = -sin(x - (n + 1/2) pi) for even n. */
static inline vf v_cos(vf x)
{
    static const float c[] = {-1.666666663e-01f, 8.333331062e-03f, -1.984086193e-04f,
                              2.752505465e-06f, -2.388297730e-08f}; /* of v_sin() */
    /* pi in four parts, three of 8 bits: n + 1/2 times those is exact for n below 2^15. */
    vf far = v_set(65600.0f);
    vf n = v_round(v_min(far, v_max(v_zero() - far, x)) * v_set(0.318309886f) - v_set(0.5f));
    vf half = n + v_set(0.5f);
    vf r = v_fma(half, v_set(-0x1.92p+1f), x);
    r = v_fma(half, v_set(-0x1.fap-11f), r);
    r = v_fma(half, v_set(-0x1.54p-19f), r);
    r = v_fma(half, v_set(-0x1.10b462p-29f), r);
    vf z = r * r;
    vf sine = v_fma(r * z, v_polynomial(z, c, 5), r);
    vf cosine = v_select(v_is_odd(n), sine, v_zero() - sine);
    return v_all(v_less(v_abs(x), far)) ? cosine : v_far(x, cosine, far, cosf);
}

/* Natural logarithm of a normal x above 0; infinity and NaN give themselves. */
static inline vf v_log(vf x)
{
    /* (ln(1 + f) - f + f^2 / 2) / f^3, relative error of ln(1 + f) 7.5e-10 */
    static const float c[] = {3.333331260e-01f,  -2.500000960e-01f, 2.000211879e-01f,
                              -1.666799601e-01f, 1.421954946e-01f,  -1.240558372e-01f,
                              1.188818044e-01f,  -1.167569456e-01f, 6.746651086e-02f};
    vf n;
    vf m = v_split(x, &n);
    vm large = v_less(v_set(1.41421356f), m);
    m = v_select(large, m * v_set(0.5f), m);
    n = v_select(large, n + v_set(1.0f), n);
    vf f = m - v_set(1.0f);
    vf z = f * f;
    vf rest = v_fma(f * z, v_polynomial(f, c, 9), v_set(-0.5f) * z);
    rest = v_fma(n, v_set(0x1.7f7d1cp-20f), rest); /* the parts of ln 2 as in v_exp() */
    vf log = v_fma(n, v_set(0x1.62e4p-1f), f + rest);
    return v_select(v_less(x, v_set(INFINITY)), log, x);
}

/* x + sin^2(alpha x) / (alpha + 1e-9) (Ziyin et al. 2020, eq. 3, with HiFT's constant), where
 * `inverse` is the quotient's v_snake_inverse(). */
static inline vf v_snake_inverse(vf alpha)
{
    return v_set(1.0f) / (alpha + v_set(1e-9f));
}

static inline vf v_snake(vf x, vf alpha, vf inverse)
{
    vf sine = v_sin(alpha * x);
    return x + sine * sine * inverse;
}

static inline vf v_gelu(vf x)
{
    return x * v_set(0.5f) * (v_set(1.0f) + v_erf(x * v_set(0.707106781f)));
}

static inline vf v_gelu_tanh(vf x)
{
    vf cube = x * x * x;
    vf inner = v_set(0.797884561f) * v_fma(v_set(0.044715f), cube, x);
    return x * v_set(0.5f) * (v_set(1.0f) + v_tanh(inner));
}

/* tanh(ln(1 + n)) = (n^2 + 2n) / (n^2 + 2n + 2) with n = e^x; 1 in f32 from x = 20. */
static inline vf v_mish(vf x)
{
    vf n = v_exp(v_min(v_set(20.0f), x));
    vf t = n * (n + v_set(2.0f));
    return x * (t / (t + v_set(2.0f)));
}

/* Any of them; alpha is read for SA2_ACT_SNAKE alone, slope for SA2_ACT_LEAKY. */
static inline vf v_activate(sa2_activation activation, vf x, float slope, vf alpha)
{
    switch (activation) {
    case SA2_ACT_NONE:
        return x;
    case SA2_ACT_RELU:
        return v_max(v_zero(), x);
    case SA2_ACT_GELU:
        return v_gelu(x);
    case SA2_ACT_GELU_TANH:
        return v_gelu_tanh(x);
    case SA2_ACT_SILU:
        return v_silu(x);
    case SA2_ACT_ELU:
        return v_select(v_less(v_zero(), x), x, v_expm1(x));
    case SA2_ACT_MISH:
        return v_mish(x);
    case SA2_ACT_LEAKY:
        return v_select(v_less(v_zero(), x), x, x * v_set(slope));
    case SA2_ACT_SNAKE:
        return v_snake(x, alpha, v_snake_inverse(alpha));
    case SA2_ACT_ABS:
        return v_abs(x);
    case SA2_ACT_SIGMOID:
        return v_sigmoid(x);
    }
    return x;
}

#endif
