/* check_sampling.c - golden cases of sampling: the distribution that tokens are drawn from, and raw
 * log-probabilities.
 *
 * Metadata `params` is a JSON object with the names of vLLM's SamplingParams.
 */
#include <jansson.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "runtime/decoder/logprobs.h"
#include "runtime/decoder/sampler.h"
#include "tools/check_parts.h"

/* ---- metadata `params` ---- */

static sa2_status not_a(const char *what, const char *key, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_FORMAT, "params: %.60s: %s expected", key, what);
}

static bool read_id(const json_t *value, int32_t *id)
{
    json_int_t n = json_integer_value(value);
    *id = (int32_t)n;
    return json_is_integer(value) && n >= INT32_MIN && n <= INT32_MAX;
}

static sa2_status read_ids(const char *key, const json_t *value, sa2_token_list *list,
                           sa2_arena *arena, sa2_error *err)
{
    size_t n = json_array_size(value);
    int32_t *ids = sa2_arena_take(arena, n * sizeof *ids);
    if (ids == NULL || !json_is_array(value))
        return not_a("a list of token ids", key, err);
    for (size_t i = 0; i < n; i++)
        if (!read_id(json_array_get(value, i), &ids[i]))
            return not_a("a list of token ids", key, err);
    *list = (sa2_token_list){ids, (int)n};
    return SA2_OK;
}

static sa2_status read_words(const char *key, const json_t *value, sa2_sampling_params *params,
                             sa2_arena *arena, sa2_error *err)
{
    size_t n = json_array_size(value);
    sa2_token_list *words = sa2_arena_take(arena, n * sizeof *words);
    if (words == NULL || !json_is_array(value))
        return not_a("a list of lists of token ids", key, err);
    for (size_t i = 0; i < n; i++) {
        sa2_status st = read_ids(key, json_array_get(value, i), &words[i], arena, err);
        if (st != SA2_OK)
            return st;
    }
    params->bad_words = words;
    params->n_bad_words = (int)n;
    return SA2_OK;
}

/* {"17": -2.5} */
static sa2_status read_bias(const char *key, json_t *value, sa2_sampling_params *params,
                            sa2_arena *arena, sa2_error *err)
{
    sa2_logit_bias *entries = sa2_arena_take(arena, json_object_size(value) * sizeof *entries);
    const char *id;
    json_t *bias;
    int n = 0;
    if (entries == NULL || !json_is_object(value))
        return not_a("an object of token ids", key, err);
    json_object_foreach(value, id, bias)
    {
        json_t *number = json_loads(id, JSON_DECODE_ANY, NULL);
        bool good = read_id(number, &entries[n].id) && json_is_number(bias);
        json_decref(number);
        if (!good)
            return not_a("an object of token ids and numbers", key, err);
        entries[n++].bias = (float)json_number_value(bias);
    }
    params->logit_bias = entries;
    params->n_logit_bias = n;
    return SA2_OK;
}

static sa2_status read_param(const char *key, json_t *value, sa2_sampling_params *p,
                             sa2_arena *arena, sa2_error *err)
{
    const struct {
        const char *key;
        float *place;
    } numbers[] = {
        {"temperature", &p->temperature},
        {"top_p", &p->top_p},
        {"min_p", &p->min_p},
        {"repetition_penalty", &p->repetition_penalty},
        {"frequency_penalty", &p->frequency_penalty},
        {"presence_penalty", &p->presence_penalty},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(key, numbers[i].key) != 0)
            continue;
        *numbers[i].place = (float)json_number_value(value);
        return json_is_number(value) ? SA2_OK : not_a("a number", key, err);
    }
    if (strcmp(key, "top_k") == 0)
        return read_id(value, &p->top_k) ? SA2_OK : not_a("a whole number", key, err);
    if (strcmp(key, "min_tokens") == 0)
        return read_id(value, &p->min_tokens) ? SA2_OK : not_a("a whole number", key, err);
    if (strcmp(key, "allowed_token_ids") == 0)
        return read_ids(key, value, &p->allowed, arena, err);
    if (strcmp(key, "stop_token_ids") == 0)
        return read_ids(key, value, &p->stop, arena, err);
    if (strcmp(key, "bad_words") == 0)
        return read_words(key, value, p, arena, err);
    if (strcmp(key, "logit_bias") == 0)
        return read_bias(key, value, p, arena, err);
    return sa2_fail(err, SA2_ERR_UNSUPPORTED, "params: %.60s is not known", key);
}

static sa2_status read_params(const sa2_golden_case *golden, int n_tokens, sa2_arena *arena,
                              sa2_sampling_params *params, sa2_error *err)
{
    const char *mode = sa2_golden_text(golden, "mode"), *text = sa2_golden_text(golden, "params");
    if (mode == NULL || (strcmp(mode, "hf") != 0 && strcmp(mode, "vllm") != 0))
        return sa2_fail(err, SA2_ERR_FORMAT, "mode: vllm or hf expected, \"%.60s\" found",
                        mode != NULL ? mode : "");
    *params = sa2_sampling_defaults(strcmp(mode, "hf") == 0 ? SA2_SAMPLING_HF : SA2_SAMPLING_VLLM);
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *value;
    const char *key;
    sa2_status st = SA2_OK;
    if (!json_is_object(object))
        st = sa2_fail(err, SA2_ERR_FORMAT, "params: a JSON object expected");
    json_object_foreach(object, key, value)
    {
        if (st == SA2_OK)
            st = read_param(key, value, params, arena, err);
    }
    json_decref(object);
    return st == SA2_OK ? sa2_sampling_check(params, n_tokens, err) : st;
}

/* ---- part `sampling` ---- */

static sa2_status start(sa2_sampler *sampler, const sa2_sampling_params *params, int n_tokens,
                        sa2_tensor prompt, sa2_tensor output, sa2_arena *arena, sa2_error *err)
{
    const int32_t *ids = output.data;
    void *memory = sa2_arena_take(arena, sa2_sampler_bytes(n_tokens));
    if (memory == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d tokens", n_tokens);
    sa2_sampler_init(sampler, memory, params, 0, 0, n_tokens, prompt.data, (int)prompt.shape[0]);
    for (int64_t i = 0; i < output.shape[0]; i++) {
        if (ids[i] < 0 || ids[i] >= n_tokens)
            return sa2_fail(err, SA2_ERR_FORMAT, "output_ids: 0 to %d expected, %d found",
                            n_tokens - 1, ids[i]);
        sa2_sampler_accept(sampler, ids[i]);
    }
    return SA2_OK;
}

static void judge_top(sa2_check_run *run, const float *logits, int n_tokens, sa2_sampler_work *work,
                      sa2_status *st, sa2_error *err)
{
    sa2_logprob top[SA2_SAMPLING_MAX_LOGPROBS];
    float found[SA2_SAMPLING_MAX_LOGPROBS];
    int most = n_tokens < SA2_SAMPLING_MAX_LOGPROBS ? n_tokens : SA2_SAMPLING_MAX_LOGPROBS;
    sa2_tensor expected = sa2_golden_output(run->golden, "top_logprobs");
    if (expected.data == NULL)
        return;
    int n = expected.shape[0] < most ? (int)expected.shape[0] : most;
    *st = sa2_logprobs(logits, n_tokens, 0, NULL, top, n, work, err);
    for (int i = 0; *st == SA2_OK && i < n; i++)
        found[i] = top[i].logprob;
    if (*st == SA2_OK)
        sa2_check_judge(run, "top_logprobs", SA2_F32, sa2_tensor_1d(found, SA2_F32, n));
}

static sa2_status check_sampling(sa2_check_run *run, sa2_error *err)
{
    const sa2_golden_case *golden = run->golden;
    const int64_t any[] = {-1};
    sa2_arena arena = {0};
    sa2_sampling_params params;
    sa2_sampler sampler;
    sa2_sampler_work work;
    sa2_tensor logits, prompt, output;
    const char *text = sa2_golden_text(golden, "params");
    sa2_status st = sa2_golden_expect(golden, "logits", SA2_F32, 1, any, &logits, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(golden, "prompt_ids", SA2_I32, 1, any, &prompt, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(golden, "output_ids", SA2_I32, 1, any, &output, err);
    if (st == SA2_OK && (text == NULL || logits.shape[0] < 1 || logits.shape[0] > SA2_LIMIT_VOCAB))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: params and 1 to %d logits expected",
                      sa2_golden_origin(golden), SA2_LIMIT_VOCAB);
    if (st != SA2_OK)
        return st;

    /* A list in `params` takes two characters and is rounded up to 64 bytes; a list in a list takes
     * 16 bytes, and an id 4, for two characters. */
    int n = (int)logits.shape[0];
    st = sa2_arena_create(&arena,
                          64 * (strlen(text) + 1) + sa2_arena_round(sa2_sampler_bytes(n)) +
                              sa2_sampler_work_bytes(n) + (size_t)n * sizeof(float),
                          err);
    if (st == SA2_OK)
        st = read_params(golden, n, &arena, &params, err);
    if (st == SA2_OK)
        st = start(&sampler, &params, n, prompt, output, &arena, err);
    if (st == SA2_OK)
        st = sa2_sampler_work_init(&work, n, &arena, err);
    float *probs = sa2_arena_take(&arena, (size_t)n * sizeof(float));
    if (st == SA2_OK && probs == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d probabilities", n);
    if (st == SA2_OK)
        st = sa2_sampler_probs(&sampler, logits.data, &work, probs, err);
    if (st == SA2_OK) {
        sa2_check_judge(run, "probs", SA2_F32, sa2_tensor_1d(probs, SA2_F32, n));
        judge_top(run, logits.data, n, &work, &st, err);
    }
    sa2_arena_destroy(&arena);
    return st;
}

const sa2_check_part sa2_check_sampling_parts[] = {{"sampling", check_sampling}, {0}};
