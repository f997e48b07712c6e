/* floats.h - arithmetic on runs of contiguous floats, what row ops are made of.
 *
 * One table of functions for each instruction set; sa2_cpu_open() picks one. Ops convert a row to
 * f32 once (sa2_floats_read), work on it in the first-level cache, and round once (sa2_floats_write).
 * A sum runs in one fixed order for a given n. y may be x everywhere.
 */
#ifndef SA2_KERNELS_CPU_FLOATS_H
#define SA2_KERNELS_CPU_FLOATS_H

#include <string.h>

#include "kernels/ops.h"

typedef struct sa2_floats {
    void (*from_bf16)(float *y, const uint16_t *x, int64_t n);
    void (*to_bf16)(uint16_t *y, const float *x, int64_t n);

    float (*sum)(const float *x, int64_t n);
    float (*sum_squares)(const float *x, float centre, int64_t n); /* of x - centre */
    float (*max)(const float *x, int64_t n);                       /* n at least 1 */

    void (*add)(float *y, const float *a, const float *b, int64_t n);
    void (*add_scaled)(float *y, const float *x, float a, int64_t n);         /* y += a x */
    void (*add_product)(float *y, const float *a, const float *b, int64_t n); /* y += a b */
    void (*scale)(float *y, const float *x, float a, int64_t n);              /* y = a x */
    void (*scale_each)(float *y, const float *x, float a, const float *w,
                       int64_t n); /* y = a x w */
    void (*mix)(float *y, float a, const float *x, float b, const float *z,
                int64_t n); /* y = a x + b z */

    /* y = (x - centre) a, then times weight plus bias, then times (1 + scale) plus shift; a pair may be NULL. */
    void (*normalise)(float *y, const float *x, float centre, float a, const float *weight,
                      const float *bias, const float *scale, const float *shift, int64_t n);

    /* slope of SA2_ACT_LEAKY, alpha [n] of SA2_ACT_SNAKE. */
    void (*activate)(float *y, const float *x, sa2_activation kind, float slope, const float *alpha,
                     int64_t n);

    /* Snake of rows that lie y_step and x_step floats apart, the same as activate() of each. */
    void (*snake_rows)(float *y, int64_t y_step, const float *x, int64_t x_step, const float *alpha,
                       int64_t rows, int64_t n);

    /* cosine and sine of position * frequency, the product rounded to f32 first. */
    void (*angles)(float *cosine, float *sine, float position, const float *frequency, int64_t n);
    /* (a, b) turned: a cos - b sin, b cos + a sin, in place. */
    void (*rotate)(float *a, float *b, const float *cosine, const float *sine, int64_t n);

    /* re^2 + im^2, or with magnitude sqrt(re^2 + im^2 + eps). */
    void (*power)(float *y, const float *re, const float *im, bool magnitude, float eps, int64_t n);
    void (*log_floor)(float *y, sa2_log_kind kind, float floor, int64_t n); /* in place */
    /* y = (max(y, low) + shift) * scale */
    void (*clamp)(float *y, float low, float shift, float scale, int64_t n);

    void (*sine)(float *y, const float *x, int64_t n);
    void (*tanh)(float *y, const float *x, int64_t n);
    /* Real and imaginary parts, of magnitude min(e^log_magnitude, most) and phase sin(x). */
    void (*polar)(float *re, float *im, const float *log_magnitude, const float *x, float most,
                  int64_t n);
    /* Two standard normal numbers of two uniform ones, u in (0, 1], v in [0, 1) (Box & Muller 1958). */
    void (*box_muller)(float *a, float *b, const float *u, const float *v, int64_t n);
} sa2_floats;

/* For each instruction set. */
const sa2_floats *sa2_floats_c(void);
const sa2_floats *sa2_floats_avx2(void);
const sa2_floats *sa2_floats_avx512(void);

/* n elements as f32: where they are when they are f32 already, else converted into `room`. */
static inline const float *sa2_floats_read(const sa2_floats *floats, float *room, const void *x,
                                           sa2_dtype dtype, int64_t n)
{
    if (dtype == SA2_F32)
        return x;
    floats->from_bf16(room, x, n);
    return room;
}

/* Where to compute n elements that sa2_floats_write() then brings to y. */
static inline float *sa2_floats_target(float *room, void *y, sa2_dtype dtype)
{
    return dtype == SA2_F32 ? y : room;
}

static inline void sa2_floats_write(const sa2_floats *floats, void *y, sa2_dtype dtype,
                                    const float *x, int64_t n)
{
    if (dtype == SA2_BF16)
        floats->to_bf16(y, x, n);
    else if (y != x)
        memcpy(y, x, (size_t)n * sizeof *x);
}

/* Element `at` of row `row` of a tensor. */
static inline void *sa2_element(const sa2_tensor *x, int64_t row, int64_t at)
{
    return (char *)x->data + (size_t)(row * x->stride + at) * sa2_dtype_bytes(x->dtype);
}

#endif
