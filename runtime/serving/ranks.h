/* ranks.h - how several ranks start one engine and end it: all with the same plan, or none.
 */
#ifndef SA2_RUNTIME_SERVING_RANKS_H
#define SA2_RUNTIME_SERVING_RANKS_H

#include "runtime/serving/engine_plan.h"

/* What a rank and the others have agreed on so far: the plan, then that everybody is ready. */
typedef struct sa2_agreement {
    sa2_comm *comm; /* NULL: nobody else is there */
    int n;
} sa2_agreement;

/* The plan of a model whose sizes are known: told, the same on all ranks, and judged by the memory there is. */
sa2_status sa2_ranks_plan(sa2_agreement *agreement, sa2_engine_plan *plan,
                          const sa2_engine_options *options, const sa2_model *model,
                          const sa2_token2wav *token2wav, sa2_error *err);

/* Tells the others how this rank got on, `st`, and hears how they did. Returns the first failure: its own, or SA2_ERR_DEVICE
 * and who has failed. Nothing is said once all have agreed, or failed. */
sa2_status sa2_ranks_agree(sa2_agreement *agreement, sa2_status st, const sa2_engine_plan *plan,
                           sa2_error *err);

/* Milliseconds between signs of life of a rank 0 that has nothing to do. */
int64_t sa2_ranks_beat_ms(const sa2_comm *comm);

/* Elsewhere than on rank 0, as sa2_engine_create_from_model(): takes part in its engine until that is destroyed. */
sa2_status sa2_engine_follow_model(const sa2_model *model, const sa2_engine_options *options,
                                   sa2_error *err);

#endif
