/* An engine whose cache of keys and values has 8 bits, on the simulated GPU: a request in a crowd says what it says alone, to
 * the bit; greedy answers are those of the processor; the memory is what the plan says. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/small_model.h"

/* A page of 16 positions: 2 layers, 2 rows of 64 numbers and a step a position. */
enum {
    N = 5,
    PROMPT = 45,
    COMMON = 33,
    TOKENS = 16,
    PAGE = 16,
    PAGE_BYTES = 2 * 2 * 16 * (64 + 4)
};

typedef struct models {
    test_model gpu, cpu;
    test_answer alone[N]; /* on the GPU, in bf16 */
} models;

/* Prompts that begin alike, answers that fork. */
static sa2_request wish(int32_t ids[PROMPT], int i)
{
    sa2_request r = sa2_request_default();
    for (int j = 0; j < PROMPT; j++)
        ids[j] = 5 + (11 * j + (j < COMMON ? 0 : 7 * i)) % 700;
    r.ids = ids;
    r.n_ids = (size_t)(PROMPT - 3 * i);
    r.sampling.temperature = i % 2 == 0 ? 0.0f : 1.0f;
    r.sampling.seed = i;
    r.sampling.n_logprobs = 2;
    r.n = i == 1 ? 2 : 1;
    r.max_tokens = TOKENS + i;
    r.ignore_eos = true;
    return r;
}

static sa2_engine *open_engine(const test_model *model, sa2_engine_options options)
{
    sa2_engine *engine;
    sa2_error err = {0};
    options.max_model_len = 128;
    options.block_size = options.block_size > 0 ? options.block_size : PAGE;
    if (sa2_engine_create_from_model(&engine, &model->model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return engine;
}

/* The first n. */
static void ask_alone(const test_model *model, bool f32, test_answer *answers, int n)
{
    sa2_engine_options options = {.kv_int8 = true, .f32 = f32, .kv_cache_bytes = 1 << 20};
    options.no_prefix_caching = true;
    sa2_engine *engine = open_engine(model, options);
    memset(answers, 0, (size_t)n * sizeof *answers);
    for (int i = 0; i < n; i++) {
        int32_t ids[PROMPT];
        sa2_request r = wish(ids, i);
        test_answer_ask(engine, &r, &answers[i]);
        assert_int_equal(answers[i].status, SA2_OK);
    }
    sa2_engine_destroy(engine);
}

/* ---- a crowd ---- */

static void ask_all(sa2_engine *engine, test_answer answers[N])
{
    int32_t prompts[N][PROMPT];
    sa2_request requests[N];
    memset(answers, 0, N * sizeof *answers);
    for (int i = 0; i < N; i++)
        requests[i] = wish(prompts[i], i);
    test_answers_ask(engine, requests, answers, N);
}

/* Prompts cut into steps of 40 rows, prefixes found, pages copied for forks, some preempted. */
static void a_request_in_a_crowd_says_what_it_says_alone(void **state)
{
    const models *m = *state;
    static test_answer crowd[N];
    sa2_engine *engine =
        open_engine(&m->gpu, (sa2_engine_options){.kv_int8 = true,
                                                  .max_num_batched_tokens = 40,
                                                  .max_num_seqs = 8,
                                                  .kv_cache_bytes = 8 * PAGE_BYTES});
    ask_all(engine, crowd);
    sa2_engine_stats stats = test_stats(engine);
    assert_int_equal(stats.n_pages, 8);
    assert_true(stats.n_preemptions > 0 && stats.n_cached_tokens > 0);
    for (int i = 0; i < N; i++)
        assert_same_answer("in a crowd", &crowd[i], &m->alone[i]);
    sa2_engine_destroy(engine);
    test_answers_free(crowd, N);
}

/* ---- the processor ---- */

/* The tokens are the same up to one that nearly ties with another. What rounds activations to bf16 moves a log-probability
 * by up to 0.09 here, with a cache in bf16 too; in f32 one number of the cache may be rounded to the other side. */
static int compare(const test_choice *found, const test_choice *want, float allowed)
{
    assert_int_equal(found->n_tokens, want->n_tokens);
    for (int i = 0; i < want->n_tokens; i++) {
        const sa2_logprob *a = want->top[i], *b = found->top[i];
        if (fabsf(a->logprob - b->logprob) > allowed)
            fail_msg("token %d: a log-probability of %g, expected %g", i, (double)b->logprob,
                     (double)a->logprob);
        if (found->tokens[i].id != want->tokens[i].id) {
            assert_true(a[0].logprob - a[1].logprob <= 2.0f * allowed);
            return i;
        }
    }
    return want->n_tokens;
}

static void greedy_answers_are_those_of_the_processor(void **state)
{
    const models *m = *state;
    static test_answer cpu[N], in_f32;
    int same = 0, all = 0;
    ask_alone(&m->cpu, false, cpu, N);
    for (int i = 0; i < N; i += 2) {
        same += compare(&m->alone[i].choices[0], &cpu[i].choices[0], 0.15f);
        all += cpu[i].choices[0].n_tokens;
    }
    print_message("%d of %d tokens up to a tie\n", same, all);
    assert_true(same > all / 2);
    test_answers_free(cpu, N);
    ask_alone(&m->cpu, true, cpu, 1);
    ask_alone(&m->gpu, true, &in_f32, 1);
    assert_int_equal(compare(&in_f32.choices[0], &cpu[0].choices[0], 0.001f), TOKENS);
    test_answers_free(cpu, 1);
    test_answers_free(&in_f32, 1);
}

/* ---- memory ---- */

static void keep_cache(void *context, const char *line)
{
    if (strstr(line, "keys and values") != NULL)
        snprintf(context, 160, "%s", line);
}

static void the_same_memory_holds_nearly_twice_as_much(void **state)
{
    const models *m = *state;
    static const struct {
        bool kv_int8;
        const char *cache;
    } kinds[] = {{false, "bf16: 32 pages of 64 positions, 2048 in all"},
                 {true, "int8: 60 pages of 64 positions, 3840 in all"}};
    for (int i = 0; i < 2; i++) {
        char line[160] = "";
        sa2_engine *engine = open_engine(&m->gpu, (sa2_engine_options){.kv_int8 = kinds[i].kv_int8,
                                                                       .block_size = 64,
                                                                       .kv_cache_bytes = 1 << 20,
                                                                       .log = keep_cache,
                                                                       .context = line});
        if (strstr(line, kinds[i].cache) == NULL)
            fail_msg("\"%s\", \"%s\" expected in it", line, kinds[i].cache);
        sa2_engine_destroy(engine);
    }
}

static int open_models(void **state)
{
    static models m;
    test_model_open_on(&m.gpu, "cuda-sim", 2);
    test_model_open(&m.cpu, 2);
    ask_alone(&m.gpu, false, m.alone, N);
    *state = &m;
    return 0;
}

static int close_models(void **state)
{
    models *m = *state;
    test_answers_free(m->alone, N);
    test_model_close(&m->gpu);
    test_model_close(&m->cpu);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_in_a_crowd_says_what_it_says_alone),
        cmocka_unit_test(greedy_answers_are_those_of_the_processor),
        cmocka_unit_test(the_same_memory_holds_nearly_twice_as_much),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
