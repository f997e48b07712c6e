/* Beam search against its definition, a sort of all candidates, on toy models whose logits are a hash of
 * the tokens so far. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/beam.h"

enum { MOST_TOKENS = 40, MOST_BEAMS = 6, MOST_STEPS = 12, MOST_ENDS = 3 };

/* ---- a toy model ---- */

typedef struct toy {
    uint64_t seed;
    int n_tokens;
    double step; /* of logits: coarse ones tie */
} toy;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185u;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44du;
    return x ^ x >> 33;
}

static void logits_after(const toy *model, const int32_t *tokens, int n, float *logits)
{
    uint64_t hash = mix(model->seed);
    for (int i = 0; i < n; i++)
        hash = mix(hash ^ (uint64_t)tokens[i]);
    for (int i = 0; i < model->n_tokens; i++) {
        double u = (double)(mix(hash + (uint64_t)i) >> 11) * 0x1p-53;
        logits[i] = (float)(floor(6.0 * u / model->step) * model->step);
    }
}

/* ---- the definition ---- */

typedef struct sequence {
    int32_t tokens[MOST_STEPS];
    int n;
    double score;
    bool ended;
} sequence;

typedef struct candidate {
    double score;
    int beam;
    int32_t token;
} candidate;

typedef struct search {
    sa2_beam_params params;
    const int32_t *prompt;
    int n_prompt, n_generated;
    sequence beams[MOST_BEAMS];
    sequence pool[2 * MOST_BEAMS * MOST_STEPS * MOST_ENDS + MOST_BEAMS]; /* best first */
    int n_pool;
    bool near; /* rounding has decided something */
    candidate all[MOST_BEAMS * MOST_TOKENS];
} search;

static int best_first(const void *x, const void *y)
{
    const candidate *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->beam != b->beam ? a->beam - b->beam : a->token - b->token;
}

static bool is_end(const search *s, int32_t token)
{
    for (int i = 0; i < s->params.eos.n; i++)
        if (s->params.eos.ids[i] == token)
            return true;
    return false;
}

static bool was_said(const search *s, const sequence *beam, int32_t token)
{
    for (int i = 0; i < s->n_prompt; i++)
        if (s->prompt[i] == token)
            return true;
    for (int i = 0; i < beam->n; i++)
        if (beam->tokens[i] == token)
            return true;
    return false;
}

/* All ways to go on from beam i, best first. */
static void rank_beam(const search *s, int i, const float *logits, candidate *ranked)
{
    const sa2_beam_params *p = &s->params;
    const sequence *beam = &s->beams[i];
    double sum = 0.0;
    for (int k = 0; k < p->n_tokens; k++)
        sum += exp(logits[k]);
    for (int k = 0; k < p->n_tokens; k++) {
        float logprob = (float)(logits[k] - log(sum));
        if (p->rule == SA2_BEAM_HF && was_said(s, beam, k))
            logprob *= p->repetition_penalty;
        if (p->rule == SA2_BEAM_HF && is_end(s, k) && s->n_generated < p->min_tokens)
            logprob = -INFINITY;
        ranked[k] = (candidate){beam->score + logprob, i, k};
    }
    qsort(ranked, (size_t)p->n_tokens, sizeof *ranked, best_first);
}

static void add_to_pool(search *s, const sequence *from, double score, int32_t end)
{
    sequence one = *from;
    if (end >= 0)
        one.tokens[one.n++] = end;
    one.ended = end >= 0;
    int length = s->params.rule == SA2_BEAM_HF ? one.n : s->n_prompt + one.n - one.ended;
    one.score = score / pow(length, s->params.length_penalty);
    int place = s->n_pool++;
    for (; place > 0 && s->pool[place - 1].score < one.score; place--)
        s->pool[place] = s->pool[place - 1];
    s->pool[place] = one;
    if (s->params.rule == SA2_BEAM_HF && s->n_pool > s->params.beams)
        s->n_pool--;
}

/* Sorts what all beams may do into `all`; rule FORK: the best 2 * beams of each, end tokens set aside. */
static int collect(search *s, float (*logits)[MOST_TOKENS])
{
    int n = 0, beams = s->params.beams;
    for (int i = 0; i < beams; i++) {
        candidate ranked[MOST_TOKENS];
        rank_beam(s, i, logits[i], ranked);
        bool fork = s->params.rule == SA2_BEAM_FORK;
        for (int k = 0; k < (fork ? 2 * beams : s->params.n_tokens); k++) {
            if (!fork || !is_end(s, ranked[k].token))
                s->all[n++] = ranked[k];
            else if (s->n_generated > 0 || i == 0) /* the fork starts with one beam */
                add_to_pool(s, &s->beams[i], ranked[k].score, ranked[k].token);
        }
    }
    qsort(s->all, (size_t)n, sizeof s->all[0], best_first);
    return n;
}

/* Whether rounding decides which of two goes first. Of one beam, equal ones have equal logits; at first
 * all have the same row. */
static bool is_near(const search *s, candidate a, candidate b)
{
    bool equal = a.score == b.score && (a.beam == b.beam || s->n_generated == 0);
    return fabs(a.score - b.score) < 2e-6 && !equal;
}

/* As sa2_beam_step(). */
static bool define_step(search *s, float (*logits)[MOST_TOKENS], sa2_beam_next *next)
{
    const sa2_beam_params *p = &s->params;
    sequence going[MOST_BEAMS];
    int n = 0, n_candidates = collect(s, logits);
    for (int rank = 0; rank < n_candidates && n < p->beams; rank++) {
        candidate c = s->all[rank];
        s->near |= rank + 1 < n_candidates && is_near(s, c, s->all[rank + 1]);
        if (is_end(s, c.token)) {
            if (rank < p->beams && c.score > -INFINITY)
                add_to_pool(s, &s->beams[c.beam], c.score, c.token);
            continue;
        }
        going[n] = s->beams[c.beam];
        going[n].tokens[going[n].n++] = c.token;
        going[n].score = c.score;
        next[n++] = (sa2_beam_next){s->n_generated == 0 ? 0 : c.beam, c.token};
    }
    memcpy(s->beams, going, sizeof going);
    s->n_generated++;
    if (p->rule == SA2_BEAM_HF && s->n_pool == p->beams) {
        double worst = s->pool[p->beams - 1].score;
        double best = s->all[0].score / pow(s->n_generated, p->length_penalty);
        s->near |= worst != best && fabs(worst - best) < 2e-6;
        if (p->early_stopping || worst >= best)
            return true;
    }
    for (int i = 0; i < p->beams && s->n_generated == p->max_tokens; i++)
        add_to_pool(s, &s->beams[i], s->beams[i].score, -1);
    return s->n_generated == p->max_tokens;
}

/* ---- random searches ---- */

static int below(uint64_t *random, int n)
{
    *random = mix(*random + 0x9e3779b97f4a7c15u);
    return (int)(*random % (uint64_t)n);
}

static sa2_beam_params random_params(uint64_t *random, sa2_beam_rule rule, int32_t eos[MOST_ENDS])
{
    static const float penalties[] = {1.0f, 1.0f, 0.0f, 2.0f, -0.5f};
    sa2_beam_params p = {.rule = rule,
                         .beams = 1 + below(random, MOST_BEAMS),
                         .length_penalty = penalties[below(random, 5)],
                         .early_stopping = below(random, 2),
                         .max_tokens = 1 + below(random, MOST_STEPS),
                         .min_tokens = below(random, 4),
                         .repetition_penalty = below(random, 2) ? 1.0f : 1.3f,
                         .eos = {eos, below(random, MOST_ENDS + 1)}};
    /* The fork has nothing for vocabularies that do not fill its beams. */
    int least = rule == SA2_BEAM_HF ? p.eos.n + 1 : 2 * p.beams + p.eos.n;
    p.n_tokens = least + below(random, MOST_TOKENS - least);
    if (rule == SA2_BEAM_FORK && p.eos.n > p.beams)
        p.eos.n = p.beams;
    for (int i = 0; i < p.eos.n; i++)
        eos[i] = (i * 5 + 1) % p.n_tokens;
    return p;
}

static void assert_results(const search *s, const sa2_beam *beam)
{
    sa2_beam_result results[SA2_BEAM_MAX];
    int n = sa2_beam_results(beam, results);
    assert_int_equal(n, s->n_pool < s->params.beams ? s->n_pool : s->params.beams);
    for (int i = 0; i < n; i++) {
        assert_int_equal(results[i].n, s->pool[i].n);
        assert_int_equal(results[i].ended, s->pool[i].ended);
        assert_memory_equal(results[i].tokens, s->pool[i].tokens,
                            (size_t)results[i].n * sizeof(int32_t));
        assert_true(fabs(results[i].score - s->pool[i].score) <=
                    1e-5 * fabs(s->pool[i].score) + 1e-12);
    }
}

/* False: broken off where rounding decides. */
static bool run_search(uint64_t *random, sa2_beam_rule rule)
{
    int32_t eos[MOST_ENDS], prompt[] = {2, 3, 5, 100};
    sa2_beam_params params = random_params(random, rule, eos);
    toy model = {*random, params.n_tokens, below(random, 3) == 0 ? 1.0 : 1e-4};
    search *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->params = params;
    s->prompt = prompt;
    s->n_prompt = 4;
    for (int i = 1; i < params.beams; i++)
        s->beams[i].score = -1e9;
    sa2_arena arena;
    sa2_sampler_work work;
    sa2_beam *beam;
    size_t bytes = sa2_beam_bytes(&params) + sa2_sampler_work_bytes(params.n_tokens);
    assert_int_equal(sa2_beam_check(&params, NULL), SA2_OK);
    assert_int_equal(sa2_arena_create(&arena, bytes, NULL), SA2_OK);
    assert_int_equal(sa2_sampler_work_init(&work, params.n_tokens, &arena, NULL), SA2_OK);
    assert_int_equal(sa2_beam_create(&beam, &params, prompt, 4, &arena, NULL), SA2_OK);

    bool done = false;
    while (!done) {
        float logits[MOST_BEAMS][MOST_TOKENS];
        const float *rows[MOST_BEAMS];
        sa2_beam_next next[MOST_BEAMS], want[MOST_BEAMS];
        assert_int_equal(sa2_beam_rows(beam), s->n_generated == 0 ? 1 : params.beams);
        for (int i = 0; i < params.beams; i++) {
            logits_after(&model, s->beams[i].tokens, s->n_generated, logits[i]);
            rows[i] = i < sa2_beam_rows(beam) ? logits[i] : NULL;
        }
        assert_int_equal(sa2_beam_step(beam, rows, &work, next, &done, NULL), SA2_OK);
        bool over = define_step(s, logits, want);
        if (s->near)
            break;
        assert_int_equal(over, done);
        for (int i = 0; i < params.beams && !done; i++) {
            assert_int_equal(next[i].parent, want[i].parent);
            assert_int_equal(next[i].token, want[i].token);
        }
    }
    bool whole = !s->near;
    for (int i = 0; i + 1 < s->n_pool; i++)
        whole &= s->pool[i].score - s->pool[i + 1].score > 2e-6;
    if (whole)
        assert_results(s, beam);
    sa2_arena_destroy(&arena);
    free(s);
    return whole;
}

static void searches_by_generate_go_as_defined(void **state)
{
    (void)state;
    uint64_t random = 1;
    int n_whole = 0;
    for (int i = 0; i < 3000; i++)
        n_whole += run_search(&random, SA2_BEAM_HF);
    assert_true(n_whole > 1500);
}

static void searches_by_the_fork_go_as_defined(void **state)
{
    (void)state;
    uint64_t random = 2;
    int n_whole = 0;
    for (int i = 0; i < 3000; i++)
        n_whole += run_search(&random, SA2_BEAM_FORK);
    assert_true(n_whole > 1500);
}

/* With as many beams as there are sequences but the last token, nothing is ever dropped. */
static void enough_beams_find_the_best_of_all_sequences(void **state)
{
    (void)state;
    enum { V = 4, LENGTH = 4, BEAMS = 64, ALL = 256 };
    for (int rule = SA2_BEAM_HF; rule <= SA2_BEAM_FORK; rule++) {
        toy model = {.seed = 9, .n_tokens = V, .step = 1e-4};
        double best = -INFINITY;
        int best_code = 0;
        for (int code = 0; code < ALL; code++) {
            int32_t tokens[LENGTH];
            double score = 0.0;
            for (int i = 0; i < LENGTH; i++) {
                float logits[V];
                double sum = 0.0;
                tokens[i] = code >> 2 * i & 3;
                logits_after(&model, tokens, i, logits);
                for (int k = 0; k < V; k++)
                    sum += exp(logits[k]);
                score += logits[tokens[i]] - log(sum);
            }
            best_code = score > best ? code : best_code;
            best = score > best ? score : best;
        }
        const sa2_beam_params params = {.rule = rule,
                                        .beams = BEAMS,
                                        .max_tokens = LENGTH,
                                        .repetition_penalty = 1.0f,
                                        .n_tokens = V};
        sa2_arena arena;
        sa2_sampler_work work;
        sa2_beam *beam;
        sa2_beam_next next[BEAMS];
        sa2_beam_result results[SA2_BEAM_MAX];
        int32_t tokens[BEAMS][LENGTH] = {{0}}, then[BEAMS][LENGTH];
        bool done = false;
        assert_int_equal(
            sa2_arena_create(&arena, sa2_beam_bytes(&params) + sa2_sampler_work_bytes(V), NULL),
            SA2_OK);
        assert_int_equal(sa2_sampler_work_init(&work, V, &arena, NULL), SA2_OK);
        assert_int_equal(sa2_beam_create(&beam, &params, NULL, 0, &arena, NULL), SA2_OK);
        for (int step = 0; !done; step++) {
            float logits[BEAMS][V];
            const float *rows[BEAMS];
            for (int i = 0; i < BEAMS; i++) {
                logits_after(&model, tokens[i], step, logits[i]);
                rows[i] = logits[i];
            }
            assert_int_equal(sa2_beam_step(beam, rows, &work, next, &done, NULL), SA2_OK);
            for (int i = 0; i < BEAMS && !done; i++) {
                memcpy(then[i], tokens[next[i].parent], sizeof then[i]);
                then[i][step] = next[i].token;
            }
            memcpy(tokens, then, sizeof tokens);
        }
        sa2_beam_results(beam, results);
        assert_true(fabs(results[0].score - best) < 1e-5);
        for (int i = 0; i < LENGTH; i++)
            assert_int_equal(results[0].tokens[i], best_code >> 2 * i & 3);
        sa2_arena_destroy(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_by_generate_go_as_defined),
        cmocka_unit_test(searches_by_the_fork_go_as_defined),
        cmocka_unit_test(enough_beams_find_the_best_of_all_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
