/* decoder_bench.h - the decoder with a cache of its own, for steps of a fixed shape.
 */
#ifndef SA2_BENCH_DECODER_BENCH_H
#define SA2_BENCH_DECODER_BENCH_H

#include "runtime/model.h"

/* n sequences whose next rows begin at `context`; everything is made once and run as often as wanted. */
typedef struct sa2_decoder_bench {
    const sa2_model *model;
    sa2_dtype dtype, kv_dtype;
    sa2_stream *stream;
    sa2_arena arena; /* cache, tensors, work */
    sa2_kv_cache_view *kv;
    int32_t *block_table, *offsets, *first; /* host */
    sa2_decoder_batch batch;
    sa2_tensor logits;
} sa2_decoder_bench;

/* kv_dtype is the cache's, dtype or I8. rows of each of n sequences at positions [context, context + rows); logits of the last `last` rows of each. The ids
 * are any: who wants others uploads them to batch.ids. */
sa2_status sa2_decoder_bench_open(sa2_decoder_bench *b, const sa2_model *model, sa2_dtype dtype,
                                  sa2_dtype kv_dtype, int n, int rows, int context, int last,
                                  sa2_error *err);
void sa2_decoder_bench_close(sa2_decoder_bench *b);

/* One step, waited for, or only started. Errors: of the ops. */
sa2_status sa2_decoder_bench_step(sa2_decoder_bench *b, sa2_error *err);
sa2_status sa2_decoder_bench_start(sa2_decoder_bench *b, sa2_error *err);

/* Of one step: bytes of weights (each read once) and of the cache; operations of products and attention. */
double sa2_decoder_bench_bytes(const sa2_decoder_bench *b);
double sa2_decoder_bench_flops(const sa2_decoder_bench *b);

#endif
