#include "runtime/decoder/logprobs.h"

#include <assert.h>
#include <math.h>

#include "kernels/token_weights.h"
#include "runtime/decoder/logits_set.h"

static const float NATURAL = 1.44269504f; /* the scale (logits_set.h) of temperature 1: 1 / ln 2 */

/* Finds a place for a token among the n best so far, of at most n_most; ids come rising. Returns n. */
static int insert(sa2_logprob *top, int n, int n_most, sa2_logprob token)
{
    int place = n;
    while (place > 0 && top[place - 1].logprob < token.logprob)
        place--;
    if (place == n_most)
        return n;
    n = n < n_most ? n + 1 : n;
    for (int i = n - 1; i > place; i--)
        top[i] = top[i - 1];
    top[place] = token;
    return n;
}

double sa2_logprobs_whole_of(float largest, uint64_t mass)
{
    return largest + log((double)mass / (double)SA2_WEIGHT_STEPS);
}

double sa2_logprobs_whole(sa2_logits *row)
{
    sa2_logits_weigh(row, NATURAL, -INFINITY);
    return sa2_logprobs_whole_of(row->max, row->mass);
}

sa2_status sa2_logprobs(const float *logits, int n_tokens, int32_t chosen,
                        sa2_logprob *chosen_logprob, sa2_logprob *top, int n_top,
                        sa2_sampler_work *work, sa2_error *err)
{
    assert(n_top >= 0 && n_top <= n_tokens && n_top <= SA2_SAMPLING_MAX_LOGPROBS);
    sa2_logits row;
    sa2_status st = sa2_logits_init(&row, logits, n_tokens, work, err);
    if (st != SA2_OK)
        return st;
    double whole = sa2_logprobs_whole(&row);
    if (chosen_logprob != NULL)
        *chosen_logprob = (sa2_logprob){chosen, (float)(logits[chosen] - whole)};
    if (n_top == 0)
        return SA2_OK;

    /* The list has rising ids, so that equal ones are found in order. */
    float above = sa2_logits_below(sa2_logits_kth(&row, n_top));
    int found = sa2_logits_list(&row, above, INFINITY), n = 0;
    for (int i = 0; i < found; i++)
        n = insert(top, n, n_top, (sa2_logprob){work->ids[i], work->values[i]});
    for (int32_t id = 0; n < n_top; id++)
        if (logits[id] == -INFINITY)
            top[n++] = (sa2_logprob){id, -INFINITY};
    for (int i = 0; i < n; i++)
        top[i].logprob = (float)(top[i].logprob - whole);
    return SA2_OK;
}
