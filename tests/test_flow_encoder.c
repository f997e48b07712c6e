/* The flow's encoder: what is exact however a sequence is cut, and what a map must hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/flow_bench.h"

enum { TOKENS = 40 };

static float *download(flow_bench *b, sa2_tensor x)
{
    sa2_error err = {0};
    float *values = malloc(sa2_tensor_bytes(&x));
    assert_non_null(values);
    sa2_download(b->stream, values, x);
    flow_bench_ok(sa2_stream_finish(b->stream, &err), &err);
    return values;
}

static sa2_tensor take(flow_bench *b, int64_t rows, int64_t cols)
{
    void *data = sa2_arena_take(&b->memory, (size_t)(rows * cols) * sizeof(float));
    assert_non_null(data);
    return sa2_tensor_2d(data, SA2_F32, rows, cols);
}

static void convolutions_of_chunks_are_those_of_the_whole_to_the_bit(void **state)
{
    (void)state;
    sa2_token2wav_preset sizes = flow_bench_odd_sizes;
    sizes.flow_layers = sizes.flow_up_layers = 0; /* nothing looks further than a convolution */
    flow_bench b;
    flow_bench_open(&b, &sizes, SA2_F32, TOKENS, TOKENS, 1, 1 << 20);
    sa2_error err = {0};
    int32_t *tokens = flow_bench_tokens(&b, TOKENS);
    int64_t mel = b.config.mel;
    const sa2_flow_encoder_chunk whole = {.tokens = tokens, .n = TOKENS, .last = true};
    sa2_tensor all = take(&b, 2 * TOKENS, mel), chunked = take(&b, 2 * TOKENS, mel);
    flow_bench_ok(sa2_flow_encoder_forward(b.stream, &b.flow.encoder, NULL, &b.room, all, &whole, 1,
                                           NULL, &err),
                  &err);
    sa2_flow_encoder_cache cache;
    flow_bench_ok(
        sa2_flow_encoder_cache_init(b.stream, &cache, &b.flow.encoder, 2, TOKENS, &b.memory, &err),
        &err);
    static const int lengths[] = {2, 13, 3, 19, 3};
    for (int i = 0, first = 0; i < 5; first += lengths[i++]) {
        const sa2_flow_encoder_chunk chunk = {
            .tokens = tokens + first, .n = lengths[i], .last = i == 4, .slot = 1, .first = first};
        flow_bench_ok(sa2_flow_encoder_forward(b.stream, &b.flow.encoder, &cache, &b.room,
                                               sa2_tensor_rows(chunked, 2 * first, 2 * lengths[i]),
                                               &chunk, 1, NULL, &err),
                      &err);
    }
    float *want = download(&b, all), *found = download(&b, chunked);
    assert_memory_equal(found, want, (size_t)(2 * TOKENS * mel) * sizeof(float));
    free(want);
    free(found);
    free(tokens);
    flow_bench_close(&b);
}

static void a_whole_sequence_is_one_chunk_after_nothing_to_the_bit(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_BF16, TOKENS, TOKENS, 1, 1 << 20);
    sa2_error err = {0};
    int32_t *tokens = flow_bench_tokens(&b, TOKENS);
    const sa2_flow_encoder_chunk whole = {.tokens = tokens, .n = TOKENS, .last = true};
    sa2_tensor all = take(&b, 2 * TOKENS, b.config.mel), chunk = take(&b, 2 * TOKENS, b.config.mel);
    sa2_flow_encoder_cache cache;
    flow_bench_ok(
        sa2_flow_encoder_cache_init(b.stream, &cache, &b.flow.encoder, 1, TOKENS, &b.memory, &err),
        &err);
    flow_bench_ok(sa2_flow_encoder_forward(b.stream, &b.flow.encoder, NULL, &b.room, all, &whole, 1,
                                           NULL, &err),
                  &err);
    flow_bench_ok(sa2_flow_encoder_forward(b.stream, &b.flow.encoder, &cache, &b.room, chunk,
                                           &whole, 1, NULL, &err),
                  &err);
    float *want = download(&b, all), *found = download(&b, chunk);
    assert_memory_equal(found, want, (size_t)(2 * TOKENS * b.config.mel) * sizeof(float));
    free(want);
    free(found);
    free(tokens);
    flow_bench_close(&b);
}

static void every_missing_tensor_is_named_in_one_report(void **state)
{
    (void)state;
    flow_bench b;
    flow_bench_open(&b, &flow_bench_odd_sizes, SA2_F32, 8, 8, 1, 64);
    sa2_tensor_map *map = flow_bench_map(&b);
    sa2_flow_config config = b.config;
    config.dit_blocks = 3; /* one more than the weights have */
    config.ffn = 44;
    const sa2_flow_options options = {.max_tokens = 8};
    sa2_error err = {0};
    sa2_arena arena;
    sa2_flow flow;
    sa2_weights measure = {.stream = b.stream, .dtype = SA2_F32, .err = &err};
    sa2_flow_load(&flow, &config, &options, &measure);
    flow_bench_ok(
        sa2_backend_arena_create(b.backend, &arena, measure.bytes + measure.host_bytes, &err),
        &err);
    sa2_weights w = {
        .stream = b.stream, .map = map, .arena = &arena, .dtype = SA2_F32, .err = &err};
    sa2_flow_load(&flow, &config, &options, &w);
    assert_int_equal(w.status, SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "decoder.estimator.blocks.2.attn.to_q.weight"));
    assert_non_null(strstr(err.message, "decoder.estimator.blocks.2.adaLN_modulation.1.weight"));
    assert_non_null(strstr(err.message, "encoder.encoders.0.feed_forward.w_1.weight"));
    sa2_backend_arena_destroy(b.backend, &arena);
    sa2_tensor_map_destroy(map);
    flow_bench_close(&b);
}

static void more_steps_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    sa2_error err = {0};
    sa2_flow flow;
    const sa2_flow_config config = {0};
    const sa2_flow_options options = {.max_tokens = 8, .n_steps = SA2_FLOW_MAX_STEPS + 1};
    sa2_weights measure = {.dtype = SA2_F32, .err = &err};
    sa2_flow_load(&flow, &config, &options, &measure);
    assert_int_equal(measure.status, SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "65 steps, up to 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_chunks_are_those_of_the_whole_to_the_bit),
        cmocka_unit_test(a_whole_sequence_is_one_chunk_after_nothing_to_the_bit),
        cmocka_unit_test(every_missing_tensor_is_named_in_one_report),
        cmocka_unit_test(more_steps_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
