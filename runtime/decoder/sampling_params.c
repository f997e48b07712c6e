#include "runtime/decoder/sampling_params.h"

#include <float.h>
#include <stddef.h>

sa2_sampling_params sa2_sampling_defaults(sa2_sampling_mode mode)
{
    return (sa2_sampling_params){
        .mode = mode,
        .temperature = 1.0f,
        .top_k = mode == SA2_SAMPLING_HF ? 50 : -1,
        .top_p = 1.0f,
        .repetition_penalty = 1.0f,
        .seed = -1,
        .n_logprobs = -1,
    };
}

bool sa2_sampling_is_greedy(const sa2_sampling_params *params)
{
    return params->temperature < (params->mode == SA2_SAMPLING_HF ? FLT_TRUE_MIN : 1e-5f);
}

static void check_numbers(const sa2_sampling_params *p, sa2_status *st, sa2_error *err)
{
    const struct {
        const char *name;
        float value, least, most;
        const char *range;
    } numbers[] = {
        {"temperature", p->temperature, 0.0f, FLT_MAX, "0 or more"},
        {"top_p", p->top_p, FLT_TRUE_MIN, 1.0f, "above 0 and at most 1"},
        {"min_p", p->min_p, 0.0f, 1.0f, "0 to 1"},
        {"repetition_penalty", p->repetition_penalty, FLT_TRUE_MIN, FLT_MAX, "above 0"},
        {"frequency_penalty", p->frequency_penalty, -2.0f, 2.0f, "-2 to 2"},
        {"presence_penalty", p->presence_penalty, -2.0f, 2.0f, "-2 to 2"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!(numbers[i].value >= numbers[i].least && numbers[i].value <= numbers[i].most))
            *st = sa2_fail_also(err, SA2_ERR_ARG, "%s: %s expected, %g found", numbers[i].name,
                                numbers[i].range, (double)numbers[i].value);
    }
    if (p->mode != SA2_SAMPLING_VLLM && p->mode != SA2_SAMPLING_HF)
        *st = sa2_fail_also(err, SA2_ERR_ARG, "mode: vllm or hf expected, number %d found",
                            (int)p->mode);
    if (p->top_k < -1)
        *st = sa2_fail_also(err, SA2_ERR_ARG,
                            "top_k: 1 or more, or 0 or -1 for off, expected, "
                            "%d found",
                            p->top_k);
    if (p->min_tokens < 0)
        *st = sa2_fail_also(err, SA2_ERR_ARG, "min_tokens: 0 or more expected, %d found",
                            p->min_tokens);
    if (p->n_logprobs < -1 || p->n_logprobs > SA2_SAMPLING_MAX_LOGPROBS)
        *st = sa2_fail_also(err, SA2_ERR_ARG, "logprobs: 0 to %d, or none, expected, %d found",
                            SA2_SAMPLING_MAX_LOGPROBS, p->n_logprobs);
}

/* The first id that is no token stands for all of its list. */
static void check_ids(const char *name, sa2_token_list list, int n_tokens, sa2_status *st,
                      sa2_error *err)
{
    for (int i = 0; i < list.n; i++) {
        if (list.ids[i] >= 0 && list.ids[i] < n_tokens)
            continue;
        *st = sa2_fail_also(err, SA2_ERR_ARG, "%s: token ids from 0 to %d expected, %d found", name,
                            n_tokens - 1, list.ids[i]);
        return;
    }
}

static void check_bias(const sa2_sampling_params *p, int n_tokens, sa2_status *st, sa2_error *err)
{
    for (int i = 0; i < p->n_logit_bias; i++) {
        sa2_logit_bias b = p->logit_bias[i];
        if (b.id < 0 || b.id >= n_tokens)
            *st = sa2_fail_also(err, SA2_ERR_ARG,
                                "logit_bias: token ids from 0 to %d expected, %d found",
                                n_tokens - 1, b.id);
        else if (!(b.bias >= -100.0f && b.bias <= 100.0f))
            *st = sa2_fail_also(err, SA2_ERR_ARG,
                                "logit_bias of token %d: -100 to 100 expected, %g found", b.id,
                                (double)b.bias);
        else
            continue;
        return;
    }
}

static void check_bad_words(const sa2_sampling_params *p, int n_tokens, sa2_status *st,
                            sa2_error *err)
{
    for (int i = 0; i < p->n_bad_words; i++) {
        if (p->bad_words[i].n < 1 || p->bad_words[i].n > SA2_SAMPLING_MAX_BAD_WORD_TOKENS) {
            *st =
                sa2_fail_also(err, SA2_ERR_ARG, "bad_words[%d]: 1 to %d tokens expected, %d found",
                              i, SA2_SAMPLING_MAX_BAD_WORD_TOKENS, p->bad_words[i].n);
            return;
        }
        check_ids("bad_words", p->bad_words[i], n_tokens, st, err);
    }
}

sa2_status sa2_sampling_check(const sa2_sampling_params *params, int n_tokens, sa2_error *err)
{
    sa2_status st = SA2_OK;
    check_numbers(params, &st, err);
    check_bias(params, n_tokens, &st, err);
    check_ids("allowed_token_ids", params->allowed, n_tokens, &st, err);
    check_bad_words(params, n_tokens, &st, err);
    check_ids("stop_token_ids", params->stop, n_tokens, &st, err);
    return st;
}
