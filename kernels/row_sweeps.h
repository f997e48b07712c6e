/* row_sweeps.h - sweeps over one long row of floats in host memory, in blocks of 64: what choosing a
 * token from logits is made of.
 *
 * Below +infinity means: a number or -infinity. Every instruction set gives the same bits: sums run in
 * one order, halves of a block together again and again, and nothing is fused.
 */
#ifndef SA2_KERNELS_ROW_SWEEPS_H
#define SA2_KERNELS_ROW_SWEEPS_H

#include <stdbool.h>
#include <stdint.h>

enum { SA2_ROW_BLOCK = 64 };

typedef struct sa2_row_sweeps {
    /* most[b] = the largest of block b, z [blocks * 64]. False when a value is not below +infinity. */
    bool (*largest)(float *most, const float *z, int blocks);

    /* weights[i] = 2^((z[i] - centre) * scale) for z <= centre, scale > 0; below 2^-126: 0. Off by at most
     * 1e-7 times the weight and 6e-8 times the exponent. */
    void (*weigh)(float *weights, const float *z, int n, float centre, float scale);

    /* mass[b] = the sum of such weights in block b, 0 where most[b] < least. */
    void (*mass)(double *mass, const float *z, const float *most, int blocks, float least,
                 float centre, float scale);

    /* The values >= least > -infinity and their ids, first being that of z[0], both by rising id;
     * how many. most [blocks] as above. */
    int (*gather)(float *values, int32_t *ids, const float *z, const float *most, int blocks,
                  int32_t first, float least);
} sa2_row_sweeps;

/* In the best instruction set that this processor has. */
const sa2_row_sweeps *sa2_row_sweeps_best(void);

/* In each of them, for tests: NULL where the processor lacks it. */
enum { SA2_ROW_SWEEPS_SETS = 3 };
const sa2_row_sweeps *sa2_row_sweeps_in(int set);

#endif
