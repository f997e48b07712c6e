/* A request in a crowd says what it says alone, to the bit: whatever the size of pages, steps and cache, whoever comes,
 * goes or is preempted beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/serving/engine_internal.h"
#include "tests/support/answers.h"
#include "tests/support/small_model.h"

enum { N_REQUESTS = 32, N_GROWING = 8, MAX_PROMPT = 160, MAX_SAMPLES = 24000, N_THREADS = 2 };

/* One request with all it points to. */
typedef struct wish {
    sa2_request request;
    int32_t ids[MAX_PROMPT];
    sa2_chat_item pieces[3];
    char text[2][64];
    float samples[MAX_SAMPLES];
    sa2_sound sound;
    const char *stop[1];
    int cancel_after; /* events; 0: never */
} wish;

typedef struct world {
    test_model model;
    bool kv_int8;
    wish *wishes;         /* [N_REQUESTS] */
    test_answer *alone;   /* [N_REQUESTS] */
    test_answer *crowded; /* [N_REQUESTS] */
    uint64_t random;
} world;

static int draw(world *w, int n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (int)((w->random >> 33) % (uint64_t)n);
}

/* Most prompts begin alike, so that prefixes are found. */
static void make_ids(world *w, wish *x)
{
    size_t n = 1 + (size_t)draw(w, draw(w, 3) != 0 ? MAX_PROMPT : 20);
    bool common = draw(w, 3) != 0;
    for (size_t i = 0; i < n; i++)
        x->ids[i] = common && i < 100 ? (int32_t)(7 + 3 * i) : draw(w, 900);
    x->request.ids = x->ids;
    x->request.n_ids = n;
}

/* Text, sound, text; three sounds are the same for several. */
static void make_pieces(world *w, wish *x)
{
    static const int64_t lengths[] = {1, 3, 320, 5000, 16000, MAX_SAMPLES};
    x->sound = (sa2_sound){x->samples, lengths[draw(w, 6)], 16000};
    int pitch = 1 + draw(w, 2);
    for (int i = 0; i < MAX_SAMPLES; i++)
        x->samples[i] = (float)((i * pitch * 37) % 1000) / 1000.0f - 0.5f;
    snprintf(x->text[0], sizeof x->text[0], "what is this");
    snprintf(x->text[1], sizeof x->text[1], "tell %d things", draw(w, 100));
    for (int i = 0; i < 3; i += 2)
        x->pieces[i] = (sa2_chat_item){
            .kind = SA2_CHAT_TEXT, .text = x->text[i / 2], .n_bytes = strlen(x->text[i / 2])};
    x->pieces[1] = (sa2_chat_item){.kind = SA2_CHAT_AUDIO};
    x->request.pieces = x->pieces;
    x->request.n_pieces = 3;
    x->request.sounds = &x->sound;
    x->request.n_sounds = 1;
}

/* Short prompt, long answer: many of these run out of pages. */
static void make_growing(world *w, wish *x)
{
    x->request = sa2_request_default();
    make_ids(w, x);
    x->request.n_ids = 5;
    x->request.sampling.seed = draw(w, 1000);
    x->request.sampling.n_logprobs = 2;
    x->request.max_tokens = 80;
    x->request.ignore_eos = true;
}

static void make_wish(world *w, wish *x)
{
    sa2_request *r = &x->request;
    *r = sa2_request_default();
    if (draw(w, 3) == 0)
        make_pieces(w, x);
    else
        make_ids(w, x);
    r->sampling.temperature = draw(w, 2) == 0 ? 0.0f : 1.0f;
    r->sampling.seed = draw(w, 1000);
    r->sampling.n_logprobs = 2;
    r->sampling.repetition_penalty = draw(w, 4) == 0 ? 1.2f : 1.0f;
    r->max_tokens = 1 + draw(w, 40);
    r->speak = draw(w, 4) == 0;
    r->ignore_eos = draw(w, 2) == 0;
    r->n = draw(w, 4) == 0 ? 1 + draw(w, 3) : 1;
    if (draw(w, 6) == 0) {
        r->n = 1;
        r->beam.n_beams = 2 + draw(w, 2);
        r->sampling.n_logprobs = -1;
        r->return_ids = true;
    } else if (draw(w, 4) == 0) {
        x->stop[0] = "e";
        r->stop = x->stop;
        r->n_stop = 1;
    }
    if (draw(w, 5) == 0)
        x->cancel_after = 1 + draw(w, 10);
}

static sa2_engine *open_engine(world *w, sa2_engine_options options)
{
    sa2_engine *engine;
    sa2_error err = {0};
    options.request_bytes = 64 << 20;
    options.kv_int8 = w->kv_int8;
    if (sa2_engine_create_from_model(&engine, &w->model.model, NULL, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return engine;
}

static int open_world(void **state, bool kv_int8)
{
    world *w = calloc(1, sizeof *w);
    w->kv_int8 = kv_int8;
    w->random = 11;
    test_model_open(&w->model, N_THREADS);
    w->wishes = calloc(N_REQUESTS, sizeof *w->wishes);
    w->alone = calloc(N_REQUESTS, sizeof *w->alone);
    w->crowded = calloc(N_REQUESTS, sizeof *w->crowded);
    sa2_engine *engine = open_engine(w, (sa2_engine_options){.no_prefix_caching = true});
    for (int i = 0; i < N_REQUESTS; i++) {
        (i < N_GROWING ? make_growing : make_wish)(w, &w->wishes[i]);
        test_answer_ask(engine, &w->wishes[i].request, &w->alone[i]);
    }
    sa2_engine_destroy(engine);
    *state = w;
    return 0;
}

static int open_plain(void **state)
{
    return open_world(state, false);
}

static int open_rounded(void **state)
{
    return open_world(state, true);
}

static int close_world(void **state)
{
    world *w = *state;
    for (int i = 0; i < N_REQUESTS; i++)
        test_answer_free(&w->alone[i]);
    test_model_close(&w->model);
    free(w->crowded);
    free(w->alone);
    free(w->wishes);
    free(w);
    return 0;
}

/* Submits now and then, takes events in between, cancels some. */
static void run_crowd(world *w, sa2_engine *engine)
{
    sa2_request_id ids[N_REQUESTS];
    int n_events[N_REQUESTS] = {0}, n_submitted = 0, n_done = 0;
    while (n_done < N_REQUESTS) {
        if (n_submitted < N_REQUESTS && (n_submitted < N_GROWING || draw(w, 3) == 0)) {
            ids[n_submitted] = test_submit(engine, &w->wishes[n_submitted].request);
            n_submitted++;
            continue;
        }
        sa2_event *e =
            sa2_engine_poll(engine, n_submitted < N_REQUESTS ? draw(w, 2) : TEST_PATIENCE_MS);
        if (e == NULL) {
            assert_true(n_submitted < N_REQUESTS);
            continue;
        }
        int i = 0;
        while (ids[i] != e->request)
            i++;
        test_answer_take(&w->crowded[i], e);
        n_done += e->kind == SA2_EVENT_DONE;
        if (++n_events[i] == w->wishes[i].cancel_after)
            sa2_engine_cancel(engine, ids[i]);
        sa2_event_release(engine, e);
    }
}

/* What a cancelled request has said is the start of what it says alone. */
static void assert_start(const char *what, const test_answer *part, const test_answer *whole)
{
    for (int i = 0; i < TEST_MAX_CHOICES; i++) {
        const test_choice *p = &part->choices[i], *a = &whole->choices[i];
        if (p->n_tokens > a->n_tokens ||
            memcmp(p->tokens, a->tokens, (size_t)p->n_tokens * sizeof *p->tokens) != 0 ||
            memcmp(p->top, a->top, (size_t)p->n_tokens * sizeof *p->top) != 0)
            fail_msg("%s, choice %d: %d tokens are not the start of what it says alone", what, i,
                     p->n_tokens);
    }
}

static void compare(world *w, sa2_engine *engine, const char *config)
{
    for (int i = 0; i < N_REQUESTS; i++) {
        char what[128];
        test_answer *a = &w->crowded[i];
        snprintf(what, sizeof what, "%s, request %d", config, i);
        if (a->n_done != 1 || a->n_events_after_done != 0)
            fail_msg("%s: ended %d times, %d events later", what, a->n_done,
                     a->n_events_after_done);
        if (a->finish == SA2_FINISH_CANCELLED)
            assert_start(what, a, &w->alone[i]);
        else
            assert_same_answer(what, &w->alone[i], a);
        test_answer_free(a);
    }
    assert_nothing_is_left(engine);
}

static void a_request_in_a_crowd_says_what_it_says_alone(void **state)
{
    world *w = *state;
    /* A position has 2 layers * 2 * 64 values of 2 bytes, or of 1 and a step of 4. The longest request, 3 answers of 160 + 40
     * positions, needs up to 600 positions. */
    const size_t position = w->kv_int8 ? 272 : 512;
    const sa2_engine_options configs[] = {
        {.block_size = 16,
         .max_num_batched_tokens = 16,
         .max_num_seqs = 16,
         .kv_cache_bytes = position * 512},
        {.block_size = 48,
         .max_num_batched_tokens = 33,
         .max_num_seqs = 32,
         .kv_cache_bytes = position * 576,
         .no_prefix_caching = true},
        {.block_size = 32, .max_num_batched_tokens = 512, .kv_cache_bytes = position * 2048},
    };
    int64_t n_preemptions = 0, n_cached = 0;
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        char what[64];
        snprintf(what, sizeof what, "pages of %d, steps of %d rows", configs[i].block_size,
                 configs[i].max_num_batched_tokens);
        sa2_engine *engine = open_engine(w, configs[i]);
        run_crowd(w, engine);
        compare(w, engine, what);
        sa2_engine_stats stats = test_stats(engine);
        n_preemptions += stats.n_preemptions;
        n_cached += stats.n_cached_tokens;
        sa2_engine_destroy(engine);
    }
    print_message("%lld preemptions, %lld positions found\n", (long long)n_preemptions,
                  (long long)n_cached);
    assert_true(n_preemptions > 0 && n_cached > 0);
}

/* Rounding depends on a row's values alone, and a prompt's own rows are read as rounded in every cut. */
static void and_with_a_cache_in_8_bits(void **state)
{
    a_request_in_a_crowd_says_what_it_says_alone(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_in_a_crowd_says_what_it_says_alone, open_plain,
                                        close_world),
        cmocka_unit_test_setup_teardown(and_with_a_cache_in_8_bits, open_rounded, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
