#include "tests/support/requests.h"

static const int32_t stop[] = {44, 45, 46}, allowed[] = {50, 51, 52, 53};
static const int32_t word[] = {44}, pair[] = {600, 600};
static const sa2_logit_bias surely[] = {{46, 100.0f}};

const sa2_logit_bias test_bias[3] = {{44, 6.0f}, {45, -100.0f}, {600, 5.5f}};
const sa2_token_list test_stop = {stop, 3}, test_allowed = {allowed, 4};
const sa2_token_list test_bad_words[2] = {{word, 1}, {pair, 2}};
const int32_t test_prompts[3][TEST_PROMPT] = {{10, 20, 30, 40}, {7, 8, 9, 11}, {300, 2, 41, 5}};

sa2_request test_request(int i, int max_tokens)
{
    sa2_request r = sa2_request_default();
    r.ids = test_prompts[i % 3];
    r.n_ids = TEST_PROMPT - (size_t)i % 2;
    r.sampling.seed = i;
    r.sampling.n_logprobs = 0;
    r.max_tokens = max_tokens;
    r.ignore_eos = r.return_ids = true;
    return r;
}

sa2_request test_request_kind(int i, int max_tokens)
{
    sa2_request r = test_request(i, max_tokens);
    sa2_sampling_params *p = &r.sampling;
    switch (i) {
    case 0:
        p->temperature = 0.0f;
        p->repetition_penalty = 1.3f;
        break;
    case 1:
        p->top_p = 0.9f;
        p->frequency_penalty = 0.7f;
        p->presence_penalty = -0.4f;
        r.n = 3;
        break;
    case 2:
        *p = sa2_sampling_defaults(SA2_SAMPLING_HF);
        p->seed = 5;
        p->top_p = 0.8f;
        p->min_p = 0.05f;
        p->n_logprobs = 0;
        p->repetition_penalty = 1.5f;
        break;
    case 3: /* ends when it may, though nobody knows before that it will */
        p->logit_bias = surely;
        p->n_logit_bias = 1;
        p->stop = test_stop;
        p->min_tokens = 5;
        p->frequency_penalty = 1.0f;
        break;
    case 4:
        p->logit_bias = test_bias;
        p->n_logit_bias = 3;
        p->bad_words = test_bad_words;
        p->n_bad_words = 1;
        p->repetition_penalty = 0.8f;
        p->n_logprobs = -1;
        break;
    default:
        p->top_k = 20;
        break;
    }
    return r;
}
