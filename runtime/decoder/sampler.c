#include "runtime/decoder/sampler.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "runtime/decoder/logits_set.h"
#include "runtime/decoder/philox.h"

enum {
    WORD = SA2_ROW_BLOCK, /* bits of one of `seen`: for the tokens of a block */
    RING = SA2_SAMPLING_MAX_BAD_WORD_TOKENS
};

static const float COLDEST = 0.01f; /* of mode vllm, where nothing is greedy: _MAX_TEMP there */

/* ---- the sequence ---- */

static size_t seen_words(int n_tokens)
{
    return (size_t)n_tokens / WORD + (n_tokens % WORD != 0);
}

size_t sa2_sampler_bytes(int n_tokens)
{
    return sa2_sample_state_bytes(n_tokens);
}

static bool is_token(const sa2_sampler *sampler, int32_t id)
{
    return id >= 0 && id < sampler->n_tokens;
}

static void see(sa2_sampler *sampler, int32_t id)
{
    sampler->seen[id / WORD] |= UINT64_C(1) << id % WORD;
}

static void point_into(sa2_sampler *sampler, void *memory)
{
    sampler->seen = memory;
    sampler->counts = (uint16_t *)(sampler->seen + seen_words(sampler->n_tokens));
}

void sa2_sampler_init(sa2_sampler *sampler, void *memory, const sa2_sampling_params *params,
                      uint64_t seed, uint32_t choice, int n_tokens, const int32_t *prompt,
                      int n_prompt)
{
    *sampler =
        (sa2_sampler){.params = params, .seed = seed, .choice = choice, .n_tokens = n_tokens};
    point_into(sampler, memory);
    memset(memory, 0, sa2_sampler_bytes(n_tokens));
    for (int i = 0; i < n_prompt; i++)
        if (is_token(sampler, prompt[i]))
            see(sampler, prompt[i]);
}

void sa2_sampler_fork(sa2_sampler *child, void *memory, const sa2_sampler *parent, uint32_t choice)
{
    *child = *parent;
    child->choice = choice;
    point_into(child, memory);
    memcpy(memory, parent->seen, sa2_sampler_bytes(parent->n_tokens));
}

void sa2_sampler_accept(sa2_sampler *sampler, int32_t token)
{
    assert(is_token(sampler, token));
    see(sampler, token);
    if (sampler->counts[token] < UINT16_MAX)
        sampler->counts[token]++;
    sampler->last[sampler->n_generated++ % RING] = token;
}

/* ---- what changes logits ---- */

static void keep_allowed(float *z, const float *logits, int n, sa2_token_list allowed)
{
    for (int i = 0; i < n; i++)
        z[i] = -INFINITY;
    for (int i = 0; i < allowed.n; i++)
        z[allowed.ids[i]] = logits[allowed.ids[i]];
}

/* To the nearest bf16, ties to even. No NaN; what is too large becomes infinity. */
static void round_to_bf16(float *z, int n)
{
    for (int i = 0; i < n; i++) {
        union {
            float value;
            uint32_t bits;
        } x = {.value = z[i]};
        x.bits = (x.bits + 0x7fffu + (x.bits >> 16 & 1u)) & 0xffff0000u;
        z[i] = x.value;
    }
}

/* Whether the tokens generated last are all of the word but its end. */
static bool is_begun(const sa2_sampler *sampler, sa2_token_list word)
{
    int first = sampler->n_generated - (word.n - 1);
    if (first < 0)
        return false;
    for (int i = 0; i < word.n - 1; i++)
        if (sampler->last[(first + i) % RING] != word.ids[i])
            return false;
    return true;
}

void sa2_sampler_additions(const sa2_sampler *sampler, sa2_sampler_add add, void *context)
{
    const sa2_sampling_params *p = sampler->params;
    for (int i = 0; i < p->n_bad_words; i++)
        if (is_begun(sampler, p->bad_words[i]))
            add(context, p->bad_words[i].ids[p->bad_words[i].n - 1], -INFINITY);
    for (int i = 0; i < p->stop.n && sampler->n_generated < p->min_tokens; i++)
        add(context, p->stop.ids[i], -INFINITY);
    for (int i = 0; i < p->n_logit_bias; i++)
        add(context, p->logit_bias[i].id, p->logit_bias[i].bias);
}

static void add_to_row(void *context, int32_t id, float addend)
{
    sa2_logits *row = context;
    row->z[id] += addend;
    sa2_logits_renew_block(row, id / SA2_ROW_BLOCK);
}

static void punish_repetition(float *z, const sa2_sampler *sampler, int block, float penalty)
{
    for (uint64_t seen = sampler->seen[block]; seen != 0; seen &= seen - 1) {
        int i = block * WORD + __builtin_ctzll(seen);
        float lower = z[i] * penalty, nearer = z[i] / penalty; /* of a logit below 0, and above */
        z[i] = z[i] < 0.0f ? lower : nearer;
    }
}

static void punish_count(float *z, const sa2_sampler *sampler, int block, float frequency,
                         float presence)
{
    for (uint64_t seen = sampler->seen[block]; seen != 0; seen &= seen - 1) {
        int i = block * WORD + __builtin_ctzll(seen);
        if (sampler->counts[i] > 0)
            z[i] -= frequency * (float)sampler->counts[i] + presence;
    }
}

static void punish(sa2_logits *row, const sa2_sampler *sampler)
{
    const sa2_sampling_params *p = sampler->params;
    bool repetition = p->repetition_penalty != 1.0f;
    bool count = p->frequency_penalty != 0.0f || p->presence_penalty != 0.0f;
    if (!repetition && !count)
        return;
    for (int b = 0; b < row->n_blocks; b++) {
        if (repetition)
            punish_repetition(row->z, sampler, b, p->repetition_penalty);
        if (count)
            punish_count(row->z, sampler, b, p->frequency_penalty, p->presence_penalty);
    }
    /* Apart from the writes: a vector load waits for a write to a part of it. */
    for (int b = 0; b < row->n_blocks; b++)
        if (sampler->seen[b] != 0)
            sa2_logits_renew_block(row, b);
}

/* The row that tokens are chosen from. Every logit is read first, so that a bad one is found although
 * a mask would hide it. */
static sa2_status adjust(sa2_logits *row, const sa2_sampler *sampler, const float *logits,
                         sa2_sampler_work *work, sa2_error *err)
{
    const sa2_sampling_params *p = sampler->params;
    sa2_status st = sa2_logits_init(row, logits, sampler->n_tokens, work, err);
    if (st != SA2_OK)
        return st;
    if (p->allowed.n > 0)
        keep_allowed(row->z, logits, row->n, p->allowed);
    if (p->round_to_bf16)
        round_to_bf16(row->z, row->n);
    for (int b = 0; b < row->n_blocks && (p->allowed.n > 0 || p->round_to_bf16); b++)
        sa2_logits_renew_block(row, b);
    sa2_sampler_additions(sampler, add_to_row, row);
    punish(row, sampler);
    return sa2_logits_renew(row, err);
}

/* ---- choosing ---- */

/* 1 / (temperature ln 2). Both ends keep differences of logits numbers: 0 times infinity is none. */
static float scale_of(const sa2_sampling_params *p)
{
    float temperature = p->temperature;
    if (p->mode == SA2_SAMPLING_VLLM && temperature < COLDEST)
        temperature = COLDEST;
    double scale = 1.0 / (temperature * 0.69314718055994531);
    return (float)fmin(fmax(scale, FLT_MIN), FLT_MAX);
}

sa2_sample_rule sa2_sampler_rule(const sa2_sampling_params *p)
{
    sa2_sample_rule rule = {.repetition = p->repetition_penalty,
                            .frequency = p->frequency_penalty,
                            .presence = p->presence_penalty,
                            .top_k = p->top_k > 0 ? p->top_k : 0,
                            .top_p = p->top_p,
                            .min_p = -INFINITY,
                            .min_p_last = p->mode == SA2_SAMPLING_HF};
    if (!sa2_sampling_is_greedy(p))
        rule.scale = scale_of(p);
    if (rule.scale > 0.0f && p->min_p > 0.0f)
        rule.min_p = log2f(p->min_p) / rule.scale;
    return rule;
}

double sa2_sampler_uniform(const sa2_sampler *sampler)
{
    return sa2_philox_uniform(sampler->seed, sampler->choice, (uint64_t)sampler->n_generated);
}

/* min-p and top-k are thresholds, the higher of which counts. Only top-p looks at mass, which is why its
 * place in the order matters: mode hf has min-p after it, mode vllm before. */
static sa2_logits_set select_tokens(sa2_logits *row, const sa2_sample_rule *rule)
{
    float min_p = -INFINITY, above = -INFINITY;
    if (rule->min_p > -INFINITY)
        min_p = sa2_logits_below(row->max + rule->min_p);
    if (rule->top_k > 0)
        above = sa2_logits_below(sa2_logits_kth(row, rule->top_k));
    if (!rule->min_p_last)
        above = fmaxf(above, min_p);
    sa2_logits_weigh(row, rule->scale, above);
    sa2_logits_set set = {.above = above};
    if (rule->top_p < 1.0f)
        set = sa2_logits_top_share(row, rule->top_p);
    return set.above < min_p ? (sa2_logits_set){.above = min_p} : set;
}

sa2_status sa2_sampler_next(const sa2_sampler *sampler, const float *logits, sa2_sampler_work *work,
                            int32_t *token, sa2_error *err)
{
    sa2_logits row;
    sa2_status st = adjust(&row, sampler, logits, work, err);
    if (st != SA2_OK)
        return st;
    sa2_sample_rule rule = sa2_sampler_rule(sampler->params);
    if (rule.scale == 0.0f)
        *token = sa2_logits_argmax(&row);
    else
        *token = sa2_logits_draw(&row, select_tokens(&row, &rule), sa2_sampler_uniform(sampler));
    return SA2_OK;
}

sa2_status sa2_sampler_probs(const sa2_sampler *sampler, const float *logits,
                             sa2_sampler_work *work, float *probs, sa2_error *err)
{
    sa2_logits row;
    sa2_status st = adjust(&row, sampler, logits, work, err);
    if (st != SA2_OK)
        return st;
    sa2_sample_rule rule = sa2_sampler_rule(sampler->params);
    if (rule.scale == 0.0f) {
        memset(probs, 0, (size_t)row.n * sizeof(float));
        probs[sa2_logits_argmax(&row)] = 1.0f;
        return SA2_OK;
    }
    sa2_logits_probs(&row, select_tokens(&row, &rule), probs);
    return SA2_OK;
}

/* ---- on a device ---- */

bool sa2_sampler_fits_device(const sa2_sampling_params *p)
{
    return p->allowed.n == 0 && !p->round_to_bf16;
}

bool sa2_sampler_foresees(const sa2_sampling_params *p)
{
    for (int i = 0; i < p->n_bad_words; i++)
        if (p->bad_words[i].n > 1)
            return false;
    return true;
}

sa2_status sa2_sampler_judge(const sa2_sampled *sampled, int n_tokens, sa2_error *err)
{
    if (sampled->fault == SA2_SAMPLE_NO_NUMBER)
        return sa2_logits_no_number(sampled->token, sampled->logit, err);
    if (sampled->fault == SA2_SAMPLE_MASKED)
        return sa2_logits_masked(n_tokens, err);
    return SA2_OK;
}
