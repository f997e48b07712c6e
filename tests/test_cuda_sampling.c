/* An engine that samples on the device says what one that samples on the host says, to the bit: on the simulated GPU, in a
 * crowd and alone, with graphs, forks, preemption, and beside requests that only the host can serve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/comm_internal.h"
#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/requests.h"
#include "tests/support/small_model.h"

enum { TOKENS = 18, PAGE = 16 };

/* Beyond a page, most of them. */
static sa2_request plain(int i)
{
    return test_request(i, TOKENS - i);
}

/* What the device chooses. */
enum { N_DEVICE = TEST_KINDS + 1, N_ALL = N_DEVICE + 4 };

static sa2_request wish(int i)
{
    if (i < TEST_KINDS)
        return test_request_kind(i, TOKENS - i);
    sa2_request r = plain(i);
    sa2_sampling_params *p = &r.sampling;
    switch (i - TEST_KINDS) {
    case 0:
        p->logit_bias = test_bias;
        p->n_logit_bias = 3;
        p->bad_words = test_bad_words;
        p->n_bad_words = 2;
        break;
    case 1:
        p->n_logprobs = 2;
        break;
    case 2:
        r.beam.n_beams = 3;
        p->n_logprobs = -1;
        break;
    case 3:
        p->allowed = test_allowed;
        p->repetition_penalty = 1.1f;
        break;
    default:
        p->round_to_bf16 = true;
        break;
    }
    return r;
}

static sa2_engine *open_engine(const test_model *model, sa2_sampling_place sampling, size_t cache)
{
    sa2_engine *engine;
    sa2_error err = {0};
    const sa2_engine_options options = {.kv_cache_bytes = cache,
                                        .max_model_len = 64,
                                        .block_size = PAGE,
                                        .max_num_seqs = 16,
                                        .no_prefix_caching = true,
                                        .sampling = sampling};
    if (sa2_engine_create_from_model(&engine, &model->model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return engine;
}

/* All begin in the same step, and one more that is cancelled at once: its slot is somebody else's then. */
static void ask_all(sa2_engine *engine, test_answer answers[N_ALL + 1])
{
    sa2_request_id ids[N_ALL + 1];
    memset(answers, 0, (N_ALL + 1) * sizeof *answers);
    sa2_engine_pause(engine);
    for (int i = 0; i <= N_ALL; i++) {
        sa2_request r = wish(i);
        ids[i] = test_submit(engine, &r);
    }
    sa2_engine_resume(engine);
    sa2_engine_cancel(engine, ids[N_ALL]);
    test_answers_collect(engine, ids, answers, N_ALL + 1);
}

static void assert_same_answers(const char *what, const test_answer *found, const test_answer *want)
{
    for (int i = 0; i < N_ALL; i++) {
        assert_int_equal(want[i].status, SA2_OK);
        assert_same_answer(what, &found[i], &want[i]);
    }
}

/* A cache that holds all, and one in which some are preempted. */
static void answers_are_those_of_the_host_in_a_crowd_and_alone(void **state)
{
    const test_model *model = *state;
    static const size_t caches[] = {1 << 20, 64 << 10};
    test_answer want[N_ALL + 1], found[N_ALL + 1], alone;
    for (int k = 0; k < 2; k++) {
        sa2_engine *engine = open_engine(model, SA2_SAMPLING_ON_HOST, caches[k]);
        ask_all(engine, want);
        sa2_engine_destroy(engine);
        engine = open_engine(model, SA2_SAMPLING_ON_DEVICE, caches[k]);
        ask_all(engine, found);
        assert_true((test_stats(engine).n_preemptions > 0) == (k == 1));
        assert_same_answers("on the device", found, want);
        for (int i = 0; i < N_DEVICE && k == 0; i++) {
            sa2_request r = wish(i);
            memset(&alone, 0, sizeof alone);
            test_answer_ask(engine, &r, &alone);
            assert_same_answer("alone", &alone, &want[i]);
            test_answer_free(&alone);
        }
        sa2_engine_destroy(engine);
        test_answers_free(want, N_ALL + 1);
        test_answers_free(found, N_ALL + 1);
    }
}

/* Nine pages for seven sequences, which all need a second one at the same token: the first request gets it and the others
 * are preempted. When it ends, the second request, of three answers, takes its slots, and the last one a slot of the
 * second, which has said as many tokens as itself. */
static void whoever_takes_a_slot_over_is_punished_for_its_own_words(void **state)
{
    enum { N = 3, PAGES = 9, PAGE_BYTES = 8192 };
    const test_model *model = *state;
    test_answer answers[2][N];
    for (int k = 0; k < 2; k++) {
        sa2_engine *engine =
            open_engine(model, k == 0 ? SA2_SAMPLING_ON_HOST : SA2_SAMPLING_ON_DEVICE,
                        (size_t)PAGES * PAGE_BYTES);
        sa2_request r[N];
        memset(answers[k], 0, sizeof answers[k]);
        for (int i = 0; i < N; i++) {
            r[i] = plain(2 * i); /* prompts of four tokens */
            r[i].sampling.repetition_penalty = 3.0f;
            r[i].sampling.frequency_penalty = 2.0f;
            r[i].n = i < 2 ? 3 : 1;
            r[i].max_tokens = i == 0 ? 20 : 28;
        }
        test_answers_ask(engine, r, answers[k], N);
        sa2_engine_stats stats = test_stats(engine);
        assert_int_equal(stats.n_pages, PAGES);
        assert_int_equal(stats.n_preemptions, 2);
        sa2_engine_destroy(engine);
    }
    for (int i = 0; i < N; i++) {
        assert_same_answer("in another slot", &answers[1][i], &answers[0][i]);
        test_answer_free(&answers[0][i]);
        test_answer_free(&answers[1][i]);
    }
}

static bool host_has_logits(const sa2_engine *engine)
{
    const float *logits = sa2_step_logits(engine->machine.step, 0);
    for (int i = 0; i < engine->machine.model->config.decoder.vocab; i++)
        if (logits[i] != 0.0f)
            return true;
    return false;
}

static void logits_come_to_the_host_only_for_those_that_need_them(void **state)
{
    const test_model *model = *state;
    sa2_engine *engine = open_engine(model, SA2_SAMPLING_ON_DEVICE, 1 << 20);
    for (int i = 0; i < N_ALL; i++) {
        sa2_request r = wish(i);
        test_answer answer = {0};
        r.max_tokens = 5;
        test_answer_ask(engine, &r, &answer);
        assert_true(host_has_logits(engine) == (i >= N_DEVICE));
        test_answer_free(&answer);
    }
    sa2_engine_destroy(engine);
}

static void answers_are_the_same_with_graphs(void **state)
{
    const test_model *model = *state;
    test_answer want[N_ALL + 1], found[N_ALL + 1];
    test_model with_graphs;
    test_model_open_with(&with_graphs,
                         &(sa2_backend_options){.device = "cuda-sim", .graphs = true});
    sa2_engine *engine = open_engine(model, SA2_SAMPLING_AUTO, 1 << 20);
    ask_all(engine, want);
    sa2_engine_destroy(engine);
    engine = open_engine(&with_graphs, SA2_SAMPLING_ON_DEVICE, 1 << 20);
    ask_all(engine, found);
    sa2_engine_destroy(engine);
    assert_same_answers("with graphs", found, want);
    test_answers_free(want, N_ALL + 1);
    test_answers_free(found, N_ALL + 1);
    test_model_close(&with_graphs);
}

/* Through a bias that is too large for a float after a penalty. */
static void a_row_that_is_no_number_fails_its_request_alone(void **state)
{
    const test_model *model = *state;
    const char *messages[2];
    test_answer failed[2], other[2];
    for (int k = 0; k < 2; k++) {
        sa2_engine *engine =
            open_engine(model, k == 0 ? SA2_SAMPLING_ON_HOST : SA2_SAMPLING_ON_DEVICE, 1 << 20);
        sa2_request r[2] = {plain(0), plain(1)};
        test_answer answers[2] = {0};
        r[0].sampling.repetition_penalty = 1e-38f;
        test_answers_ask(engine, r, answers, 2);
        sa2_engine_destroy(engine);
        failed[k] = answers[0];
        other[k] = answers[1];
        messages[k] = failed[k].message;
    }
    assert_int_equal(failed[0].status, SA2_ERR_FORMAT);
    assert_int_equal(failed[1].status, SA2_ERR_FORMAT);
    assert_string_equal(messages[1], messages[0]);
    assert_same_answer("beside a failure", &other[1], &other[0]);
    for (int k = 0; k < 2; k++) {
        test_answer_free(&failed[k]);
        test_answer_free(&other[k]);
    }
}

static void where_it_cannot_be_it_is_refused(void **state)
{
    const test_model *model = *state;
    const sa2_engine_options options = {.sampling = SA2_SAMPLING_ON_DEVICE};
    sa2_engine *engine;
    sa2_engine_plan plan;
    sa2_error err = {0};
    test_model on_cpu;
    test_model_open(&on_cpu, 1);
    assert_int_equal(sa2_engine_create_from_model(&engine, &on_cpu.model, NULL, &options, &err),
                     SA2_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "sampling on the device: a GPU expected, found cpu"));
    test_model_close(&on_cpu);
    sa2_comm two = {.link.size = 2};
    sa2_engine_options shared = options;
    shared.comm = &two;
    assert_int_equal(
        sa2_engine_plan_make(&plan, &shared, &model->model, NULL, model->backend, &err),
        SA2_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "sampling on the device: one rank expected, found 2"));
}

static int open_model(void **state)
{
    static test_model model;
    test_model_open_on(&model, "cuda-sim", 2);
    *state = &model;
    return 0;
}

static int close_model(void **state)
{
    test_model_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_host_in_a_crowd_and_alone),
        cmocka_unit_test(whoever_takes_a_slot_over_is_punished_for_its_own_words),
        cmocka_unit_test(logits_come_to_the_host_only_for_those_that_need_them),
        cmocka_unit_test(answers_are_the_same_with_graphs),
        cmocka_unit_test(a_row_that_is_no_number_fails_its_request_alone),
        cmocka_unit_test(where_it_cannot_be_it_is_refused),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
