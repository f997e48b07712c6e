#include "runtime/decoder/philox.h"

enum { ROUNDS = 10 };

/* Salmon et al. 2011, table 2 (multipliers) and section 3.3 (what is added to the key each round: the
 * golden ratio and sqrt(3) - 1). */
static const uint32_t multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
static const uint32_t key_step[2] = {0x9E3779B9u, 0xBB67AE85u};

sa2_philox_block sa2_philox4x32(sa2_philox_block counter, const uint32_t key[2])
{
    uint32_t k0 = key[0], k1 = key[1];
    sa2_philox_block x = counter;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t a = (uint64_t)multiplier[0] * x.word[0];
        uint64_t b = (uint64_t)multiplier[1] * x.word[2];
        x = (sa2_philox_block){{(uint32_t)(b >> 32) ^ x.word[1] ^ k0, (uint32_t)b,
                                (uint32_t)(a >> 32) ^ x.word[3] ^ k1, (uint32_t)a}};
        k0 += key_step[0];
        k1 += key_step[1];
    }
    return x;
}

double sa2_philox_uniform(uint64_t seed, uint32_t choice, uint64_t step)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    sa2_philox_block counter = {{(uint32_t)step, (uint32_t)(step >> 32), choice, 0}};
    sa2_philox_block x = sa2_philox4x32(counter, key);
    uint64_t bits = (uint64_t)x.word[1] << 32 | x.word[0];
    return (double)(bits >> 11) * 0x1p-53;
}
