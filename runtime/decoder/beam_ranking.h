/* beam_ranking.h - the best few of the ways in which beams can go on.
 */
#ifndef SA2_RUNTIME_DECODER_BEAM_RANKING_H
#define SA2_RUNTIME_DECODER_BEAM_RANKING_H

#include <stdint.h>

typedef struct sa2_beam_candidate {
    double score;
    int beam;
    int32_t token;
} sa2_beam_candidate;

typedef struct sa2_beam_ranking {
    sa2_beam_candidate *best; /* [most], the caller's: a heap with the worst at 0 until sorted */
    int n, most;              /* most >= 1; starts with n = 0 */
} sa2_beam_ranking;

/* Keeps the candidate if it is among the best so far. Equal scores: the lower beam, then the lower
 * id is the better. Not after sa2_beam_ranking_sort(). */
void sa2_beam_ranking_add(sa2_beam_ranking *ranking, sa2_beam_candidate candidate);

/* Best first. */
void sa2_beam_ranking_sort(sa2_beam_ranking *ranking);

#endif
