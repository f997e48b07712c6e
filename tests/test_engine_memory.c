/* Memory of an engine: the plan and its refusals, allocations that fail, and none while it runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/checkpoint_writer.h"
#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/failing_memory.h"
#include "tests/support/small_model.h"
#include "tests/support/test_files.h"

static const sa2_engine_options small = {
    .max_num_seqs = 4, .max_num_batched_tokens = 64, .kv_cache_bytes = 1 << 20};

/* ---- the plan ---- */

typedef struct lines {
    int n;
    char text[16][160];
} lines;

static void keep_line(void *context, const char *line)
{
    lines *l = context;
    assert_true(l->n < 16);
    snprintf(l->text[l->n++], sizeof l->text[0], "%s", line);
}

static void the_plan_is_told_and_its_sum_is_that_of_its_lines(void **state)
{
    test_model *model = *state;
    lines told = {0};
    sa2_engine_options options = small;
    options.log = keep_line;
    options.context = &told;
    sa2_engine *engine;
    assert_int_equal(sa2_engine_create_from_model(&engine, &model->model, NULL, &options, NULL),
                     SA2_OK);
    double sum = 0.0, last = 0.0;
    for (int i = 0; i < told.n; i++) {
        assert_int_equal(sscanf(told.text[i], "memory: %*[^0-9] %lf MB", &last), 1);
        sum += last;
    }
    assert_non_null(strstr(told.text[told.n - 1], "sum"));
    assert_true(sum - 2.0 * last < 0.1 * told.n && 2.0 * last - sum < 0.1 * told.n); /* rounded */
    /* 2 layers of keys and values of 64 columns in bf16: 512 bytes a position */
    assert_non_null(strstr(told.text[1], "bf16: 32 pages of 64 positions, 2048 in all"));
    sa2_engine_destroy(engine);
}

static void the_same_memory_holds_nearly_twice_as_much_in_8_bits(void **state)
{
    test_model *model = *state;
    lines told = {0};
    sa2_engine_options options = small;
    options.kv_int8 = true;
    options.log = keep_line;
    options.context = &told;
    sa2_engine *engine;
    assert_int_equal(sa2_engine_create_from_model(&engine, &model->model, NULL, &options, NULL),
                     SA2_OK);
    /* 512 bytes a position become 256 and 4 steps of 4: 1 MB holds 60.2 pages */
    assert_non_null(strstr(told.text[1], "int8: 60 pages of 64 positions, 3840 in all"));
    sa2_engine_destroy(engine);
}

static void refuse(const sa2_model *model, sa2_engine_options options, sa2_status status,
                   const char *part)
{
    sa2_engine *engine;
    sa2_error err = {0};
    sa2_status st = sa2_engine_create_from_model(&engine, model, NULL, &options, &err);
    if (st != status || strstr(err.message, part) == NULL)
        fail_msg("\"%s\" expected, found %s: %s", part, sa2_status_name(st), err.message);
    assert_null(engine);
}

static void a_plan_that_does_not_fit_is_refused_with_its_sum(void **state)
{
    const sa2_model *model = &((test_model *)*state)->model;
    refuse(model, (sa2_engine_options){.kv_cache_bytes = (size_t)1 << 38}, SA2_ERR_NOMEM, "sum");
    refuse(model, (sa2_engine_options){.kv_cache_bytes = 100}, SA2_ERR_ARG, "found 100 bytes");
    refuse(model, (sa2_engine_options){.max_model_len = 2000}, SA2_ERR_ARG,
           "max_model_len: 2 to 1024 expected, found 2000");
    refuse(model, (sa2_engine_options){.block_size = 24, .max_num_seqs = -1}, SA2_ERR_ARG,
           "max_num_seqs: 1 to 4096 expected, found -1");
    refuse(model, (sa2_engine_options){.block_size = 24}, SA2_ERR_ARG,
           "block_size: a multiple of 16 expected, found 24");
    refuse(model, (sa2_engine_options){.max_num_seqs = 8, .max_num_batched_tokens = 4}, SA2_ERR_ARG,
           "max_num_batched_tokens: 8 to");
}

/* ---- allocations that fail ---- */

static void create_survives_every_failing_allocation(void **state)
{
    test_model *model = *state;
    sa2_status st = SA2_ERR_NOMEM;
    int n = 0;
    while (st != SA2_OK) {
        sa2_engine *engine;
        sa2_error err = {0};
        test_fail_allocation(++n);
        st = sa2_engine_create_from_model(&engine, &model->model, NULL, &small, &err);
        if (st != SA2_OK && (st != SA2_ERR_NOMEM || err.message[0] == '\0' || engine != NULL))
            fail_msg("allocation %d: %s: %s", n, sa2_status_name(st), err.message);
        sa2_engine_destroy(engine);
    }
    test_fail_allocation(0);
    assert_true(n > 8);
}

static void opening_a_folder_survives_failing_allocations(void **state)
{
    (void)state;
    char folder[256];
    test_folder_create(folder, sizeof folder);
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, "tiny", NULL), SA2_OK);
    assert_int_equal(
        sa2_checkpoint_write(folder, &preset, &(sa2_checkpoint_options){.n_threads = 1}, NULL),
        SA2_OK);
    sa2_engine *engine;
    sa2_error err = {0};
    test_fail_allocation(0);
    assert_int_equal(sa2_engine_create(&engine, folder, &small, &err), SA2_OK);
    sa2_engine_destroy(engine);
    int n = test_allocations();
    int middle = n / 8; /* of which all is alike */
    for (int i = 1; i <= n; i += i < 16 || i > n - 12 ? 1 : middle) {
        test_fail_allocation(i);
        sa2_status st = sa2_engine_create(&engine, folder, &small, &err);
        if (st != SA2_OK && (st != SA2_ERR_NOMEM || engine != NULL))
            fail_msg("allocation %d of %d: %s: %s", i, n, sa2_status_name(st), err.message);
        sa2_engine_destroy(engine);
    }
    test_fail_allocation(0);
    test_folder_remove(folder);
}

/* A conversation about a sound, with tools and reasoning: everything that takes memory. */
typedef struct talk {
    float samples[8000];
    sa2_sound sound;
    sa2_chat_item items[2];
    sa2_chat_message message;
    sa2_chat chat;
    sa2_request request;
} talk;

static talk *new_talk(void)
{
    talk *t = calloc(1, sizeof *t);
    for (int i = 0; i < 8000; i++)
        t->samples[i] = (float)(i % 100) / 100.0f;
    t->sound = (sa2_sound){t->samples, 8000, 8000};
    t->items[0] = (sa2_chat_item){.kind = SA2_CHAT_AUDIO};
    t->items[1] = (sa2_chat_item){.kind = SA2_CHAT_TEXT, .text = "why?", .n_bytes = 4};
    t->message = (sa2_chat_message){
        .role = "user", .content = SA2_CONTENT_LIST, .items = t->items, .n_items = 2};
    t->chat =
        (sa2_chat){.messages = &t->message,
                   .n_messages = 1,
                   .tools = "[{\"type\": \"function\", \"function\": {\"name\": \"clock\"}}]"};
    sa2_request *r = &t->request;
    *r = sa2_request_default();
    r->chat = &t->chat;
    r->sounds = &t->sound;
    r->n_sounds = 1;
    r->think = true;
    r->max_thinking_tokens = 10;
    r->max_tokens = 10;
    r->ignore_eos = true;
    r->sampling.seed = 4;
    r->sampling.n_logprobs = 2;
    return t;
}

static void a_request_survives_every_failing_allocation(void **state)
{
    test_model *model = *state;
    sa2_engine *engine;
    assert_int_equal(sa2_engine_create_from_model(&engine, &model->model, NULL, &small, NULL),
                     SA2_OK);
    talk *t = new_talk();
    test_answer whole = {0};
    test_answer_ask(engine, &t->request, &whole);
    assert_int_equal(whole.status, SA2_OK);
    bool failed = true;
    int n_refused = 0, n_broken = 0;
    for (int n = 1; failed; n++) {
        test_answer answer = {0};
        sa2_request_id id;
        sa2_error err = {0};
        test_fail_allocation(n);
        sa2_status st = sa2_engine_submit(engine, &t->request, &id, &err);
        test_answer *taken = &answer;
        while (st == SA2_OK && taken->n_done == 0) {
            sa2_event *e = sa2_engine_poll(engine, TEST_PATIENCE_MS);
            assert_non_null(e);
            taken->n_done += e->kind == SA2_EVENT_DONE;
            taken->status = e->kind == SA2_EVENT_DONE ? e->status : taken->status;
            sa2_event_release(engine, e);
        }
        failed = test_allocations() >= n;
        test_fail_allocation(0);
        if ((st != SA2_OK && st != SA2_ERR_NOMEM) ||
            (answer.status != SA2_OK && answer.status != SA2_ERR_NOMEM))
            fail_msg("allocation %d: %s, %s: %s", n, sa2_status_name(st),
                     sa2_status_name(answer.status), err.message);
        n_refused += st != SA2_OK;
        n_broken += answer.status != SA2_OK;
        sa2_engine_stats stats;
        sa2_engine_get_stats(engine, &stats);
        assert_int_equal(stats.n_pages_free + stats.n_pages_cached, stats.n_pages);
        assert_int_equal(engine->desk.n_bytes, 0);
    }
    print_message("%d refused, %d ended by an error\n", n_refused, n_broken);
    assert_true(n_refused > 5);
    test_answer again = {0};
    test_answer_ask(engine, &t->request, &again);
    assert_same_answer("after all failures", &whole, &again);
    test_answer_free(&whole);
    test_answer_free(&again);
    free(t);
    sa2_engine_destroy(engine);
}

static void nothing_is_allocated_while_the_engine_runs(void **state)
{
    test_model *model = *state;
    sa2_engine *engine;
    assert_int_equal(sa2_engine_create_from_model(&engine, &model->model, NULL, &small, NULL),
                     SA2_OK);
    talk *t = new_talk();
    t->request.think = false;
    t->request.max_tokens = 200;
    for (int i = 0; i < 2; i++) {
        t->request.beam.n_beams = i == 0 ? 0 : 2;
        t->request.sampling.n_logprobs = i == 0 ? 2 : -1;
        test_answer answer = {0};
        test_fail_allocation(0);
        test_answer_ask(engine, &t->request, &answer);
        assert_int_equal(test_allocations_of_others(), 0);
        assert_int_equal(answer.status, SA2_OK);
        test_answer_free(&answer);
    }
    free(t);
    sa2_engine_destroy(engine);
}

static int open_model(void **state)
{
    test_model *model = calloc(1, sizeof *model);
    test_model_open(model, 2);
    *state = model;
    return 0;
}

static int close_model(void **state)
{
    test_model_close(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_is_told_and_its_sum_is_that_of_its_lines),
        cmocka_unit_test(the_same_memory_holds_nearly_twice_as_much_in_8_bits),
        cmocka_unit_test(a_plan_that_does_not_fit_is_refused_with_its_sum),
        cmocka_unit_test(create_survives_every_failing_allocation),
        cmocka_unit_test(opening_a_folder_survives_failing_allocations),
        cmocka_unit_test(a_request_survives_every_failing_allocation),
        cmocka_unit_test(nothing_is_allocated_while_the_engine_runs),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
