#include "tests/support/flow_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "loader/token2wav_tensors.h"
#include "loader/token2wav_writer.h"

const sa2_token2wav_preset flow_bench_odd_sizes = {
    .flow_width = 48,
    .flow_heads = 2,
    .flow_ffn = 40,
    .flow_layers = 1,
    .flow_up_layers = 2,
    .dit_width = 60,
    .dit_heads = 3,
    .dit_ffn = 72,
    .dit_blocks = 2,
};

void flow_bench_ok(sa2_status st, const sa2_error *err)
{
    if (st != SA2_OK)
        fail_msg("%s", err->message);
}

sa2_tensor_map *flow_bench_map(const flow_bench *b)
{
    sa2_tensor_map *map;
    sa2_error err = {0};
    flow_bench_ok(sa2_token2wav_synthetic_map(&map, SA2_FLOW_FILE, &b->preset, 0, &err), &err);
    return map;
}

static void load(flow_bench *b, sa2_dtype dtype, int max_tokens)
{
    sa2_error err = {0};
    const sa2_flow_options options = {.max_tokens = max_tokens, .noise_seed = 7};
    sa2_tensor_map *map = flow_bench_map(b);
    sa2_weights w = {.stream = b->stream, .dtype = dtype, .err = &err};
    sa2_flow_load(&b->flow, &b->config, &options, &w);
    flow_bench_ok(
        sa2_backend_arena_create_shared(b->backend, &b->weights, w.bytes + w.host_bytes, &err),
        &err);
    sa2_weights filled = {
        .stream = b->stream, .map = map, .arena = &b->weights, .dtype = dtype, .err = &err};
    sa2_flow_load(&b->flow, &b->config, &options, &filled);
    flow_bench_ok(filled.status, &err);
    assert_true(filled.bytes <= w.bytes + w.host_bytes);
    flow_bench_ok(sa2_tensor_map_unused(map, &err), &err); /* every tensor of the file is taken */
    flow_bench_ok(sa2_stream_finish(b->stream, &err), &err);
    sa2_tensor_map_destroy(map);
}

void flow_bench_open(flow_bench *b, const sa2_token2wav_preset *sizes, sa2_dtype dtype,
                     int max_tokens, int64_t tokens, int n_chunks, size_t memory)
{
    flow_bench_open_on(b, NULL, sizes, dtype, max_tokens, tokens, n_chunks, memory);
}

void flow_bench_open_on(flow_bench *b, const sa2_backend_options *device,
                        const sa2_token2wav_preset *sizes, sa2_dtype dtype, int max_tokens,
                        int64_t tokens, int n_chunks, size_t memory)
{
    sa2_error err = {0};
    *b = (flow_bench){.random = 1};
    flow_bench_ok(sa2_preset_find(&b->preset, "tiny", &err), &err);
    if (sizes != NULL)
        b->preset.token2wav = *sizes;
    b->config = sa2_token2wav_preset_dims(&b->preset.token2wav).flow;
    flow_bench_ok(sa2_backend_open(&b->backend, device, &err), &err);
    sa2_flow sized = {.config = b->config, .n_steps = SA2_FLOW_STEPS};
    sized.encoder.dtype = sized.dit.dtype = dtype;
    sa2_flow_room_bytes need = sa2_flow_solution_room(&sized, tokens, n_chunks);
    flow_bench_ok(sa2_stream_create(&b->stream, b->backend, need.scratch, &err), &err);
    flow_bench_ok(sa2_backend_arena_create(b->backend, &b->work, need.work, &err), &err);
    flow_bench_ok(sa2_backend_arena_create(b->backend, &b->memory, memory, &err), &err);
    flow_bench_ok(sa2_arena_create(&b->host, need.host, &err), &err);
    b->room = (sa2_flow_room){.work = &b->work, .host = &b->host};
    load(b, dtype, max_tokens);
}

void flow_bench_close(flow_bench *b)
{
    assert_int_equal(b->work.used, 0); /* all room was given back */
    assert_int_equal(b->host.used, 0);
    sa2_stream_destroy(b->stream);
    sa2_backend_arena_destroy(b->backend, &b->weights);
    sa2_backend_arena_destroy(b->backend, &b->memory);
    sa2_backend_arena_destroy(b->backend, &b->work);
    sa2_arena_destroy(&b->host);
    sa2_backend_close(b->backend);
}

static double uniform(flow_bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
    return (double)(b->random >> 40) / (1 << 24);
}

static void *get(size_t bytes)
{
    void *memory = malloc(bytes + 1);
    assert_non_null(memory);
    return memory;
}

int32_t *flow_bench_tokens(flow_bench *b, int n)
{
    int32_t *tokens = get((size_t)n * sizeof *tokens);
    for (int i = 0; i < n; i++)
        tokens[i] = (int32_t)(uniform(b) * b->config.vocab);
    return tokens;
}

float *flow_bench_floats(flow_bench *b, int64_t n)
{
    float *values = get((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)(2.0 * uniform(b) - 1.0);
    return values;
}

sa2_flow_prompt flow_bench_prompt(flow_bench *b, int n_tokens)
{
    int64_t frames = (int64_t)n_tokens * b->config.up_stride;
    return (sa2_flow_prompt){.tokens = flow_bench_tokens(b, n_tokens),
                             .n_tokens = n_tokens,
                             .mel = flow_bench_floats(b, frames * b->config.mel),
                             .speaker = flow_bench_floats(b, b->config.speaker)};
}

void flow_bench_free_prompt(sa2_flow_prompt *prompt)
{
    free((void *)(uintptr_t)prompt->tokens);
    free((void *)(uintptr_t)prompt->mel);
    free((void *)(uintptr_t)prompt->speaker);
}

sa2_flow_voice flow_bench_voice(flow_bench *b, const sa2_flow_prompt *prompt)
{
    sa2_flow_voice voice;
    sa2_error err = {0};
    flow_bench_ok(
        sa2_flow_voice_init(b->stream, &b->flow, &voice, prompt, &b->memory, &b->room, &err), &err);
    return voice;
}

/* Solves what was begun for mel [frames, mel] at the top of b->memory, and takes it down. */
static float *finish_mel(flow_bench *b, sa2_flow_solution *solution, sa2_tensor mel)
{
    sa2_error err = {0};
    float *values = get(sa2_tensor_bytes(&mel));
    flow_bench_ok(sa2_flow_solve(b->stream, solution, &err), &err);
    sa2_download(b->stream, values, mel);
    flow_bench_ok(sa2_stream_finish(b->stream, &err), &err);
    return values;
}

static sa2_tensor take_mel(flow_bench *b, int64_t tokens)
{
    int64_t frames = tokens * b->config.up_stride;
    size_t bytes = (size_t)(frames * b->config.mel) * sizeof(float);
    sa2_tensor mel =
        sa2_tensor_2d(sa2_arena_take(&b->memory, bytes), SA2_F32, frames, b->config.mel);
    assert_non_null(mel.data);
    return mel;
}

float *flow_bench_mel(flow_bench *b, const sa2_flow_cache *cache, const sa2_flow_chunk *chunks,
                      int n_chunks)
{
    int64_t tokens = 0;
    size_t mark = sa2_arena_mark(&b->memory);
    sa2_flow_solution solution;
    sa2_error err = {0};
    for (int i = 0; i < n_chunks; i++)
        tokens += chunks[i].n;
    sa2_tensor mel = take_mel(b, tokens);
    flow_bench_ok(sa2_flow_begin(b->stream, &b->flow, cache, &b->room, &solution, mel, chunks,
                                 n_chunks, &err),
                  &err);
    float *values = finish_mel(b, &solution, mel);
    sa2_arena_rewind(&b->memory, mark);
    return values;
}

float *flow_bench_whole(flow_bench *b, const sa2_flow_prompt *prompt, const int32_t *tokens, int n)
{
    size_t mark = sa2_arena_mark(&b->memory);
    sa2_flow_solution solution;
    sa2_error err = {0};
    sa2_tensor mel = take_mel(b, n);
    flow_bench_ok(sa2_flow_begin_whole(b->stream, &b->flow, &b->room, &solution, mel, prompt,
                                       tokens, n, &err),
                  &err);
    float *values = finish_mel(b, &solution, mel);
    sa2_arena_rewind(&b->memory, mark);
    return values;
}
