#include "tests/support/random_logits.h"

#include <math.h>

double random_uniform(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (double)(*random >> 11) * 0x1p-53;
}

int random_pick(uint64_t *random, int n)
{
    return (int)(random_uniform(random) * n);
}

void random_logits(uint64_t *random, float *logits, int n, int kind)
{
    static const double deviations[RANDOM_LOGITS_KINDS] = {0.01, 1.0, 3.0, 10.0,
                                                           2.0,  1.0, 1e6, 0.0};
    for (int i = 0; i < n; i++) {
        double radius = sqrt(-2.0 * log(1.0 - random_uniform(random)));
        double z = deviations[kind] * radius * cos(6.2831853 * random_uniform(random));
        if (kind == 4)
            z = floor(z * 4.0) / 4.0;
        if (kind == 5 && i > 0 && random_uniform(random) < 0.9)
            z = -INFINITY;
        logits[i] = (float)z;
    }
}

static float one_of(uint64_t *random, float off, const float choices[4])
{
    return random_uniform(random) < 0.5 ? off : choices[random_pick(random, 4)];
}

sa2_sampling_params random_params(uint64_t *random)
{
    sa2_sampling_params p =
        sa2_sampling_defaults(random_pick(random, 2) ? SA2_SAMPLING_HF : SA2_SAMPLING_VLLM);
    p.temperature = one_of(random, 1.0f, (const float[]){0.1f, 0.7f, 1.5f, 30.0f});
    p.top_p = one_of(random, 1.0f, (const float[]){0.9f, 0.5f, 0.01f, 0.999f});
    p.min_p = one_of(random, 0.0f, (const float[]){0.02f, 0.3f, 1e-6f, 1.0f});
    p.top_k = (int)one_of(random, -1.0f, (const float[]){1.0f, 5.0f, 50.0f, 3000.0f});
    p.repetition_penalty = one_of(random, 1.0f, (const float[]){1.05f, 2.0f, 0.5f, 1.3f});
    p.frequency_penalty = one_of(random, 0.0f, (const float[]){0.3f, -0.5f, 2.0f, -2.0f});
    p.presence_penalty = one_of(random, 0.0f, (const float[]){0.4f, -1.0f, 2.0f, -2.0f});
    return p;
}
