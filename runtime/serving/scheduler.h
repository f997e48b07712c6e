/* scheduler.h - which rows of which requests the next step of the model computes.
 *
 * Rows that decode come first, then pieces of prompts that have begun, then new requests in order of
 * arrival, until the step is full. When pages run out the newest request is preempted: it gives its
 * pages back, keeps its tokens and is computed again later.
 *
 * No model here: a step is a plan of positions, pages and copies. The answers (or beams) of one
 * request share its prompt: one sequence computes it, the others are forked from that.
 *
 * Memory is planned in create. Threads: one owner.
 */
#ifndef SA2_RUNTIME_SERVING_SCHEDULER_H
#define SA2_RUNTIME_SERVING_SCHEDULER_H

#include "runtime/decoder/kv_cache.h"

/* One answer in the making. */
typedef struct sa2_sequence {
    int32_t *ids; /* prompt, then what was generated; memory of the request */
    int n_ids;
    int max_ids; /* with as many it is complete, at the latest; 0: nobody says, and no step runs ahead of it */
    bool done; /* no more rows; set by sa2_scheduler_finish() */

    /* Written by the scheduler alone. */
    int n_written; /* positions that are in the cache */
    int slot;      /* a number below max_sequences, its own while it runs, else -1 */
    sa2_kv_sequence *kv;
} sa2_sequence;

/* What the scheduler knows of a request. The caller fills the first part and keeps it as it is while the
 * group is in the scheduler, but for ids that are appended between steps. */
typedef struct sa2_sequence_group {
    sa2_sequence *sequences;
    int n_sequences;
    int n_prompt;              /* the first ids of all sequences */
    bool lockstep;             /* logits of all sequences are wanted in the same step (beams) */
    const sa2_kv_audio *audio; /* in the prompt */
    int n_audio;
    uint64_t salt;
    int64_t order; /* of arrival: the lower one goes first, the highest is preempted */

    bool running;  /* else waiting, or not added */
    bool forked;   /* every sequence has pages of its own */
    int n_matched; /* positions found in the cache when it was admitted last */
    int n_preemptions;
    struct sa2_sequence_group *next, *previous;
} sa2_sequence_group;

/* Rows of one sequence in a step: positions [first, first + n). */
typedef struct sa2_step_rows {
    sa2_sequence_group *group; /* NULL: the sequence has left since, and nobody wants them */
    sa2_sequence *sequence;
    int first, n;
    bool logits; /* of the last one: the next token follows from them */
} sa2_step_rows;

typedef struct sa2_step_plan {
    int turn; /* 0 or 1, another one than the plan before: two steps may be under way */
    sa2_step_rows *parts;
    int n_parts;
    int n_rows, n_logits;  /* over all parts */
    sa2_page_copy *copies; /* to be done before the rows are stored, in this order */
    int n_copies;
} sa2_step_plan;

typedef struct sa2_scheduler_options {
    int max_rows;      /* of a step, at least max_sequences */
    int max_sequences; /* that run at once */
    bool prefix_caching;

    /* How many of the rows [first, first + n) can be computed now: those with sound need an encoded clip.
     * At least one for the first caller of a step. NULL: all. */
    int (*rows_possible)(void *context, sa2_sequence_group *group, int first, int n);
    void *context;
} sa2_scheduler_options;

typedef struct sa2_scheduler sa2_scheduler;

size_t sa2_scheduler_bytes(const sa2_scheduler_options *options);

/* The cache outlives it; its max_sequences is the same. Errors: SA2_ERR_ARG, SA2_ERR_NOMEM. */
sa2_status sa2_scheduler_create(sa2_scheduler **scheduler, const sa2_scheduler_options *options,
                                sa2_kv_cache *cache, sa2_arena *arena, sa2_error *err);

/* Pages that a group needs when nothing else runs, with all sequences grown to n_positions: only the full pages
 * of the prompt are shared for certain. A group for which this is more than there are must not be added. */
int64_t sa2_scheduler_pages(int page_size, int n_prompt, int n_positions, int n_sequences);

/* Queues a group. Its sequences have the prompt and nothing in the cache. */
void sa2_scheduler_add(sa2_scheduler *scheduler, sa2_sequence_group *group);

/* Takes a group out, wherever it is; its pages are free. */
void sa2_scheduler_remove(sa2_scheduler *scheduler, sa2_sequence_group *group);

/* A sequence is complete; its pages are free. The group stays until it is removed. */
void sa2_scheduler_finish(sa2_scheduler *scheduler, sa2_sequence_group *group,
                          sa2_sequence *sequence);

/* Gives up what is computed and queues the group again: its prompt has changed. */
void sa2_scheduler_restart(sa2_scheduler *scheduler, sa2_sequence_group *group);

/* The next step, valid until the next call but one; n_rows 0: there is nothing to do. */
const sa2_step_plan *sa2_scheduler_plan(sa2_scheduler *scheduler);

/* The step behind `plan`, which is under way: one row more of each of its sequences that goes on whatever its next token is,
 * but for the one that then proves to have been its last. NULL: the next step is of another kind, or may be: not all
 * that runs is in `plan` with a row of decoding, somebody may be admitted, or there are no pages.
 *
 * What leaves the scheduler meanwhile leaves both plans, and its pages may be given to others: a step that writes there is
 * behind those that are under way, in the order of the device. */
const sa2_step_plan *sa2_scheduler_plan_ahead(sa2_scheduler *scheduler, const sa2_step_plan *plan);

/* The rows of the plan are written. Now sequences may be finished, and ids appended: one to every
 * sequence that had logits. Where a prompt was complete, all sequences of the group go on from its logits. */
void sa2_scheduler_commit(sa2_scheduler *scheduler, const sa2_step_plan *plan);

/* Sequence i goes on from the pages of sequence parents[i] [n_sequences]; all have as many written. */
void sa2_scheduler_reorder(sa2_scheduler *scheduler, sa2_sequence_group *group, const int *parents);

typedef struct sa2_scheduler_stats {
    int n_running, n_waiting; /* groups */
    int64_t n_preemptions;
} sa2_scheduler_stats;

sa2_scheduler_stats sa2_scheduler_get_stats(const sa2_scheduler *scheduler);

#endif
