/* flow_bench.h - a small flow with synthetic weights and memory of its own, for tests.
 */
#ifndef SA2_TESTS_SUPPORT_FLOW_BENCH_H
#define SA2_TESTS_SUPPORT_FLOW_BENCH_H

#include "loader/preset.h"
#include "loader/tensor_map.h"
#include "runtime/token2wav/flow.h"

typedef struct flow_bench {
    sa2_backend *backend;
    sa2_stream *stream;
    sa2_preset preset;
    sa2_flow_config config;
    sa2_arena weights, memory, work, host;
    sa2_flow_room room; /* of work and host */
    sa2_flow flow;
    uint64_t random;
} flow_bench;

/* The weights of preset `tiny` with other sizes (NULL: as it is), room for solutions of `tokens` tokens in
 * up to n_chunks chunks, and `memory` bytes for voices and caches. */
void flow_bench_open(flow_bench *b, const sa2_token2wav_preset *sizes, sa2_dtype dtype,
                     int max_tokens, int64_t tokens, int n_chunks, size_t memory);
void flow_bench_open_on(flow_bench *b, const sa2_backend_options *device,
                        const sa2_token2wav_preset *sizes, sa2_dtype dtype, int max_tokens,
                        int64_t tokens, int n_chunks, size_t memory);
void flow_bench_close(flow_bench *b);

/* Sizes that no release has: heads of 24 and 20, other numbers of layers. */
extern const sa2_token2wav_preset flow_bench_odd_sizes;

/* A map with the weights. The caller destroys it. */
sa2_tensor_map *flow_bench_map(const flow_bench *b);

/* Host memory, malloc'ed: the caller frees it. */
int32_t *flow_bench_tokens(flow_bench *b, int n);
float *flow_bench_floats(flow_bench *b, int64_t n); /* in [-1, 1) */

/* A prompt with everything that it names; flow_bench_free_prompt() frees it. */
sa2_flow_prompt flow_bench_prompt(flow_bench *b, int n_tokens);
void flow_bench_free_prompt(sa2_flow_prompt *prompt);

/* A voice of it, in b->memory. */
sa2_flow_voice flow_bench_voice(flow_bench *b, const sa2_flow_prompt *prompt);

/* Chunks of streams to mel, in host memory: malloc'ed, [sum up_stride * n, mel]. */
float *flow_bench_mel(flow_bench *b, const sa2_flow_cache *cache, const sa2_flow_chunk *chunks,
                      int n_chunks);

/* The same of a whole sequence. */
float *flow_bench_whole(flow_bench *b, const sa2_flow_prompt *prompt, const int32_t *tokens, int n);

/* Fails the test unless st is SA2_OK. */
void flow_bench_ok(sa2_status st, const sa2_error *err);

#endif
