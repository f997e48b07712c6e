/* The flow's DiT: chunks against whole sequences, and sequences at different steps in one forward. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/flow_bench.h"

static sa2_tensor take(flow_bench *b, int64_t rows, int64_t cols)
{
    void *data = sa2_arena_take(&b->memory, (size_t)(rows * cols) * sizeof(float));
    assert_non_null(data);
    return sa2_tensor_2d(data, SA2_F32, rows, cols);
}

/* Velocities of sequences that lie one after the other in `in`, in host memory: malloc'ed. */
static float *evaluate(flow_bench *b, const sa2_flow_dit_cache *cache, const float *in,
                       const sa2_flow_dit_sequence *sequences, int n)
{
    sa2_error err = {0};
    int64_t rows = 0;
    for (int i = 0; i < n; i++)
        rows += sequences[i].rows;
    size_t mark = sa2_arena_mark(&b->memory);
    sa2_tensor x = take(b, rows, b->config.dit_in), v = take(b, rows, b->config.mel);
    float *values = malloc(sa2_tensor_bytes(&v));
    assert_non_null(values);
    sa2_upload(b->stream, x, in);
    flow_bench_ok(
        sa2_flow_dit_forward(b->stream, &b->flow.dit, cache, &b->room, v, x, sequences, n, &err),
        &err);
    sa2_download(b->stream, values, v);
    flow_bench_ok(sa2_stream_finish(b->stream, &err), &err);
    sa2_arena_rewind(&b->memory, mark);
    return values;
}

static sa2_flow_dit_cache make_cache(flow_bench *b, int places, int rows)
{
    sa2_flow_dit_cache cache;
    sa2_error err = {0};
    flow_bench_ok(
        sa2_flow_dit_cache_init(b->stream, &cache, &b->flow.dit, places, rows, &b->memory, &err),
        &err);
    return cache;
}

static void a_whole_sequence_is_one_chunk_after_nothing_to_the_bit(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 40, 40, 1, 8 << 20);
    sa2_flow_dit_cache cache = make_cache(&b, 3, 100);
    float *in = flow_bench_floats(&b, 70 * (int64_t)b.config.dit_in);
    const sa2_flow_kept nothing = {.tail = 100};
    const sa2_flow_dit_sequence whole = {.rows = 70, .step = 4};
    const sa2_flow_dit_sequence chunk = {
        .rows = 70, .step = 4, .place = 1, .fresh = true, .kept = &nothing};
    float *want = evaluate(&b, NULL, in, &whole, 1), *found = evaluate(&b, &cache, in, &chunk, 1);
    assert_memory_equal(found, want, (size_t)(70 * b.config.mel) * sizeof(float));
    free(in);
    free(want);
    free(found);
    flow_bench_close(&b);
}

static void a_chunk_sees_the_past_as_if_it_were_beside_it(void **state)
{
    (void)state;
    sa2_token2wav_preset sizes = flow_bench_odd_sizes;
    sizes.dit_blocks = 1; /* in later blocks the past does not see what comes after it */
    flow_bench b;
    flow_bench_open(&b, &sizes, SA2_F32, 40, 40, 1, 8 << 20);
    sa2_flow_dit_cache cache = make_cache(&b, 1, 100);
    int64_t cols = b.config.dit_in, mel = b.config.mel;
    float *in = flow_bench_floats(&b, 70 * cols);
    sa2_flow_kept kept = {.tail = 100};
    const sa2_flow_dit_sequence whole = {.rows = 70};
    const sa2_flow_dit_sequence first = {.rows = 41, .fresh = true, .kept = &kept};
    const sa2_flow_dit_sequence second = {.rows = 29, .last = true, .kept = &kept};
    float *want = evaluate(&b, NULL, in, &whole, 1);
    free(evaluate(&b, &cache, in, &first, 1));
    kept.frames = 41;
    float *found = evaluate(&b, &cache, in + 41 * cols, &second, 1);
    double error = 0.0, size = 0.0;
    /* The convolutions read four rows of a past that had not seen this chunk. */
    for (int64_t i = 4 * mel; i < 29 * mel; i++) {
        double difference = (double)found[i] - want[41 * mel + i];
        error += difference * difference;
        size += (double)found[i] * found[i];
    }
    /* The order of the keys differs: sums of 70 terms, and the layers behind them, err by some 2^-24. */
    assert_true(error <= 1e-12 * size);
    free(in);
    free(want);
    free(found);
    flow_bench_close(&b);
}

static void sequences_at_different_steps_share_a_forward_and_are_each_alone(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 60, 60, 2, 16 << 20);
    sa2_flow_dit_cache alone = make_cache(&b, 4, 60), together = make_cache(&b, 4, 60);
    int64_t cols = b.config.dit_in, mel = b.config.mel;
    float *in = flow_bench_floats(&b, 120 * cols);
    sa2_flow_kept kept[3] = {{.tail = 60}, {.tail = 60}, {.tail = 60}};
    for (int round = 0; round < 2; round++) {
        sa2_flow_dit_sequence sequences[3];
        float *each[3];
        for (int i = 0; i < 3; i++) {
            sequences[i] = (sa2_flow_dit_sequence){.rows = 20 + 7 * i,
                                                   .step = (3 * i + round) % 10,
                                                   .place = 3 - i,
                                                   .fresh = round == 0,
                                                   .kept = &kept[i]};
        }
        for (int i = 0, row = 0; i < 3; row += sequences[i++].rows)
            each[i] = evaluate(&b, &alone, in + row * cols, &sequences[i], 1);
        float *all = evaluate(&b, &together, in, sequences, 3);
        for (int i = 0, row = 0; i < 3; row += sequences[i++].rows) {
            assert_memory_equal(all + row * mel, each[i],
                                (size_t)(sequences[i].rows * mel) * sizeof(float));
            free(each[i]);
            kept[i].frames += sequences[i].rows;
        }
        free(all);
    }
    free(in);
    flow_bench_close(&b);
}

static void what_is_not_there_is_refused(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 40, 40, 1, 8 << 20);
    sa2_flow_dit_cache cache = make_cache(&b, 2, 40);
    const sa2_flow_kept fits = {.tail = 40}, long_tail = {.tail = 41};
    const sa2_flow_kept prompt = {.prompt = 10, .tail = 40};
    sa2_tensor in = take(&b, 8, b.config.dit_in), v = take(&b, 8, b.config.mel);
    const struct {
        sa2_flow_dit_sequence sequence;
        const char *words;
    } rows[] = {
        {{.rows = 8, .step = 10, .kept = &fits}, "step 10 of 10"},
        {{.rows = 8, .step = -1, .kept = &fits}, "step -1 of 10"},
        {{.rows = 8, .place = 2, .kept = &fits}, "place 2 with 40 frames, there are 2 with 40"},
        {{.rows = 8, .place = -1, .kept = &fits}, "place -1"},
        {{.rows = 8, .kept = &long_tail}, "place 0 with 41 frames"},
        {{.rows = 1, .kept = &fits}, "a chunk of 1 frames, 2 or more expected"},
        {{.rows = 8, .kept = &prompt}, "a voice prompt of 10 frames is not there"},
        {{.rows = 8, .kept = &prompt, .prompt = &cache, .prompt_place = 2}, "prompt of 10 frames"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sa2_error err = {0};
        assert_int_equal(sa2_flow_dit_forward(b.stream, &b.flow.dit, &cache, &b.room, v, in,
                                              &rows[i].sequence, 1, &err),
                         SA2_ERR_ARG);
        if (strstr(err.message, rows[i].words) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", rows[i].words, err.message);
    }
    flow_bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_sequence_is_one_chunk_after_nothing_to_the_bit),
        cmocka_unit_test(a_chunk_sees_the_past_as_if_it_were_beside_it),
        cmocka_unit_test(sequences_at_different_steps_share_a_forward_and_are_each_alone),
        cmocka_unit_test(what_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
