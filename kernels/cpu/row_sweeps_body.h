/* row_sweeps_body.h - the sweeps of row_sweeps.h on the vectors of vector.h.
 */
#ifndef SA2_KERNELS_CPU_ROW_SWEEPS_BODY_H
#define SA2_KERNELS_CPU_ROW_SWEEPS_BODY_H

#include <math.h>

#include "kernels/cpu/row_sweeps_sets.h"
#include "kernels/cpu/vector.h"
#include "kernels/token_weights.h"

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

/* 2^y for y <= 0 in whole steps. */
static inline vf weight_of(vf y)
{
    static const float c[] = SA2_POWER_OF_2_TERMS;
    vf least = v_set(-126.0f), y_kept = v_max(y, least), n = v_round(y_kept), rest = y_kept - n;
    vf power = v_set(c[6]);
    for (int i = 5; i >= 0; i--)
        power = v_fused(power, rest, v_set(c[i]));
    vf weight = v_scale(power, n), coarse = v_set(SA2_WEIGHT_COARSE);
    return v_select(v_less(weight, coarse), weight + coarse - coarse, weight);
}

/* Of sums of whole steps, which a double holds. */
static inline uint64_t steps_in(vd sums)
{
    return (uint64_t)(v_wide_sum(sums) * (double)SA2_WEIGHT_STEPS);
}

static inline int end_of_group(int block, int blocks)
{
    return block + SA2_ROW_GROUP < blocks ? block + SA2_ROW_GROUP : blocks;
}

static int row_weigh(float *weights, uint64_t *mass, const float *z, const float *most, int blocks,
                     float above, float centre, float scale)
{
    int found = 0;
    for (int b = 0; b < blocks;) {
        vd sums = v_wide_zero();
        for (int end = end_of_group(b, blocks); b < end; b++) {
            if (!(most[b] > above))
                continue;
            for (int i = b * BLOCK; i < (b + 1) * BLOCK; i += VF_WIDTH) {
                vf v = v_load(z + i);
                vm inside = v_less(v_set(above), v);
                vf weight = weight_of((v - v_set(centre)) * v_set(scale));
                weight = v_select(inside, weight, v_zero());
                v_store(weights + i, weight);
                sums = v_wide_add(sums, weight);
                found += __builtin_popcount(v_bits(inside));
            }
        }
        *mass++ = steps_in(sums);
    }
    return found;
}

static int row_sum(uint64_t *mass, const float *weights, const float *z, const float *most,
                   int blocks, float above)
{
    int found = 0;
    for (int b = 0; b < blocks;) {
        vd sums = v_wide_zero();
        for (int end = end_of_group(b, blocks); b < end; b++) {
            if (!(most[b] > above))
                continue;
            for (int i = b * BLOCK; i < (b + 1) * BLOCK; i += VF_WIDTH) {
                vm inside = v_less(v_set(above), v_load(z + i));
                vf weight = v_select(inside, v_load(weights + i), v_zero());
                sums = v_wide_add(sums, weight);
                found += __builtin_popcount(v_bits(inside));
            }
        }
        *mass++ = steps_in(sums);
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
