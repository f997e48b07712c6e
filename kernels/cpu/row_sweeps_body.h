/* row_sweeps_body.h - the sweeps of row_sweeps.h, compiled once for each instruction set. Plain loops of
 * a form that compilers turn into vector code.
 */
#ifndef SA2_KERNELS_CPU_ROW_SWEEPS_BODY_H
#define SA2_KERNELS_CPU_ROW_SWEEPS_BODY_H

#include <math.h>

#include "kernels/cpu/row_sweeps_sets.h"

enum { BLOCK = SA2_ROW_BLOCK, STEP = BLOCK / 2 };

static float block_largest(const float *restrict z)
{
    enum { HALF = BLOCK / 2 };
    float lane[HALF];
    for (int i = 0; i < HALF; i++)
        lane[i] = z[i] < z[i + HALF] ? z[i + HALF] : z[i];
    for (int half = HALF / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++)
            lane[i] = lane[i] < lane[i + half] ? lane[i + half] : lane[i];
    }
    return lane[0];
}

static bool row_largest(float *most, const float *z, int blocks)
{
    int32_t bad[STEP] = {0}, any = 0;
    for (int b = 0; b < blocks; b++) {
        const float *block = z + b * BLOCK;
        most[b] = block_largest(block);
        for (int i = 0; i < STEP; i++)
            bad[i] |= !(block[i] < INFINITY) | !(block[i + STEP] < INFINITY);
    }
    for (int i = 0; i < STEP; i++)
        any |= bad[i];
    return any == 0;
}

/* 2^y for y <= 0, 0 below -126. The polynomial has the smallest largest relative error of its degree on
 * [-1/2, 1/2] (Remez), 1.6e-8 with f32 coefficients. */
static inline float exp2_of(float y)
{
    const float round = 0x1.8p23f + 127.0f; /* the lowest bits get the nearest integer, plus 127 */
    union {
        float value;
        uint32_t bits;
    } power = {.value = y + round};
    float f = y - (power.value - round);
    float p = 0.0001534581242594868f;
    p = p * f + 0.0013399930903688073f;
    p = p * f + 0.009618489071726799f;
    p = p * f + 0.05550328642129898f;
    p = p * f + 0.24022646248340607f;
    p = p * f + 0.6931471824645996f;
    p = p * f + 1.0f;
    power.bits <<= 23;
    power.value *= p;
    power.bits &= -(uint32_t)(y >= -126.0f); /* a choice of floats would not become vector code */
    return power.value;
}

static void row_weigh(float *restrict weights, const float *restrict z, int n, float centre,
                      float scale)
{
    for (int i = 0; i < n; i++)
        weights[i] = exp2_of((z[i] - centre) * scale);
}

static float block_mass(const float *restrict z, float centre, float scale)
{
    float lane[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        lane[i] = exp2_of((z[i] - centre) * scale);
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    }
    return lane[0];
}

static void row_mass(double *mass, const float *z, const float *most, int blocks, float least,
                     float centre, float scale)
{
    for (int b = 0; b < blocks; b++)
        mass[b] = most[b] < least ? 0.0 : (double)block_mass(z + b * BLOCK, centre, scale);
}

/* Bit i: z[i] >= least. */
static uint32_t mask_of(const float *restrict z, float least)
{
    static const uint32_t bit[STEP] = {
        1u << 0,  1u << 1,  1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
        1u << 8,  1u << 9,  1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15,
        1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21, 1u << 22, 1u << 23,
        1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31};
    uint32_t lane[STEP];
    for (int i = 0; i < STEP; i++)
        lane[i] = -(uint32_t)(z[i] >= least) & bit[i];
    for (int half = STEP / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++)
            lane[i] |= lane[i + half];
    }
    return lane[0];
}

static int row_gather(float *values, int32_t *ids, const float *z, const float *most, int blocks,
                      int32_t first, float least)
{
    int found = 0;
    for (int b = 0; b < blocks; b++) {
        if (most[b] < least)
            continue;
        const float *block = z + b * BLOCK;
        uint64_t mask = mask_of(block, least) | (uint64_t)mask_of(block + STEP, least) << STEP;
        for (; mask != 0; mask &= mask - 1) {
            int i = __builtin_ctzll(mask);
            values[found] = block[i];
            ids[found++] = first + b * BLOCK + i;
        }
    }
    return found;
}

static const sa2_row_sweeps sweeps = {
    .largest = row_largest, .weigh = row_weigh, .mass = row_mass, .gather = row_gather};

#endif
