#include "runtime/decoder/logits_set.h"

#include <math.h>

#include "kernels/token_weights.h"
#include "runtime/decoder/logits_order.h"

enum {
    BLOCK = SA2_ROW_BLOCK,
    LIST = 4096, /* tokens that are worth a list instead of one more sweep */
    SWEEPS = 24, /* at most: many equal logits cannot be told apart by them */
};

/* ---- mass ---- */

static uint64_t steps(float weight)
{
    return (uint64_t)(weight * SA2_WEIGHT_STEPS);
}

static uint64_t total(const sa2_logits *row)
{
    uint64_t mass = 0;
    for (int g = 0; g < row->n_groups; g++)
        mass += row->work->mass[g];
    return mass;
}

/* A threshold of at most `least` that the largest is above, however coarse numbers of its size are. */
static float below_largest(const sa2_logits *row, double least)
{
    return fminf(sa2_logits_below((float)least), sa2_logits_below(row->max));
}

void sa2_logits_weigh(sa2_logits *row, float scale, float above)
{
    const sa2_sampler_work *work = row->work;
    row->scale = scale;
    row->floor = fmaxf(above, below_largest(row, row->max - SA2_WEIGHT_REACH / scale));
    row->n_weighed = work->sweeps->weigh(work->weights, work->mass, row->z, work->block_max,
                                         row->n_blocks, row->floor, row->max, scale);
    row->mass = total(row);
}

/* Fills in the mass of every group, too. */
static uint64_t mass_above(const sa2_logits *row, float above, int *n)
{
    const sa2_sampler_work *work = row->work;
    *n = work->sweeps->sum(work->mass, work->weights, row->z, work->block_max, row->n_blocks,
                           fmaxf(above, row->floor));
    return total(row);
}

/* ---- the smallest set that holds a share ---- */

/* Tokens above a value hold `mass`, and `excess` more than is needed. */
typedef struct end {
    float value;
    int n;
    uint64_t mass;
    double excess;
} end;

/* Between the ends, of which the low one has enough mass and the high one has not: where a straight
 * line has the mass that is needed. */
static float guess(const end ends[2])
{
    float low = ends[0].value, high = ends[1].value;
    double part = ends[0].excess / (ends[0].excess - ends[1].excess);
    float at = (float)(low + ((double)high - low) * part);
    return at > low && at < high ? at : low / 2.0f + high / 2.0f;
}

/* What about as many tokens as eighths of the number of blocks are above. */
static float few_tokens(const sa2_logits *row, int eighths)
{
    return sa2_logits_below(sa2_logits_kth_block(row, 1 + row->n_blocks / 8 * eighths));
}

/* Moves the ends together until a list of the tokens between them is worth while. The first places
 * are those of few tokens, whose sweeps skip most blocks; then false position in the Illinois variant
 * (Dowell & Jarratt 1971): the excess of an end that stays is halved. */
static void narrow(end ends[2], const sa2_logits *row, uint64_t target)
{
    int last = -1;
    for (int i = 0; i < SWEEPS && ends[0].n - ends[1].n > LIST; i++) {
        bool early = i == 0 || (i == 1 && ends[1].n > 0);
        float at = early ? few_tokens(row, i == 0 ? 1 : 6) : guess(ends);
        if (!(at > ends[0].value && at < ends[1].value))
            at = guess(ends);
        if (!(at > ends[0].value && at < ends[1].value))
            break; /* no value lies between */
        end found = {.value = at};
        found.mass = mass_above(row, at, &found.n);
        found.excess = (double)found.mass - (double)target;
        int side = found.mass >= target ? 0 : 1;
        if (side == last)
            ends[1 - side].excess /= 2.0;
        ends[side] = found;
        last = early ? -1 : side;
    }
}

/* The end of the smallest set among a list of n tokens that brings `mass` to the target. */
static sa2_logits_set trim(const sa2_sampler_work *work, int n, uint64_t mass, uint64_t target)
{
    enum { DIGIT = SA2_LOGITS_DIGIT_VALUES, DIGITS = SA2_LOGITS_DIGITS };
    uint32_t last = 0; /* digits so far of the last value that is needed */
    for (int digits = 1; digits <= DIGITS; digits++) {
        uint64_t of[DIGIT] = {0};
        uint32_t digit = 0;
        for (int i = 0; i < n; i++) {
            uint32_t key = sa2_logits_digits(work->values[i], digits);
            if (digits > 1 && key / DIGIT != last)
                continue;
            key %= DIGIT;
            of[key] += steps(work->weights[work->ids[i]]);
            digit = key > digit ? key : digit;
        }
        while (mass + of[digit] < target)
            mass += of[digit--];
        last = last * DIGIT + digit;
    }
    sa2_logits_set set = {0};
    for (int i = 0; i < n && (set.n_equal == 0 || mass < target); i++) {
        if (sa2_logits_digits(work->values[i], DIGITS) != last)
            continue;
        set.above = work->values[i];
        set.weight = work->weights[work->ids[i]];
        set.n_equal++;
        mass += steps(set.weight);
    }
    return set;
}

/* A threshold that the set surely reaches: all tokens that weigh less than (1 - share) mass / n hold less than 1 - share
 * together, and none of them is needed. A weight has half a step of rounding, and 0.01 is for that of logarithms. */
static float sure_threshold(const sa2_logits *row, float share)
{
    double mean = (double)row->mass / row->n_weighed, unneeded = (1.0 - share) * mean - 0.5;
    if (!(unneeded > 0.0))
        return row->floor;
    double bound = row->max + (log2(unneeded / (double)SA2_WEIGHT_STEPS) - 0.01) / row->scale;
    return fmaxf(row->floor, below_largest(row, bound));
}

sa2_logits_set sa2_logits_top_share(const sa2_logits *row, float share)
{
    uint64_t target = (uint64_t)ceil((double)share * (double)row->mass);
    end ends[2] = {
        {sure_threshold(row, share), row->n_weighed, row->mass, (double)row->mass - (double)target},
        {row->max, 0, 0, -(double)target}};
    narrow(ends, row, target);
    int n = sa2_logits_list(row, ends[0].value, ends[1].value);
    return trim(row->work, n, ends[1].mass, target);
}

/* ---- draws ---- */

/* The token of a group at which the running mass of those above passes the target. */
static int32_t draw_in_group(const sa2_logits *row, int group, float above, uint64_t target)
{
    uint64_t mass = 0;
    for (int b = group * SA2_ROW_GROUP;; b++) {
        if (!(row->work->block_max[b] > above))
            continue;
        for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++) {
            mass += row->z[i] > above ? steps(row->work->weights[i]) : 0;
            if (mass > target)
                return i;
        }
    }
}

int32_t sa2_logits_draw(const sa2_logits *row, sa2_logits_set set, double u)
{
    const uint64_t *mass = row->work->mass;
    int n, g = 0;
    uint64_t above = mass_above(row, set.above, &n);
    uint64_t whole = above + (uint64_t)set.n_equal * steps(set.weight);
    uint64_t target = (uint64_t)(u * (double)whole);
    if (target >= whole) /* by rounding */
        target = whole - 1;
    if (target >= above) {
        sa2_logits_list(row, sa2_logits_below(set.above), set.above);
        return row->work->ids[(target - above) / steps(set.weight)];
    }
    for (; mass[g] <= target; g++)
        target -= mass[g];
    return draw_in_group(row, g, fmaxf(set.above, row->floor), target);
}

void sa2_logits_probs(const sa2_logits *row, sa2_logits_set set, float *probs)
{
    float above = fmaxf(set.above, row->floor);
    double whole = 0.0;
    int n_equal = 0;
    for (int i = 0; i < row->n; i++) {
        bool inside = row->z[i] > above || (row->z[i] == set.above && n_equal++ < set.n_equal);
        probs[i] = inside ? row->work->weights[i] : 0.0f;
        whole += probs[i];
    }
    for (int i = 0; i < row->n; i++)
        probs[i] = (float)(probs[i] / whole);
}
