/* The sampler against its definition, a sort of the whole row in double, on random rows and parameters. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/logits_set.h"
#include "runtime/decoder/sampler.h"
#include "tests/support/random_logits.h"

enum { MOST = 50000, N_PROMPT = 40, N_OUTPUT = 30 };

typedef struct ranked {
    float z;
    int id;
} ranked;

typedef struct bench {
    sa2_arena arena;
    sa2_sampler_work work;
    uint64_t random;
    float logits[MOST], adjusted[MOST], probs[MOST];
    double weights[MOST], want[MOST];
    ranked order[MOST];
    void *memory;
    int32_t prompt[N_PROMPT], output[N_OUTPUT];
} bench;

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    size_t bytes = sa2_sampler_work_bytes(MOST) + sa2_arena_round(sa2_sampler_bytes(MOST));
    assert_int_equal(sa2_arena_create(&b->arena, bytes, NULL), SA2_OK);
    assert_int_equal(sa2_sampler_work_init(&b->work, MOST, &b->arena, NULL), SA2_OK);
    b->memory = sa2_arena_take(&b->arena, sa2_sampler_bytes(MOST));
    assert_non_null(b->memory);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    sa2_arena_destroy(&b->arena);
    free(b);
    return 0;
}

static int pick(bench *b, int n)
{
    return random_pick(&b->random, n);
}

/* ---- random cases ---- */

static sa2_sampling_params random_case(bench *b, int n)
{
    for (int i = 0; i < N_PROMPT; i++)
        b->prompt[i] = pick(b, n);
    for (int i = 0; i < N_OUTPUT; i++)
        b->output[i] = pick(b, n < 20 ? n : 20);
    return random_params(&b->random);
}

static void start(bench *b, sa2_sampler *sampler, const sa2_sampling_params *p, int n,
                  uint64_t seed)
{
    sa2_sampler_init(sampler, b->memory, p, seed, 0, n, b->prompt, N_PROMPT);
    for (int i = 0; i < N_OUTPUT; i++)
        sa2_sampler_accept(sampler, b->output[i]);
}

/* ---- the definition ---- */

static void punish(bench *b, const sa2_sampling_params *p, int n)
{
    memcpy(b->adjusted, b->logits, (size_t)n * sizeof(float));
    for (int i = 0; i < n; i++) {
        int count = 0, in_prompt = 0;
        float *z = &b->adjusted[i];
        for (int k = 0; k < N_PROMPT; k++)
            in_prompt += b->prompt[k] == i;
        for (int k = 0; k < N_OUTPUT; k++)
            count += b->output[k] == i;
        if (in_prompt + count > 0)
            *z = *z < 0.0f ? *z * p->repetition_penalty : *z / p->repetition_penalty;
        if (count > 0)
            *z -= p->frequency_penalty * (float)count + p->presence_penalty;
    }
}

static int more_likely_first(const void *x, const void *y)
{
    const ranked *a = x, *b = y;
    if (a->z != b->z)
        return a->z > b->z ? -1 : 1;
    return a->id - b->id;
}

static int keep_top_k(const bench *b, int k, int kept)
{
    if (k < 1 || k > kept)
        return kept;
    while (k < kept && b->order[k].z == b->order[k - 1].z)
        k++;
    return k;
}

static int keep_min_p(const bench *b, double min_p, int kept)
{
    while (kept > 1 && b->weights[kept - 1] < min_p * (1.0 - 1e-9))
        kept--;
    return kept;
}

/* *near: the set's end depends on rounding. */
static int keep_top_p(const bench *b, double top_p, int kept, bool *near)
{
    double whole = 0.0, before = 0.0;
    int n = 0;
    for (int i = 0; i < kept; i++)
        whole += b->weights[i];
    for (; n < kept && before < top_p * whole; n++)
        before += b->weights[n];
    double error = 4e-6 * whole;
    *near |= fabs(before - top_p * whole) < error ||
             fabs(before - b->weights[n - 1] - top_p * whole) < error;
    return n;
}

/* The distribution; false where rounding decides what belongs to it. */
static bool define(bench *b, const sa2_sampling_params *p, int n)
{
    bool near = false;
    int kept = 0;
    punish(b, p, n);
    for (int i = 0; i < n; i++)
        if (b->adjusted[i] > -INFINITY)
            b->order[kept++] = (ranked){b->adjusted[i], i};
    qsort(b->order, (size_t)kept, sizeof b->order[0], more_likely_first);
    for (int i = 0; i < kept; i++)
        b->weights[i] = exp(((double)b->order[i].z - b->order[0].z) / p->temperature);
    if (p->mode == SA2_SAMPLING_VLLM)
        kept = keep_min_p(b, p->min_p, kept);
    kept = keep_top_k(b, p->top_k, kept);
    if (p->top_p < 1.0f)
        kept = keep_top_p(b, p->top_p, kept, &near);
    if (p->mode == SA2_SAMPLING_HF)
        kept = keep_min_p(b, p->min_p, kept);
    double whole = 0.0;
    for (int i = 0; i < kept; i++)
        whole += b->weights[i];
    memset(b->want, 0, (size_t)n * sizeof(double));
    for (int i = 0; i < kept; i++)
        b->want[b->order[i].id] = b->weights[i] / whole;
    return !near;
}

/* ---- tests ---- */

/* A weight errs by 1.5e-7 + 1.3e-7 times its exponent, which is at most 42, of itself (row_sweeps.h, and
 * the rounding of scale), and by 2^-41. */
static void assert_defined(bench *b, const sa2_sampling_params *p, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        sum += b->probs[i];
        if (fabs(b->probs[i] - b->want[i]) > 8e-6 * b->want[i] + 5e-13)
            fail_msg("token %d of %d: %g found, %g expected; mode %d T %g k %d p %g min_p %g", i, n,
                     b->probs[i], b->want[i], p->mode, p->temperature, p->top_k, p->top_p,
                     p->min_p);
    }
    assert_true(fabs(sum - 1.0) < 1e-5);
}

static void distributions_are_those_of_the_definition(void **state)
{
    bench *b = *state;
    static const int sizes[] = {1, 2, 63, 64, 65, 130, 1000, 7615, MOST};
    int n_near = 0, n_cases = 0;
    for (int round = 0; round < 540; round++) {
        int n = sizes[round % 9];
        sa2_error err = {0};
        sa2_sampler sampler;
        random_logits(&b->random, b->logits, n, pick(b, 8));
        sa2_sampling_params p = random_case(b, n);
        start(b, &sampler, &p, n, 0);
        if (sa2_sampler_probs(&sampler, b->logits, &b->work, b->probs, &err) != SA2_OK)
            fail_msg("%s", err.message);
        n_cases++;
        if (define(b, &p, n))
            assert_defined(b, &p, n);
        else
            n_near++;
    }
    assert_true(n_near * 5 < n_cases);
}

static void only_tokens_of_the_distribution_are_drawn(void **state)
{
    bench *b = *state;
    for (int round = 0; round < 200; round++) {
        int n = 1 + pick(b, round % 10 == 0 ? MOST : 2000);
        sa2_sampler sampler;
        int32_t token;
        random_logits(&b->random, b->logits, n, pick(b, 8));
        sa2_sampling_params p = random_case(b, n);
        start(b, &sampler, &p, n, (uint64_t)round);
        assert_int_equal(sa2_sampler_probs(&sampler, b->logits, &b->work, b->probs, NULL), SA2_OK);
        for (int i = 0; i < 20; i++) {
            sampler.seed++;
            assert_int_equal(sa2_sampler_next(&sampler, b->logits, &b->work, &token, NULL), SA2_OK);
            assert_true(token >= 0 && token < n && b->probs[token] > 0.0f);
        }
    }
}

static void the_ends_of_the_unit_interval_draw_tokens_of_the_set(void **state)
{
    bench *b = *state;
    for (int round = 0; round < 64; round++) {
        int n = 1 + pick(b, 3000);
        sa2_logits row;
        random_logits(&b->random, b->logits, n, round % 8);
        assert_int_equal(sa2_logits_init(&row, b->logits, n, &b->work, NULL), SA2_OK);
        sa2_logits_weigh(&row, 2.0f, -INFINITY);
        sa2_logits_set sets[] = {{.above = -INFINITY}, sa2_logits_top_share(&row, 0.8f)};
        for (int k = 0; k < 2; k++) {
            sa2_logits_probs(&row, sets[k], b->probs);
            assert_true(b->probs[sa2_logits_draw(&row, sets[k], 0.0)] > 0.0f);
            assert_true(b->probs[sa2_logits_draw(&row, sets[k], 1.0 - 0x1p-53)] > 0.0f);
        }
    }
}

/* Draws with the seeds 0, 1, 2 ... fall on tokens as often as the distribution says. For k tokens that
 * expect 8 draws or more, and the rest together, chi-square has k degrees of freedom: mean k, deviation
 * sqrt(2 k), of which 5 are allowed. */
static void draws_fall_as_the_distribution_says(void **state)
{
    enum { DRAWS = 20000 };
    bench *b = *state;
    for (int round = 0; round < 24; round++) {
        int n = 70 + pick(b, 300), counts[370] = {0}, k = 0;
        sa2_sampler sampler;
        int32_t token;
        random_logits(&b->random, b->logits, n, round % 8);
        sa2_sampling_params p = random_case(b, n);
        start(b, &sampler, &p, n, 0);
        assert_int_equal(sa2_sampler_probs(&sampler, b->logits, &b->work, b->probs, NULL), SA2_OK);
        for (int i = 0; i < DRAWS; i++) {
            sampler.seed = (uint64_t)i;
            assert_int_equal(sa2_sampler_next(&sampler, b->logits, &b->work, &token, NULL), SA2_OK);
            counts[token]++;
        }
        double chi = 0.0, rest = DRAWS, rest_found = DRAWS;
        for (int i = 0; i < n; i++) {
            double expected = (double)b->probs[i] * DRAWS;
            if (expected < 8.0)
                continue;
            chi += (counts[i] - expected) * (counts[i] - expected) / expected;
            rest -= expected;
            rest_found -= counts[i];
            k++;
        }
        if (rest >= 8.0)
            chi += (rest_found - rest) * (rest_found - rest) / rest;
        assert_true(chi < k + 5.0 * sqrt(2.0 * k) + 1.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions_are_those_of_the_definition),
        cmocka_unit_test(only_tokens_of_the_distribution_are_drawn),
        cmocka_unit_test(the_ends_of_the_unit_interval_draw_tokens_of_the_set),
        cmocka_unit_test(draws_fall_as_the_distribution_says),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
