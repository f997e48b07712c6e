/* flow_kept.h - which past frames of a stream the DiT's attention sees, and where their keys lie.
 *
 * The reference puts the keys of a chunk in front of those of earlier chunks, the voice prompt's P
 * at the end, and when there are more than P + tail it keeps the first P and the last `tail`
 * (cosyvoice2/flow/decoder_dit.py of stepfun-ai/Step-Audio2). So the prompt is not what stays: with
 * P >= tail the newest P generated frames do, then as much of the prompt's beginning as makes P, and
 * its last `tail` frames. Attention does not look at the order, so nothing is moved here: the
 * prompt's keys are read where they are, and generated ones lie in a store of their own,
 *   rows [0, P)              a ring, filled from its end to its beginning
 *   rows [P, max(P, tail))   the first generated frames that the tail holds when P < tail
 * What is kept follows from P, tail and the number of generated frames, however they were cut.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_KEPT_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_KEPT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sa2_flow_kept {
    int prompt;     /* frames of the voice prompt */
    int tail;       /* 100 in the release */
    int64_t frames; /* generated so far */
} sa2_flow_kept;

/* Rows of the store for generated frames. */
int sa2_flow_kept_rows(const sa2_flow_kept *kept);

/* Frames that are kept, the prompt's included. */
int sa2_flow_kept_count(const sa2_flow_kept *kept);

enum { SA2_FLOW_KEPT_RUNS = 5, SA2_FLOW_KEPT_COPIES = 3 };

/* Rows [first, first + n), of the prompt or of the store. */
typedef struct sa2_flow_run {
    bool prompt;
    int first, n; /* n >= 1 */
} sa2_flow_run;

/* What a chunk sees besides itself; returns how many runs. */
int sa2_flow_kept_runs(const sa2_flow_kept *kept, sa2_flow_run runs[SA2_FLOW_KEPT_RUNS]);

/* Frames [from, from + n) of a chunk go to rows [to, to + n) of the store. */
typedef struct sa2_flow_copy {
    int from, to, n; /* n >= 1 */
} sa2_flow_copy;

/* What is stored of a chunk of n frames once it was computed; returns how many copies. The caller
 * then adds n to `frames`. */
int sa2_flow_kept_copies(const sa2_flow_kept *kept, int n,
                         sa2_flow_copy copies[SA2_FLOW_KEPT_COPIES]);

#endif
