/* The paged cache: who shares a page, which prefixes are found, what happens when pages run out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/decoder/kv_cache.h"

enum { PAGE = 16 };

/* A cache with memory of its own. */
typedef struct owned_cache {
    sa2_arena arena;
    sa2_kv_cache *cache;
} owned_cache;

static sa2_kv_cache *owned_create(owned_cache *owned, int n_pages, int max_sequences,
                                  int max_positions)
{
    sa2_kv_cache_options options = {.n_pages = n_pages,
                                    .page_size = PAGE,
                                    .max_sequences = max_sequences,
                                    .max_positions = max_positions};
    assert_int_equal(sa2_arena_create(&owned->arena, sa2_kv_cache_bytes(&options), NULL), SA2_OK);
    assert_int_equal(sa2_kv_cache_create(&owned->cache, &options, &owned->arena, NULL), SA2_OK);
    assert_int_equal(owned->arena.used, owned->arena.bytes); /* the plan is exact */
    return owned->cache;
}

static void check(const sa2_kv_cache *cache)
{
    sa2_error err = {0};
    sa2_status st = sa2_kv_cache_check(cache, &err);
    if (st != SA2_OK)
        fail_msg("%s", err.message);
}

static sa2_page_copy grow(sa2_kv_cache *cache, sa2_kv_sequence *sequence, int n)
{
    sa2_error err = {0};
    sa2_page_copy copy;
    if (sa2_kv_grow(cache, sequence, n, &copy, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return copy;
}

/* A sequence that holds `content`, registered; what was found is not computed again. */
static sa2_kv_sequence *admit(sa2_kv_cache *cache, const sa2_kv_content *content)
{
    sa2_kv_sequence *sequence = sa2_kv_open(cache);
    assert_non_null(sequence);
    sa2_kv_match(cache, sequence, content);
    grow(cache, sequence, content->n - sequence->n_positions);
    sa2_kv_register(cache, sequence, content, content->n);
    return sequence;
}

static int matched(sa2_kv_cache *cache, const sa2_kv_content *content)
{
    sa2_kv_sequence *sequence = sa2_kv_open(cache);
    assert_non_null(sequence);
    int n = sa2_kv_match(cache, sequence, content);
    assert_int_equal(sequence->n_positions, n);
    sa2_kv_close(cache, sequence);
    check(cache);
    return n;
}

/* ---- forks ---- */

static void a_fork_shares_pages_until_one_of_the_two_writes(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 8, 4, 128);
    sa2_kv_sequence *parent = sa2_kv_open(cache);
    assert_int_equal(grow(cache, parent, 2 * PAGE + 5).from, -1);
    assert_int_equal(parent->n_pages, 3);

    sa2_kv_sequence *child = sa2_kv_fork(cache, parent);
    assert_int_equal(sa2_kv_cache_stats(cache).n_used, 3);
    assert_memory_equal(child->pages, parent->pages, 3 * sizeof(int32_t));

    int32_t shared = parent->pages[2];
    assert_int_equal(sa2_kv_pages_needed(cache, parent, 1), 1);
    sa2_page_copy copy = grow(cache, parent, 1);
    assert_int_equal(copy.from, shared);
    assert_int_equal(copy.to, parent->pages[2]);
    assert_int_not_equal(copy.to, shared);
    assert_int_equal(sa2_kv_pages_needed(cache, child, 1), 0); /* it is alone now */
    assert_int_equal(grow(cache, child, 1).from, -1);
    assert_int_equal(child->pages[2], shared);
    assert_memory_equal(child->pages, parent->pages, 2 * sizeof(int32_t));
    check(cache);

    sa2_kv_close(cache, parent);
    sa2_kv_close(cache, child);
    check(cache);
    assert_int_equal(sa2_kv_cache_stats(cache).n_free, 8);
    sa2_arena_destroy(&owned.arena);
}

static void a_fork_at_the_end_of_a_page_copies_nothing(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 8, 4, 128);
    sa2_kv_sequence *parent = sa2_kv_open(cache);
    grow(cache, parent, PAGE);
    sa2_kv_sequence *child = sa2_kv_fork(cache, parent);
    assert_int_equal(grow(cache, parent, 1).from, -1);
    assert_int_equal(grow(cache, child, 1).from, -1);
    assert_int_equal(parent->pages[0], child->pages[0]);
    assert_int_not_equal(parent->pages[1], child->pages[1]);
    check(cache);
    sa2_arena_destroy(&owned.arena);
}

static void closing_a_sequence_twice_is_caught(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 8, 4, 128);
    sa2_kv_sequence *s = sa2_kv_open(cache);
    grow(cache, s, 5);
    sa2_kv_close(cache, s);
    pid_t child = fork();
    if (child == 0) {
        fclose(stderr); /* the assertion says so */
        sa2_kv_close(cache, s);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    sa2_arena_destroy(&owned.arena);
}

/* ---- when there is no room ---- */

static void a_sequence_that_does_not_fit_is_told_so_and_left_as_it_was(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 4, 2, 5 * PAGE);
    sa2_kv_sequence *a = sa2_kv_open(cache), *b = sa2_kv_open(cache);
    assert_null(sa2_kv_open(cache));
    assert_null(sa2_kv_fork(cache, a));
    grow(cache, a, 3 * PAGE);
    grow(cache, b, 3);

    sa2_error err = {0};
    sa2_page_copy copy;
    sa2_kv_stats before = sa2_kv_cache_stats(cache);
    assert_int_equal(sa2_kv_grow(cache, a, 1, &copy, &err), SA2_ERR_NOMEM);
    assert_string_equal(err.message, "kv cache: 1 pages needed, 0 of 4 can be had");
    assert_int_equal(sa2_kv_grow(cache, b, 5 * PAGE - 2, &copy, &err), SA2_ERR_LIMIT);
    assert_string_equal(err.message, "kv cache: 80 positions at most, 3 and 78 more asked for");
    assert_int_equal(sa2_kv_grow(cache, b, INT32_MAX, &copy, &err), SA2_ERR_LIMIT);
    sa2_kv_stats after = sa2_kv_cache_stats(cache);
    assert_int_equal(after.n_used, before.n_used);
    assert_int_equal(after.n_cached, before.n_cached);
    assert_int_equal(after.n_free, before.n_free);
    assert_int_equal(after.n_sequences, before.n_sequences);
    assert_int_equal(after.n_evicted_pages, before.n_evicted_pages);
    assert_int_equal(after.n_copied_pages, before.n_copied_pages);
    assert_int_equal(a->n_positions, 3 * PAGE);
    assert_int_equal(b->n_positions, 3);
    check(cache);

    sa2_kv_close(cache, b);
    grow(cache, a, 1);
    check(cache);
    sa2_arena_destroy(&owned.arena);
}

static void a_copy_that_does_not_fit_leaves_the_fork_as_it_was(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 1, 2, 2 * PAGE);
    sa2_kv_sequence *parent = sa2_kv_open(cache);
    grow(cache, parent, 3);
    sa2_kv_sequence *child = sa2_kv_fork(cache, parent);
    sa2_page_copy copy;
    assert_int_equal(sa2_kv_grow(cache, child, 1, &copy, NULL), SA2_ERR_NOMEM);
    assert_int_equal(child->n_positions, 3);
    sa2_kv_close(cache, parent);
    assert_int_equal(grow(cache, child, 1).from, -1);
    check(cache);
    sa2_arena_destroy(&owned.arena);
}

/* ---- prefixes ---- */

enum { LONG = 4 * PAGE + 3 };

static void a_prefix_is_found_again_up_to_the_first_difference(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 32, 4, 256);
    int32_t ids[LONG];
    for (int i = 0; i < LONG; i++)
        ids[i] = i % 7;
    sa2_kv_content content = {.ids = ids, .n = LONG};
    assert_int_equal(matched(cache, &content), 0);
    sa2_kv_sequence *first = admit(cache, &content);
    assert_int_equal(matched(cache, &content), 4 * PAGE); /* while it runs */
    sa2_kv_close(cache, first);
    assert_int_equal(matched(cache, &content), 4 * PAGE); /* and afterwards */

    content.n = 4 * PAGE; /* one position is left to compute */
    assert_int_equal(matched(cache, &content), 3 * PAGE);
    content.n = 1;
    assert_int_equal(matched(cache, &content), 0);
    content.n = LONG;
    for (int i = 0; i < 4 * PAGE; i++) {
        ids[i] += 100;
        assert_int_equal(matched(cache, &content), i / PAGE * PAGE);
        ids[i] -= 100;
    }
    content.salt = 1;
    assert_int_equal(matched(cache, &content), 0);
    sa2_arena_destroy(&owned.arena);
}

static void the_same_ids_with_other_audio_are_another_prefix(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 64, 4, 256);
    int32_t ids[LONG] = {0};
    sa2_kv_audio clip = {.first = PAGE + 2, .n = 20, .hash = sa2_kv_hash_bytes("clip one", 8)};
    sa2_kv_content content = {.ids = ids, .n = LONG, .audio = &clip, .n_audio = 1};
    sa2_kv_close(cache, admit(cache, &content));
    assert_int_equal(matched(cache, &content), 4 * PAGE);

    sa2_kv_audio was = clip;
    clip.hash = sa2_kv_hash_bytes("clip two", 8);
    assert_int_equal(matched(cache, &content), PAGE);
    clip = was;
    clip.first++; /* the same clip a row later */
    assert_int_equal(matched(cache, &content), PAGE);
    clip = was;
    clip.first = PAGE - 1;
    assert_int_equal(matched(cache, &content), 0);
    clip = was;
    clip.n = 3 * PAGE; /* ends later: in the page after the next */
    assert_int_equal(matched(cache, &content), 2 * PAGE);
    content.n_audio = 0;
    assert_int_equal(matched(cache, &content), PAGE);

    /* Cut in two at the end of a page: the second half starts with row 0 again. */
    sa2_kv_audio halves[] = {{.first = PAGE + 2, .n = PAGE - 2, .hash = was.hash},
                             {.first = 2 * PAGE, .n = 20 - (PAGE - 2), .hash = was.hash}};
    content.audio = halves;
    content.n_audio = 2;
    assert_int_equal(matched(cache, &content), 2 * PAGE);
    sa2_arena_destroy(&owned.arena);
}

static void only_written_full_pages_are_found(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 32, 4, 256);
    int32_t ids[LONG] = {0};
    sa2_kv_content content = {.ids = ids, .n = LONG};
    sa2_kv_sequence *s = sa2_kv_open(cache);
    grow(cache, s, LONG);
    assert_int_equal(matched(cache, &content), 0);
    sa2_kv_register(cache, s, &content, PAGE - 1);
    assert_int_equal(matched(cache, &content), 0);
    sa2_kv_register(cache, s, &content, 2 * PAGE + 1);
    assert_int_equal(matched(cache, &content), 2 * PAGE);
    sa2_kv_register(cache, s, &content, LONG);
    assert_int_equal(matched(cache, &content), 4 * PAGE);
    sa2_arena_destroy(&owned.arena);
}

static void two_that_computed_the_same_page_keep_their_own_and_one_is_found(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 32, 4, 256);
    int32_t ids[LONG] = {0};
    sa2_kv_content content = {.ids = ids, .n = LONG};
    sa2_kv_sequence *a = sa2_kv_open(cache), *b = sa2_kv_open(cache);
    grow(cache, a, LONG);
    grow(cache, b, LONG);
    sa2_kv_register(cache, a, &content, LONG);
    sa2_kv_register(cache, b, &content, LONG);
    check(cache);
    sa2_kv_close(cache, b);
    assert_int_equal(sa2_kv_cache_stats(cache).n_cached, 0);
    sa2_kv_close(cache, a);
    assert_int_equal(sa2_kv_cache_stats(cache).n_cached, 4);
    assert_int_equal(matched(cache, &content), 4 * PAGE);
    sa2_arena_destroy(&owned.arena);
}

static void cached_pages_are_taken_oldest_first_and_from_the_end_of_a_prefix(void **state)
{
    (void)state;
    owned_cache owned;
    sa2_kv_cache *cache = owned_create(&owned, 6, 4, 256);
    int32_t old_ids[2 * PAGE + 1] = {1}, new_ids[2 * PAGE + 1] = {2};
    sa2_kv_content old = {.ids = old_ids, .n = 2 * PAGE + 1};
    sa2_kv_content new = {.ids = new_ids, .n = 2 * PAGE + 1};
    sa2_kv_close(cache, admit(cache, &old));
    sa2_kv_close(cache, admit(cache, &new));
    assert_int_equal(sa2_kv_cache_stats(cache).n_cached, 4);

    sa2_kv_sequence *hungry = sa2_kv_open(cache);
    grow(cache, hungry, 2 * PAGE); /* the free ones */
    assert_int_equal(sa2_kv_cache_stats(cache).n_evicted_pages, 0);
    grow(cache, hungry, PAGE);
    assert_int_equal(matched(cache, &old), PAGE);
    assert_int_equal(matched(cache, &new), 2 * PAGE);
    matched(cache, &old); /* now the last used */
    grow(cache, hungry, PAGE);
    assert_int_equal(matched(cache, &new), PAGE);
    matched(cache, &old);
    grow(cache, hungry, PAGE);
    assert_int_equal(matched(cache, &new), 0);
    assert_int_equal(matched(cache, &old), PAGE);
    assert_int_equal(sa2_kv_cache_stats(cache).n_evicted_pages, 3);
    sa2_arena_destroy(&owned.arena);
}

/* ---- create ---- */

static void create_reports_every_option_that_makes_no_sense(void **state)
{
    (void)state;
    sa2_arena arena;
    assert_int_equal(sa2_arena_create(&arena, 1 << 16, NULL), SA2_OK);
    sa2_error err = {0};
    sa2_kv_cache *cache;
    sa2_kv_cache_options options = {.page_size = 24};
    assert_int_equal(sa2_kv_cache_create(&cache, &options, &arena, &err), SA2_ERR_ARG);
    assert_null(cache);
    assert_string_equal(err.message,
                        "kv cache n_pages: 1 to 1073741824 expected, 0 found\n"
                        "kv cache page_size: a multiple of 16 up to 4096 expected, 24 found\n"
                        "kv cache max_sequences: 1 or more expected, 0 found\n"
                        "kv cache max_positions: 1 to 1073741824 expected, 0 found");
    assert_int_equal(arena.used, 0);
    sa2_arena_destroy(&arena);
}

static void create_gives_back_what_it_took_when_memory_ends_anywhere(void **state)
{
    (void)state;
    sa2_kv_cache_options options = {
        .n_pages = 5, .page_size = 16, .max_sequences = 3, .max_positions = 40};
    size_t needed = sa2_kv_cache_bytes(&options);
    sa2_arena whole;
    assert_int_equal(sa2_arena_create(&whole, needed, NULL), SA2_OK);
    for (size_t bytes = 0; bytes < needed; bytes += SA2_ARENA_ALIGN) {
        sa2_arena arena;
        sa2_error err = {0};
        sa2_kv_cache *cache;
        sa2_arena_init(&arena, whole.base, bytes);
        assert_int_equal(sa2_kv_cache_create(&cache, &options, &arena, &err), SA2_ERR_NOMEM);
        assert_null(cache);
        assert_int_equal(arena.used, 0);
        assert_non_null(strstr(err.message, "bytes of memory expected"));
    }
    sa2_kv_cache *cache;
    assert_int_equal(sa2_kv_cache_create(&cache, &options, &whole, NULL), SA2_OK);
    sa2_arena_destroy(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fork_shares_pages_until_one_of_the_two_writes),
        cmocka_unit_test(a_fork_at_the_end_of_a_page_copies_nothing),
        cmocka_unit_test(closing_a_sequence_twice_is_caught),
        cmocka_unit_test(a_sequence_that_does_not_fit_is_told_so_and_left_as_it_was),
        cmocka_unit_test(a_copy_that_does_not_fit_leaves_the_fork_as_it_was),
        cmocka_unit_test(a_prefix_is_found_again_up_to_the_first_difference),
        cmocka_unit_test(the_same_ids_with_other_audio_are_another_prefix),
        cmocka_unit_test(only_written_full_pages_are_found),
        cmocka_unit_test(two_that_computed_the_same_page_keep_their_own_and_one_is_found),
        cmocka_unit_test(cached_pages_are_taken_oldest_first_and_from_the_end_of_a_prefix),
        cmocka_unit_test(create_reports_every_option_that_makes_no_sense),
        cmocka_unit_test(create_gives_back_what_it_took_when_memory_ends_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
