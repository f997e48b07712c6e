/* The flow as a whole: streams beside each other, memory, noise, refusals, and products in bf16. Values are judged
 * by the golden cases of test_golden.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/flow_bench.h"

enum { MAX_TOKENS = 160, MEMORY = 96 << 20, MAX_CHUNKS = 8 };

/* One stream with its chunks, and the mel that it gives. */
typedef struct speaker {
    const sa2_flow_voice *voice;
    int lengths[MAX_CHUNKS]; /* of chunks, 0 behind the last */
    int32_t *tokens;
    float *mel[MAX_CHUNKS];
    sa2_flow_stream stream;
    int next, first; /* chunk, and its first token */
} speaker;

static int count_tokens(const speaker *p)
{
    int n = 0;
    for (int i = 0; i < MAX_CHUNKS; i++)
        n += p->lengths[i];
    return n;
}

static bool is_last(const speaker *p, int chunk)
{
    return chunk + 1 == MAX_CHUNKS || p->lengths[chunk + 1] == 0;
}

static sa2_flow_chunk next_chunk(speaker *p)
{
    return (sa2_flow_chunk){.stream = &p->stream,
                            .tokens = p->tokens + p->first,
                            .n = p->lengths[p->next],
                            .last = is_last(p, p->next)};
}

static void start(flow_bench *b, const sa2_flow_cache *cache, speaker *p, int slot)
{
    sa2_error err = {0};
    flow_bench_ok(
        sa2_flow_stream_start(b->stream, &b->flow, cache, &p->stream, slot, p->voice, &err), &err);
    p->next = p->first = 0;
}

static void keep_mel(const flow_bench *b, speaker *p, const float *mel)
{
    size_t n = (size_t)(p->lengths[p->next] * b->config.up_stride * b->config.mel);
    p->mel[p->next] = malloc(n * sizeof *mel);
    assert_non_null(p->mel[p->next]);
    memcpy(p->mel[p->next], mel, n * sizeof *mel);
    p->first += p->lengths[p->next++];
}

/* One chunk of each of n speakers in one solution; who has no more is left out. */
static void speak_once(flow_bench *b, const sa2_flow_cache *cache, speaker **speakers, int n)
{
    sa2_flow_chunk chunks[4];
    speaker *those[4];
    int m = 0;
    for (int i = 0; i < n; i++)
        if (speakers[i]->lengths[speakers[i]->next] > 0) {
            those[m] = speakers[i];
            chunks[m++] = next_chunk(speakers[i]);
        }
    if (m == 0)
        return;
    float *mel = flow_bench_mel(b, cache, chunks, m);
    for (int i = 0, row = 0; i < m; i++) {
        keep_mel(b, those[i], mel + row * b->config.mel);
        row += chunks[i].n * b->config.up_stride;
    }
    free(mel);
}

static void free_mel(speaker *p)
{
    for (int i = 0; i < MAX_CHUNKS; i++) {
        free(p->mel[i]);
        p->mel[i] = NULL;
    }
}

static void assert_same_mel(const flow_bench *b, const speaker *found, const speaker *want)
{
    for (int i = 0; i < MAX_CHUNKS && want->mel[i] != NULL; i++) {
        size_t n = (size_t)(want->lengths[i] * b->config.up_stride * b->config.mel);
        assert_non_null(found->mel[i]);
        if (memcmp(found->mel[i], want->mel[i], n * sizeof(float)) != 0)
            fail_msg("chunk %d differs", i);
    }
}

static sa2_flow_cache make_cache(flow_bench *b, int slots, int prompt_tokens)
{
    sa2_flow_cache cache;
    sa2_error err = {0};
    flow_bench_ok(
        sa2_flow_cache_init(b->stream, &b->flow, &cache, slots, prompt_tokens, &b->memory, &err),
        &err);
    return cache;
}

/* ---- streams beside each other ---- */

static void streams_together_are_each_alone_and_survive_the_end_of_others(void **state)
{
    (void)state;
    static const sa2_dtype dtypes[] = {SA2_F32, SA2_BF16}; /* bf16 in the sizes that tiles take */
    for (int d = 0; d < 2; d++) {
        flow_bench b;
        flow_bench_open(&b, d == 0 ? &flow_bench_odd_sizes : NULL, dtypes[d], MAX_TOKENS, 80, 3,
                        MEMORY);
        sa2_flow_prompt prompts[] = {flow_bench_prompt(&b, 10), flow_bench_prompt(&b, 55)};
        sa2_flow_voice voices[] = {flow_bench_voice(&b, &prompts[0]),
                                   flow_bench_voice(&b, &prompts[1])};
        speaker alone[] = {
            {.voice = &voices[0], .lengths = {25, 25, 2, 30, 5}},
            {.voice = &voices[1], .lengths = {4, 17, 25, 25, 3}},
            {.voice = &voices[0], .lengths = {9, 9, 3}},
            {.voice = &voices[1], .lengths = {2, 11, 3}}, /* takes the place of the third */
        };
        speaker together[4];
        sa2_flow_cache cache = make_cache(&b, 3, 55);
        for (int i = 0; i < 4; i++) {
            alone[i].tokens = flow_bench_tokens(&b, count_tokens(&alone[i]));
            together[i] = alone[i];
            start(&b, &cache, &alone[i], i % 3);
            for (int c = 0; c < MAX_CHUNKS; c++)
                speak_once(&b, &cache, (speaker *[]){&alone[i]}, 1);
        }
        speaker *now[] = {&together[0], &together[1], &together[2]};
        for (int i = 0; i < 3; i++)
            start(&b, &cache, now[i], i);
        speak_once(&b, &cache, now, 3);
        speak_once(&b, &cache, now, 2); /* one waits */
        speak_once(&b, &cache, now, 3); /* and is given up in the middle: */
        now[2] = &together[3];
        start(&b, &cache, now[2], 2);
        for (int c = 0; c < MAX_CHUNKS; c++)
            speak_once(&b, &cache, now, 3);
        for (int i = 0; i < 4; i++) {
            if (i == 2)
                free(alone[i].mel[2]), alone[i].mel[2] = NULL; /* never asked for */
            assert_same_mel(&b, &together[i], &alone[i]);
            free_mel(&alone[i]);
            free_mel(&together[i]);
            free(alone[i].tokens);
        }
        flow_bench_free_prompt(&prompts[0]);
        flow_bench_free_prompt(&prompts[1]);
        flow_bench_close(&b);
    }
}

static void a_stream_that_is_over_or_there_twice_is_refused(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 64, 40, 2, MEMORY);
    sa2_flow_prompt prompt = flow_bench_prompt(&b, 6);
    sa2_flow_voice voice = flow_bench_voice(&b, &prompt);
    sa2_flow_cache cache = make_cache(&b, 2, 6);
    speaker p = {.voice = &voice, .lengths = {5}};
    p.tokens = flow_bench_tokens(&b, 30);
    start(&b, &cache, &p, 1);
    const sa2_flow_chunk twice[] = {next_chunk(&p), next_chunk(&p)};
    sa2_flow_solution solution;
    sa2_tensor none = {0};
    sa2_error err = {0};
    assert_int_equal(
        sa2_flow_begin(b.stream, &b.flow, &cache, &b.room, &solution, none, twice, 2, &err),
        SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "chunks 0 and 1 are both of slot 1"));
    speak_once(&b, &cache, (speaker *[]){&p}, 1);
    assert_null(p.stream.voice);
    assert_int_equal(
        sa2_flow_begin(b.stream, &b.flow, &cache, &b.room, &solution, none, twice, 1, &err),
        SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "chunk 0 of a stream that is over"));
    assert_int_equal(sa2_flow_step(b.stream, &solution, &err), SA2_ERR_ARG);
    assert_int_equal(sa2_flow_stream_start(b.stream, &b.flow, &cache, &p.stream, 2, &voice, &err),
                     SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "slot 2 of 2"));

    start(&b, &cache, &p, 0); /* given up half way, it is over too, and its room is free again */
    sa2_flow_chunk chunk = next_chunk(&p);
    size_t mark = sa2_arena_mark(&b.memory);
    sa2_tensor mel = sa2_tensor_2d(sa2_arena_take(&b.memory, 10 * 80 * 4), SA2_F32, 10, 80);
    flow_bench_ok(
        sa2_flow_begin(b.stream, &b.flow, &cache, &b.room, &solution, mel, &chunk, 1, &err), &err);
    flow_bench_ok(sa2_flow_step(b.stream, &solution, &err), &err);
    assert_int_not_equal(b.work.used, 0);
    sa2_flow_abandon(&solution);
    sa2_flow_abandon(&solution);
    assert_null(p.stream.voice);
    sa2_arena_rewind(&b.memory, mark);
    free_mel(&p);
    free(p.tokens);
    flow_bench_free_prompt(&prompt);
    flow_bench_close(&b);
}

/* ---- what is refused changes nothing ---- */

/* Begins with a chunk that must be refused. */
static void assert_chunk_refused(flow_bench *b, const sa2_flow_cache *cache, sa2_flow_chunk chunk,
                                 sa2_status status, const char *words)
{
    sa2_flow_solution solution;
    sa2_error err = {0};
    sa2_flow_stream before = *chunk.stream;
    assert_int_equal(sa2_flow_begin(b->stream, &b->flow, cache, &b->room, &solution,
                                    (sa2_tensor){0}, &chunk, 1, &err),
                     status);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", words, err.message);
    assert_memory_equal(chunk.stream, &before, sizeof before);
    assert_int_equal(b->work.used + b->host.used, 0);
}

static void chunks_that_cannot_be_are_refused_and_leave_the_stream_as_it_was(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 40, 30, 1, MEMORY);
    sa2_flow_prompt prompt = flow_bench_prompt(&b, 6);
    sa2_flow_voice voice = flow_bench_voice(&b, &prompt);
    sa2_flow_cache cache = make_cache(&b, 1, 6);
    speaker p = {.voice = &voice, .lengths = {8, 9, 1}}, asked;
    p.tokens = flow_bench_tokens(&b, 48);
    asked = p;
    start(&b, &cache, &p, 0);
    for (int i = 0; i < 3; i++)
        speak_once(&b, &cache, (speaker *[]){&p}, 1);

    start(&b, &cache, &asked, 0);
    speak_once(&b, &cache, (speaker *[]){&asked}, 1);
    int32_t *wrong = flow_bench_tokens(&b, 48);
    sa2_flow_chunk chunk = {.stream = &asked.stream, .tokens = wrong, .n = 9};
    wrong[11] = b.config.vocab; /* the last one of the look-ahead */
    assert_chunk_refused(&b, &cache, chunk, SA2_ERR_ARG, "token 6561 at place 11, 0 to 6560");
    wrong[11] = 0;
    wrong[0] = -1;
    assert_chunk_refused(&b, &cache, chunk, SA2_ERR_ARG, "token -1 at place 0");
    wrong[0] = 0;
    chunk.n = 1;
    assert_chunk_refused(&b, &cache, chunk, SA2_ERR_ARG, "a chunk of 1 tokens, 2 or more");
    chunk.n = 0;
    assert_chunk_refused(&b, &cache, chunk, SA2_ERR_ARG, "chunk 0 has 0 tokens");
    chunk.n = 27;
    assert_chunk_refused(&b, &cache, chunk, SA2_ERR_LIMIT, "27 tokens after 14, room for 40");
    chunk.n = INT32_MAX;
    assert_chunk_refused(&b, &cache, chunk, SA2_ERR_LIMIT, "2147483647 tokens after 14");
    speak_once(&b, &cache, (speaker *[]){&asked}, 1);
    speak_once(&b, &cache, (speaker *[]){&asked}, 1); /* of one token, which the last may have */
    assert_same_mel(&b, &asked, &p);
    free_mel(&p);
    free_mel(&asked);
    free(p.tokens);
    free(wrong);
    flow_bench_free_prompt(&prompt);
    flow_bench_close(&b);
}

static void voices_that_cannot_be_are_refused_and_take_no_memory(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 20, 20, 1, MEMORY);
    sa2_flow_prompt prompt = flow_bench_prompt(&b, 21);
    int32_t *tokens = flow_bench_tokens(&b, 21);
    sa2_flow_voice voice;
    sa2_error err = {0};
    prompt.n_tokens = 2;
    assert_int_equal(
        sa2_flow_voice_init(b.stream, &b.flow, &voice, &prompt, &b.memory, &b.room, &err),
        SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "a voice prompt of 2 tokens, 3 to 20 expected"));
    prompt.n_tokens = 21;
    assert_int_equal(
        sa2_flow_voice_init(b.stream, &b.flow, &voice, &prompt, &b.memory, &b.room, &err),
        SA2_ERR_LIMIT);
    tokens[4] = 7000;
    const sa2_flow_prompt wrong = {
        .tokens = tokens, .n_tokens = 6, .mel = prompt.mel, .speaker = prompt.speaker};
    assert_int_equal(
        sa2_flow_voice_init(b.stream, &b.flow, &voice, &wrong, &b.memory, &b.room, &err),
        SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "token 7000 at place 4"));
    assert_int_equal(b.memory.used, 0);

    prompt.n_tokens = 6;
    voice = flow_bench_voice(&b, &prompt);
    sa2_flow_cache cache = make_cache(&b, 1, 5);
    sa2_flow_stream stream;
    assert_int_equal(sa2_flow_stream_start(b.stream, &b.flow, &cache, &stream, 0, &voice, &err),
                     SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "a voice prompt of 12 frames, room for 10 is planned"));
    free(tokens);
    flow_bench_free_prompt(&prompt);
    flow_bench_close(&b);
}

/* ---- memory ---- */

static void memory_is_what_was_planned_to_the_byte(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_BF16, 64, 24, 1, MEMORY);
    sa2_flow_prompt prompt = flow_bench_prompt(&b, 12);
    sa2_flow_voice voice = flow_bench_voice(&b, &prompt);
    assert_int_equal(b.memory.used, sa2_flow_voice_bytes(&b.flow, 12));
    size_t mark = sa2_arena_mark(&b.memory);
    sa2_flow_cache cache = make_cache(&b, 3, 12);
    assert_int_equal(b.memory.used - mark, sa2_flow_cache_bytes(&b.flow, 3, 12));
    speaker p = {.voice = &voice, .lengths = {24, 23}};
    p.tokens = flow_bench_tokens(&b, 47);
    start(&b, &cache, &p, 2);
    b.work.bytes -= 64; /* one line of memory is missing */
    assert_chunk_refused(&b, &cache, next_chunk(&p), SA2_ERR_NOMEM, "24 tokens need");
    b.work.bytes += 64;
    b.host.bytes -= 64;
    assert_chunk_refused(&b, &cache, next_chunk(&p), SA2_ERR_NOMEM, "on the host");
    b.host.bytes += 64;
    speak_once(&b, &cache, (speaker *[]){&p}, 1);
    speak_once(&b, &cache, (speaker *[]){&p}, 1);
    assert_true(b.work.peak <= b.work.bytes && b.host.peak <= b.host.bytes);

    sa2_error err = {0};
    sa2_flow_cache more;
    mark = sa2_arena_mark(&b.memory);
    assert_int_equal(sa2_flow_cache_init(b.stream, &b.flow, &more, 100000, 12, &b.memory, &err),
                     SA2_ERR_NOMEM);
    assert_int_equal(sa2_flow_cache_init(b.stream, &b.flow, &more, 100000000, 12, &b.memory, &err),
                     SA2_ERR_LIMIT);
    assert_int_equal(b.memory.used, mark);
    free_mel(&p);
    free(p.tokens);
    flow_bench_free_prompt(&prompt);
    flow_bench_close(&b);
}

/* ---- noise ---- */

/* The chunks of a stream where row `changed` of the noise is 3 larger; -1: none is. */
static void speak_with_noise(flow_bench *b, const sa2_flow_cache *cache, speaker *p, float *noise,
                             int changed)
{
    sa2_error err = {0};
    int64_t rows = b->flow.noise.shape[0];
    float *value = &noise[(changed >= 0 ? changed : 0) * b->config.mel + 1], before = *value;
    if (changed >= 0)
        *value += 3.0f;
    flow_bench_ok(sa2_flow_set_noise(b->stream, &b->flow, noise, rows, &err), &err);
    *value = before;
    start(b, cache, p, 0);
    while (p->lengths[p->next] > 0)
        speak_once(b, cache, (speaker *[]){p}, 1);
}

static void the_noise_of_a_chunk_begins_where_the_kept_frames_end(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 120, 30, 1, MEMORY);
    sa2_flow_prompt prompt = flow_bench_prompt(&b, 7);
    sa2_flow_voice voice = flow_bench_voice(&b, &prompt);
    sa2_flow_cache cache = make_cache(&b, 1, 7);
    speaker want = {.voice = &voice, .lengths = {25, 25, 25, 10}};
    want.tokens = flow_bench_tokens(&b, count_tokens(&want));
    static const struct {
        int first, end; /* rows of the noise */
    } chunks[] = {{14, 64}, {64, 114}, {114, 164}, {114, 134}};
    int64_t rows = b.flow.noise.shape[0];
    float *noise = flow_bench_floats(&b, rows * b.config.mel);
    speak_with_noise(&b, &cache, &want, noise, -1);
    static const int changed[] = {13, 14, 63, 64, 113, 114, 133, 134, 163, 164};
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        speaker p = {.voice = &voice, .lengths = {25, 25, 25, 10}, .tokens = want.tokens};
        speak_with_noise(&b, &cache, &p, noise, changed[i]);
        bool same = true; /* a chunk that differs changes what comes after it */
        for (int c = 0; c < 4; c++) {
            same = same && (changed[i] < chunks[c].first || changed[i] >= chunks[c].end);
            size_t n = (size_t)(p.lengths[c] * 2 * b.config.mel);
            assert_int_equal(memcmp(p.mel[c], want.mel[c], n * sizeof(float)) == 0, same);
        }
        free_mel(&p);
    }
    sa2_error err = {0};
    assert_int_equal(sa2_flow_set_noise(b.stream, &b.flow, noise, rows + 1, &err), SA2_ERR_LIMIT);
    free_mel(&want);
    free(want.tokens);
    free(noise);
    flow_bench_free_prompt(&prompt);
    flow_bench_close(&b);
}

static void the_noise_is_normal_and_follows_from_the_seed(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 40, 8, 1, 1 << 20);
    int64_t n = sa2_tensor_count(&b.flow.noise);
    sa2_tensor again = sa2_tensor_2d(sa2_arena_take(&b.memory, (size_t)n * sizeof(float)), SA2_F32,
                                     b.flow.noise.shape[0], b.config.mel);
    sa2_normal(b.stream, again, 7, SA2_FLOW_NOISE_TRACK, 0);
    sa2_error err = {0};
    flow_bench_ok(sa2_stream_finish(b.stream, &err), &err);
    assert_memory_equal(again.data, b.flow.noise.data, (size_t)n * sizeof(float));
    assert_int_equal(again.shape[0], 2 * 40 + SA2_FLOW_TAIL);
    flow_bench_close(&b);
}

/* ---- whole sequences ---- */

static void a_whole_sequence_counts_negative_tokens_as_0_and_needs_no_prompt(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 30, 30, 1, MEMORY);
    sa2_flow_prompt prompt = flow_bench_prompt(&b, 8);
    int32_t *tokens = flow_bench_tokens(&b, 11);
    size_t bytes = (size_t)(22 * b.config.mel) * sizeof(float);
    tokens[3] = 0;
    float *want = flow_bench_whole(&b, &prompt, tokens, 11);
    tokens[3] = -5;
    float *found = flow_bench_whole(&b, &prompt, tokens, 11);
    assert_memory_equal(found, want, bytes);
    prompt.n_tokens = 0;
    float *bare = flow_bench_whole(&b, &prompt, tokens, 11);
    assert_memory_not_equal(bare, want, bytes);

    sa2_flow_solution solution;
    sa2_error err = {0};
    assert_int_equal(sa2_flow_begin_whole(b.stream, &b.flow, &b.room, &solution, (sa2_tensor){0},
                                          &prompt, tokens, 31, &err),
                     SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "31 tokens after a prompt of 0, 1 to 30 together"));
    tokens[10] = 6561;
    assert_int_equal(sa2_flow_begin_whole(b.stream, &b.flow, &b.room, &solution, (sa2_tensor){0},
                                          &prompt, tokens, 11, &err),
                     SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "token 6561 at place 10"));
    free(want);
    free(found);
    free(bare);
    free(tokens);
    flow_bench_free_prompt(&prompt);
    flow_bench_close(&b);
}

/* ---- precision ---- */

static void products_in_bf16_change_the_mel_by_less_than_a_hundredth(void **state)
{
    (void)state;
    float *mel[2];
    for (int d = 0; d < 2; d++) {
        flow_bench b;
        flow_bench_open(&b, NULL, d == 0 ? SA2_F32 : SA2_BF16, 40, 40, 1, MEMORY);
        sa2_flow_prompt prompt = flow_bench_prompt(&b, 15);
        int32_t *tokens = flow_bench_tokens(&b, 25);
        mel[d] = flow_bench_whole(&b, &prompt, tokens, 25);
        free(tokens);
        flow_bench_free_prompt(&prompt);
        flow_bench_close(&b);
    }
    double error = 0.0, size = 0.0, worst = 0.0;
    for (int i = 0; i < 50 * 80; i++) {
        double difference = (double)mel[1][i] - mel[0][i];
        error += difference * difference;
        size += (double)mel[0][i] * mel[0][i];
        worst = fabs(difference) > worst ? fabs(difference) : worst;
    }
    printf("mel in bf16: l2 %.3g of f32, worst %.3g\n", sqrt(error / size), worst);
    assert_true(error > 0.0);
    assert_true(sqrt(error / size) < 0.01);
    free(mel[0]);
    free(mel[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_together_are_each_alone_and_survive_the_end_of_others),
        cmocka_unit_test(a_stream_that_is_over_or_there_twice_is_refused),
        cmocka_unit_test(chunks_that_cannot_be_are_refused_and_leave_the_stream_as_it_was),
        cmocka_unit_test(voices_that_cannot_be_are_refused_and_take_no_memory),
        cmocka_unit_test(memory_is_what_was_planned_to_the_byte),
        cmocka_unit_test(the_noise_of_a_chunk_begins_where_the_kept_frames_end),
        cmocka_unit_test(the_noise_is_normal_and_follows_from_the_seed),
        cmocka_unit_test(a_whole_sequence_counts_negative_tokens_as_0_and_needs_no_prompt),
        cmocka_unit_test(products_in_bf16_change_the_mel_by_less_than_a_hundredth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
