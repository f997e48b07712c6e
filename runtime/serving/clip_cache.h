/* clip_cache.h - the decoder's rows of sound: computed when a step needs them, kept until they have passed.
 *
 * A clip (25 s at most) is encoded as a whole, its rows may be prefilled in several steps. Clips of several
 * requests go through the encoder together. Rows that were given up are computed again, to the same bits.
 *
 * Memory is planned in create. Threads: the engine's.
 */
#ifndef SA2_RUNTIME_SERVING_CLIP_CACHE_H
#define SA2_RUNTIME_SERVING_CLIP_CACHE_H

#include "runtime/audio/mel.h"
#include "runtime/model.h"
#include "runtime/serving/job.h"

typedef struct sa2_clip_cache sa2_clip_cache;

typedef struct sa2_clip_cache_options {
    const sa2_model *model;
    sa2_dtype activations;
    sa2_length_rule rule;
    int max_rows; /* of a step of the decoder */
} sa2_clip_cache_options;

/* What one forward of the encoder needs. */
size_t sa2_clip_cache_work_bytes(const sa2_clip_cache_options *options);
size_t sa2_clip_cache_scratch_bytes(const sa2_clip_cache_options *options);

/* Memory of the device and of the host for the rows and the tables. */
size_t sa2_clip_cache_device_bytes(const sa2_clip_cache_options *options, const sa2_stream *s);
size_t sa2_clip_cache_host_bytes(const sa2_clip_cache_options *options);
int sa2_clip_cache_rows(const sa2_clip_cache_options *options);

sa2_status sa2_clip_cache_create(sa2_clip_cache **cache, const sa2_clip_cache_options *options,
                                 sa2_stream *s, sa2_arena *device, sa2_arena *host, sa2_error *err);

/* A step begins: what earlier ones needed may go. */
void sa2_clip_cache_begin(sa2_clip_cache *cache);

/* For sa2_scheduler_options.rows_possible: keeps room for the clips of rows [first, first + n) of a job's prompt, as
 * long as there is any, and returns for how many of the rows. */
int sa2_clip_cache_promise(void *cache, sa2_sequence_group *group, int first, int n);

/* Computes what was promised and is not there yet. work is rewound. */
sa2_status sa2_clip_cache_encode(sa2_clip_cache *cache, sa2_stream *s, sa2_arena *work,
                                 sa2_error *err);

/* All rows, [sa2_clip_cache_rows(), hidden] f32, and which of them belong to rows [first, first + n) of a job:
 * writes row and position - first of each, returns how many. Only after encode. */
sa2_tensor sa2_clip_cache_tensor(const sa2_clip_cache *cache);
int sa2_clip_cache_find(const sa2_clip_cache *cache, const sa2_sequence_group *group, int first,
                        int n, int32_t *rows, int32_t *places);

/* Positions before `end` of a job's prompt have passed; with INT_MAX the job has no rows left here. */
void sa2_clip_cache_passed(sa2_clip_cache *cache, const sa2_sequence_group *group, int end);

#endif
