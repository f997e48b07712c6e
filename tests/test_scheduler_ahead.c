/* Steps that are planned before the tokens of the one that is under way are known: when there is one, and of whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/serving/scheduler.h"

enum { MAX_SEQUENCES = 4, MAX_POSITIONS = 64, PAGE = 16, MAX_JOBS = 8 };

typedef struct job {
    sa2_sequence_group group;
    sa2_sequence sequence;
    int32_t ids[MAX_POSITIONS];
    int n_positions; /* at which it is complete */
    bool ended;
} job;

typedef struct world {
    sa2_arena arena;
    sa2_kv_cache *cache;
    sa2_scheduler *scheduler;
    job jobs[MAX_JOBS];
    int n_jobs;
    bool no_sound;                       /* of prompts is encoded yet */
    const sa2_step_plan *first, *second; /* under way */
} world;

static int rows_possible(void *context, sa2_sequence_group *group, int first, int n)
{
    const world *w = context;
    return w->no_sound && first < group->n_prompt ? 0 : n;
}

static void open_world(world *w, int n_pages)
{
    *w = (world){0};
    const sa2_kv_cache_options cache = {.n_pages = n_pages,
                                        .page_size = PAGE,
                                        .max_sequences = MAX_SEQUENCES,
                                        .max_positions = MAX_POSITIONS};
    const sa2_scheduler_options options = {.max_rows = 32,
                                           .max_sequences = MAX_SEQUENCES,
                                           .rows_possible = rows_possible,
                                           .context = w};
    size_t bytes = sa2_kv_cache_bytes(&cache) + sa2_scheduler_bytes(&options);
    assert_int_equal(sa2_arena_create(&w->arena, bytes, NULL), SA2_OK);
    assert_int_equal(sa2_kv_cache_create(&w->cache, &cache, &w->arena, NULL), SA2_OK);
    assert_int_equal(sa2_scheduler_create(&w->scheduler, &options, w->cache, &w->arena, NULL),
                     SA2_OK);
}

static void close_world(world *w)
{
    sa2_arena_destroy(&w->arena);
}

/* One that has n_positions when it ends, and max_ids at most, for all that the scheduler knows. */
static job *add(world *w, int n_prompt, int n_positions, int max_ids)
{
    job *j = &w->jobs[w->n_jobs];
    j->group = (sa2_sequence_group){
        .sequences = &j->sequence, .n_sequences = 1, .n_prompt = n_prompt, .order = w->n_jobs++};
    j->sequence = (sa2_sequence){.ids = j->ids, .n_ids = n_prompt, .max_ids = max_ids};
    j->n_positions = n_positions;
    sa2_scheduler_add(w->scheduler, &j->group);
    return j;
}

static void end_job(world *w, job *j)
{
    sa2_scheduler_remove(w->scheduler, &j->group);
    j->ended = true;
}

/* Whether there is a step behind the first of those under way, which is the next one where none is. */
static bool runs_ahead(world *w)
{
    if (w->first == NULL)
        w->first = sa2_scheduler_plan(w->scheduler);
    w->second = sa2_scheduler_plan_ahead(w->scheduler, w->first);
    return w->second != NULL;
}

/* The first of those under way is done, and its tokens are known. */
static void go_on(world *w)
{
    if (w->first == NULL)
        w->first = sa2_scheduler_plan(w->scheduler);
    sa2_scheduler_commit(w->scheduler, w->first);
    for (int i = 0; i < w->first->n_parts; i++) {
        job *j = (job *)w->first->parts[i].group;
        if (j == NULL || !w->first->parts[i].logits)
            continue;
        j->ids[j->sequence.n_ids++] = 7;
        if (j->sequence.n_ids == j->n_positions)
            end_job(w, j);
    }
    assert_int_equal(sa2_kv_cache_check(w->cache, NULL), SA2_OK);
    w->first = w->second;
    w->second = NULL;
}

static void a_step_runs_ahead_of_rows_of_decoding_and_of_nothing_else(void **state)
{
    (void)state;
    world w;
    open_world(&w, 16);
    job *a = add(&w, 5, 20, 20);
    assert_false(runs_ahead(&w)); /* a prompt */
    go_on(&w);
    for (int i = 0; i < 3; i++) {
        assert_true(runs_ahead(&w));
        assert_int_equal(w.second->turn, 1 - w.first->turn);
        assert_int_equal(w.second->n_parts, 1);
        assert_int_equal(w.second->n_rows, 1);
        assert_int_equal(w.second->n_logits, 1);
        assert_ptr_equal(w.second->parts[0].sequence, &a->sequence);
        assert_int_equal(w.second->parts[0].first, a->sequence.n_ids);
        assert_true(w.second->parts[0].logits);
        go_on(&w);
    }
    job *b = add(&w, 40, 50, 50);
    assert_false(runs_ahead(&w)); /* one has come */
    go_on(&w);
    assert_false(runs_ahead(&w));
    assert_true(b->group.running && b->sequence.n_written < 40);
    go_on(&w);
    assert_false(runs_ahead(&w)); /* the end of its prompt */
    go_on(&w);
    assert_true(runs_ahead(&w));
    assert_int_equal(w.second->n_parts, 2);
    go_on(&w);
    b->group.lockstep = true; /* beams */
    assert_false(runs_ahead(&w));
    close_world(&w);
}

static void who_is_complete_by_then_is_left_out_and_who_proves_to_be_leaves(void **state)
{
    (void)state;
    world w;
    open_world(&w, 16);
    job *a = add(&w, 5, 7, 30), *b = add(&w, 5, 7, 7), *c = add(&w, 5, 30, 30),
        *d = add(&w, 5, 30, 0);
    go_on(&w);
    assert_true(runs_ahead(&w));
    assert_int_equal(w.second->n_parts, 2); /* of d nobody says how long it is */
    assert_ptr_equal(w.second->parts[0].group, &a->group);
    assert_ptr_equal(w.second->parts[1].group, &c->group);
    end_job(&w, d); /* as if it had been its last */
    go_on(&w);
    assert_true(a->ended && b->ended);
    assert_null(w.first->parts[0].group);
    assert_ptr_equal(w.first->parts[1].group, &c->group);
    assert_true(runs_ahead(&w));
    assert_int_equal(w.second->n_parts, 1);
    end_job(&w, c); /* given up */
    assert_null(w.first->parts[1].group);
    assert_null(w.second->parts[0].group);
    go_on(&w);
    assert_false(runs_ahead(&w)); /* there is nobody */
    go_on(&w);
    assert_int_equal(sa2_kv_cache_stats(w.cache).n_used, 0);
    close_world(&w);
}

static void who_can_be_admitted_does_not_wait_for_steps_that_run_ahead(void **state)
{
    (void)state;
    world w;
    open_world(&w, 32);
    job *running[MAX_SEQUENCES];
    for (int i = 0; i < MAX_SEQUENCES; i++) {
        int end = i == 1 ? 12 : i == 2 ? 9 : 30;
        running[i] = add(&w, 5, end, i == 1 ? 30 : end);
    }
    go_on(&w);
    w.first = sa2_scheduler_plan(w.scheduler);
    job *late = add(&w, 5, 30, 30), *later = add(&w, 5, 30, 30);
    assert_false(runs_ahead(&w)); /* who knows */
    go_on(&w);
    assert_true(runs_ahead(&w)); /* they have no slots */
    assert_false(late->group.running);
    go_on(&w);
    assert_false(runs_ahead(&w)); /* one will be free */
    go_on(&w);
    assert_true(running[2]->ended);
    assert_false(runs_ahead(&w));
    assert_true(late->group.running && !later->group.running);
    go_on(&w);
    while (!running[1]->ended) {
        assert_true(runs_ahead(&w));
        go_on(&w);
    }
    assert_false(runs_ahead(&w)); /* one is free, once the step that is under way is done */
    go_on(&w);
    assert_false(runs_ahead(&w));
    assert_true(later->group.running);
    close_world(&w);
}

static void who_runs_without_a_row_is_not_passed_over(void **state)
{
    (void)state;
    world w;
    open_world(&w, 16);
    add(&w, 5, 20, 20);
    go_on(&w);
    job *b = add(&w, 5, 20, 20);
    w.no_sound = true;
    go_on(&w);
    assert_true(b->group.running && b->sequence.n_written == 0);
    assert_false(runs_ahead(&w));
    assert_int_equal(w.first->n_parts, 1);
    close_world(&w);
}

static void nobody_loses_pages_to_a_step_that_runs_ahead(void **state)
{
    (void)state;
    world w;
    open_world(&w, 3);
    job *a = add(&w, 14, 30, 30), *b = add(&w, 14, 30, 30);
    go_on(&w);
    assert_true(runs_ahead(&w)); /* to the end of both pages */
    go_on(&w);
    assert_false(runs_ahead(&w)); /* there is one for two */
    assert_true(a->group.running && b->group.running);
    assert_int_equal(sa2_scheduler_get_stats(w.scheduler).n_preemptions, 0);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_runs_ahead_of_rows_of_decoding_and_of_nothing_else),
        cmocka_unit_test(who_is_complete_by_then_is_left_out_and_who_proves_to_be_leaves),
        cmocka_unit_test(who_can_be_admitted_does_not_wait_for_steps_that_run_ahead),
        cmocka_unit_test(who_runs_without_a_row_is_not_passed_over),
        cmocka_unit_test(nobody_loses_pages_to_a_step_that_runs_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
