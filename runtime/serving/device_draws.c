#include "runtime/serving/device_draws.h"

#include <math.h>

#include "kernels/backend.h"

enum { ADDITIONS = 4096 /* of one step: biases, stop ids and bad words of all its rows */ };

/* What the sampler of a draw has said. */
typedef struct said {
    int n_generated;
    const uint64_t *seen;
} said;

/* Of one turn, until its tokens are taken. */
typedef struct outcome {
    sa2_sampled *results; /* [max_sequences] */
    int *slots;           /* the same, of each draw: where it is counted, or -1 */
} outcome;

struct sa2_device_draws {
    int n_tokens;
    outcome outcomes[2];    /* by turn */
    outcome *now;           /* of the step that is being queued, as all that follows */
    sa2_sample_row *rows;   /* [max_sequences] */
    sa2_sample_draw *draws; /* the same */
    said *said;             /* the same */
    int *
        counted; /* [max_sequences] generated tokens that a slot has on the device; -1: nothing right */
    sa2_logit_addition *additions; /* [ADDITIONS] */
    int n_rows, n_draws, n_additions;
    bool full;            /* no room for an addition */
    sa2_tensor d_state;   /* u8 [max_sequences, of one slot] */
    sa2_tensor d_results; /* u8 [max_sequences, of one draw] */
};

size_t sa2_device_draws_host_bytes(int max_sequences)
{
    size_t n = (size_t)max_sequences;
    return sa2_arena_round(sizeof(sa2_device_draws)) + sa2_arena_round(n * sizeof(sa2_sample_row)) +
           sa2_arena_round(n * sizeof(sa2_sample_draw)) + sa2_arena_round(n * sizeof(said)) +
           2 * (sa2_arena_round(n * sizeof(sa2_sampled)) + sa2_arena_round(n * sizeof(int))) +
           sa2_arena_round(n * sizeof(int)) +
           sa2_arena_round(ADDITIONS * sizeof(sa2_logit_addition));
}

size_t sa2_device_draws_device_bytes(int max_sequences, int n_tokens)
{
    return sa2_arena_round((size_t)max_sequences * sa2_sample_state_bytes(n_tokens)) +
           sa2_arena_round((size_t)max_sequences * sizeof(sa2_sampled));
}

sa2_status sa2_device_draws_create(sa2_device_draws **draws, int max_sequences, int n_tokens,
                                   sa2_arena *device, sa2_arena *host, sa2_error *err)
{
    size_t n = (size_t)max_sequences, state = sa2_sample_state_bytes(n_tokens);
    sa2_device_draws *d = sa2_arena_take(host, sizeof *d);
    if (d == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "draws: %zu bytes needed", sizeof *d);
    *d = (sa2_device_draws){
        .n_tokens = n_tokens,
        .rows = sa2_arena_take(host, n * sizeof *d->rows),
        .draws = sa2_arena_take(host, n * sizeof *d->draws),
        .said = sa2_arena_take(host, n * sizeof *d->said),
        .counted = sa2_arena_take(host, n * sizeof *d->counted),
        .additions = sa2_arena_take(host, ADDITIONS * sizeof *d->additions),
        .d_state =
            sa2_tensor_2d(sa2_arena_take(device, n * state), SA2_U8, max_sequences, (int64_t)state),
        .d_results = sa2_tensor_2d(sa2_arena_take(device, n * sizeof(sa2_sampled)), SA2_U8,
                                   max_sequences, sizeof(sa2_sampled)),
    };
    bool full = d->rows == NULL || d->draws == NULL || d->said == NULL || d->counted == NULL ||
                d->additions == NULL || d->d_state.data == NULL || d->d_results.data == NULL;
    for (int turn = 0; turn < 2; turn++) {
        outcome *r = &d->outcomes[turn];
        r->results = sa2_arena_take(host, n * sizeof *r->results);
        r->slots = sa2_arena_take(host, n * sizeof *r->slots);
        full = full || r->results == NULL || r->slots == NULL;
    }
    if (full)
        return sa2_fail(err, SA2_ERR_NOMEM, "draws: %zu bytes of host, %zu of the device needed",
                        sa2_device_draws_host_bytes(max_sequences),
                        sa2_device_draws_device_bytes(max_sequences, n_tokens));
    for (int i = 0; i < max_sequences; i++)
        d->counted[i] = -1;
    *draws = d;
    return SA2_OK;
}

void sa2_device_draws_begin(sa2_device_draws *d, int turn)
{
    d->now = &d->outcomes[turn];
    d->n_rows = d->n_draws = d->n_additions = 0;
}

void sa2_device_draws_forget(sa2_device_draws *d, int slot)
{
    d->counted[slot] = -1;
}

static void add(void *draws, int32_t id, float addend)
{
    sa2_device_draws *d = draws;
    d->full = d->n_additions == ADDITIONS;
    if (!d->full)
        d->additions[d->n_additions++] = (sa2_logit_addition){id, addend};
}

static bool punishes(const sa2_sample_rule *rule)
{
    return rule->repetition != 1.0f || rule->frequency != 0.0f || rule->presence != 0.0f;
}

/* False: its additions have no room. */
static bool add_row(sa2_device_draws *d, int row, int slot, const sa2_sampler *sampler,
                    bool wants_logprob)
{
    sa2_sample_row *r = &d->rows[d->n_rows];
    *r = (sa2_sample_row){.rule = sa2_sampler_rule(sampler->params),
                          .row = row,
                          .first_addition = d->n_additions,
                          .first_draw = d->n_draws,
                          .wants_mass = wants_logprob};
    r->slot = punishes(&r->rule) ? slot : -1;
    d->full = false;
    sa2_sampler_additions(sampler, add, d);
    r->n_additions = d->n_additions - r->first_addition;
    if (d->full)
        d->n_additions = r->first_addition;
    else
        d->n_rows++;
    return !d->full;
}

int sa2_device_draws_add(sa2_device_draws *d, int row, int slot, const sa2_sampler *sampler,
                         bool wants_logprob)
{
    bool open = d->n_rows > 0 && d->rows[d->n_rows - 1].row == row;
    if (!open && (!sa2_sampler_fits_device(sampler->params) ||
                  !add_row(d, row, slot, sampler, wants_logprob)))
        return -1;
    sa2_sample_row *r = &d->rows[d->n_rows - 1];
    r->n_draws++;
    d->now->slots[d->n_draws] = r->slot >= 0 ? slot : -1;
    d->said[d->n_draws] = (said){sampler->n_generated, sampler->seen};
    d->draws[d->n_draws] =
        (sa2_sample_draw){sa2_sampler_uniform(sampler), d->now->slots[d->n_draws]};
    return d->n_draws++;
}

void sa2_device_draws_run(sa2_device_draws *d, sa2_stream *s, sa2_tensor logits)
{
    for (int i = 0; i < d->n_draws; i++) {
        int slot = d->draws[i].slot;
        if (slot < 0)
            continue;
        if (d->counted[slot] != d->said[i].n_generated)
            sa2_upload(s, sa2_tensor_rows(d->d_state, slot, 1), d->said[i].seen);
        d->counted[slot] = d->said[i].n_generated + 1; /* with what is chosen now */
    }
    sa2_tensor results = sa2_tensor_rows(d->d_results, 0, d->n_draws);
    sa2_sample(s, (sa2_sample_args){.results = results,
                                    .logits = logits,
                                    .n_tokens = d->n_tokens,
                                    .state = d->d_state,
                                    .rows = d->rows,
                                    .draws = d->draws,
                                    .additions = d->additions,
                                    .n_rows = d->n_rows,
                                    .n_draws = d->n_draws,
                                    .n_additions = d->n_additions});
    if (d->n_draws > 0)
        sa2_download(s, d->now->results, results);
}

void sa2_device_draws_ids(const sa2_device_draws *d, sa2_stream *s, sa2_tensor ids,
                          const int32_t *from)
{
    sa2_sampled_ids(s, ids, d->d_results, from);
}

void sa2_device_draws_drop(sa2_device_draws *d, int turn, int draw)
{
    int slot = d->outcomes[turn].slots[draw];
    if (slot >= 0)
        sa2_device_draws_forget(d, slot);
}

sa2_status sa2_device_draws_take(sa2_device_draws *d, int turn, int draw, sa2_sampler *sampler,
                                 sa2_logprob *token, sa2_error *err)
{
    const sa2_sampled *found = &d->outcomes[turn].results[draw];
    sa2_status st = sa2_sampler_judge(found, d->n_tokens, err);
    if (st != SA2_OK) {
        sa2_device_draws_drop(d, turn, draw); /* it was not counted */
        return st;
    }
    *token = (sa2_logprob){found->token, NAN};
    if (found->mass > 0)
        token->logprob = (float)(found->logit - sa2_logprobs_whole_of(found->largest, found->mass));
    sa2_sampler_accept(sampler, found->token);
    return SA2_OK;
}
