/* Choosing tokens: what rows, draws, additions and state may be together. */
#include <math.h>

#include "kernels/ops_check.h"

static bool is_rule(const sa2_sample_rule *r)
{
    return r->repetition > 0.0f && r->repetition < INFINITY && isfinite(r->frequency) &&
           isfinite(r->presence) && r->scale >= 0.0f && r->scale < INFINITY && r->top_k >= 0 &&
           r->top_p > 0.0f && r->top_p <= 1.0f && r->min_p <= 0.0f;
}

static bool is_slot(const sa2_sample_args *a, int32_t slot)
{
    return slot == -1 || (slot >= 0 && !absent(&a->state) && slot < a->state.shape[0]);
}

static bool is_range(int32_t first, int32_t n, int all)
{
    return first >= 0 && n >= 0 && first <= all && n <= all - first;
}

static const char *wrong_row(const sa2_sample_args *a, int i, int first_draw)
{
    const sa2_sample_row *r = &a->rows[i];
    const sa2_sample_rule *rule = &r->rule;
    bool punishes = rule->repetition != 1.0f || rule->frequency != 0.0f || rule->presence != 0.0f;
    if (!is_rule(rule))
        return "a rule that is none";
    if (r->row < 0 || r->row >= a->logits.shape[0] || (i > 0 && r->row <= a->rows[i - 1].row))
        return "rows of logits, rising, expected";
    if (!is_slot(a, r->slot) || (punishes && r->slot < 0))
        return "a slot of state expected";
    if (r->first_draw != first_draw || r->n_draws < 1 ||
        !is_range(r->first_draw, r->n_draws, a->n_draws) ||
        !is_range(r->first_addition, r->n_additions, a->n_additions))
        return "the draws and additions of each row expected";
    return NULL;
}

static const char *wrong_lists(const sa2_sample_args *a)
{
    int drawn = 0;
    for (int i = 0; i < a->n_rows; i++) {
        const char *what = wrong_row(a, i, drawn);
        if (what != NULL)
            return what;
        drawn += a->rows[i].n_draws;
    }
    if (drawn != a->n_draws)
        return "a row for every draw expected";
    for (int i = 0; i < a->n_draws; i++)
        if (!(a->draws[i].u >= 0.0 && a->draws[i].u < 1.0) || !is_slot(a, a->draws[i].slot))
            return "draws of [0, 1) for slots of state expected";
    for (int i = 0; i < a->n_additions; i++)
        if (a->additions[i].id < 0 || a->additions[i].id >= a->n_tokens ||
            !(a->additions[i].addend < INFINITY))
            return "additions below infinity to tokens expected";
    return NULL;
}

static bool is_results(const sa2_tensor *t)
{
    return t->ndim == 2 && t->dtype == SA2_U8 && sa2_tensor_is_dense(t) &&
           t->shape[1] == sizeof(sa2_sampled);
}

static const char *wrong_tensors(const sa2_sample_args *a)
{
    if (a->logits.ndim != 2 || a->logits.dtype != SA2_F32 || a->n_tokens < 1 ||
        a->n_tokens > a->logits.shape[1])
        return "logits f32 [rows, tokens or more] expected";
    if (!is_results(&a->results) || a->results.shape[0] != a->n_draws)
        return "results u8 [draws, bytes of one] expected";
    if (!absent(&a->state) &&
        (a->state.ndim != 2 || a->state.dtype != SA2_U8 || a->state.stride % 8 != 0 ||
         a->state.shape[1] != (int64_t)sa2_sample_state_bytes(a->n_tokens)))
        return "state u8 [slots, bytes of one] expected";
    return NULL;
}

void sa2_sample(sa2_stream *s, sa2_sample_args a)
{
    if (s->status != SA2_OK || a.n_rows == 0)
        return;
    const char *what = wrong_tensors(&a);
    if (what == NULL)
        what = wrong_lists(&a);
    if (what != NULL)
        sa2_refuse(
            s, "sample", what, 3,
            (sa2_named[]){{"results", &a.results}, {"logits", &a.logits}, {"state", &a.state}});
    else
        s->status = s->ops->sample(s, &a, &s->error);
}

static const char *wrong_ids(const sa2_tensor *ids, const sa2_tensor *results, const int32_t *from)
{
    if (ids->ndim != 1 || ids->dtype != SA2_I32)
        return "ids i32 [n] expected";
    if (!is_results(results))
        return "results u8 [draws, bytes of one] expected";
    for (int64_t i = 0; i < ids->shape[0]; i++)
        if (from[i] < 0 || from[i] >= results->shape[0])
            return "draws among the results expected";
    return NULL;
}

void sa2_sampled_ids(sa2_stream *s, sa2_tensor ids, sa2_tensor results, const int32_t *from)
{
    if (s->status != SA2_OK)
        return;
    const char *what = wrong_ids(&ids, &results, from);
    if (what != NULL)
        sa2_refuse(s, "sampled_ids", what, 2, (sa2_named[]){{"ids", &ids}, {"results", &results}});
    else if (ids.shape[0] > 0)
        s->status = s->ops->sampled_ids(s, ids, results, from, &s->error);
}
