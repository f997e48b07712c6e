#include "runtime/decoder/beam.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "runtime/decoder/beam_ranking.h"
#include "runtime/decoder/logprobs.h"

enum { MAX_EOS = 64, WORD = 64 };

/* generate() starts with copies of one beam and keeps all but the first back by this. */
static const double COPY_SCORE = -1e9;

typedef struct finished {
    double score;
    int n;
    bool ended;
    int32_t *tokens; /* [max_tokens] */
} finished;

struct sa2_beam {
    sa2_beam_params params;
    int32_t eos[MAX_EOS];
    int n_prompt, n_generated;
    uint64_t *prompt; /* bitmap of the ids of the prompt */
    uint64_t *seen;   /* and of the beam whose row is read */
    double scores[SA2_BEAM_MAX], next_scores[SA2_BEAM_MAX];
    int32_t *tokens, *next_tokens;   /* [beams, max_tokens] */
    finished finished[SA2_BEAM_MAX]; /* best first, equal ones as they came */
    int n_finished;
    sa2_beam_ranking row;   /* of one beam */
    sa2_beam_ranking going; /* of all; rule FORK: end tokens are kept apart, in `ended` */
    sa2_beam_ranking ended;
};

/* ---- parameters ---- */

static void check_numbers(const sa2_beam_params *p, sa2_status *st, sa2_error *err)
{
    const struct {
        const char *name;
        int value, least, most;
    } numbers[] = {
        {"rule", p->rule, SA2_BEAM_HF, SA2_BEAM_FORK},  {"beams", p->beams, 1, SA2_BEAM_MAX},
        {"max_tokens", p->max_tokens, 1, INT32_MAX},    {"min_tokens", p->min_tokens, 0, INT32_MAX},
        {"number of end tokens", p->eos.n, 0, MAX_EOS},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value < numbers[i].least || numbers[i].value > numbers[i].most)
            *st =
                sa2_fail_also(err, SA2_ERR_ARG, "beam search, %s: %d to %d expected, %d found",
                              numbers[i].name, numbers[i].least, numbers[i].most, numbers[i].value);
}

sa2_status sa2_beam_check(const sa2_beam_params *p, sa2_error *err)
{
    sa2_status st = SA2_OK;
    check_numbers(p, &st, err);
    if (!isfinite(p->length_penalty))
        st = sa2_fail_also(err, SA2_ERR_ARG,
                           "beam search, length_penalty: a number expected, %g found",
                           (double)p->length_penalty);
    if (!(p->repetition_penalty > 0.0f && p->repetition_penalty <= FLT_MAX))
        st = sa2_fail_also(err, SA2_ERR_ARG,
                           "beam search, repetition_penalty: above 0 expected, %g found",
                           (double)p->repetition_penalty);
    if (p->n_tokens <= p->eos.n)
        st = sa2_fail_also(err, SA2_ERR_ARG,
                           "beam search: %d end tokens in a vocabulary of %d leave nothing to say",
                           p->eos.n, p->n_tokens);
    for (int i = 0; i < p->eos.n; i++) {
        if (p->eos.ids[i] >= 0 && p->eos.ids[i] < p->n_tokens)
            continue;
        st = sa2_fail_also(err, SA2_ERR_ARG,
                           "beam search, end token: an id from 0 to %d expected, %d found",
                           p->n_tokens - 1, p->eos.ids[i]);
        break;
    }
    return st;
}

/* ---- memory ---- */

static size_t words(const sa2_beam_params *p)
{
    return (size_t)(p->n_tokens / WORD + (p->n_tokens % WORD != 0));
}

static size_t token_bytes(const sa2_beam_params *p)
{
    return (size_t)p->beams * (size_t)p->max_tokens * sizeof(int32_t);
}

/* Candidates among which there are `beams` without an end token. */
static int wanted(const sa2_beam_params *p)
{
    return p->beams * (p->eos.n > 0 ? 1 + p->eos.n : 2);
}

size_t sa2_beam_bytes(const sa2_beam_params *p)
{
    size_t candidate = sizeof(sa2_beam_candidate);
    return sa2_arena_round(sizeof(sa2_beam)) + 2 * sa2_arena_round(words(p) * sizeof(uint64_t)) +
           3 * sa2_arena_round(token_bytes(p)) +
           2 * sa2_arena_round((size_t)wanted(p) * candidate) +
           sa2_arena_round((size_t)p->beams * candidate);
}

static void remember(uint64_t *bitmap, const int32_t *ids, int n, int n_tokens)
{
    for (int i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < n_tokens)
            bitmap[ids[i] / WORD] |= UINT64_C(1) << ids[i] % WORD;
}

sa2_status sa2_beam_create(sa2_beam **beam, const sa2_beam_params *params, const int32_t *prompt,
                           int n_prompt, sa2_arena *arena, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena), most = (size_t)wanted(params);
    sa2_beam *b = sa2_arena_take(arena, sizeof *b);
    uint64_t *bitmaps[2];
    int32_t *tokens[3];
    sa2_beam_candidate *candidates[3];
    bool fits = b != NULL;
    for (int i = 0; i < 2; i++)
        fits &= (bitmaps[i] = sa2_arena_take(arena, words(params) * sizeof(uint64_t))) != NULL;
    for (int i = 0; i < 3; i++) {
        size_t n = i < 2 ? most : (size_t)params->beams;
        fits &= (tokens[i] = sa2_arena_take(arena, token_bytes(params))) != NULL;
        fits &= (candidates[i] = sa2_arena_take(arena, n * sizeof *candidates[i])) != NULL;
    }
    if (!fits) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "beam search: %zu bytes of memory expected, %zu left",
                        sa2_beam_bytes(params), arena->bytes - arena->used);
    }
    int row = params->n_tokens < (int)most ? params->n_tokens : (int)most;
    *b = (sa2_beam){.params = *params,
                    .n_prompt = n_prompt,
                    .prompt = bitmaps[0],
                    .seen = bitmaps[1],
                    .tokens = tokens[0],
                    .next_tokens = tokens[1],
                    .row = {.best = candidates[0], .most = row},
                    .going = {.best = candidates[1], .most = (int)most},
                    .ended = {.best = candidates[2], .most = params->beams}};
    for (int i = 0; i < params->eos.n; i++)
        b->eos[i] = params->eos.ids[i];
    b->params.eos.ids = b->eos;
    for (int i = 0; i < params->beams; i++)
        b->finished[i].tokens = tokens[2] + (size_t)i * (size_t)params->max_tokens;
    memset(b->prompt, 0, words(params) * sizeof(uint64_t));
    remember(b->prompt, prompt, n_prompt, params->n_tokens);
    *beam = b;
    return SA2_OK;
}

/* ---- one row: its best log-probabilities ---- */

static const int32_t *tokens_of(const sa2_beam *b, int i)
{
    return b->tokens + (size_t)i * (size_t)b->params.max_tokens;
}

static bool is_end(const sa2_beam *b, int32_t token)
{
    for (int i = 0; i < b->params.eos.n; i++)
        if (b->eos[i] == token)
            return true;
    return false;
}

/* The logits processors of generate(), which come after the log-softmax there. */
static void process(sa2_beam *b, int i, float *logprobs)
{
    const sa2_beam_params *p = &b->params;
    if (p->repetition_penalty != 1.0f) {
        memcpy(b->seen, b->prompt, words(p) * sizeof(uint64_t));
        remember(b->seen, tokens_of(b, i), b->n_generated, p->n_tokens);
        for (size_t w = 0; w < words(p); w++)
            for (uint64_t seen = b->seen[w]; seen != 0; seen &= seen - 1)
                logprobs[w * WORD + (size_t)__builtin_ctzll(seen)] *= p->repetition_penalty;
    }
    for (int k = 0; k < p->eos.n && b->n_generated < p->min_tokens; k++)
        logprobs[b->eos[k]] = -INFINITY;
}

/* Ranks the best tokens of row i, and masked ones where there are too few. */
static sa2_status rank_row(sa2_beam *b, int i, const float *logits, sa2_sampler_work *work,
                           sa2_error *err)
{
    sa2_logits row;
    sa2_status st = sa2_logits_init(&row, logits, b->params.n_tokens, work, err);
    if (st != SA2_OK)
        return st;
    double whole = sa2_logprobs_whole(&row);
    for (int k = 0; k < row.n; k++)
        row.z[k] = (float)(row.z[k] - whole);
    if (b->params.rule == SA2_BEAM_HF)
        process(b, i, row.z);
    for (int k = 0; k < row.n_blocks; k++)
        sa2_logits_renew_block(&row, k);
    st = sa2_logits_renew(&row, err);
    if (st != SA2_OK)
        return st;

    b->row.n = 0;
    float above = sa2_logits_below(sa2_logits_kth(&row, b->row.most));
    int found = sa2_logits_list(&row, above, INFINITY);
    for (int k = 0; k < found; k++)
        sa2_beam_ranking_add(&b->row,
                             (sa2_beam_candidate){b->scores[i] + work->values[k], i, work->ids[k]});
    for (int k = 0; b->row.n < b->row.most; k++)
        if (row.z[k] == -INFINITY)
            sa2_beam_ranking_add(&b->row, (sa2_beam_candidate){-INFINITY, i, k});
    sa2_beam_ranking_sort(&b->row);
    return SA2_OK;
}

/* Adds a ranked row to the ranking of all. In the fork an end token counts when it is among the
 * 2 * beams log-probabilities that are asked for. */
static void merge_row(sa2_beam *b)
{
    bool fork = b->params.rule == SA2_BEAM_FORK;
    int copies = b->n_generated == 0 ? b->params.beams : 1;
    for (int rank = 0; rank < b->row.n; rank++) {
        sa2_beam_candidate c = b->row.best[rank];
        if (fork && is_end(b, c.token)) {
            if (rank < 2 * b->params.beams)
                sa2_beam_ranking_add(&b->ended, c);
            continue;
        }
        sa2_beam_ranking_add(&b->going, c);
        for (int copy = 1; copy < copies; copy++)
            sa2_beam_ranking_add(&b->going,
                                 (sa2_beam_candidate){c.score + COPY_SCORE, copy, c.token});
    }
}

/* ---- a step ---- */

/* Score of a sequence of n generated tokens, an end token among them or not. */
static double final_score(const sa2_beam *b, double score, int n, bool ended)
{
    int length = n;
    if (b->params.rule == SA2_BEAM_FORK)
        length = b->n_prompt + n - ended;
    double divisor = pow(length > 0 ? length : 1, b->params.length_penalty);
    return score / fmin(fmax(divisor, DBL_MIN), DBL_MAX);
}

/* Adds beam i, with an end token or, -1, as it is, to the finished sequences if it is among the best. */
static void finish(sa2_beam *b, int i, double score, int32_t end)
{
    bool ended = end >= 0;
    int place = b->n_finished, n = b->n_generated + ended;
    finished one = {.score = final_score(b, score, n, ended), .n = n, .ended = ended};
    while (place > 0 && b->finished[place - 1].score < one.score)
        place--;
    if (place == b->params.beams || score == -INFINITY)
        return;
    if (b->n_finished < b->params.beams)
        b->n_finished++;
    one.tokens = b->finished[b->n_finished - 1].tokens;
    for (int k = b->n_finished - 1; k > place; k--)
        b->finished[k] = b->finished[k - 1];
    memcpy(one.tokens, tokens_of(b, i), (size_t)b->n_generated * sizeof(int32_t));
    if (ended)
        one.tokens[n - 1] = end;
    b->finished[place] = one;
}

/* The n-th beam of the next step. */
static void go_on(sa2_beam *b, int n, sa2_beam_candidate from, sa2_beam_next *next)
{
    int parent = b->n_generated == 0 ? 0 : from.beam;
    int32_t *tokens = b->next_tokens + (size_t)n * (size_t)b->params.max_tokens;
    memcpy(tokens, tokens_of(b, parent), (size_t)b->n_generated * sizeof(int32_t));
    tokens[b->n_generated] = from.token;
    b->next_scores[n] = from.score;
    next[n] = (sa2_beam_next){parent, from.token};
}

/* Whether nothing better is to be expected; `best` of the step before end tokens were taken out. */
static bool is_settled(const sa2_beam *b, double best)
{
    const sa2_beam_params *p = &b->params;
    if (p->rule == SA2_BEAM_FORK || b->n_finished < p->beams)
        return false;
    return p->early_stopping ||
           b->finished[p->beams - 1].score >= final_score(b, best, b->n_generated, false);
}

int sa2_beam_rows(const sa2_beam *beam)
{
    return beam->n_generated == 0 ? 1 : beam->params.beams;
}

sa2_status sa2_beam_step(sa2_beam *b, const float *const *logits, sa2_sampler_work *work,
                         sa2_beam_next *next, bool *done, sa2_error *err)
{
    const sa2_beam_params *p = &b->params;
    b->going.n = b->ended.n = 0;
    for (int i = 0; i < sa2_beam_rows(b); i++) {
        sa2_status st = rank_row(b, i, logits[i], work, err);
        if (st != SA2_OK)
            return st;
        merge_row(b);
    }
    sa2_beam_ranking_sort(&b->going);
    sa2_beam_ranking_sort(&b->ended);

    for (int i = 0; i < b->ended.n; i++)
        finish(b, b->ended.best[i].beam, b->ended.best[i].score, b->ended.best[i].token);
    int n = 0;
    for (int rank = 0; n < p->beams; rank++) {
        sa2_beam_candidate c = b->going.best[rank];
        assert(rank < b->going.n);
        if (!is_end(b, c.token))
            go_on(b, n++, c, next);
        else if (rank < p->beams)
            finish(b, c.beam, c.score, c.token);
    }
    int32_t *spare = b->tokens;
    b->tokens = b->next_tokens;
    b->next_tokens = spare;
    memcpy(b->scores, b->next_scores, sizeof b->scores);
    b->n_generated++;

    *done = is_settled(b, b->going.best[0].score);
    if (*done || b->n_generated < p->max_tokens)
        return SA2_OK;
    *done = true;
    for (int i = 0; i < p->beams; i++)
        finish(b, i, b->scores[i], -1);
    return SA2_OK;
}

int sa2_beam_results(const sa2_beam *beam, sa2_beam_result results[SA2_BEAM_MAX])
{
    for (int i = 0; i < beam->n_finished; i++) {
        const finished *f = &beam->finished[i];
        results[i] = (sa2_beam_result){f->tokens, f->n, (float)f->score, f->ended};
    }
    return beam->n_finished;
}
