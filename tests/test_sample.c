/* sa2_sample() on a device chooses what the sampler of the host does: the same tokens, log-probabilities, failures and state,
 * bit for bit. And what goes on from its results. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/logprobs.h"
#include "runtime/decoder/sampler.h"
#include "tests/support/random_logits.h"
#include "tests/support/test_env.h"

enum {
    ROWS = 5, /* of logits, of which SKIPPED is for nobody */
    SKIPPED = 2,
    DRAWS =
        12, /* of a row, at most: many, so that a set that is a token too large or too small shows */
    SLOTS = ROWS * DRAWS,
    LIST = 6,
    MOST_ADDITIONS = 64,
    GAP = 3 /* columns that are no tokens */
};

/* One row: what its sequences want, and each of them. */
typedef struct sequence {
    sa2_sampling_params params;
    sa2_logit_bias bias[LIST];
    int32_t stop[LIST], words[LIST][2];
    sa2_token_list bad_words[LIST];
    int n_draws;
    sa2_sampler samplers[DRAWS];
} sequence;

/* What the op is told, and what the host found. */
typedef struct bench {
    int n;
    uint64_t random;
    sequence sequences[ROWS];
    sa2_tensor logits, results, state;
    float *kept; /* the logits */
    sa2_sample_row rows[ROWS];
    sa2_sample_draw draws[SLOTS];
    sa2_logit_addition additions[MOST_ADDITIONS];
    int n_rows, n_draws, n_additions;
} bench;

static sa2_tensor bytes_of(test_env *env, int rows, size_t bytes)
{
    sa2_tensor x = test_poisoned(env, SA2_F32, rows, (int64_t)(bytes / sizeof(float)));
    return sa2_tensor_2d(x.data, SA2_U8, rows, (int64_t)bytes);
}

static void open_bench(test_env *env, bench *b, int n, uint64_t random)
{
    *b = (bench){.n = n, .random = random};
    b->logits = test_poisoned(env, SA2_F32, ROWS, n + GAP);
    b->state = bytes_of(env, SLOTS, sa2_sample_state_bytes(n));
    b->kept = malloc(sa2_tensor_bytes(&b->logits));
    assert_non_null(b->kept);
}

static void close_bench(test_env *env, bench *b)
{
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < b->sequences[i].n_draws; k++)
            free(b->sequences[i].samplers[k].seen);
    free(b->kept);
    test_reset(env);
}

static float *row_of(const bench *b, int i)
{
    return (float *)b->logits.data + i * b->logits.stride;
}

static void random_lists(bench *b, sequence *q)
{
    sa2_sampling_params *p = &q->params;
    for (int i = 0; i < LIST; i++) {
        q->bias[i] = (sa2_logit_bias){random_pick(&b->random, b->n),
                                      (float)(random_uniform(&b->random) * 20.0 - 10.0)};
        q->stop[i] = random_pick(&b->random, b->n);
        q->words[i][0] = random_pick(&b->random, b->n < 4 ? b->n : 4);
        q->words[i][1] = random_pick(&b->random, b->n);
        q->bad_words[i] = (sa2_token_list){q->words[i], 1 + i % 2};
        for (int k = 0; k < i; k++)
            if (q->bias[k].id == q->bias[i].id)
                q->bias[i].bias = 0.0f;
    }
    p->logit_bias = q->bias;
    p->n_logit_bias = random_pick(&b->random, 3) ? 0 : LIST;
    p->stop = (sa2_token_list){q->stop, LIST};
    p->min_tokens = random_pick(&b->random, 3) ? 0 : 100;
    p->bad_words = q->bad_words;
    p->n_bad_words = random_pick(&b->random, 3) ? 0 : LIST;
}

/* A sequence with a history, and its forks. */
static void begin(bench *b, sequence *q, int n_draws)
{
    enum { PROMPT = 40, OUTPUT = 30 };
    int32_t prompt[PROMPT];
    q->n_draws = n_draws;
    for (int i = 0; i < PROMPT; i++)
        prompt[i] = random_pick(&b->random, b->n);
    for (int k = 0; k < n_draws; k++) {
        void *memory = malloc(sa2_sampler_bytes(b->n));
        assert_non_null(memory);
        if (k > 0)
            sa2_sampler_fork(&q->samplers[k], memory, &q->samplers[0], (uint32_t)k);
        else
            sa2_sampler_init(&q->samplers[0], memory, &q->params, b->random, 0, b->n, prompt,
                             PROMPT);
        for (int i = 0; k == 0 && i < OUTPUT; i++)
            sa2_sampler_accept(&q->samplers[0], random_pick(&b->random, b->n < 20 ? b->n : 20));
    }
}

static void add(void *context, int32_t id, float addend)
{
    bench *b = context;
    assert_true(b->n_additions < MOST_ADDITIONS);
    b->additions[b->n_additions++] = (sa2_logit_addition){id, addend};
}

/* Slots are taken from the end, so that none is that of its row. */
static int32_t slot_of(int row, int draw)
{
    return SLOTS - 1 - row * DRAWS - draw;
}

static char *state_of(const bench *b, int32_t slot)
{
    return (char *)b->state.data + slot * b->state.stride;
}

/* Tells the op of every row; what has been said is in the state, or is written there. */
static void describe(test_env *env, bench *b, bool write)
{
    b->n_rows = b->n_draws = b->n_additions = 0;
    for (int i = 0; i < ROWS; i++) {
        sequence *q = &b->sequences[i];
        if (i == SKIPPED)
            continue;
        sa2_sample_row *row = &b->rows[b->n_rows++];
        *row = (sa2_sample_row){.rule = sa2_sampler_rule(&q->params),
                                .row = i,
                                .slot = slot_of(i, 0),
                                .first_addition = b->n_additions,
                                .first_draw = b->n_draws,
                                .n_draws = q->n_draws,
                                .wants_mass = q->params.n_logprobs >= 0};
        sa2_sampler_additions(&q->samplers[0], add, b);
        row->n_additions = b->n_additions - row->first_addition;
        for (int k = 0; k < q->n_draws; k++) {
            if (write)
                memcpy(state_of(b, slot_of(i, k)), q->samplers[k].seen, sa2_sampler_bytes(b->n));
            b->draws[b->n_draws++] =
                (sa2_sample_draw){sa2_sampler_uniform(&q->samplers[k]), slot_of(i, k)};
        }
    }
    b->results = bytes_of(env, b->n_draws, sizeof(sa2_sampled));
    memcpy(b->kept, b->logits.data, sa2_tensor_bytes(&b->logits));
}

static void run(bench *b, sa2_stream *s)
{
    sa2_error err = {0};
    sa2_sample(s, (sa2_sample_args){.results = b->results,
                                    .logits = b->logits,
                                    .n_tokens = b->n,
                                    .state = b->state,
                                    .rows = b->rows,
                                    .draws = b->draws,
                                    .additions = b->additions,
                                    .n_rows = b->n_rows,
                                    .n_draws = b->n_draws,
                                    .n_additions = b->n_additions});
    if (sa2_stream_finish(s, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_memory_equal(b->kept, b->logits.data, sa2_tensor_bytes(&b->logits));
}

static void assert_as_on_the_host(bench *b, sa2_sampler *sampler, const float *logits, int draw,
                                  sa2_sampler_work *work)
{
    const sa2_sampling_params *p = sampler->params;
    const sa2_sampled *found = (const sa2_sampled *)b->results.data + draw;
    sa2_error want = {0}, err = {0};
    int32_t token = -1;
    sa2_status st = sa2_sampler_next(sampler, logits, work, &token, &want);
    assert_int_equal(sa2_sampler_judge(found, b->n, &err), st);
    assert_string_equal(err.message, want.message);
    if (st == SA2_OK) {
        if (found->token != token)
            fail_msg("token %d, %d expected, of %d; mode %d T %g k %d p %g min_p %g", found->token,
                     token, b->n, p->mode, p->temperature, p->top_k, p->top_p, p->min_p);
        sa2_sampler_accept(sampler, token);
    }
    if (st == SA2_OK && p->n_logprobs >= 0) {
        sa2_logprob chosen;
        assert_int_equal(sa2_logprobs(logits, b->n, token, &chosen, NULL, 0, work, NULL), SA2_OK);
        float logprob = (float)(found->logit - sa2_logprobs_whole_of(found->largest, found->mass));
        assert_true(logprob == chosen.logprob);
    }
    assert_memory_equal(state_of(b, b->draws[draw].slot), sampler->seen, sa2_sampler_bytes(b->n));
}

/* Every device, against the host, from the state that describe() has made. */
static void compare(test_env *env, bench *b)
{
    sa2_arena arena;
    sa2_sampler_work work;
    assert_int_equal(sa2_arena_create(&arena, sa2_sampler_work_bytes(b->n), NULL), SA2_OK);
    assert_int_equal(sa2_sampler_work_init(&work, b->n, &arena, NULL), SA2_OK);
    for (int i = 0; i < env->n_streams; i++) {
        if (strcmp(sa2_backend_device(env->backends[i]), "cpu") == 0)
            continue;
        run(b, env->streams[i]);
        int draw = 0;
        for (int r = 0; r < ROWS; r++)
            for (int k = 0; r != SKIPPED && k < b->sequences[r].n_draws; k++)
                assert_as_on_the_host(b, &b->sequences[r].samplers[k],
                                      b->kept + r * b->logits.stride, draw++, &work);
    }
    sa2_arena_destroy(&arena);
}

static void random_sequences(bench *b, int kind)
{
    for (int i = 0; i < ROWS; i++) {
        sequence *q = &b->sequences[i];
        random_logits(&b->random, row_of(b, i), b->n, (kind + i) % RANDOM_LOGITS_KINDS);
        q->params = random_params(&b->random);
        if (random_pick(&b->random, 6) == 0)
            q->params.temperature = 0.0f;
        q->params.n_logprobs = random_pick(&b->random, 2) - 1;
        random_lists(b, q);
        begin(b, q, i == 0 ? 1 : DRAWS);
    }
}

static void tokens_are_those_of_the_host(void **state)
{
    test_env *env = *state;
    static const int sizes[] = {1, 2, 63, 65, 130, 511, 512, 513, 1000, 7615};
    for (int round = 0; round < 80; round++) {
        bench b;
        open_bench(env, &b, sizes[round % 10], (uint64_t)round + 1);
        random_sequences(&b, round / 10);
        describe(env, &b, true);
        compare(env, &b);
        close_bench(env, &b);
    }
}

/* As many tokens as a release has: every warp has several tiles. Flat, steep, and with many ties. */
static void rows_as_long_as_those_of_a_release_too(void **state)
{
    test_env *env = *state;
    for (int kind = 0; kind < 3; kind++) {
        bench b;
        open_bench(env, &b, 158720, (uint64_t)kind + 100);
        random_sequences(&b, 2 * kind);
        b.sequences[0].params.top_p = 0.999f;
        b.sequences[0].params.top_k = -1;
        b.sequences[0].params.min_p = 0.0f;
        describe(env, &b, true);
        compare(env, &b);
        close_bench(env, &b);
    }
}

/* From one call to the next the device counts by itself. */
static void state_is_kept_from_token_to_token(void **state)
{
    test_env *env = *state;
    bench b;
    open_bench(env, &b, 700, 7);
    random_sequences(&b, 1);
    for (int i = 0; i < ROWS; i++) {
        b.sequences[i].params.repetition_penalty = 1.3f;
        b.sequences[i].params.frequency_penalty = 0.5f;
    }
    describe(env, &b, true);
    compare(env, &b);
    for (int i = 0; i < ROWS; i++) /* forks have parted: one of them goes on */
        while (b.sequences[i].n_draws > 1)
            free(b.sequences[i].samplers[--b.sequences[i].n_draws].seen);
    for (int step = 0; step < 6; step++) {
        describe(env, &b, false);
        compare(env, &b);
    }
    close_bench(env, &b);
}

static void a_logit_that_is_no_number_is_told_for_its_row_alone(void **state)
{
    test_env *env = *state;
    bench b;
    open_bench(env, &b, 1300, 3);
    random_sequences(&b, 1);
    row_of(&b, 0)[1299] = NAN;
    row_of(&b, 0)[700] = INFINITY;
    for (int i = 0; i < b.n; i++)
        row_of(&b, 1)[i] = -INFINITY; /* in a row of three draws */
    row_of(&b, 3)[5] = FLT_MAX;       /* becomes infinite by a penalty */
    b.sequences[3].params = sa2_sampling_defaults(SA2_SAMPLING_VLLM);
    b.sequences[3].params.repetition_penalty = 0.5f;
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < b.sequences[i].n_draws; k++)
            sa2_sampler_accept(&b.sequences[i].samplers[k], 5);
    b.sequences[4].params = sa2_sampling_defaults(SA2_SAMPLING_HF);
    describe(env, &b, true);
    compare(env, &b);
    close_bench(env, &b);
}

static void what_leaves_no_token_is_told(void **state)
{
    test_env *env = *state;
    bench b;
    open_bench(env, &b, 4, 5);
    random_sequences(&b, 1);
    for (int i = 0; i < 4; i++)
        b.sequences[0].stop[i] = i;
    b.sequences[0].params.min_tokens = 100;
    describe(env, &b, true);
    compare(env, &b);
    close_bench(env, &b);
}

static void what_does_not_fit_is_refused(void **state)
{
    test_env *env = *state;
    bench b;
    open_bench(env, &b, 130, 9);
    random_sequences(&b, 1);
    describe(env, &b, true);
    for (int i = 0; i < env->n_streams; i++) {
        sa2_stream *s = env->streams[i];
        sa2_sample_args good = {.results = b.results,
                                .logits = b.logits,
                                .n_tokens = b.n,
                                .state = b.state,
                                .rows = b.rows,
                                .draws = b.draws,
                                .additions = b.additions,
                                .n_rows = b.n_rows,
                                .n_draws = b.n_draws,
                                .n_additions = b.n_additions},
                        a = good;
        a.n_tokens = b.n + GAP + 1;
        sa2_sample(s, a);
        assert_refused(s, "sample: logits f32 [rows, tokens or more] expected");
        a = good;
        a.results = sa2_tensor_rows(b.results, 1, b.n_draws - 1);
        sa2_sample(s, a);
        assert_refused(s, "sample: results u8 [draws, bytes of one] expected");
        a = good;
        a.state = sa2_tensor_cols(b.state, 0, 8);
        sa2_sample(s, a);
        assert_refused(s, "sample: state u8 [slots, bytes of one] expected");
        sa2_sample_row rows[ROWS];
        a = good;
        a.rows = memcpy(rows, b.rows, sizeof rows);
        rows[1].row = rows[0].row;
        sa2_sample(s, a);
        assert_refused(s, "sample: rows of logits, rising, expected");
        rows[1] = b.rows[1];
        rows[1].slot = SLOTS;
        sa2_sample(s, a);
        assert_refused(s, "sample: a slot of state expected");
        rows[1] = b.rows[1];
        rows[1].rule.top_p = 0.0f;
        sa2_sample(s, a);
        assert_refused(s, "sample: a rule that is none");
        rows[1] = b.rows[1];
        rows[1].first_draw++;
        sa2_sample(s, a);
        assert_refused(s, "sample: the draws and additions of each row expected");
        a = good;
        a.n_rows--;
        sa2_sample(s, a);
        assert_refused(s, "sample: a row for every draw expected");
        a = good;
        sa2_sample_draw draws[SLOTS];
        a.draws = memcpy(draws, b.draws, sizeof draws);
        draws[0].u = 1.0;
        sa2_sample(s, a);
        assert_refused(s, "sample: draws of [0, 1) for slots of state expected");
        a = good;
        a.additions = &(sa2_logit_addition){b.n, 0.0f};
        a.n_additions = 1;
        rows[1] = b.rows[1];
        for (int r = 0; r < b.n_rows; r++)
            rows[r].first_addition = rows[r].n_additions = 0;
        a.rows = rows;
        sa2_sample(s, a);
        assert_refused(s, "sample: additions below infinity to tokens expected");
        if (strcmp(sa2_backend_device(env->backends[i]), "cpu") == 0) {
            sa2_sample(s, good);
            assert_refused(s, "sample: 4 rows on the processor, which has no such op");
        }
    }
    close_bench(env, &b);
}

/* More ids than a block has threads, in any order; those of draws with a fault are 0. */
static void ids_are_gathered_from_results(void **state)
{
    enum { N_RESULTS = 40, N = 700 };
    test_env *env = *state;
    for (int d = 0; d < env->n_streams; d++) {
        sa2_stream *s = env->streams[d];
        sa2_error err = {0};
        sa2_tensor results = bytes_of(env, N_RESULTS, sizeof(sa2_sampled));
        sa2_tensor ids = test_poisoned(env, SA2_F32, 1, N);
        int32_t from[N];
        sa2_sampled *draws = results.data;
        for (int i = 0; i < N_RESULTS; i++)
            draws[i] = (sa2_sampled){.token = 1000 + i, .fault = i % 3};
        for (int i = 0; i < N; i++)
            from[i] = i * 7 % N_RESULTS;
        sa2_tensor room = sa2_tensor_1d(ids.data, SA2_I32, N);
        sa2_sampled_ids(s, room, results, from);
        if (sa2_stream_finish(s, &err) != SA2_OK)
            fail_msg("%s", err.message);
        for (int i = 0; i < N; i++)
            assert_int_equal(((int32_t *)room.data)[i], from[i] % 3 == 0 ? 1000 + from[i] : 0);
        sa2_sampled_ids(s, sa2_tensor_1d(ids.data, SA2_I32, 0), results, NULL);
        assert_int_equal(sa2_stream_finish(s, &err), SA2_OK);
        sa2_sampled_ids(s, sa2_tensor_1d(ids.data, SA2_F32, N), results, from);
        assert_refused(s, "sampled_ids: ids i32 [n] expected");
        sa2_sampled_ids(s, room, sa2_tensor_cols(results, 0, 16), from);
        assert_refused(s, "sampled_ids: results u8 [draws, bytes of one] expected");
        from[N - 1] = N_RESULTS;
        sa2_sampled_ids(s, room, results, from);
        assert_refused(s, "sampled_ids: draws among the results expected");
        test_reset(env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_the_host),
        cmocka_unit_test(rows_as_long_as_those_of_a_release_too),
        cmocka_unit_test(state_is_kept_from_token_to_token),
        cmocka_unit_test(a_logit_that_is_no_number_is_told_for_its_row_alone),
        cmocka_unit_test(what_leaves_no_token_is_told),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(ids_are_gathered_from_results),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
