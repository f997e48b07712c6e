#include "runtime/decoder/sampler.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "runtime/decoder/philox.h"

enum { WORD = 64, RING = SA2_SAMPLING_MAX_BAD_WORD_TOKENS };

static const float COLDEST = 0.01f; /* of mode vllm, where nothing is greedy: _MAX_TEMP there */

/* ---- the sequence ---- */

static size_t seen_words(int n_tokens)
{
    return (size_t)(n_tokens / WORD + (n_tokens % WORD != 0));
}

size_t sa2_sampler_bytes(int n_tokens)
{
    return seen_words(n_tokens) * sizeof(uint64_t) + (size_t)n_tokens * sizeof(uint16_t);
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

static bool has_penalty(const sa2_sampling_params *p)
{
    return p->repetition_penalty != 1.0f || p->frequency_penalty != 0.0f ||
           p->presence_penalty != 0.0f;
}

static bool changes_logits(const sa2_sampler *sampler)
{
    const sa2_sampling_params *p = sampler->params;
    return p->round_to_bf16 || p->allowed.n > 0 || p->n_bad_words > 0 || p->n_logit_bias > 0 ||
           (p->stop.n > 0 && sampler->n_generated < p->min_tokens) || has_penalty(p);
}

static void copy_allowed(float *restrict z, const float *restrict logits, int n,
                         sa2_token_list allowed)
{
    if (allowed.n == 0) {
        memcpy(z, logits, (size_t)n * sizeof(float));
        return;
    }
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

static void mask(float *z, const sa2_sampler *sampler)
{
    const sa2_sampling_params *p = sampler->params;
    for (int i = 0; i < p->n_bad_words; i++)
        if (is_begun(sampler, p->bad_words[i]))
            z[p->bad_words[i].ids[p->bad_words[i].n - 1]] = -INFINITY;
    for (int i = 0; i < p->stop.n && sampler->n_generated < p->min_tokens; i++)
        z[p->stop.ids[i]] = -INFINITY;
}

static void punish(float *z, const sa2_sampler *sampler)
{
    const sa2_sampling_params *p = sampler->params;
    size_t words = seen_words(sampler->n_tokens);
    for (size_t w = 0; w < words; w++) {
        for (uint64_t seen = sampler->seen[w]; seen != 0; seen &= seen - 1) {
            size_t i = w * WORD + (size_t)__builtin_ctzll(seen);
            z[i] = z[i] < 0.0f ? z[i] * p->repetition_penalty : z[i] / p->repetition_penalty;
            if (sampler->counts[i] > 0) {
                z[i] -= p->frequency_penalty * (float)sampler->counts[i];
                z[i] -= p->presence_penalty;
            }
        }
    }
}

/* The row that tokens are chosen from: the caller's where nothing changes it, which is read first
 * in any case, so that a bad logit is found although a mask would hide it. */
static sa2_status adjusted(sa2_logits *row, const sa2_sampler *sampler, const float *logits,
                           sa2_sampler_work *work, sa2_error *err)
{
    const sa2_sampling_params *p = sampler->params;
    int n = sampler->n_tokens;
    sa2_status st = sa2_logits_init(row, logits, n, work, err);
    if (st != SA2_OK || !changes_logits(sampler))
        return st;
    float *z = work->logits;
    copy_allowed(z, logits, n, p->allowed);
    if (p->round_to_bf16)
        round_to_bf16(z, n);
    mask(z, sampler);
    for (int i = 0; i < p->n_logit_bias; i++)
        z[p->logit_bias[i].id] += p->logit_bias[i].bias;
    if (has_penalty(p))
        punish(z, sampler);
    return sa2_logits_init(row, z, n, work, err);
}

/* ---- choosing ---- */

/* What may be drawn: the work's list of n with its mass, or, with n = 0, the whole row. */
typedef struct selection {
    float scale;
    int n;
    double mass;
} selection;

/* 1 / (temperature ln 2). Both ends keep differences of logits numbers: 0 times infinity is none. */
static float scale_of(const sa2_sampling_params *p)
{
    float temperature = p->temperature;
    if (p->mode == SA2_SAMPLING_VLLM && temperature < COLDEST)
        temperature = COLDEST;
    double scale = 1.0 / (temperature * 0.69314718055994531);
    return (float)fmin(fmax(scale, FLT_MIN), FLT_MAX);
}

/* Drops from the list what is below `least`, and sums up the rest. */
static void finish(selection *s, sa2_sampler_work *work, float least)
{
    int kept = 0;
    s->mass = 0.0;
    for (int i = 0; i < s->n; i++) {
        if (work->values[i] < least)
            continue;
        s->mass += work->weights[i];
        work->values[kept] = work->values[i];
        work->weights[kept] = work->weights[i];
        work->ids[kept++] = work->ids[i];
    }
    s->n = kept;
}

/* min-p and top-k are thresholds, and the lower one does not matter; only top-p looks at mass, which
 * is why its place in the order does: mode hf applies min-p after it. */
static selection select_tokens(const sa2_logits *row, const sa2_sampling_params *p)
{
    selection s = {.scale = scale_of(p)};
    bool late = p->mode == SA2_SAMPLING_HF && p->top_p < 1.0f;
    float min_p = -INFINITY, least = -INFINITY;
    if (p->min_p > 0.0f)
        min_p = row->max + log2f(p->min_p) / s.scale;
    if (p->top_k > 0)
        least = sa2_logits_kth(row, p->top_k);
    if (!late && min_p > least)
        least = min_p;

    if (least > -INFINITY) {
        s.n = sa2_logits_gather(row, least, s.scale, &s.mass);
        if (p->top_p < 1.0f)
            s.n = sa2_logits_trim(row, s.n, p->top_p * s.mass);
    } else if (p->top_p < 1.0f) {
        s.n = sa2_logits_top_mass(row, s.scale, p->top_p);
    }
    finish(&s, row->work, late ? min_p : -INFINITY);
    return s;
}

sa2_status sa2_sampler_next(const sa2_sampler *sampler, const float *logits, sa2_sampler_work *work,
                            int32_t *token, sa2_error *err)
{
    sa2_logits row;
    sa2_status st = adjusted(&row, sampler, logits, work, err);
    if (st != SA2_OK)
        return st;
    if (sa2_sampling_is_greedy(sampler->params)) {
        *token = sa2_logits_argmax(&row);
        return SA2_OK;
    }
    double u = sa2_philox_uniform(sampler->seed, sampler->choice, (uint64_t)sampler->n_generated);
    selection s = select_tokens(&row, sampler->params);
    *token =
        s.n > 0 ? sa2_logits_draw(&row, s.n, s.mass, u) : sa2_logits_draw_any(&row, s.scale, u);
    return SA2_OK;
}

sa2_status sa2_sampler_probs(const sa2_sampler *sampler, const float *logits,
                             sa2_sampler_work *work, float *probs, sa2_error *err)
{
    sa2_logits row;
    sa2_status st = adjusted(&row, sampler, logits, work, err);
    if (st != SA2_OK)
        return st;
    memset(probs, 0, (size_t)row.n * sizeof(float));
    if (sa2_sampling_is_greedy(sampler->params)) {
        probs[sa2_logits_argmax(&row)] = 1.0f;
        return SA2_OK;
    }
    selection s = select_tokens(&row, sampler->params);
    if (s.n == 0) /* everything that is not masked */
        s.n = sa2_logits_gather(&row, -INFINITY, s.scale, &s.mass);
    for (int i = 0; i < s.n; i++)
        probs[work->ids[i]] = (float)(work->weights[i] / s.mass);
    return SA2_OK;
}
