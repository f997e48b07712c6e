/* Log-probabilities: the chosen token's and the best ones, of raw logits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/logprobs.h"

enum { MOST = 7615, TOP = SA2_SAMPLING_MAX_LOGPROBS };

typedef struct bench {
    sa2_arena arena;
    sa2_sampler_work work;
    float logits[MOST];
    sa2_logprob chosen, top[TOP];
} bench;

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    assert_int_equal(sa2_arena_create(&b->arena, sa2_sampler_work_bytes(MOST), NULL), SA2_OK);
    assert_int_equal(sa2_sampler_work_init(&b->work, MOST, &b->arena, NULL), SA2_OK);
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

static void fill(bench *b, int n, uint64_t random, double step)
{
    for (int i = 0; i < n; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        b->logits[i] = (float)(floor((double)(random >> 40) / (1 << 24) * 30.0 / step) * step);
    }
}

static double definition(const bench *b, int n, int id)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += exp((double)b->logits[i] - b->logits[id]);
    return -log(sum);
}

static void log_probabilities_are_those_of_the_definition(void **state)
{
    bench *b = *state;
    static const int sizes[] = {1, 5, 20, 63, 64, 65, 1000, MOST};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int n = sizes[k], n_top = n < TOP ? n : TOP, chosen = n / 3;
        fill(b, n, k, k % 2 ? 1.0 : 0.001); /* every other row is full of ties */
        assert_int_equal(
            sa2_logprobs(b->logits, n, chosen, &b->chosen, b->top, n_top, &b->work, NULL), SA2_OK);
        /* Rounding of the result to float, up to 40: 2e-6; of the mass: 1e-6. */
        assert_int_equal(b->chosen.id, chosen);
        assert_true(fabs(b->chosen.logprob - definition(b, n, chosen)) < 4e-6);
        for (int i = 0; i < n_top; i++) {
            float z = b->logits[b->top[i].id];
            int n_before =
                0; /* tokens that come first: larger ones, and equal ones with lower ids */
            for (int id = 0; id < n; id++)
                n_before += b->logits[id] > z || (b->logits[id] == z && id < b->top[i].id);
            assert_int_equal(n_before, i);
            assert_true(fabs(b->top[i].logprob - definition(b, n, b->top[i].id)) < 4e-6);
        }
    }
}

static void masked_tokens_come_last_by_id(void **state)
{
    bench *b = *state;
    for (int i = 0; i < 100; i++)
        b->logits[i] = -INFINITY;
    b->logits[70] = b->logits[80] = 3.0f;
    static const int32_t want[] = {70, 80, 0, 1, 2};
    assert_int_equal(sa2_logprobs(b->logits, 100, 9, &b->chosen, b->top, 5, &b->work, NULL),
                     SA2_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(b->top[i].id, want[i]);
        assert_true(i < 2 ? fabsf(b->top[i].logprob + 0.69314718f) < 1e-6f
                          : b->top[i].logprob == -INFINITY);
    }
    assert_true(b->chosen.logprob == -INFINITY);
}

static void either_part_may_be_left_out(void **state)
{
    bench *b = *state;
    fill(b, 64, 9, 0.001);
    b->chosen.id = 77;
    assert_int_equal(sa2_logprobs(b->logits, 64, 3, NULL, b->top, 1, &b->work, NULL), SA2_OK);
    assert_int_equal(sa2_logprobs(b->logits, 64, b->top[0].id, &b->chosen, NULL, 0, &b->work, NULL),
                     SA2_OK);
    assert_int_equal(b->chosen.id, b->top[0].id);
    assert_true(b->chosen.logprob == b->top[0].logprob);
}

static void rows_that_are_no_distribution_are_refused(void **state)
{
    bench *b = *state;
    sa2_error err = {0};
    fill(b, 64, 9, 0.001);
    b->logits[33] = NAN;
    assert_int_equal(sa2_logprobs(b->logits, 64, 3, NULL, b->top, 1, &b->work, &err),
                     SA2_ERR_FORMAT);
    assert_string_equal(err.message, "logit of token 33: a number expected, nan found");
    for (int i = 0; i < 64; i++)
        b->logits[i] = -INFINITY;
    assert_int_equal(sa2_logprobs(b->logits, 64, 3, NULL, b->top, 1, &b->work, &err), SA2_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_probabilities_are_those_of_the_definition),
        cmocka_unit_test(masked_tokens_come_last_by_id),
        cmocka_unit_test(either_part_may_be_left_out),
        cmocka_unit_test(rows_that_are_no_distribution_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
