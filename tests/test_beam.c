/* Beam search, rule by rule, on rows of probabilities written out; and what it refuses. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/beam.h"

enum { V = 6, BEAMS = 4 };

typedef struct bench {
    sa2_arena arena;
    sa2_sampler_work work;
    sa2_beam_params params;
    sa2_beam *beam;
    sa2_beam_next next[SA2_BEAM_MAX];
    bool done;
    sa2_beam_result results[SA2_BEAM_MAX];
    int n_results;
} bench;

static const int32_t end_token[] = {5};

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    assert_int_equal(sa2_arena_create(&b->arena, 1 << 20, NULL), SA2_OK);
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

static bench *prepare(void **state, sa2_beam_rule rule, int beams, int max_tokens)
{
    bench *b = *state;
    b->params = (sa2_beam_params){.rule = rule,
                                  .beams = beams,
                                  .length_penalty = 1.0f,
                                  .max_tokens = max_tokens,
                                  .repetition_penalty = 1.0f,
                                  .eos = {end_token, 1},
                                  .n_tokens = V};
    return b;
}

static void begin(bench *b, const int32_t *prompt, int n)
{
    b->done = false;
    sa2_arena_rewind(&b->arena, 0);
    assert_int_equal(sa2_sampler_work_init(&b->work, V, &b->arena, NULL), SA2_OK);
    assert_int_equal(sa2_beam_create(&b->beam, &b->params, prompt, n, &b->arena, NULL), SA2_OK);
}

/* A step with rows of probabilities, which need not add up to 1. */
static void step(bench *b, const float probs[][V])
{
    float logits[BEAMS][V];
    const float *rows[BEAMS];
    for (int i = 0; i < sa2_beam_rows(b->beam); i++) {
        for (int k = 0; k < V; k++)
            logits[i][k] = logf(probs[i][k]);
        rows[i] = logits[i];
    }
    assert_false(b->done);
    assert_int_equal(sa2_beam_step(b->beam, rows, &b->work, b->next, &b->done, NULL), SA2_OK);
    if (b->done)
        b->n_results = sa2_beam_results(b->beam, b->results);
}

static void assert_next(const bench *b, int i, int parent, int32_t token)
{
    assert_int_equal(b->next[i].parent, parent);
    assert_int_equal(b->next[i].token, token);
}

static void assert_result(const bench *b, int i, const char *tokens, bool ended, double score)
{
    assert_true(b->done && i < b->n_results);
    assert_int_equal(b->results[i].n, strlen(tokens));
    for (int k = 0; k < b->results[i].n; k++)
        assert_int_equal(b->results[i].tokens[k], tokens[k] - '0');
    assert_int_equal(b->results[i].ended, ended);
    if (fabs(b->results[i].score - score) > 1e-5)
        fail_msg("score %g found, %g expected", b->results[i].score, score);
}

/* ---- ties ---- */

static void equal_scores_go_by_beam_and_then_by_id(void **state)
{
    static const float flat[BEAMS][V] = {
        {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}};
    for (int rule = SA2_BEAM_HF; rule <= SA2_BEAM_FORK; rule++) {
        bench *b = prepare(state, rule, 4, 3);
        begin(b, NULL, 0);
        step(b, flat);
        for (int i = 0; i < 4; i++)
            assert_next(b, i, 0, i);
        step(b, flat);
        for (int i = 0; i < 4; i++)
            assert_next(b, i, 0, i);
        step(b, flat);
        if (rule == SA2_BEAM_HF)
            assert_result(b, 0, "000", false, -log(6.0));
    }
}

/* ---- rule HF ---- */

static void an_end_token_counts_only_among_as_many_candidates_as_beams(void **state)
{
    static const float rows[][V] = {{.5f, .1f, 0, 0, 0, .4f}, {.5f, .1f, 0, 0, 0, .4f}};
    bench *b = prepare(state, SA2_BEAM_HF, 1, 2);
    begin(b, NULL, 0);
    step(b, rows); /* the end token is second of two, with one beam */
    assert_next(b, 0, 0, 0);
    step(b, rows);
    assert_int_equal(b->n_results, 1);
    assert_result(b, 0, "00", false, log(.5));

    b = prepare(state, SA2_BEAM_HF, 2, 2);
    begin(b, NULL, 0);
    step(b, rows); /* second of two beams: "5" is finished */
    assert_next(b, 0, 0, 0);
    assert_next(b, 1, 0, 1);
    step(b, rows);
    assert_result(b, 0, "00", false, log(.5));
    assert_result(b, 1, "05", true, log(.5 * .4) / 2);
}

static void scores_are_divided_by_length_to_the_penalty(void **state)
{
    static const float first[][V] = {{.6f, 0, 0, 0, 0, .4f}};
    static const float second[][V] = {{.6f, .08f, .08f, .08f, .08f, .08f},
                                      {.1f, .1f, .1f, .1f, .1f, .1f}};
    static const float penalties[] = {1.0f, 0.0f, 1.5f};
    for (int i = 0; i < 3; i++) {
        bench *b = prepare(state, SA2_BEAM_HF, 2, 2);
        b->params.length_penalty = penalties[i];
        begin(b, NULL, 0);
        step(b, first);
        step(b, second);
        double whole = log(.6 * .6) / pow(2.0, penalties[i]), ended = log(.4);
        assert_result(b, 0, whole > ended ? "00" : "5", whole <= ended, fmax(whole, ended));
        assert_result(b, 1, whole > ended ? "5" : "00", whole > ended, fmin(whole, ended));
    }
}

static void a_full_pool_ends_the_search_when_nothing_better_can_come(void **state)
{
    static const float first[][V] = {{.1f, .1f, 0, 0, 0, .8f}};
    static const float second[][V] = {{.1f, 0, 0, 0, 0, .9f}, {.1f, 0, 0, 0, 0, .9f}};
    bench *b = prepare(state, SA2_BEAM_HF, 2, 9);
    begin(b, NULL, 0);
    step(b, first);
    assert_false(b->done);
    step(b, second); /* pool: .8 and .09; best of the step the same .09 */
    assert_int_equal(b->n_results, 2);
    assert_result(b, 0, "5", true, log(.8));
    assert_result(b, 1, "05", true, log(.09) / 2);
}

static void the_best_candidate_of_a_step_counts_although_it_ends(void **state)
{
    /* Pool: .5 and then sqrt(.35 * .9) = .56; candidates: the latter is the best and an end token, and .5
     * is worse than it. A search that looked at the beams that go on would be done. */
    static const float first[][V] = {{.35f, .15f, 0, 0, 0, .5f}};
    static const float second[][V] = {{.1f, 0, 0, 0, 0, .9f}, {.5f, .5f, 0, 0, 0, 0}};
    bench *b = prepare(state, SA2_BEAM_HF, 2, 9);
    begin(b, NULL, 0);
    step(b, first);
    step(b, second);
    assert_false(b->done);
    b->params.early_stopping = true;
    begin(b, NULL, 0);
    step(b, first);
    step(b, second);
    assert_int_equal(b->n_results, 2);
    assert_result(b, 0, "05", true, log(.35 * .9) / 2);
    assert_result(b, 1, "5", true, log(.5));
}

static void end_tokens_are_masked_until_min_tokens_are_there(void **state)
{
    static const float rows[][V] = {{.2f, .1f, 0, 0, 0, .7f}, {.2f, .1f, 0, 0, 0, .7f}};
    bench *b = prepare(state, SA2_BEAM_HF, 1, 5);
    b->params.min_tokens = 1;
    begin(b, NULL, 0);
    step(b, rows);
    assert_false(b->done);
    assert_next(b, 0, 0, 0);
    step(b, rows);
    assert_result(b, 0, "05", true, log(.2 * .7) / 2);
}

static void a_repetition_penalty_multiplies_log_probabilities(void **state)
{
    static const float rows[][V] = {{.5f, .3f, .2f, 0, 0, 0}};
    static const int32_t prompt[] = {0, 700, -3}; /* ids that are no tokens are skipped */
    bench *b = prepare(state, SA2_BEAM_HF, 1, 3);
    b->params.repetition_penalty = 2.0f;
    begin(b, prompt, 3);
    step(b, rows); /* .25, .3, .2 */
    assert_next(b, 0, 0, 1);
    step(b, rows); /* .25, .09, .2 */
    assert_next(b, 0, 0, 0);
    step(b, rows);
    assert_result(b, 0, "100", false, log(.3 * .25 * .25) / 3);
}

static void masked_tokens_are_taken_only_to_fill_up_and_never_returned(void **state)
{
    static const float rows[][V] = {{1, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0}};
    bench *b = prepare(state, SA2_BEAM_HF, 3, 2);
    begin(b, NULL, 0);
    step(b, rows);
    assert_next(b, 0, 0, 0);
    step(b, rows);
    for (int i = 0; i < b->n_results; i++)
        assert_result(b, i, "00", false, i == 0 ? 0.0 : -5e8); /* and its copies, 1e9 behind */
}

/* ---- rule FORK ---- */

static void the_fork_takes_every_end_token_and_never_stops_early(void **state)
{
    static const float rows[][V] = {{.5f, .1f, 0, 0, 0, .4f}};
    bench *b = prepare(state, SA2_BEAM_FORK, 1, 3);
    b->params.early_stopping = true;     /* of rule HF alone, as */
    b->params.min_tokens = 3;            /* these */
    b->params.repetition_penalty = 9.0f; /* two */
    begin(b, NULL, 0);
    for (int i = 0; i < 3; i++) {
        assert_false(b->done);
        step(b, rows);
    }
    assert_int_equal(b->n_results, 1);
    assert_result(b, 0, "000", false, log(.5));
}

static void the_fork_counts_the_prompt_and_not_the_end_token_as_length(void **state)
{
    static const float first[][V] = {{.5f, 0, 0, 0, 0, .5f}},
                       second[][V] = {{.9f, 0, 0, 0, 0, .1f}, {1, 1, 1, 1, 1, 1}};
    static const int32_t prompt[] = {1, 2, 3};
    bench *b = prepare(state, SA2_BEAM_FORK, 2, 2);
    begin(b, prompt, 3);
    step(b, first);
    step(b, second);
    assert_result(b, 0, "00", false, log(.5 * .9) / 5);
    assert_result(b, 1, "5", true, log(.5) / 3);
}

static void the_fork_asks_each_beam_for_twice_as_many_tokens_as_beams(void **state)
{
    static const float inside[][V] = {{.4f, 0, 0, 0, 0, .1f}},
                       outside[][V] = {{.4f, .2f, 0, 0, 0, .1f}};
    bench *b = prepare(state, SA2_BEAM_FORK, 1, 1);
    b->params.length_penalty = 9.0f; /* for the longer one, whichever it is */
    static const int32_t prompt[] = {1};
    begin(b, prompt, 1);
    step(b, inside);
    assert_result(b, 0, "0", false, log(.8) / 512);
    b->params.length_penalty = -9.0f;
    begin(b, prompt, 1);
    step(b, inside);
    assert_result(b, 0, "5", true, log(.2));
    begin(b, prompt, 1);
    step(b, outside);
    assert_result(b, 0, "0", false, log(.4 / .7) * 512);
}

/* ---- what is refused ---- */

static void a_step_that_fails_leaves_the_search_as_it_was(void **state)
{
    static const float rows[][V] = {{.5f, .3f, .2f, 0, 0, .1f}, {.1f, .1f, .6f, .1f, 0, .2f}};
    for (int rule = SA2_BEAM_HF; rule <= SA2_BEAM_FORK; rule++) {
        for (int fails = 0; fails < 2; fails++) {
            bench *b = prepare(state, rule, 2, 3);
            begin(b, NULL, 0);
            step(b, rows);
            float bad[V] = {[4] = NAN}, good[V] = {0};
            const float *pair[] = {good, bad};
            sa2_error err = {0};
            if (fails) {
                assert_int_equal(sa2_beam_step(b->beam, pair, &b->work, b->next, &b->done, &err),
                                 SA2_ERR_FORMAT);
                assert_string_equal(err.message, "logit of token 4: a number expected, nan found");
            }
            step(b, rows);
            assert_next(b, 0, 0, 0);
            assert_next(b, 1, 1, 2);
            step(b, rows);
            assert_int_equal(b->n_results, 2);
            if (rule == SA2_BEAM_HF)
                assert_result(b, 0, "000", false, log(.5 / 1.1));
        }
    }
}

static void a_row_without_tokens_is_refused(void **state)
{
    static const float row[V] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, 1.0f};
    const float *rows[] = {row};
    bench *b = prepare(state, SA2_BEAM_HF, 2, 2);
    b->params.min_tokens = 1;
    begin(b, NULL, 0);
    sa2_error err = {0};
    assert_int_equal(sa2_beam_step(b->beam, rows, &b->work, b->next, &b->done, &err), SA2_ERR_ARG);
    assert_string_equal(err.message, "logits: all 6 tokens are masked");
}

static void every_mistake_is_named_in_one_report(void **state)
{
    static const int32_t ends[] = {0, 6};
    bench *b = prepare(state, 2, 65, 0);
    sa2_error err = {0};
    b->params.min_tokens = -1;
    b->params.length_penalty = INFINITY;
    b->params.repetition_penalty = NAN;
    b->params.eos = (sa2_token_list){ends, 2};
    assert_int_equal(sa2_beam_check(&b->params, &err), SA2_ERR_ARG);
    assert_string_equal(err.message,
                        "beam search, rule: 0 to 1 expected, 2 found\n"
                        "beam search, beams: 1 to 64 expected, 65 found\n"
                        "beam search, max_tokens: 1 to 2147483647 expected, 0 found\n"
                        "beam search, min_tokens: 0 to 2147483647 expected, -1 found\n"
                        "beam search, length_penalty: a number expected, inf found\n"
                        "beam search, repetition_penalty: above 0 expected, nan found\n"
                        "beam search, end token: an id from 0 to 5 expected, 6 found");
    b = prepare(state, SA2_BEAM_HF, 1, 1);
    b->params.n_tokens = 1;
    err = (sa2_error){0};
    assert_int_equal(sa2_beam_check(&b->params, &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "1 end tokens in a vocabulary of 1 leave nothing to say"));
    b = prepare(state, SA2_BEAM_HF, SA2_BEAM_MAX, 1);
    assert_int_equal(sa2_beam_check(&b->params, NULL), SA2_OK);
}

static void the_memory_it_names_is_what_it_needs(void **state)
{
    bench *b = prepare(state, SA2_BEAM_HF, 3, 7);
    sa2_arena_rewind(&b->arena, 0);
    size_t bytes = sa2_beam_bytes(&b->params);
    sa2_arena small;
    sa2_error err = {0};
    sa2_arena_init(&small, b->arena.base, bytes - SA2_ARENA_ALIGN);
    assert_int_equal(sa2_beam_create(&b->beam, &b->params, NULL, 0, &small, &err), SA2_ERR_NOMEM);
    assert_non_null(strstr(err.message, "beam search: "));
    assert_int_equal(small.used, 0);
    sa2_arena_init(&small, b->arena.base, bytes);
    assert_int_equal(sa2_beam_create(&b->beam, &b->params, NULL, 0, &small, NULL), SA2_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_scores_go_by_beam_and_then_by_id),
        cmocka_unit_test(an_end_token_counts_only_among_as_many_candidates_as_beams),
        cmocka_unit_test(scores_are_divided_by_length_to_the_penalty),
        cmocka_unit_test(a_full_pool_ends_the_search_when_nothing_better_can_come),
        cmocka_unit_test(the_best_candidate_of_a_step_counts_although_it_ends),
        cmocka_unit_test(end_tokens_are_masked_until_min_tokens_are_there),
        cmocka_unit_test(a_repetition_penalty_multiplies_log_probabilities),
        cmocka_unit_test(masked_tokens_are_taken_only_to_fill_up_and_never_returned),
        cmocka_unit_test(the_fork_takes_every_end_token_and_never_stops_early),
        cmocka_unit_test(the_fork_counts_the_prompt_and_not_the_end_token_as_length),
        cmocka_unit_test(the_fork_asks_each_beam_for_twice_as_many_tokens_as_beams),
        cmocka_unit_test(a_step_that_fails_leaves_the_search_as_it_was),
        cmocka_unit_test(a_row_without_tokens_is_refused),
        cmocka_unit_test(every_mistake_is_named_in_one_report),
        cmocka_unit_test(the_memory_it_names_is_what_it_needs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
