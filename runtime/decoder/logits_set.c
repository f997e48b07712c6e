#include "runtime/decoder/logits_set.h"

#include <math.h>

#include "runtime/decoder/logits_order.h"

enum {
    BLOCK = SA2_ROW_BLOCK,
    LIST = 4096, /* tokens that are worth a list instead of one more sweep */
    SWEEPS = 24, /* at most: many equal logits cannot be told apart by them */
};

/* ---- mass ---- */

static double total(const sa2_logits *row)
{
    double mass = 0.0;
    for (int b = 0; b < row->n_blocks; b++)
        mass += row->work->mass[b];
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
    row->floor = fmaxf(above, below_largest(row, row->max - 48.0 / scale));
    row->n_weighed = work->sweeps->weigh(work->weights, work->mass, row->z, work->block_max,
                                         row->n_blocks, row->floor, row->max, scale);
    row->mass = total(row);
}

/* Fills in the mass of every block, too. */
static double mass_above(const sa2_logits *row, float above, int *n)
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
    double mass, excess;
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
static void narrow(end ends[2], const sa2_logits *row, double target)
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
        found.excess = found.mass - target;
        int side = found.excess >= 0.0 ? 0 : 1;
        if (side == last)
            ends[1 - side].excess /= 2.0;
        ends[side] = found;
        last = early ? -1 : side;
    }
}

/* The end of the smallest set among a list of n tokens that brings `mass` to the target; the whole
 * list when rounding leaves that short. */
static sa2_logits_set trim(const sa2_sampler_work *work, int n, double mass, double target)
{
    enum { DIGIT = SA2_LOGITS_DIGIT_VALUES, DIGITS = SA2_LOGITS_DIGITS };
    uint32_t last = 0; /* digits so far of the last value that is needed */
    for (int digits = 1; digits <= DIGITS; digits++) {
        double of[DIGIT] = {0.0};
        uint32_t digit = 0, lowest = DIGIT - 1;
        for (int i = 0; i < n; i++) {
            uint32_t key = sa2_logits_digits(work->values[i], digits);
            if (digits > 1 && key / DIGIT != last)
                continue;
            key %= DIGIT;
            of[key] += work->weights[work->ids[i]];
            digit = key > digit ? key : digit;
            lowest = key < lowest ? key : lowest;
        }
        while (digit > lowest && mass + of[digit] < target)
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
        mass += set.weight;
    }
    return set;
}

sa2_logits_set sa2_logits_top_share(const sa2_logits *row, float share)
{
    double target = share * row->mass;
    /* All tokens that weigh less than (1 - share) mass / n hold less than 1 - share together: none of
     * them is needed. 0.01 is for rounding. */
    double mean = row->mass / row->n_weighed;
    double bound = row->max + (log2((1.0 - share) * mean) - 0.01) / row->scale;
    end ends[2] = {{fmaxf(row->floor, below_largest(row, bound)), row->n_weighed, row->mass,
                    row->mass - target},
                   {row->max, 0, 0.0, -target}};
    narrow(ends, row, target);
    int n = sa2_logits_list(row, ends[0].value, ends[1].value);
    return trim(row->work, n, ends[1].mass, target);
}

/* ---- draws ---- */

/* The token of a block at which the running mass of those above passes the target. */
static int32_t draw_in_block(const sa2_logits *row, int block, float above, double target)
{
    double mass = 0.0;
    int32_t token = -1;
    for (int i = block * BLOCK; i < (block + 1) * BLOCK && mass <= target; i++) {
        if (!(row->z[i] > above) || row->work->weights[i] == 0.0f)
            continue;
        mass += row->work->weights[i];
        token = i;
    }
    return token;
}

int32_t sa2_logits_draw(const sa2_logits *row, sa2_logits_set set, double u)
{
    const double *mass = row->work->mass;
    int n, b = 0, last = row->n_blocks - 1;
    double above = mass_above(row, set.above, &n), below = 0.0;
    double target = u * (above + set.n_equal * (double)set.weight);
    if (set.n_equal > 0 && target >= above) {
        double place = (target - above) / set.weight;
        sa2_logits_list(row, sa2_logits_below(set.above), set.above);
        return row->work->ids[place < set.n_equal ? (int)place : set.n_equal - 1];
    }
    while (mass[last] == 0.0) /* the last block with any */
        last--;
    while (b < last && below + mass[b] <= target)
        below += mass[b++];
    return draw_in_block(row, b, fmaxf(set.above, row->floor), target - below);
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
