/* x_steps.h - rows of x as whole numbers of steps, for products with matrices that hold whole numbers. */
#ifndef SA2_KERNELS_CPU_X_STEPS_H
#define SA2_KERNELS_CPU_X_STEPS_H

#include <math.h>
#include <string.h>

#include "kernels/cpu/product.h"

enum { X_COLS = 64 }; /* are read at a time */

/* Up to 64 values of x as f32; behind n there are zeros. */
static inline void x_read(const sa2_product *p, int64_t at, int n, float values[X_COLS])
{
    const float *f32 = (const float *)p->x + at;
    const uint16_t *bf16 = (const uint16_t *)p->x + at;
    if (n < X_COLS)
        memset(values, 0, X_COLS * sizeof *values);
    if (p->x_dtype == SA2_F32)
        memcpy(values, f32, (size_t)n * sizeof *values);
    else if (n == X_COLS)
        for (int i = 0; i < X_COLS; i++)
            values[i] = sa2_bf16_to_f32(bf16[i]);
    else
        for (int i = 0; i < n; i++)
            values[i] = sa2_bf16_to_f32(bf16[i]);
}

/* Of `cols` from `col` on, at most 64. */
static inline int x_left(int64_t cols, int64_t col)
{
    return cols - col < X_COLS ? (int)(cols - col) : X_COLS;
}

/* The step of which the largest of some values is `steps`, and the number that a value is multiplied by. With a NaN or
 * an infinity among them the step is NaN, so that their sums are NaN; where all are next to 0 it is 0. */
static inline float x_step(const sa2_product *p, int64_t at, int64_t cols, float steps,
                           float *inverse)
{
    int32_t most[X_COLS] = {0}; /* bits of a magnitude rise with it, NaN above all */
    for (int64_t col = 0; col < cols; col += X_COLS) {
        float values[X_COLS];
        int32_t bits[X_COLS];
        x_read(p, at + col, x_left(cols, col), values);
        memcpy(bits, values, sizeof bits);
        for (int i = 0; i < X_COLS; i++) {
            int32_t size = bits[i] & 0x7fffffff;
            most[i] = size > most[i] ? size : most[i];
        }
    }
    for (int i = 1; i < X_COLS; i++)
        most[0] = most[i] > most[0] ? most[i] : most[0];
    float size;
    memcpy(&size, &most[0], sizeof size);
    *inverse = 0.0f;
    if (most[0] >= 0x7f800000)
        return NAN;
    if (size < 1e-30f) /* steps / size would overflow */
        return 0.0f;
    *inverse = steps / size;
    return size / steps;
}

/* What is multiplied by the inverse of a step, as whole numbers. */
static inline void x_round(const float values[X_COLS], float inverse, int32_t whole[X_COLS])
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to an integer */
    for (int i = 0; i < X_COLS; i++)
        whole[i] = (int32_t)((values[i] * inverse + shift) - shift);
}

#endif
