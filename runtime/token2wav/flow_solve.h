/* flow_solve.h - what whole sequences, voices and streams of the flow share: room, inputs, Euler steps.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_SOLVE_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_SOLVE_H

#include "runtime/token2wav/flow.h"

/* What a whole sequence or a voice takes besides a solution. */
typedef struct sa2_flow_sequence {
    int32_t *tokens;    /* host [tokens + lookahead] */
    sa2_tensor x;       /* f32 [rows, mel] */
    sa2_tensor speaker; /* f32 [1, mel] */
    sa2_tensor vector;  /* f32 [1, speaker] */
    float *unit;        /* host [speaker] */
    sa2_tensor mel;     /* f32 [rows, mel]: of the prompt */
} sa2_flow_sequence;

/* Takes the room of a solution for n chunks of `tokens` tokens in all; of a sequence too unless it is NULL.
 * Errors: SA2_ERR_NOMEM when the steps would not fit either, so that nothing fails half way. */
sa2_status sa2_flow_take(const sa2_flow *flow, const sa2_flow_room *room,
                         sa2_flow_solution *solution, sa2_flow_sequence *sequence, int64_t tokens,
                         int n, sa2_error *err);

/* Place of a stream at a step: the conditional one, then the unconditional one. */
int sa2_flow_place(const sa2_flow *flow, int slot, int step, int unconditional);

/* All inputs but x: mu, which is there, and zeros. Then the speaker [1, mel] of rows [first, first + n). */
void sa2_flow_put_mu(sa2_stream *s, sa2_flow_solution *v);
void sa2_flow_put_speaker(sa2_stream *s, const sa2_flow_solution *v, int64_t first, int64_t n,
                          sa2_tensor speaker);

/* y [1, mel] from a speaker vector in host memory. */
void sa2_flow_project_speaker(sa2_stream *s, const sa2_flow *flow, const sa2_flow_sequence *q,
                              sa2_tensor y, const float *speaker);

/* Encodes chunk 0, which begins with the prompt, and sets its inputs and its noise; the speaker is
 * projected into q->speaker. */
sa2_status sa2_flow_begin_sequence(sa2_stream *s, sa2_flow_solution *v, const sa2_flow_sequence *q,
                                   const sa2_flow_encoder_cache *cache,
                                   const sa2_flow_prompt *prompt, sa2_error *err);

#endif
