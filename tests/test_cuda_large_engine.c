/* An engine whose large products are cuBLASLt's, on the simulated device with a fake of the library: it says what it says with our
 * own, and its plan has the memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/cudasim/cudasim.h"
#include "tests/fakes/cublaslt.h"
#include "tests/support/answers.h"
#include "tests/support/small_model.h"

enum { PROMPT = 40, TOKENS = 4 };

static void say(void *context, const char *line)
{
    size_t *streams = context;
    double megabytes;
    if (sscanf(line, "memory: streams %lf MB", &megabytes) == 1)
        *streams = (size_t)(megabytes * 1e6);
}

/* Greedy tokens after a prompt, and what the plan says of streams. */
static test_answer answer(const char *large, size_t *streams)
{
    test_model model;
    sa2_engine *engine;
    sa2_request_id id;
    sa2_error err = {0};
    int32_t ids[PROMPT];
    test_answer found = {0};
    const sa2_backend_options device = {.device = "cuda-sim", .large_products = large};
    test_model_open_with(&model, &device);
    const sa2_engine_options options = {
        .kv_cache_bytes = 1 << 20, .max_model_len = 256, .log = say, .context = streams};
    if (sa2_engine_create_from_model(&engine, &model.model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    for (int i = 0; i < PROMPT; i++)
        ids[i] = 5 + 7 * i % 200;
    sa2_request r = sa2_request_default();
    r.ids = ids;
    r.n_ids = PROMPT;
    r.max_tokens = TOKENS;
    r.sampling.temperature = 0.0f;
    r.sampling.n_logprobs = 2;
    r.ignore_eos = r.return_ids = true;
    assert_int_equal(sa2_engine_submit(engine, &r, &id, &err), SA2_OK);
    test_answers_collect(engine, &id, &found, 1);
    sa2_engine_destroy(engine);
    test_model_close(&model);
    return found;
}

/* In bf16 log-probabilities of this model differ by up to 0.05, and the best two tokens are 0.5 apart or more: no near ties. */
static void assert_same_tokens(const test_choice *a, const test_choice *b)
{
    for (int i = 0; i < TOKENS; i++) {
        double own = (double)a->tokens[i].logprob, large = (double)b->tokens[i].logprob;
        assert_true((double)a->top[i][0].logprob - (double)a->top[i][1].logprob > 0.4);
        assert_int_equal(a->tokens[i].id, b->tokens[i].id);
        assert_true(fabs(own - large) < 0.1);
    }
}

static void greedy_tokens_are_those_of_our_own_products_and_the_plan_has_the_memory(void **state)
{
    size_t own_bytes = 0, large_bytes = 0;
    (void)state;
    fake_cublaslt_begin(-1, FAKE_CUBLASLT_FAILS);
    fake_cublaslt_watch(cudasim_library_starts, cudasim_library_access);
    test_answer own = answer("own", &own_bytes);
    assert_int_equal(fake_cublaslt_products(), 0);
    test_answer large = answer("cublaslt,rows=32,file=" FAKE_CUBLASLT, &large_bytes);
    /* All of the first layer, and of the last queries, keys and values: there one row is left. */
    assert_int_equal(fake_cublaslt_products(), 4 + 1);
    assert_int_equal(own.status, SA2_OK);
    assert_int_equal(large.status, SA2_OK);
    assert_same_tokens(&own.choices[0], &large.choices[0]);
    assert_true(large_bytes >= own_bytes + (88u << 20) - (1u << 20));
    test_answer_free(&own);
    test_answer_free(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_tokens_are_those_of_our_own_products_and_the_plan_has_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
