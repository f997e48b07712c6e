/* step.h - one step of the model: a scheduler's plan in, logits out.
 *
 * Gathers ids, positions, block tables and rows of sound, runs the decoder once over all of them and brings
 * the logits to the host, or those of them that are not sampled where they are. Rank 0 does so and tells the other ranks, which follow. Memory is planned in create. Threads: the engine's.
 */
#ifndef SA2_RUNTIME_SERVING_STEP_H
#define SA2_RUNTIME_SERVING_STEP_H

#include "runtime/serving/clip_cache.h"

typedef struct sa2_step sa2_step;

typedef struct sa2_step_options {
    const sa2_model *model;
    sa2_dtype activations, kv_dtype;
    int max_rows, max_sequences;
    int max_positions; /* of a sequence */
    int n_pages, page_size;
    sa2_comm *comm; /* NULL: one rank */
} sa2_step_options;

size_t sa2_step_kv_page_bytes(const sa2_step_options *options); /* all layers */
size_t sa2_step_device_bytes(const sa2_step_options *options);  /* without the pages */
size_t sa2_step_host_bytes(const sa2_step_options *options);
size_t sa2_step_work_bytes(const sa2_step_options *options);
size_t sa2_step_scratch_bytes(const sa2_step_options *options);

/* What goes between ranks, for sa2_comm_reserve(). */
void sa2_step_comm_elements(const sa2_step_options *options, int64_t *summed, int64_t *joined);

/* `pages` holds the keys and values, n_pages * sa2_step_kv_page_bytes(). Errors: SA2_ERR_NOMEM. */
sa2_status sa2_step_create(sa2_step **step, const sa2_step_options *options, sa2_arena *pages,
                           sa2_arena *device, sa2_arena *host, sa2_error *err);
void sa2_step_destroy(sa2_step *step); /* NULL is fine; before the arenas */

/* What is done on the device with the logits [n, vocab], behind the ops of the step, and before them where the host does not
 * know the ids of its rows yet. Of one rank. */
typedef struct sa2_step_sampling {
    void (*fill_ids)(void *context, sa2_stream *s, sa2_tensor ids); /* NULL: they are known */
    void (*sample)(void *context, sa2_stream *s, sa2_tensor logits);
    const bool *is_host; /* [n] the rows that the host wants nevertheless */
    void *context;
} sa2_step_sampling;

/* Queues a step, whose clips are encoded, behind the one that is under way, if one is; what goes wrong is told by its end.
 * `sampling` NULL: the host wants all logits. */
void sa2_step_begin(sa2_step *step, sa2_stream *s, sa2_arena *work, const sa2_clip_cache *clips,
                    const sa2_step_plan *plan, const sa2_step_sampling *sampling);

/* Waits for the first of those that are under way. Errors: of the device; then nothing is known of the pages that the plan
 * writes, and what was queued behind it is over too. */
sa2_status sa2_step_end(sa2_step *step, sa2_stream *s, const sa2_step_plan *plan, sa2_error *err);

/* Elsewhere than on rank 0: the step that it runs next, or none. *end: there will be none any more. */
sa2_status sa2_step_follow(sa2_step *step, sa2_stream *s, sa2_arena *work, bool *end,
                           sa2_error *err);

/* On rank 0: there is no step now, or `end`, there will be none any more and the others stop following. */
sa2_status sa2_step_pause(sa2_step *step, bool end, sa2_error *err);

/* Logits [vocab] of the i-th part of the last plan that wanted any, where the host wanted them. Valid until the next one begins. */
const float *sa2_step_logits(const sa2_step *step, int i);

#endif
