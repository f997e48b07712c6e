/* philox.h - counter-based random numbers: the n-th number of a stream without the ones before it.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3",
 * section 3.3), checked against the known answers of the authors' Random123 library.
 */
#ifndef SA2_RUNTIME_DECODER_PHILOX_H
#define SA2_RUNTIME_DECODER_PHILOX_H

#include <stdint.h>

typedef struct sa2_philox_block {
    uint32_t word[4];
} sa2_philox_block;

sa2_philox_block sa2_philox4x32(sa2_philox_block counter, const uint32_t key[2]);

/* One number in [0, 1), a multiple of 2^-53, for step `step` of choice `choice` of a request:
 * key = seed, counter = {step, choice} in 64 and 32 bits, last word 0. */
double sa2_philox_uniform(uint64_t seed, uint32_t choice, uint64_t step);

#endif
