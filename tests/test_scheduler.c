/* Scheduler: thousands of random steps over a cache whose slots hold fingerprints instead of keys and values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/scheduler.h"

enum { MAX_SEQUENCES = 8, MAX_POSITIONS = 256, MAX_GROUPS = 400, BEAMS = 3, VOCAB = 97 };

/* ---- a model that remembers everything: the value of a slot follows from all positions up to it ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t value_of(const sa2_sequence_group *group, uint64_t before, int32_t id, int position)
{
    uint64_t sound = 0;
    for (int i = 0; i < group->n_audio; i++)
        if (position >= group->audio[i].first &&
            position < group->audio[i].first + group->audio[i].n)
            sound = group->audio[i].hash.low;
    return mix(before * 31 + (uint64_t)id + mix(sound) + group->salt);
}

/* What a group that runs alone comes to. */
static uint64_t value_alone(const sa2_sequence_group *group, const int32_t *ids, int n)
{
    uint64_t value = 0;
    for (int p = 0; p < n; p++)
        value = value_of(group, value, ids[p], p);
    return value;
}

/* The next id of answer `choice` after a last value. */
static int32_t next_id(uint64_t value, int choice)
{
    return (int32_t)(mix(value + (uint64_t)choice) % VOCAB);
}

/* ---- one request of the test ---- */

typedef struct job {
    sa2_sequence_group group;
    sa2_sequence sequences[BEAMS];
    int32_t ids[BEAMS][MAX_POSITIONS];
    sa2_kv_audio audio[1];
    int n_positions[BEAMS]; /* at which an answer is complete */
    bool added, ended, cancelled;
} job;

typedef struct world {
    uint64_t random;
    sa2_arena arena;
    sa2_kv_cache *cache;
    sa2_scheduler *scheduler;
    int page_size, n_pages;
    uint64_t *slots; /* [n_pages, page_size] */
    bool first_caller;
    int n_jobs;
    job *jobs;
    int64_t last_admitted; /* order */
    int n_steps, n_decoded_rows;
    bool runs_ahead; /* now and then */
    const sa2_step_plan *ahead;
    int n_ahead, n_dropped; /* steps, and rows of these that were for nobody */
} world;

static int draw(world *w, int n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (int)((w->random >> 33) % (uint64_t)n);
}

/* Sound is encoded for some of the rows only, now and then for none. */
static int some_rows(void *context, sa2_sequence_group *group, int first, int n)
{
    world *w = context;
    if (group->n_audio == 0 || first >= group->audio[0].first + group->audio[0].n)
        return n;
    int least = w->first_caller ? 1 : 0;
    w->first_caller = false;
    return least + draw(w, n - least + 1);
}

static void world_create(world *w, uint64_t seed, int max_rows, int page_size, int n_pages,
                         bool prefix_caching)
{
    *w = (world){.random = seed, .page_size = page_size, .n_pages = n_pages};
    sa2_kv_cache_options cache = {.n_pages = n_pages,
                                  .page_size = page_size,
                                  .max_sequences = MAX_SEQUENCES,
                                  .max_positions = MAX_POSITIONS};
    sa2_scheduler_options options = {.max_rows = max_rows,
                                     .max_sequences = MAX_SEQUENCES,
                                     .prefix_caching = prefix_caching,
                                     .rows_possible = some_rows,
                                     .context = w};
    size_t bytes = sa2_kv_cache_bytes(&cache) + sa2_scheduler_bytes(&options);
    assert_int_equal(sa2_arena_create(&w->arena, bytes, NULL), SA2_OK);
    assert_int_equal(sa2_kv_cache_create(&w->cache, &cache, &w->arena, NULL), SA2_OK);
    assert_int_equal(sa2_scheduler_create(&w->scheduler, &options, w->cache, &w->arena, NULL),
                     SA2_OK);
    w->slots = calloc((size_t)n_pages * (size_t)page_size, sizeof *w->slots);
    w->jobs = calloc(MAX_GROUPS, sizeof *w->jobs);
    assert_true(w->slots != NULL && w->jobs != NULL);
}

static void world_destroy(world *w)
{
    free(w->jobs);
    free(w->slots);
    sa2_arena_destroy(&w->arena);
}

/* Prompts of three families, so that prefixes are found; some with a clip, some with several answers. */
static void add_job(world *w)
{
    job *j = &w->jobs[w->n_jobs];
    int family = draw(w, 3), n_prompt = 1 + draw(w, 120);
    sa2_sequence_group *group = &j->group;
    *group = (sa2_sequence_group){.sequences = j->sequences,
                                  .n_sequences = draw(w, 3) == 0 ? 1 + draw(w, BEAMS) : 1,
                                  .n_prompt = n_prompt,
                                  .lockstep = draw(w, w->runs_ahead ? 20 : 2) == 0,
                                  .salt = (uint64_t)draw(w, 2),
                                  .order = w->n_jobs};
    if (n_prompt > 40 && draw(w, 3) == 0) {
        j->audio[0] =
            (sa2_kv_audio){.first = 10, .n = 30, .hash = {.low = 1 + (uint64_t)draw(w, 2)}};
        group->audio = j->audio;
        group->n_audio = 1;
    }
    int lockstep_positions = n_prompt + 1 + draw(w, MAX_POSITIONS - n_prompt);
    for (int i = 0; i < group->n_sequences; i++) {
        j->sequences[i] = (sa2_sequence){.ids = j->ids[i], .n_ids = n_prompt};
        for (int p = 0; p < n_prompt; p++)
            j->ids[i][p] = (int32_t)((family * 7 + p * p) % VOCAB);
        j->n_positions[i] =
            group->lockstep ? lockstep_positions : n_prompt + 1 + draw(w, MAX_POSITIONS - n_prompt);
        if (sa2_scheduler_pages(w->page_size, n_prompt, MAX_POSITIONS, group->n_sequences) >
            w->n_pages) /* as the engine does: what never fits is made to fit */
            j->n_positions[i] = n_prompt + 1;
        if (w->runs_ahead) /* some end before the scheduler expects it */
            j->sequences[i].max_ids = j->n_positions[i] + (draw(w, 2) == 0 ? draw(w, 9) : 0);
    }
    if (sa2_scheduler_pages(w->page_size, n_prompt, n_prompt + 1, group->n_sequences) > w->n_pages)
        group->n_sequences = 1;
    sa2_scheduler_add(w->scheduler, group);
    j->added = true;
    w->n_jobs++;
}

static void end_job(world *w, job *j)
{
    sa2_scheduler_remove(w->scheduler, &j->group);
    j->ended = true;
}

static uint64_t *slot_of(world *w, const sa2_sequence *sequence, int position)
{
    assert_true(position / w->page_size < sequence->kv->n_pages);
    int page = sequence->kv->pages[position / w->page_size];
    return &w->slots[page * w->page_size + position % w->page_size];
}

/* The forward pass: copies, then every row after the rows before it. */
static void run_rows(world *w, const sa2_step_plan *plan)
{
    for (int i = 0; i < plan->n_copies; i++)
        memcpy(&w->slots[plan->copies[i].to * w->page_size],
               &w->slots[plan->copies[i].from * w->page_size],
               (size_t)w->page_size * sizeof *w->slots);
    int n_rows = 0, n_logits = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        bool is_ahead = part->first == part->sequence->n_ids;
        assert_true(part->n > 0 && part->first == part->sequence->n_written + is_ahead);
        if (is_ahead) { /* the device knows its own token; nobody may find it in the ids yet */
            const job *j = (const job *)part->group;
            uint64_t value = *slot_of(w, part->sequence, part->first - 1);
            int32_t id = next_id(value, (int)(part->sequence - j->sequences));
            *slot_of(w, part->sequence, part->first) =
                value_of(part->group, value, id, part->first);
            assert_true(part->n == 1 && part->logits);
            n_rows++;
            n_logits++;
            continue;
        }
        assert_true(part->first + part->n <= part->sequence->n_ids);
        assert_int_equal(part->logits, part->first + part->n == part->sequence->n_ids);
        assert_in_range(part->sequence->slot, 0, MAX_SEQUENCES - 1);
        for (int k = 0; k < i; k++)
            assert_true(plan->parts[k].sequence->slot != part->sequence->slot);
        for (int p = part->first; p < part->first + part->n; p++) {
            uint64_t before = p > 0 ? *slot_of(w, part->sequence, p - 1) : 0;
            *slot_of(w, part->sequence, p) =
                value_of(part->group, before, part->sequence->ids[p], p);
        }
        n_rows += part->n;
        n_logits += part->logits;
    }
    assert_int_equal(n_rows, plan->n_rows);
    assert_int_equal(n_logits, plan->n_logits);
    w->n_steps++;
    w->n_decoded_rows += n_rows;
}

/* Beams trade places by a rule that depends on their values alone. */
static void step_beams(world *w, job *j, const uint64_t *values)
{
    sa2_sequence_group *group = &j->group;
    int parents[BEAMS];
    int32_t ids[BEAMS][MAX_POSITIONS];
    int n = group->sequences[0].n_ids;
    for (int i = 0; i < group->n_sequences; i++) {
        parents[i] = (int)(mix(values[0] + (uint64_t)i) % (uint64_t)group->n_sequences);
        memcpy(ids[i], j->ids[parents[i]], sizeof ids[i]);
        ids[i][n] = next_id(values[parents[i]], i);
    }
    sa2_scheduler_reorder(w->scheduler, group, parents);
    for (int i = 0; i < group->n_sequences; i++) {
        memcpy(j->ids[i], ids[i], sizeof ids[i]);
        group->sequences[i].n_ids = n + 1;
    }
    if (n + 1 == j->n_positions[0])
        end_job(w, j);
}

static void step_answers(world *w, job *j, sa2_sequence *sequence, uint64_t value)
{
    sa2_sequence_group *group = &j->group;
    bool first = sequence->n_ids == group->n_prompt; /* the one row of logits is for all */
    int n_live = 0;
    for (int i = 0; i < group->n_sequences; i++) {
        sa2_sequence *other = &group->sequences[i];
        if (!other->done && (first || other == sequence)) {
            j->ids[i][other->n_ids++] = next_id(value, i);
            if (other->n_ids == j->n_positions[i])
                sa2_scheduler_finish(w->scheduler, group, other);
        }
        n_live += !other->done;
    }
    if (n_live == 0)
        end_job(w, j);
}

static void use_logits(world *w, const sa2_step_plan *plan)
{
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        job *j = (job *)part->group;
        w->n_dropped += j == NULL;
        if (j == NULL || !part->logits || j->ended ||
            part->sequence->n_ids != part->first + part->n)
            continue; /* the first beam's part has moved all of them on */
        uint64_t value = *slot_of(w, part->sequence, part->sequence->n_ids - 1);
        assert_true(value == value_alone(part->group, part->sequence->ids, part->sequence->n_ids));
        if (!j->group.lockstep || j->group.n_sequences == 1) {
            step_answers(w, j, part->sequence, value);
            continue;
        }
        uint64_t values[BEAMS];
        for (int k = 0; k < j->group.n_sequences; k++) {
            const sa2_sequence *beam = &j->group.sequences[k];
            values[k] =
                beam->n_ids == j->group.n_prompt ? value : *slot_of(w, beam, beam->n_ids - 1);
            assert_true(beam->kv->n_positions == beam->n_ids);
        }
        step_beams(w, j, values);
    }
}

static void check_cache(const world *w)
{
    sa2_error err = {0};
    if (sa2_kv_cache_check(w->cache, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

static void step(world *w)
{
    w->first_caller = true;
    const sa2_step_plan *plan = w->ahead;
    if (plan == NULL) {
        plan = sa2_scheduler_plan(w->scheduler);
        check_cache(w);
        run_rows(w, plan);
    }
    w->ahead = NULL;
    if (w->runs_ahead && draw(w, 8) > 0)
        w->ahead = sa2_scheduler_plan_ahead(w->scheduler, plan);
    if (w->ahead != NULL) {
        assert_int_equal(w->ahead->turn, 1 - plan->turn);
        check_cache(w);
        run_rows(w, w->ahead);
        w->n_ahead++;
    }
    sa2_scheduler_commit(w->scheduler, plan);
    use_logits(w, plan);
}

static bool all_ended(const world *w)
{
    for (int i = 0; i < w->n_jobs; i++)
        if (!w->jobs[i].ended)
            return false;
    return true;
}

static void assert_empty(const world *w)
{
    sa2_kv_stats cache = sa2_kv_cache_stats(w->cache);
    assert_int_equal(cache.n_used, 0);
    assert_int_equal(cache.n_sequences, 0);
    sa2_scheduler_stats stats = sa2_scheduler_get_stats(w->scheduler);
    assert_int_equal(stats.n_running + stats.n_waiting, 0);
}

/* Answers (not beams) again from nothing: ids and fingerprints of a group alone. */
static void assert_answers_as_alone(const job *j)
{
    for (int i = 0; i < j->group.n_sequences && !j->group.lockstep; i++)
        for (int n = j->group.n_prompt; n < j->sequences[i].n_ids; n++)
            assert_int_equal(j->ids[i][n], next_id(value_alone(&j->group, j->ids[i], n), i));
}

/* What all worlds of a test have seen. */
typedef struct tally {
    int64_t n_preemptions, n_steps, n_ahead, n_dropped;
} tally;

static void run_world(uint64_t seed, int max_rows, int page_size, int n_pages, bool prefix_caching,
                      bool runs_ahead, tally *t)
{
    world w;
    world_create(&w, seed, max_rows, page_size, n_pages, prefix_caching);
    w.runs_ahead = runs_ahead;
    while (w.n_jobs < MAX_GROUPS || !all_ended(&w)) {
        if (w.n_jobs < MAX_GROUPS && draw(&w, runs_ahead ? 25 : 4) == 0)
            add_job(&w);
        if (w.n_jobs > 0 && draw(&w, 40) == 0) {
            job *j = &w.jobs[draw(&w, w.n_jobs)];
            j->cancelled = !j->ended;
            if (!j->ended)
                end_job(&w, j);
        }
        step(&w);
        assert_true(w.n_steps < 1000000);
    }
    for (int i = 0; i < w.n_jobs; i++)
        assert_answers_as_alone(&w.jobs[i]);
    assert_empty(&w);
    t->n_preemptions += sa2_scheduler_get_stats(w.scheduler).n_preemptions;
    t->n_steps += w.n_steps;
    t->n_ahead += w.n_ahead;
    t->n_dropped += w.n_dropped;
    world_destroy(&w);
}

static void run_worlds(bool runs_ahead, tally *t)
{
    *t = (tally){0};
    for (uint64_t seed = 0; seed < 2; seed++) {
        run_world(seed, 8, 16, 32, true, runs_ahead, t);
        run_world(seed, 33, 16, 40, false, runs_ahead, t);
        run_world(seed, 512, 16, 48, true, runs_ahead, t);
        run_world(seed, 64, 64, 16, true, runs_ahead, t);
        run_world(seed, 64, 32, 1000, true, runs_ahead, t);
    }
}

static void every_request_ends_as_it_would_alone(void **state)
{
    (void)state;
    tally t;
    run_worlds(false, &t);
    assert_true(t.n_preemptions > 100); /* the caches are small enough to mean something */
}

/* Rows of the step ahead are written before anything is told: what they write must be nobody else's. */
static void every_request_ends_so_too_where_steps_run_ahead(void **state)
{
    (void)state;
    tally t;
    run_worlds(true, &t);
    assert_true(t.n_preemptions > 100 && t.n_ahead > t.n_steps / 10 && t.n_dropped > 100);
}

/* ---- single rules ---- */

static job *simple_job(world *w, int n_prompt, int n_positions)
{
    job *j = &w->jobs[w->n_jobs];
    j->group = (sa2_sequence_group){
        .sequences = j->sequences, .n_sequences = 1, .n_prompt = n_prompt, .order = w->n_jobs};
    j->sequences[0] = (sa2_sequence){.ids = j->ids[0], .n_ids = n_prompt};
    for (int p = 0; p < n_prompt; p++)
        j->ids[0][p] = (w->n_jobs + p) % VOCAB;
    j->n_positions[0] = n_positions;
    sa2_scheduler_add(w->scheduler, &j->group);
    w->n_jobs++;
    return j;
}

static void decode_rows_come_before_prompts_and_prompts_are_cut(void **state)
{
    (void)state;
    world w;
    world_create(&w, 1, 32, 16, 64, true);
    job *first = simple_job(&w, 5, 100);
    step(&w);
    simple_job(&w, 60, 100);
    const sa2_step_plan *plan = sa2_scheduler_plan(w.scheduler);
    assert_int_equal(plan->n_parts, 2);
    assert_ptr_equal(plan->parts[0].group, &first->group);
    assert_int_equal(plan->parts[0].n, 1);
    assert_int_equal(plan->parts[1].n, 31);
    assert_false(plan->parts[1].logits);
    run_rows(&w, plan);
    sa2_scheduler_commit(w.scheduler, plan);
    use_logits(&w, plan);
    plan = sa2_scheduler_plan(w.scheduler);
    assert_int_equal(plan->parts[1].first, 31);
    assert_int_equal(plan->parts[1].n, 29);
    assert_true(plan->parts[1].logits);
    world_destroy(&w);
}

static void the_newest_is_preempted_and_comes_back_first(void **state)
{
    (void)state;
    world w;
    world_create(&w, 1, 64, 16, 6, false);
    job *first = simple_job(&w, 16, 80), *second = simple_job(&w, 16, 80),
        *third = simple_job(&w, 16, 20);
    while (second->group.n_preemptions == 0)
        step(&w);
    assert_true(first->group.running);
    assert_int_equal(first->group.n_preemptions, 0);
    assert_int_equal(second->sequences[0].n_written, 0);
    assert_true(second->sequences[0].n_ids > 16);
    while (!first->ended)
        step(&w);
    while (!second->group.running)
        step(&w);
    assert_false(second->ended);
    assert_true(third->ended || !third->group.running || third->group.order > second->group.order);
    while (!all_ended(&w))
        step(&w);
    assert_answers_as_alone(second);
    assert_empty(&w);
    world_destroy(&w);
}

static void a_prompt_seen_before_is_found(void **state)
{
    (void)state;
    world w;
    world_create(&w, 1, 64, 16, 64, true);
    job *first = simple_job(&w, 40, 50);
    while (!first->ended)
        step(&w);
    job *second = &w.jobs[w.n_jobs];
    simple_job(&w, 40, 50);
    memcpy(second->ids[0], first->ids[0], 40 * sizeof(int32_t));
    step(&w);
    assert_int_equal(second->group.n_matched, 32);
    while (!all_ended(&w))
        step(&w);
    assert_memory_equal(first->ids[0], second->ids[0], 50 * sizeof(int32_t));
    world_destroy(&w);
}

static void several_answers_compute_their_prompt_once(void **state)
{
    (void)state;
    world w;
    world_create(&w, 1, 64, 16, 64, false);
    job *j = &w.jobs[w.n_jobs++];
    j->group =
        (sa2_sequence_group){.sequences = j->sequences, .n_sequences = BEAMS, .n_prompt = 20};
    for (int i = 0; i < BEAMS; i++) {
        j->sequences[i] = (sa2_sequence){.ids = j->ids[i], .n_ids = 20};
        j->n_positions[i] = 30;
    }
    sa2_scheduler_add(w.scheduler, &j->group);
    while (!j->ended)
        step(&w);
    assert_int_equal(w.n_decoded_rows, 20 + BEAMS * 9); /* the last token is not computed */
    assert_answers_as_alone(j);
    assert_empty(&w);
    world_destroy(&w);
}

static void a_changed_prompt_starts_again_on_what_it_has_in_common(void **state)
{
    (void)state;
    world w;
    world_create(&w, 1, 64, 16, 64, true);
    job *j = simple_job(&w, 40, 50);
    while (j->sequences[0].n_ids < 45)
        step(&w);
    j->ids[0][38] = 3;
    j->sequences[0].n_ids = j->group.n_prompt = 42;
    sa2_scheduler_restart(w.scheduler, &j->group);
    step(&w);
    assert_int_equal(j->group.n_matched, 32);
    while (!j->ended)
        step(&w);
    assert_answers_as_alone(j);
    assert_empty(&w);
    world_destroy(&w);
}

static void pages_of_a_request_alone_are_counted(void **state)
{
    (void)state;
    assert_int_equal(sa2_scheduler_pages(16, 40, 100, 1), 7);
    assert_int_equal(sa2_scheduler_pages(16, 40, 100, 3), 2 + 3 * 5);
    assert_int_equal(sa2_scheduler_pages(16, 15, 16, 2), 2);
}

static void steps_too_small_for_the_sequences_are_refused(void **state)
{
    (void)state;
    sa2_error err = {0};
    sa2_scheduler *scheduler;
    sa2_scheduler_options options = {.max_rows = 7, .max_sequences = 8};
    assert_int_equal(sa2_scheduler_create(&scheduler, &options, NULL, NULL, &err), SA2_ERR_ARG);
    assert_string_equal(err.message,
                        "7 rows in a step: at least one for each of the 8 sequences expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_ends_as_it_would_alone),
        cmocka_unit_test(every_request_ends_so_too_where_steps_run_ahead),
        cmocka_unit_test(decode_rows_come_before_prompts_and_prompts_are_cut),
        cmocka_unit_test(the_newest_is_preempted_and_comes_back_first),
        cmocka_unit_test(a_prompt_seen_before_is_found),
        cmocka_unit_test(several_answers_compute_their_prompt_once),
        cmocka_unit_test(a_changed_prompt_starts_again_on_what_it_has_in_common),
        cmocka_unit_test(pages_of_a_request_alone_are_counted),
        cmocka_unit_test(steps_too_small_for_the_sequences_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
