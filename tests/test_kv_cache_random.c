/* The paged cache under random operations: what a sequence has written is what it reads, whoever
 * shares, forks, registers and evicts beside it. Pages are memory here that is written and read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/decoder/kv_cache.h"

enum { PAGE = 16, N_PAGES = 40, N_SEQUENCES = 12, N_POSITIONS = 8 * PAGE, N_STEPS = 60000 };

/* What one position holds stands for everything up to it. */
typedef struct random_sequence {
    sa2_kv_sequence *kv; /* NULL: not open */
    int32_t ids[N_POSITIONS];
    sa2_kv_audio audio[1];
    sa2_kv_content content;
} random_sequence;

typedef struct random_run {
    sa2_kv_cache *cache;
    random_sequence sequences[N_SEQUENCES];
    uint64_t memory[N_PAGES][PAGE];
    uint64_t random;
    int n_refused, n_forks;
} random_run;

static int pick(random_run *run, int n)
{
    run->random = run->random * 6364136223846793005u + 1442695040888963407u;
    return (int)((run->random >> 33) % (uint64_t)n);
}

/* FNV-1a over salt, ids and audio rows of positions 0 to p. */
static uint64_t stamp_of(const sa2_kv_content *content, int p)
{
    uint64_t stamp = 14695981039346656037u ^ content->salt;
    for (int i = 0; i <= p; i++) {
        stamp = (stamp ^ (uint64_t)content->ids[i]) * 1099511628211u;
        for (int j = 0; j < content->n_audio; j++) {
            sa2_kv_audio a = content->audio[j];
            if (i >= a.first && i < a.first + a.n)
                stamp = (stamp ^ a.hash.low ^ (uint64_t)(i - a.first) << 32) * 1099511628211u;
        }
    }
    return stamp;
}

static uint64_t *slot(random_run *run, const random_sequence *s, int p)
{
    return &run->memory[s->kv->pages[p / PAGE]][p % PAGE];
}

/* Grows and writes; false when pages ran out. */
static bool write_positions(random_run *run, random_sequence *s, int n)
{
    sa2_page_copy copy;
    int first = s->kv->n_positions;
    if (sa2_kv_grow(run->cache, s->kv, n, &copy, NULL) != SA2_OK) {
        assert_int_equal(s->kv->n_positions, first);
        run->n_refused++;
        return false;
    }
    if (copy.from >= 0)
        memcpy(run->memory[copy.to], run->memory[copy.from], sizeof run->memory[0]);
    for (int p = first; p < first + n; p++)
        *slot(run, s, p) = stamp_of(&s->content, p);
    return true;
}

static void random_open(random_run *run, random_sequence *s)
{
    s->content = (sa2_kv_content){.ids = s->ids, .n = 1 + pick(run, 5 * PAGE), .audio = s->audio};
    int change = pick(run, 5 * PAGE); /* mostly the same, so that there are hits */
    for (int i = 0; i < N_POSITIONS; i++)
        s->ids[i] = i == change ? pick(run, 3) : 0;
    s->content.n_audio = pick(run, 2);
    s->audio[0] = (sa2_kv_audio){.first = pick(run, 2),
                                 .n = 1 + pick(run, 2 * PAGE),
                                 .hash = {.low = (uint64_t)pick(run, 2)}};
    s->content.salt = (uint64_t)(pick(run, 8) == 0);
    s->kv = sa2_kv_open(run->cache);
    assert_non_null(s->kv);
    int found = sa2_kv_match(run->cache, s->kv, &s->content);
    assert_in_range(found, 0, s->content.n - 1);
    if (!write_positions(run, s, s->content.n - found)) {
        sa2_kv_close(run->cache, s->kv);
        s->kv = NULL;
    }
}

static void random_append(random_run *run, random_sequence *s)
{
    int n = 1 + pick(run, 20);
    if (s->content.n + n > N_POSITIONS)
        return;
    for (int i = 0; i < n; i++)
        s->ids[s->content.n + i] = pick(run, 2);
    s->content.n += n;
    if (!write_positions(run, s, n))
        s->content.n -= n;
}

static void random_fork(random_run *run, const random_sequence *s)
{
    for (int i = 0; i < N_SEQUENCES; i++) {
        random_sequence *child = &run->sequences[i];
        if (child->kv != NULL)
            continue;
        *child = *s;
        child->content.ids = child->ids;
        child->content.audio = child->audio;
        child->kv = sa2_kv_fork(run->cache, s->kv);
        assert_non_null(child->kv);
        run->n_forks++;
        return;
    }
    assert_null(sa2_kv_fork(run->cache, s->kv));
}

static void random_step(random_run *run)
{
    random_sequence *s = &run->sequences[pick(run, N_SEQUENCES)];
    if (s->kv == NULL) {
        random_open(run, s);
        return;
    }
    switch (pick(run, 5)) {
    case 0:
    case 1:
        random_append(run, s);
        break;
    case 2:
        random_fork(run, s);
        break;
    case 3:
        sa2_kv_register(run->cache, s->kv, &s->content, pick(run, s->content.n + 1));
        break;
    default:
        sa2_kv_register(run->cache, s->kv, &s->content, s->content.n);
        sa2_kv_close(run->cache, s->kv);
        s->kv = NULL;
    }
}

static void check(const sa2_kv_cache *cache)
{
    sa2_error err = {0};
    if (sa2_kv_cache_check(cache, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

static void every_sequence_reads_what_it_wrote_after_any_operations(void **state)
{
    (void)state;
    sa2_kv_cache_options options = {.n_pages = N_PAGES,
                                    .page_size = PAGE,
                                    .max_sequences = N_SEQUENCES,
                                    .max_positions = N_POSITIONS};
    sa2_arena arena;
    random_run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    assert_int_equal(sa2_arena_create(&arena, sa2_kv_cache_bytes(&options), NULL), SA2_OK);
    assert_int_equal(sa2_kv_cache_create(&run->cache, &options, &arena, NULL), SA2_OK);
    for (int step = 0; step < N_STEPS; step++) {
        random_step(run);
        if (step % 8 == 0)
            check(run->cache);
        const random_sequence *s = &run->sequences[pick(run, N_SEQUENCES)];
        for (int p = 0; s->kv != NULL && p < s->content.n; p++) {
            if (*slot(run, s, p) != stamp_of(&s->content, p))
                fail_msg("step %d: position %d of %d is not what was written", step, p,
                         s->content.n);
        }
    }
    sa2_kv_stats stats = sa2_kv_cache_stats(run->cache);
    assert_true(stats.n_matched_pages > 1000 && stats.n_evicted_pages > 1000 &&
                stats.n_copied_pages > 100 && run->n_refused > 100 && run->n_forks > 100);

    for (int i = 0; i < N_SEQUENCES; i++) {
        if (run->sequences[i].kv != NULL)
            sa2_kv_close(run->cache, run->sequences[i].kv);
    }
    check(run->cache);
    stats = sa2_kv_cache_stats(run->cache);
    assert_int_equal(stats.n_used, 0);
    assert_int_equal(stats.n_sequences, 0);
    assert_int_equal(stats.n_cached + stats.n_free, N_PAGES);
    sa2_arena_destroy(&arena);
    free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sequence_reads_what_it_wrote_after_any_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
