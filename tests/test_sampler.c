/* The sampler, rule by rule: what each parameter does, ties, streams of random numbers, bad logits. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/sampler.h"

enum { N = 200 };

typedef struct bench {
    sa2_arena arena;
    sa2_sampler_work work;
    sa2_sampling_params params;
    sa2_sampler sampler;
    void *memory, *memory_2;
    float logits[N + 8], probs[N];
    sa2_error err;
} bench;

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    size_t bytes = sa2_sampler_work_bytes(N) + 2 * sa2_arena_round(sa2_sampler_bytes(N));
    assert_int_equal(sa2_arena_create(&b->arena, bytes, NULL), SA2_OK);
    assert_int_equal(sa2_sampler_work_init(&b->work, N, &b->arena, NULL), SA2_OK);
    b->memory = sa2_arena_take(&b->arena, sa2_sampler_bytes(N));
    b->memory_2 = sa2_arena_take(&b->arena, sa2_sampler_bytes(N));
    assert_non_null(b->memory_2);
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

/* A new sequence with default parameters and logits 0, but 4 at id 30, 2 at 60 and 1 at 90. */
static bench *fresh(void **state, sa2_sampling_mode mode)
{
    bench *b = *state;
    b->params = sa2_sampling_defaults(mode);
    for (int i = 0; i < N + 8; i++)
        b->logits[i] = i < N ? 0.0f : NAN; /* rows that are no tokens */
    b->logits[30] = 4.0f;
    b->logits[60] = 2.0f;
    b->logits[90] = 1.0f;
    b->err = (sa2_error){0};
    sa2_sampler_init(&b->sampler, b->memory, &b->params, 5, 0, N, NULL, 0);
    return b;
}

static int32_t next(bench *b)
{
    int32_t token = -1;
    if (sa2_sampler_next(&b->sampler, b->logits, &b->work, &token, &b->err) != SA2_OK)
        fail_msg("%s", b->err.message);
    return token;
}

/* How many tokens may be drawn. */
static int support(bench *b)
{
    int n = 0;
    if (sa2_sampler_probs(&b->sampler, b->logits, &b->work, b->probs, &b->err) != SA2_OK)
        fail_msg("%s", b->err.message);
    for (int i = 0; i < N; i++)
        n += b->probs[i] > 0.0f;
    return n;
}

/* The logarithm of the odds of `token` against `other`: at temperature 1, how far their logits are apart. */
static float log_odds(bench *b, int token, int other)
{
    support(b);
    return logf(b->probs[token] / b->probs[other]);
}

static void assert_near(double found, double expected)
{
    if (!(fabs(found - expected) < 1e-5))
        fail_msg("%g found, %g expected", found, expected);
}

/* ---- greedy ---- */

static void greedy_takes_the_lowest_id_among_the_largest(void **state)
{
    for (int mode = SA2_SAMPLING_VLLM; mode <= SA2_SAMPLING_HF; mode++) {
        bench *b = fresh(state, mode);
        b->params.temperature = 0.0f;
        b->params.top_k = 1;
        b->params.top_p = 0.001f;
        assert_int_equal(next(b), 30);
        b->logits[199] = b->logits[150] = 5.0f;
        assert_int_equal(next(b), 150);
        assert_int_equal(support(b), 1);
        b->logits[0] = 5.0f;
        assert_int_equal(next(b), 0);
        for (int i = 0; i < N; i++)
            b->logits[i] = i % 2 ? -0.0f : 0.0f;
        assert_int_equal(next(b), 0);
    }
}

static void a_temperature_below_1e_5_is_greedy_in_vllm_and_cold_in_hf(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.temperature = 9e-6f;
    b->logits[31] = 4.0f;
    assert_int_equal(support(b), 1);
    assert_true(sa2_sampling_is_greedy(&b->params));
    b = fresh(state, SA2_SAMPLING_HF);
    b->params.temperature = 9e-6f;
    b->logits[31] = 4.0f;
    assert_int_equal(support(b), 2);
    assert_false(sa2_sampling_is_greedy(&b->params));
}

static void vllm_raises_cold_temperatures_to_a_hundredth(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.temperature = 1e-4f;
    b->logits[31] = 4.0f - 0x1p-6f;
    assert_near(log_odds(b, 30, 31), 1.5625);
    b = fresh(state, SA2_SAMPLING_HF);
    b->params.temperature = 0.005f;
    b->logits[31] = 4.0f - 0x1p-6f;
    assert_near(log_odds(b, 30, 31), 3.125);
}

static void the_hottest_and_the_coldest_temperatures_are_no_trouble(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_HF);
    b->params.top_k = 0;
    b->params.temperature = FLT_MAX;
    assert_int_equal(support(b), N);
    assert_near(log_odds(b, 30, 0), 0.0);
    b->params.top_p = 0.5f;
    assert_int_equal(support(b), N / 2);
    b->params.temperature = FLT_TRUE_MIN;
    assert_int_equal(support(b), 1);
    assert_int_equal(next(b), 30);
}

/* ---- truncation ---- */

static void hf_keeps_50_tokens_unless_told_otherwise_and_vllm_all(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_HF);
    for (int i = 0; i < N; i++)
        b->logits[i] = (float)(i * 7 % N) / 100.0f;
    assert_int_equal(support(b), 50);
    b->params.top_k = 0;
    assert_int_equal(support(b), N);
    b->params = sa2_sampling_defaults(SA2_SAMPLING_VLLM);
    assert_int_equal(support(b), N);
}

static void all_ties_at_the_kth_value_survive_top_k(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->logits[199] = b->logits[64] = 2.0f;
    b->params.top_k = 1;
    assert_int_equal(support(b), 1);
    b->params.top_k = 2;
    assert_int_equal(support(b), 4);
    b->params.top_k = 5;
    assert_int_equal(support(b), 5);
    b->params.top_k = 6;
    assert_int_equal(support(b), N);
    b->params.top_k = 100000;
    assert_int_equal(support(b), N);
}

static void top_p_counts_the_lower_id_of_equals_as_the_more_likely(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    for (int i = 0; i < N; i++)
        b->logits[i] = i >= 100 ? 1.0f : -INFINITY;
    b->params.top_p = 0.255f; /* of 100 equal ones: 26 */
    assert_int_equal(support(b), 26);
    for (int i = 100; i < 126; i++)
        assert_near(b->probs[i], 1.0 / 26.0);
    b->params.top_p = 1e-9f;
    assert_int_equal(support(b), 1);
    assert_int_equal(next(b), 100);
}

static void mode_hf_applies_min_p_after_top_p_and_vllm_before(void **state)
{
    /* Weights 10, 4, 4, 2 of 20, min-p 0.3 of 10: without the last one top-p 0.76 needs 13.68 of 18, two
     * tokens; with it 15.2 of 20, three. */
    static const float weights[] = {10.0f, 4.0f, 4.0f, 2.0f};
    for (int mode = SA2_SAMPLING_VLLM; mode <= SA2_SAMPLING_HF; mode++) {
        bench *b = fresh(state, mode);
        for (int i = 0; i < N; i++)
            b->logits[i] = i < 4 ? logf(weights[i]) : -INFINITY;
        b->params.min_p = 0.3f;
        assert_int_equal(support(b), 3);
        b->params.top_p = 0.76f;
        assert_int_equal(support(b), mode == SA2_SAMPLING_HF ? 3 : 2);
        b->params.min_p = 1.0f;
        assert_int_equal(support(b), 1);
    }
}

/* ---- masks, bias, penalties ---- */

static void only_allowed_tokens_are_drawn(void **state)
{
    static const int32_t ids[] = {199, 7, 60, 7};
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.allowed = (sa2_token_list){ids, 4};
    assert_int_equal(support(b), 3);
    assert_near(log_odds(b, 60, 7), 2.0);
    assert_near(log_odds(b, 199, 7), 0.0);
}

static void a_bias_is_added_after_masks_and_before_penalties(void **state)
{
    static const sa2_logit_bias bias[] = {{7, 6.0f}, {30, -100.0f}, {61, 1.0f}};
    static const int32_t stop[] = {61}, prompt[] = {7};
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.logit_bias = bias;
    b->params.n_logit_bias = 3;
    b->params.repetition_penalty = 2.0f;
    b->params.stop = (sa2_token_list){stop, 1};
    b->params.min_tokens = 1;
    sa2_sampler_init(&b->sampler, b->memory, &b->params, 5, 0, N, prompt, 1);
    assert_near(log_odds(b, 7, 0), 3.0);
    assert_near(b->probs[30], 0.0);
    assert_true(b->probs[61] == 0.0f);
}

static void stop_tokens_are_masked_until_min_tokens_are_there(void **state)
{
    static const int32_t stop[] = {30, 60};
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.temperature = 0.0f;
    b->params.stop = (sa2_token_list){stop, 2};
    b->params.min_tokens = 2;
    assert_int_equal(next(b), 90);
    sa2_sampler_accept(&b->sampler, 90);
    assert_int_equal(next(b), 90);
    sa2_sampler_accept(&b->sampler, 90);
    assert_int_equal(next(b), 30);
}

static void a_bad_word_is_never_completed(void **state)
{
    static const int32_t one[] = {60}, three[] = {1, 2, 30};
    static const sa2_token_list words[] = {{one, 1}, {three, 3}};
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.bad_words = words;
    b->params.n_bad_words = 2;
    support(b);
    assert_true(b->probs[60] == 0.0f && b->probs[30] > 0.0f);
    static const int32_t said[] = {2, 1, 2};
    for (int i = 0; i < 3; i++) {
        support(b);
        assert_true(b->probs[30] > 0.0f);
        sa2_sampler_accept(&b->sampler, said[i]);
    }
    support(b);
    assert_true(b->probs[30] == 0.0f && b->probs[60] == 0.0f);
    sa2_sampler_accept(&b->sampler, 3);
    support(b);
    assert_true(b->probs[30] > 0.0f);
}

static void the_longest_bad_word_is_recognised_at_any_step(void **state)
{
    enum { LENGTH = SA2_SAMPLING_MAX_BAD_WORD_TOKENS };
    int32_t ids[LENGTH];
    const sa2_token_list word = {ids, LENGTH};
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    for (int i = 0; i < LENGTH; i++)
        ids[i] = i;
    b->params.bad_words = &word;
    b->params.n_bad_words = 1;
    for (int step = 0; step < 3 * LENGTH + 5; step++) {
        bool complete = step % (LENGTH - 1) == 0 && step > 0;
        support(b);
        assert_int_equal(b->probs[LENGTH - 1] == 0.0f, complete);
        sa2_sampler_accept(&b->sampler, step % (LENGTH - 1));
    }
}

static void the_prompt_counts_for_repetition_and_not_for_the_other_penalties(void **state)
{
    static const int32_t prompt[] = {60, 60, N, N + 7, -1}; /* rows without a token are skipped */
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    sa2_sampler_init(&b->sampler, b->memory, &b->params, 5, 0, N, prompt, 5);
    sa2_sampler_accept(&b->sampler, 90);
    sa2_sampler_accept(&b->sampler, 90);
    b->params.repetition_penalty = 2.0f;
    assert_near(log_odds(b, 60, 0), 1.0);
    assert_near(log_odds(b, 90, 0), 0.5);
    b->params.repetition_penalty = 1.0f;
    b->params.frequency_penalty = 0.25f;
    assert_near(log_odds(b, 60, 0), 2.0);
    assert_near(log_odds(b, 90, 0), 1.0 - 2 * 0.25);
    b->params.frequency_penalty = 0.0f;
    b->params.presence_penalty = -0.25f;
    assert_near(log_odds(b, 60, 0), 2.0);
    assert_near(log_odds(b, 90, 0), 1.25);
    b->params.presence_penalty = 0.0f;
    b->params.repetition_penalty = 2.0f;
    b->logits[60] = -2.0f;
    assert_near(log_odds(b, 60, 0), -4.0);
}

static void a_token_is_counted_65535_times_at_most(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.frequency_penalty = 0.0001f;
    for (int i = 0; i < 65535; i++)
        sa2_sampler_accept(&b->sampler, 30);
    float before = log_odds(b, 30, 0);
    sa2_sampler_accept(&b->sampler, 30);
    assert_near(log_odds(b, 30, 0), before);
    assert_near(before, 4.0 - 6.5535);
}

static void logits_rounded_to_bf16_have_the_ties_of_a_model_in_bf16(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.temperature = 0.0f;
    b->logits[30] = 4.01f; /* steps of bf16 here: 1/32 below, up to even */
    b->logits[29] = 4.0f;
    assert_int_equal(next(b), 30);
    b->params.round_to_bf16 = true;
    assert_int_equal(next(b), 29);
    b->logits[30] = 4.03f;
    assert_int_equal(next(b), 30);
    b->params.temperature = 1.0f;
    assert_near(log_odds(b, 30, 29), 0.03125);
}

/* ---- streams ---- */

static void a_draw_depends_on_nothing_but_its_own_sequence(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    int32_t alone[40], token;
    for (int i = 0; i < 40; i++)
        sa2_sampler_accept(&b->sampler, alone[i] = next(b));
    b = fresh(state, SA2_SAMPLING_VLLM);
    sa2_sampling_params other = b->params;
    other.top_k = 3;
    sa2_sampler neighbour;
    sa2_sampler_init(&neighbour, b->memory_2, &other, 5, 1, N, NULL, 0);
    for (int i = 0; i < 40; i++) {
        for (int k = 0; k < i % 3; k++) {
            float row[N] = {[5] = (float)i, [6] = 2.0f};
            assert_int_equal(sa2_sampler_next(&neighbour, row, &b->work, &token, NULL), SA2_OK);
            sa2_sampler_accept(&neighbour, token);
        }
        assert_int_equal(next(b), alone[i]);
        assert_int_equal(next(b), alone[i]); /* asking changes nothing */
        sa2_sampler_accept(&b->sampler, alone[i]);
    }
}

static void choices_of_a_request_share_what_was_said_and_draw_apart(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    int32_t token;
    b->params.frequency_penalty = 1.0f;
    sa2_sampler_accept(&b->sampler, 30);
    sa2_sampler child;
    sa2_sampler_fork(&child, b->memory_2, &b->sampler, 1);
    assert_near(log_odds(b, 30, 0), 3.0);
    sa2_sampler_accept(&child, 30);
    assert_near(log_odds(b, 30, 0), 3.0);
    int n_equal = 0;
    b->params.frequency_penalty = 0.0f;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(sa2_sampler_next(&child, b->logits, &b->work, &token, NULL), SA2_OK);
        n_equal += token == next(b);
        sa2_sampler_accept(&child, 0);
        sa2_sampler_accept(&b->sampler, 0);
    }
    assert_true(n_equal < 15); /* two draws agree with probability 0.065 */
}

/* ---- what cannot be sampled ---- */

static void assert_refused(bench *b, sa2_status status, const char *words)
{
    int32_t token = 77;
    b->err = (sa2_error){0};
    assert_int_equal(sa2_sampler_next(&b->sampler, b->logits, &b->work, &token, &b->err), status);
    assert_int_equal(token, 77);
    if (strstr(b->err.message, words) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", words, b->err.message);
    assert_int_equal(sa2_sampler_probs(&b->sampler, b->logits, &b->work, b->probs, NULL), status);
}

static void a_logit_that_is_no_number_is_named(void **state)
{
    static const int32_t ids[] = {0, 1};
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->logits[197] = NAN;
    assert_refused(b, SA2_ERR_FORMAT, "logit of token 197: a number expected, nan found");
    b->logits[33] = INFINITY;
    assert_refused(b, SA2_ERR_FORMAT, "logit of token 33: a number expected, inf found");
    b->params.temperature = 0.0f;
    b->params.allowed = (sa2_token_list){ids, 2}; /* does not hide it */
    assert_refused(b, SA2_ERR_FORMAT, "logit of token 33: a number expected, inf found");
}

static void a_penalty_that_leaves_the_range_of_floats_is_an_error(void **state)
{
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.repetition_penalty = FLT_MIN;
    b->logits[30] = 1e6f;
    sa2_sampler_accept(&b->sampler, 30);
    assert_refused(b, SA2_ERR_FORMAT, "logit of token 30: a number expected, inf found");
    b->logits[30] = -1e6f;
    b->params.repetition_penalty = FLT_MAX;
    support(b);
    assert_true(b->probs[30] == 0.0f);
}

static void masks_that_leave_nothing_are_an_error(void **state)
{
    static const int32_t ids[] = {30};
    static const sa2_token_list word = {ids, 1};
    bench *b = fresh(state, SA2_SAMPLING_VLLM);
    b->params.allowed = word;
    b->params.bad_words = &word;
    b->params.n_bad_words = 1;
    assert_refused(b, SA2_ERR_ARG, "all 200 tokens are masked");
    b = fresh(state, SA2_SAMPLING_HF);
    for (int i = 0; i < N; i++)
        b->logits[i] = -INFINITY;
    assert_refused(b, SA2_ERR_ARG, "all 200 tokens are masked");
}

static void memory_that_does_not_suffice_is_said(void **state)
{
    bench *b = *state;
    sa2_sampler_work work;
    sa2_error err = {0};
    size_t used = b->arena.used;
    assert_int_equal(sa2_sampler_work_init(&work, N, &b->arena, &err), SA2_ERR_NOMEM);
    assert_non_null(strstr(err.message, "sampler work: "));
    assert_int_equal(b->arena.used, used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_lowest_id_among_the_largest),
        cmocka_unit_test(a_temperature_below_1e_5_is_greedy_in_vllm_and_cold_in_hf),
        cmocka_unit_test(vllm_raises_cold_temperatures_to_a_hundredth),
        cmocka_unit_test(the_hottest_and_the_coldest_temperatures_are_no_trouble),
        cmocka_unit_test(hf_keeps_50_tokens_unless_told_otherwise_and_vllm_all),
        cmocka_unit_test(all_ties_at_the_kth_value_survive_top_k),
        cmocka_unit_test(top_p_counts_the_lower_id_of_equals_as_the_more_likely),
        cmocka_unit_test(mode_hf_applies_min_p_after_top_p_and_vllm_before),
        cmocka_unit_test(only_allowed_tokens_are_drawn),
        cmocka_unit_test(a_bias_is_added_after_masks_and_before_penalties),
        cmocka_unit_test(stop_tokens_are_masked_until_min_tokens_are_there),
        cmocka_unit_test(a_bad_word_is_never_completed),
        cmocka_unit_test(the_longest_bad_word_is_recognised_at_any_step),
        cmocka_unit_test(the_prompt_counts_for_repetition_and_not_for_the_other_penalties),
        cmocka_unit_test(a_token_is_counted_65535_times_at_most),
        cmocka_unit_test(logits_rounded_to_bf16_have_the_ties_of_a_model_in_bf16),
        cmocka_unit_test(a_draw_depends_on_nothing_but_its_own_sequence),
        cmocka_unit_test(choices_of_a_request_share_what_was_said_and_draw_apart),
        cmocka_unit_test(a_logit_that_is_no_number_is_named),
        cmocka_unit_test(a_penalty_that_leaves_the_range_of_floats_is_an_error),
        cmocka_unit_test(masks_that_leave_nothing_are_an_error),
        cmocka_unit_test(memory_that_does_not_suffice_is_said),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
