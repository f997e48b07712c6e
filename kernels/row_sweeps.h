/* row_sweeps.h - sweeps over one long row of floats in host memory, in blocks of 64: what choosing a
 * token from logits is made of.
 *
 * Below +infinity means: a number or -infinity.
 */
#ifndef SA2_KERNELS_ROW_SWEEPS_H
#define SA2_KERNELS_ROW_SWEEPS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SA2_ROW_BLOCK = 64,
    SA2_ROW_GROUP = 16, /* blocks of which the mass is kept */
};

typedef struct sa2_row_sweeps {
    /* most[b] = the largest of block b, z [blocks * 64]. False when a value is not below +infinity. */
    bool (*largest)(float *most, const float *z, int blocks);

    /* Weights 2^((z - centre) * scale) of the values > above, where z <= centre and 0 < scale, in whole steps
     * (token_weights.h); 0 for other values. Off by at most half a step and 1.5e-7 + 9e-8 times the exponent, of the
     * weight. mass[g] = the sum over group g of blocks, in steps. Where most[b] is not above, nothing of block b is in
     * it, and its weights are left. Returns how many values are above. The same bits in every instruction set. */
    int (*weigh)(float *weights, uint64_t *mass, const float *z, const float *most, int blocks,
                 float above, float centre, float scale);

    /* The same sums of weights that are there, over the values > above. */
    int (*sum)(uint64_t *mass, const float *weights, const float *z, const float *most, int blocks,
               float above);

    /* The values with above < value <= upto and their ids, both by rising id: how many. */
    int (*gather)(float *values, int32_t *ids, const float *z, const float *most, int blocks,
                  float above, float upto);
} sa2_row_sweeps;

/* In the best instruction set that this processor has. */
const sa2_row_sweeps *sa2_row_sweeps_best(void);

/* In each of them, for tests: NULL where the processor lacks it. */
enum { SA2_ROW_SWEEPS_SETS = 3 };
const sa2_row_sweeps *sa2_row_sweeps_in(int set);

#endif
