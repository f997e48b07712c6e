/* row_sweeps_body.h - the sweeps of row_sweeps.h on the vectors of vector.h.
 */
#ifndef SA2_KERNELS_CPU_ROW_SWEEPS_BODY_H
#define SA2_KERNELS_CPU_ROW_SWEEPS_BODY_H

#include <math.h>

#include "kernels/cpu/row_sweeps_sets.h"
#include "kernels/cpu/vector_math.h"

enum { BLOCK = SA2_ROW_BLOCK };

static bool row_largest(float *most, const float *z, int blocks)
{
    vf infinity = v_set(INFINITY), bad = v_zero();
    for (int b = 0; b < blocks; b++, z += BLOCK) {
        vf largest = v_load(z);
        for (int i = 0; i < BLOCK; i += VF_WIDTH) {
            vf v = v_load(z + i);
            largest = v_max(largest, v);
            bad = v_select(v_less(v, infinity), bad, infinity);
        }
        most[b] = v_largest(largest);
    }
    return v_sum(bad) == 0.0f;
}

/* 2^y for y <= 0, 0 below -126. The polynomial has the smallest largest relative error of its degree on
 * [-1/2, 1/2] (Remez), 1.6e-8 with f32 coefficients. */
static inline vf power_of_2(vf y)
{
    static const float c[] = {1.0f,
                              0.6931471824645996f,
                              0.24022646248340607f,
                              0.05550328642129898f,
                              0.009618489071726799f,
                              0.0013399930903688073f,
                              0.0001534581242594868f};
    vf least = v_set(-126.0f), y_kept = v_max(y, least);
    vf n = v_round(y_kept);
    return v_select(v_less(y, least), v_zero(), v_scale(v_polynomial(y_kept - n, c, 7), n));
}

static int row_weigh(float *weights, double *mass, const float *z, const float *most, int blocks,
                     float above, float centre, float scale)
{
    int found = 0;
    for (int b = 0; b < blocks; b++) {
        mass[b] = 0.0;
        if (!(most[b] > above))
            continue;
        vf sum = v_zero();
        for (int i = b * BLOCK; i < (b + 1) * BLOCK; i += VF_WIDTH) {
            vf v = v_load(z + i);
            vm inside = v_less(v_set(above), v);
            vf weight = power_of_2((v - v_set(centre)) * v_set(scale));
            weight = v_select(inside, weight, v_zero());
            v_store(weights + i, weight);
            sum = sum + weight;
            found += __builtin_popcount(v_bits(inside));
        }
        mass[b] = v_sum(sum);
    }
    return found;
}

static int row_sum(double *mass, const float *weights, const float *z, const float *most,
                   int blocks, float above)
{
    int found = 0;
    for (int b = 0; b < blocks; b++) {
        mass[b] = 0.0;
        if (!(most[b] > above))
            continue;
        vf sum = v_zero();
        for (int i = b * BLOCK; i < (b + 1) * BLOCK; i += VF_WIDTH) {
            vm inside = v_less(v_set(above), v_load(z + i));
            sum = sum + v_select(inside, v_load(weights + i), v_zero());
            found += __builtin_popcount(v_bits(inside));
        }
        mass[b] = v_sum(sum);
    }
    return found;
}

static int row_gather(float *values, int32_t *ids, const float *z, const float *most, int blocks,
                      float above, float upto)
{
    int found = 0;
    for (int b = 0; b < blocks; b++) {
        if (!(most[b] > above))
            continue;
        const float *block = z + b * BLOCK;
        uint64_t inside = 0;
        for (int i = 0; i < BLOCK; i += VF_WIDTH) {
            vf v = v_load(block + i);
            uint32_t bits = v_bits(v_less(v_set(above), v)) & ~v_bits(v_less(v_set(upto), v));
            inside |= (uint64_t)bits << i;
        }
        for (; inside != 0; inside &= inside - 1) {
            int i = __builtin_ctzll(inside);
            values[found] = block[i];
            ids[found++] = b * BLOCK + i;
        }
    }
    return found;
}

static const sa2_row_sweeps sweeps = {
    .largest = row_largest, .weigh = row_weigh, .sum = row_sum, .gather = row_gather};

#endif
