/* One engine over several ranks: the same answers on every run, starts that are refused on all of them, and what a request
 * is told when a rank dies, hangs or fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/serving/clock.h"
#include "runtime/serving/engine_internal.h"
#include "runtime/serving/step_news.h"
#include "tests/support/answers.h"
#include "tests/support/rank_team.h"
#include "tests/support/small_model.h"

static const sa2_engine_options plain = {
    .max_num_batched_tokens = 48, .max_num_seqs = 4, .block_size = 16, .kv_cache_bytes = 16 << 20};

/* What the ranks other than 0 do, and how it went. */
typedef struct scene {
    sa2_engine_options options[SA2_MAX_RANKS]; /* of each */
    int disaster_rank, after_steps;            /* who fails, and when; rank 0: nobody */
    void (*disaster)(test_rank *rank, sa2_machine *machine);
    char said[SA2_MAX_RANKS][512];
    sa2_status status[SA2_MAX_RANKS];
} scene;

static sa2_engine_options options_of(const scene *s, const test_rank *r)
{
    sa2_engine_options options = s->options[sa2_comm_rank(r->comm)];
    options.comm = r->comm;
    return options;
}

/* As sa2_engine_follow_model(), up to the disaster. */
static sa2_status follow_to_the_end(const scene *s, test_rank *r, const sa2_model *model,
                                    sa2_error *err)
{
    sa2_engine_options options = options_of(s, r);
    sa2_agreement agreement = {.comm = r->comm};
    sa2_engine_plan plan;
    sa2_machine machine = {0};
    bool end = false;
    sa2_status st = sa2_ranks_plan(&agreement, &plan, &options, model, NULL, err);
    if (st == SA2_OK)
        st = sa2_machine_create(&machine, &plan, &options, model, err);
    st = sa2_ranks_agree(&agreement, st, &plan, err);
    for (int i = 0; i < s->after_steps && st == SA2_OK && !end; i++)
        st = sa2_step_follow(machine.step, machine.stream, &machine.work, &end, err);
    if (st == SA2_OK && !end) {
        s->disaster(r, &machine);
        st = sa2_step_follow(machine.step, machine.stream, &machine.work, &end, err);
    }
    sa2_machine_destroy(&machine);
    return st;
}

static void take_part(test_rank *r, void *context)
{
    scene *s = context;
    int rank = sa2_comm_rank(r->comm);
    test_model model;
    sa2_error err = {0};
    test_model_open_tiny_rank(&model, 1, rank, sa2_comm_size(r->comm));
    sa2_engine_options options = options_of(s, r);
    s->status[rank] = s->disaster_rank == rank
                          ? follow_to_the_end(s, r, &model.model, &err)
                          : sa2_engine_follow_model(&model.model, &options, &err);
    snprintf(s->said[rank], sizeof s->said[rank], "%.*s", (int)sizeof s->said[rank] - 1,
             err.message);
    test_model_close(&model);
}

typedef struct stage {
    test_team team;
    scene scene;
    test_model model;
    sa2_engine *engine;
    sa2_status status; /* of the engine's start */
    sa2_error err;
} stage;

static scene ordinary(void)
{
    scene s = {0};
    for (int i = 0; i < SA2_MAX_RANKS; i++)
        s.options[i] = plain;
    return s;
}

static stage *open_stage(int size, int64_t timeout_ms, const scene *s)
{
    stage *st = calloc(1, sizeof *st);
    assert_non_null(st);
    st->scene = *s;
    test_team_start(&st->team, size, timeout_ms, take_part, &st->scene);
    test_model_open_tiny_rank(&st->model, 1, 0, size);
    sa2_engine_options options = options_of(&st->scene, &st->team.ranks[0]);
    st->status =
        sa2_engine_create_from_model(&st->engine, &st->model.model, NULL, &options, &st->err);
    return st;
}

/* What the others said stays in the scene. */
static void close_stage(stage *st, scene *left)
{
    sa2_engine_destroy(st->engine);
    test_team_join(&st->team);
    test_model_close(&st->model);
    if (left != NULL)
        *left = st->scene;
    free(st);
}

static void expect(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", part, text);
}

/* ---- answers ---- */

enum { N_REQUESTS = 3 };

static sa2_request request_of(int i, int32_t *ids, int n)
{
    sa2_request r = sa2_request_default();
    for (int k = 0; k < n; k++)
        ids[k] = (i * 331 + k * 37) % 900;
    r.ids = ids;
    r.n_ids = (size_t)n;
    r.max_tokens = 20;
    r.ignore_eos = true;
    r.sampling.seed = 7 + i;
    r.sampling.n_logprobs = 0;
    r.n = i == 1 ? 2 : 1;            /* two answers share a prompt's pages */
    r.beam.n_beams = i == 2 ? 2 : 0; /* and beams copy theirs */
    r.sampling.n_logprobs = i == 2 ? -1 : 0;
    r.sampling.temperature = i == 0 ? 0.0f : 1.0f;
    return r;
}

static void ask(sa2_engine *engine, test_answer *answers)
{
    int32_t prompts[N_REQUESTS][64];
    sa2_request requests[N_REQUESTS];
    for (int i = 0; i < N_REQUESTS; i++)
        requests[i] = request_of(i, prompts[i], 30 + 17 * i);
    test_answers_ask(engine, requests, answers, N_REQUESTS);
}

static void answers_are_the_same_on_every_run(void **state)
{
    (void)state;
    test_answer *answers = calloc(2 * N_REQUESTS, sizeof *answers);
    for (int size = 2; size <= 4; size *= 2) {
        for (int run = 0; run < 2; run++) {
            scene s = ordinary();
            for (int i = 0; i < size; i++) /* four ranks, each with one head of keys: in 8 bits */
                s.options[i].kv_int8 = size == 4;
            stage *st = open_stage(size, 0, &s);
            if (st->status != SA2_OK)
                fail_msg("%s", st->err.message);
            ask(st->engine, answers + run * N_REQUESTS);
            close_stage(st, &s);
            for (int i = 1; i < size; i++)
                if (s.status[i] != SA2_OK)
                    fail_msg("rank %d: %s", i, s.said[i]);
        }
        for (int i = 0; i < N_REQUESTS; i++) {
            assert_true(answers[i].choices[0].ids.n > 0);
            assert_same_answer("another run", &answers[i], &answers[N_REQUESTS + i]);
        }
        for (int i = 0; i < 2 * N_REQUESTS; i++)
            test_answer_free(&answers[i]);
    }
    free(answers);
}

static void ranks_wait_for_a_rank_0_that_has_nothing_to_do(void **state)
{
    (void)state;
    test_answer *answers = calloc(N_REQUESTS, sizeof *answers);
    scene s = ordinary();
    stage *st =
        open_stage(2, 1000, &s); /* less than they wait; they hear of rank 0 twice in that time */
    assert_int_equal(st->status, SA2_OK);
    nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 500000000}, NULL);
    ask(st->engine, answers);
    sa2_engine_pause(st->engine);
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
    sa2_engine_resume(st->engine);
    for (int i = 0; i < N_REQUESTS; i++)
        test_answer_free(&answers[i]);
    ask(st->engine, answers);
    close_stage(st, &s);
    assert_int_equal(s.status[1], SA2_OK);
    for (int i = 0; i < N_REQUESTS; i++) {
        assert_int_equal(answers[i].status, SA2_OK);
        test_answer_free(&answers[i]);
    }
    free(answers);
}

/* ---- starts ---- */

static void other_options_are_refused_on_all_ranks(void **state)
{
    (void)state;
    scene s = ordinary();
    s.options[2].max_num_seqs = 3;
    stage *st = open_stage(4, 0, &s);
    assert_int_equal(st->status, SA2_ERR_ARG);
    expect(st->err.message, "max_num_seqs: 4 on rank 0, 3 on rank 2; all ranks are to be started");
    close_stage(st, &s);
    for (int i = 1; i < 4; i++)
        expect(s.said[i], "max_num_seqs: ");
}

static void a_cache_of_another_type_is_refused_on_all_ranks(void **state)
{
    (void)state;
    scene s = ordinary();
    s.options[1].kv_int8 = true;
    stage *st = open_stage(2, 0, &s);
    assert_int_equal(st->status, SA2_ERR_ARG);
    expect(st->err.message, "dtype of the cache: 1 on rank 0, 4 on rank 1; all ranks are to be");
    close_stage(st, &s);
    expect(s.said[1], "dtype of the cache: ");
}

static void a_rank_that_cannot_start_ends_the_start_of_all(void **state)
{
    (void)state;
    for (int rank = 0; rank < 2; rank++) {
        scene s = ordinary();
        s.options[rank].block_size = 17;
        stage *st = open_stage(2, 0, &s);
        assert_int_equal(st->status, rank == 0 ? SA2_ERR_ARG : SA2_ERR_DEVICE);
        expect(st->err.message, rank == 0 ? "block_size: a multiple of 16"
                                          : "rank 0 of 2: rank 1 cannot take part; it says why");
        close_stage(st, &s);
        expect(s.said[1], rank == 1 ? "block_size: a multiple of 16"
                                    : "rank 1 of 2: rank 0 cannot take part; it says why");
    }
}

static void follow_nowhere(test_rank *r, void *context)
{
    scene *s = context;
    sa2_error err = {0};
    sa2_engine_options options = options_of(s, r);
    s->status[1] = sa2_engine_follow("/nowhere", &options, &err);
    snprintf(s->said[1], sizeof s->said[1], "%.*s", 511, err.message);
}

static void a_model_that_is_not_there_ends_the_start_of_all(void **state)
{
    (void)state;
    test_team team;
    scene s = ordinary();
    sa2_engine *engine = NULL;
    sa2_error err = {0};
    test_team_start(&team, 2, 0, follow_nowhere, &s);
    sa2_engine_options options = options_of(&s, &team.ranks[0]);
    assert_int_not_equal(sa2_engine_create(&engine, "/nowhere", &options, &err), SA2_OK);
    test_team_join(&team);
    expect(err.message, "/nowhere");
    expect(s.said[1], "/nowhere");
}

/* ---- failures in the middle ---- */

static void dies(test_rank *rank, sa2_machine *machine)
{
    (void)machine;
    test_rank_die(rank, sa2_comm_size(rank->comm));
}

static void hangs(test_rank *rank, sa2_machine *machine)
{
    (void)rank;
    (void)machine;
    nanosleep(&(struct timespec){.tv_sec = 6}, NULL);
}

static void fails(test_rank *rank, sa2_machine *machine)
{
    (void)rank;
    machine->work.bytes = 64; /* its step has no room */
}

/* The request of rank 0 ends with an error that has `part`, and so do later ones. */
static void expect_disaster(void (*disaster)(test_rank *rank, sa2_machine *machine),
                            int64_t timeout_ms, const char *part, double most_ms)
{
    int32_t prompt[64];
    test_answer *answer = calloc(1, sizeof *answer);
    scene s = ordinary();
    s.disaster_rank = 2;
    s.after_steps = 5;
    s.disaster = disaster;
    stage *st = open_stage(4, timeout_ms, &s);
    if (st->status != SA2_OK)
        fail_msg("%s", st->err.message);
    sa2_request r = request_of(0, prompt, 20);
    double began = sa2_now_ms();
    test_answer_ask(st->engine, &r, answer);
    assert_true(sa2_now_ms() - began < most_ms);
    assert_int_equal(answer->finish, SA2_FINISH_ERROR);
    assert_int_equal(answer->status, SA2_ERR_DEVICE);
    expect(answer->message, part);
    expect(answer->message, "rank 0 of 4: ");
    test_answer_free(answer);
    test_answer_ask(st->engine, &r, answer);
    assert_int_equal(answer->status, SA2_ERR_DEVICE);
    expect(answer->message, part);
    test_answer_free(answer);
    close_stage(st, &s);
    for (int i = 1; i < 4; i++)
        assert_int_not_equal(s.status[i], SA2_OK);
    free(answer);
}

static void a_request_is_told_which_rank_died(void **state)
{
    (void)state;
    expect_disaster(dies, 30000, "rank 2", 20000.0);
}

static void a_request_is_told_which_rank_hangs_and_where(void **state)
{
    (void)state;
    expect_disaster(hangs, 500, "the sum behind the attention of layer 0: nothing came from rank 2",
                    5000.0);
}

static void a_request_is_told_which_rank_failed(void **state)
{
    (void)state;
    expect_disaster(fails, 30000, "rank 2 has given up; it says why", 20000.0);
}

/* ---- news ---- */

typedef struct room {
    int32_t offsets[9], first[8], table[8 * 4], logits[8];
    sa2_page_copy copies[8];
} room;

static sa2_step_news news_in(room *r)
{
    return (sa2_step_news){.offsets = r->offsets,
                           .first_position = r->first,
                           .block_table = r->table,
                           .logits_rows = r->logits,
                           .copies = r->copies,
                           .max_pages = 4,
                           .page_size = 16};
}

static void news_arrives_as_it_was_sent(void **state)
{
    (void)state;
    room from = {.offsets = {0, 3, 4},
                 .first = {15, 40},
                 .table = {7, 8, 0, 0, 1, 2, 3, 0},
                 .logits = {2, 3},
                 .copies = {{5, 6}}};
    room to;
    int32_t message[256];
    sa2_step_news sent = news_in(&from), got = news_in(&to);
    sent.n_parts = 2;
    sent.n_logits = 2;
    sent.n_copies = 1;
    memset(&to, 0, sizeof to);
    size_t n = sa2_step_news_write(message, &sent);
    assert_true(n <= sa2_step_news_bytes(8, 4));
    assert_int_equal(sa2_step_news_read(&got, 4, 8, message, n, NULL), SA2_OK);
    assert_memory_equal(&to, &from, sizeof to);
    assert_int_equal(got.n_rows, 4);
    assert_false(got.end);
    for (size_t cut = 0; cut < n; cut += 4) /* and no part of it does */
        assert_int_equal(sa2_step_news_read(&got, 4, 8, message, cut, NULL), SA2_ERR_FORMAT);
    assert_int_equal(sa2_step_news_read(&got, 3, 8, message, n, NULL), SA2_ERR_FORMAT);
    assert_int_equal(sa2_step_news_read(&got, 4, 1, message, n, NULL), SA2_ERR_FORMAT);
    from.first[1] = 64; /* beyond the last page */
    n = sa2_step_news_write(message, &sent);
    assert_int_equal(sa2_step_news_read(&got, 4, 8, message, n, NULL), SA2_ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same_on_every_run),
        cmocka_unit_test(ranks_wait_for_a_rank_0_that_has_nothing_to_do),
        cmocka_unit_test(other_options_are_refused_on_all_ranks),
        cmocka_unit_test(a_cache_of_another_type_is_refused_on_all_ranks),
        cmocka_unit_test(a_rank_that_cannot_start_ends_the_start_of_all),
        cmocka_unit_test(a_model_that_is_not_there_ends_the_start_of_all),
        cmocka_unit_test(a_request_is_told_which_rank_died),
        cmocka_unit_test(a_request_is_told_which_rank_hangs_and_where),
        cmocka_unit_test(a_request_is_told_which_rank_failed),
        cmocka_unit_test(news_arrives_as_it_was_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
