/* Parameters of sampling: defaults, and every mistake named with its range and what was found. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/sampling_params.h"

enum { N = 100 };

static const int32_t good_ids[] = {0, 99}, low_ids[] = {5, -1}, high_ids[] = {100};
static const sa2_token_list good_words[] = {{good_ids, 2}, {good_ids, 1}};
static const sa2_token_list empty_word[] = {{good_ids, 1}, {good_ids, 0}};
static const sa2_token_list high_word[] = {{good_ids, 1}, {high_ids, 1}};
static const sa2_logit_bias good_bias[] = {{0, 100.0f}, {99, -100.0f}};
static const sa2_logit_bias high_bias[] = {{0, 1.0f}, {100, 1.0f}};
static const sa2_logit_bias large_bias[] = {{7, 100.5f}}, nan_bias[] = {{8, NAN}};

static void defaults_and_the_ends_of_ranges_are_taken(void **state)
{
    (void)state;
    for (int mode = SA2_SAMPLING_VLLM; mode <= SA2_SAMPLING_HF; mode++) {
        sa2_sampling_params p = sa2_sampling_defaults(mode);
        assert_int_equal(p.top_k, mode == SA2_SAMPLING_HF ? 50 : -1);
        assert_true(p.temperature == 1.0f && p.top_p == 1.0f && p.seed < 0 && p.n_logprobs == -1);
        assert_int_equal(sa2_sampling_check(&p, N, NULL), SA2_OK);
        p.temperature = p.min_p = 0.0f;
        p.top_p = 1e-30f;
        p.frequency_penalty = -2.0f;
        p.presence_penalty = 2.0f;
        p.repetition_penalty = 1e-30f;
        p.top_k = 0;
        p.n_logprobs = 20;
        p.allowed = p.stop = good_words[0];
        p.bad_words = good_words;
        p.n_bad_words = 2;
        p.logit_bias = good_bias;
        p.n_logit_bias = 2;
        assert_int_equal(sa2_sampling_check(&p, N, NULL), SA2_OK);
    }
}

/* Compares the whole report, and that a good one follows a bad one. */
static void assert_report(const sa2_sampling_params *p, const char *report)
{
    sa2_error err = {0};
    assert_int_equal(sa2_sampling_check(p, N, &err), SA2_ERR_ARG);
    assert_string_equal(err.message, report);
    assert_int_equal(sa2_sampling_check(p, N, NULL), SA2_ERR_ARG);
}

static void every_number_out_of_range_is_named(void **state)
{
    (void)state;
    sa2_sampling_params p = sa2_sampling_defaults(SA2_SAMPLING_VLLM);
    const struct {
        float *place;
        float bad;
        const char *report;
    } floats[] = {
        {&p.temperature, -0.5f, "temperature: 0 or more expected, -0.5 found"},
        {&p.temperature, INFINITY, "temperature: 0 or more expected, inf found"},
        {&p.temperature, NAN, "temperature: 0 or more expected, nan found"},
        {&p.top_p, 0.0f, "top_p: above 0 and at most 1 expected, 0 found"},
        {&p.top_p, 1.5f, "top_p: above 0 and at most 1 expected, 1.5 found"},
        {&p.min_p, -1.0f, "min_p: 0 to 1 expected, -1 found"},
        {&p.min_p, NAN, "min_p: 0 to 1 expected, nan found"},
        {&p.repetition_penalty, 0.0f, "repetition_penalty: above 0 expected, 0 found"},
        {&p.repetition_penalty, -1.0f, "repetition_penalty: above 0 expected, -1 found"},
        {&p.frequency_penalty, 2.5f, "frequency_penalty: -2 to 2 expected, 2.5 found"},
        {&p.presence_penalty, -2.5f, "presence_penalty: -2 to 2 expected, -2.5 found"},
    };
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        float kept = *floats[i].place;
        *floats[i].place = floats[i].bad;
        assert_report(&p, floats[i].report);
        *floats[i].place = kept;
    }
    const struct {
        int *place;
        int bad;
        const char *report;
    } ints[] = {
        {&p.top_k, -2, "top_k: 1 or more, or 0 or -1 for off, expected, -2 found"},
        {&p.min_tokens, -1, "min_tokens: 0 or more expected, -1 found"},
        {&p.n_logprobs, 21, "logprobs: 0 to 20, or none, expected, 21 found"},
        {&p.n_logprobs, -2, "logprobs: 0 to 20, or none, expected, -2 found"},
    };
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        int kept = *ints[i].place;
        *ints[i].place = ints[i].bad;
        assert_report(&p, ints[i].report);
        *ints[i].place = kept;
    }
    p.mode = 7;
    assert_report(&p, "mode: vllm or hf expected, number 7 found");
}

static void ids_that_are_no_tokens_are_named(void **state)
{
    (void)state;
    const sa2_sampling_params p = sa2_sampling_defaults(SA2_SAMPLING_VLLM);
    sa2_sampling_params q = p;
    q.allowed = (sa2_token_list){low_ids, 2};
    assert_report(&q, "allowed_token_ids: token ids from 0 to 99 expected, -1 found");
    q = p;
    q.stop = (sa2_token_list){high_ids, 1};
    assert_report(&q, "stop_token_ids: token ids from 0 to 99 expected, 100 found");
    q = p;
    q.bad_words = high_word;
    q.n_bad_words = 2;
    assert_report(&q, "bad_words: token ids from 0 to 99 expected, 100 found");
    q.bad_words = empty_word;
    assert_report(&q, "bad_words[1]: 1 to 64 tokens expected, 0 found");
    q = p;
    q.logit_bias = high_bias;
    q.n_logit_bias = 2;
    assert_report(&q, "logit_bias: token ids from 0 to 99 expected, 100 found");
    q.logit_bias = large_bias;
    q.n_logit_bias = 1;
    assert_report(&q, "logit_bias of token 7: -100 to 100 expected, 100.5 found");
    q.logit_bias = nan_bias;
    assert_report(&q, "logit_bias of token 8: -100 to 100 expected, nan found");
}

static void all_mistakes_come_in_one_report(void **state)
{
    (void)state;
    sa2_sampling_params p = sa2_sampling_defaults(SA2_SAMPLING_HF);
    p.top_p = 2.0f;
    p.top_k = -5;
    p.stop = (sa2_token_list){high_ids, 1};
    assert_report(&p, "top_p: above 0 and at most 1 expected, 2 found\n"
                      "top_k: 1 or more, or 0 or -1 for off, expected, -5 found\n"
                      "stop_token_ids: token ids from 0 to 99 expected, 100 found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_the_ends_of_ranges_are_taken),
        cmocka_unit_test(every_number_out_of_range_is_named),
        cmocka_unit_test(ids_that_are_no_tokens_are_named),
        cmocka_unit_test(all_mistakes_come_in_one_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
