/* What the DiT keeps of past frames, against the reference's rule carried out on a list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/token2wav/flow_kept.h"

enum { MAX_LIST = 4096, TAIL = 100 };

/* The reference's list: prompt frame p is -1 - p, frame f of the stream is f. */
typedef struct list {
    int n;
    int frame[MAX_LIST];
} list;

/* Both sides of one stream: the list, and the store with the frames that were copied into it. */
typedef struct stream {
    list list;
    sa2_flow_kept kept;
    int store[MAX_LIST];
    int written;
} stream;

static stream start(int prompt, int tail)
{
    stream s = {.kept = {.prompt = prompt, .tail = tail}};
    for (int p = 0; p < prompt; p++)
        s.list.frame[s.list.n++] = -1 - p;
    for (int r = 0; r < MAX_LIST; r++)
        s.store[r] = INT32_MIN;
    return s;
}

static void add_chunk(stream *s, int n)
{
    sa2_flow_copy copies[SA2_FLOW_KEPT_COPIES];
    int n_copies = sa2_flow_kept_copies(&s->kept, n, copies);
    assert_true(n_copies <= SA2_FLOW_KEPT_COPIES);
    for (int c = 0; c < n_copies; c++) {
        assert_true(copies[c].n >= 1 && copies[c].from >= 0 && copies[c].from + copies[c].n <= n);
        assert_true(copies[c].to >= 0 &&
                    copies[c].to + copies[c].n <= sa2_flow_kept_rows(&s->kept));
        for (int i = 0; i < copies[c].n; i++)
            s->store[copies[c].to + i] = s->written + copies[c].from + i;
    }
    s->kept.frames += n;

    list *l = &s->list;
    memmove(l->frame + n, l->frame, (size_t)l->n * sizeof *l->frame);
    for (int i = 0; i < n; i++)
        l->frame[i] = s->written + i;
    l->n += n;
    s->written += n;
    int prompt = s->kept.prompt, tail = s->kept.tail;
    if (l->n > prompt + tail) {
        memmove(l->frame + prompt, l->frame + l->n - tail, (size_t)tail * sizeof *l->frame);
        l->n = prompt + tail;
    }
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void assert_same_frames(stream *s)
{
    sa2_flow_run runs[SA2_FLOW_KEPT_RUNS];
    int n_runs = sa2_flow_kept_runs(&s->kept, runs), n = 0, found[MAX_LIST], want[MAX_LIST];
    assert_true(n_runs <= SA2_FLOW_KEPT_RUNS);
    for (int r = 0; r < n_runs; r++)
        for (int i = 0; i < runs[r].n; i++)
            found[n++] = runs[r].prompt ? -1 - (runs[r].first + i) : s->store[runs[r].first + i];
    assert_int_equal(n, s->list.n);
    assert_int_equal(n, sa2_flow_kept_count(&s->kept));
    memcpy(want, s->list.frame, (size_t)n * sizeof *want);
    qsort(found, (size_t)n, sizeof *found, by_value);
    qsort(want, (size_t)n, sizeof *want, by_value);
    assert_memory_equal(found, want, (size_t)n * sizeof *want);
}

static void the_runs_of_a_long_prompt_are_those_of_the_specification(void **state)
{
    (void)state;
    stream s = start(452, TAIL);
    int prefix_after[] = {452, 452, 302, 252, 202, 152, 102, 52, 2, 0, 0};
    for (int chunk = 1; chunk <= 11; chunk++) {
        int offset = chunk == 1 ? 452 : chunk == 2 ? 502 : 552;
        assert_int_equal(sa2_flow_kept_count(&s.kept), offset); /* where the noise begins */
        add_chunk(&s, 50);
        assert_same_frames(&s);
        sa2_flow_run runs[SA2_FLOW_KEPT_RUNS];
        int n = sa2_flow_kept_runs(&s.kept, runs), prefix = 0, last = 0, generated = 0;
        for (int i = 0; i < n; i++) {
            generated += runs[i].prompt ? 0 : runs[i].n;
            prefix += runs[i].prompt && runs[i].first == 0 ? runs[i].n : 0;
            last += runs[i].prompt && runs[i].first == 352 ? runs[i].n : 0;
        }
        assert_int_equal(prefix, prefix_after[chunk - 1]);
        assert_int_equal(last, chunk < 3 ? 0 : 100);
        assert_int_equal(generated, chunk < 10 ? 50 * chunk : 452);
    }
    assert_int_equal(s.list.frame[450], 50); /* of the tenth newest chunk, the second, the first */
    assert_int_equal(s.list.frame[451], 51); /* two frames are left */
    assert_int_equal(s.list.frame[452], -1 - 352);
}

static void any_cut_into_chunks_keeps_what_the_list_keeps(void **state)
{
    (void)state;
    static const int prompts[] = {0, 2, 20, 99, 100, 101, 110, 300};
    static const int tails[] = {0, 1, 100, 130};
    srand(1);
    for (size_t p = 0; p < sizeof prompts / sizeof prompts[0]; p++)
        for (size_t t = 0; t < sizeof tails / sizeof tails[0]; t++)
            for (int most = 2; most <= 512;
                 most *= 4) { /* also chunks longer than all that is kept */
                stream s = start(prompts[p], tails[t]);
                assert_same_frames(&s);
                for (int chunk = 0; chunk < 40; chunk++) {
                    add_chunk(&s, 1 + rand() % most);
                    assert_same_frames(&s);
                }
            }
}

static void nothing_is_dropped_when_the_tail_holds_everything(void **state)
{
    (void)state;
    stream s = start(0, 84);
    add_chunk(&s, 24);
    add_chunk(&s, 10);
    add_chunk(&s, 50);
    assert_same_frames(&s);
    assert_int_equal(s.list.n, 84);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_runs_of_a_long_prompt_are_those_of_the_specification),
        cmocka_unit_test(any_cut_into_chunks_keeps_what_the_list_keeps),
        cmocka_unit_test(nothing_is_dropped_when_the_tail_holds_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
