/* sample.cu - contracts: sa2_sample() and sa2_sampled_ids() in kernels/ops.h.
 *
 * A block has a row. A first sweep finds what is no number and the largest of each tile of 512; later ones pass over the
 * tiles that cannot matter. Weights are computed where they are needed and not kept. The floor is the bytes of the row,
 * read once, twice with penalties or additions, once more for the mass that log-probabilities want, and once more for a
 * draw without top-k and min-p.
 */
#include <limits.h>

#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/sample.cuh"

namespace sa2_cuda
{
static constexpr float NATURAL = 1.44269504f; /* the scale of temperature 1: 1 / ln 2 */

/* A logit that an addition changes, as it was. */
struct kept {
    float logit;
    int is_first; /* of the additions to its id */
};

struct sampling {
    float *logits;
    long long stride;
    int n;
    unsigned char *state; /* [slots, state_stride] */
    long long state_stride;
    const sa2_sample_row *rows;
    const sa2_sample_draw *draws;
    const sa2_logit_addition *additions;
    kept *keep; /* [additions] */
    sa2_sampled *results;
};

static __device__ __forceinline__ uint64_t *seen_in(const sampling &a, int slot)
{
    return (uint64_t *)(a.state + slot * a.state_stride);
}

static __device__ __forceinline__ uint16_t *counts_in(const sampling &a, int slot)
{
    return (uint16_t *)(seen_in(a, slot) + (a.n + 63) / 64);
}

/* ---- changes ---- */

/* The first of the additions to an id makes all of them, in their order. */
static __device__ void add(const sampling &a, const sa2_sample_row &r, float *logits)
{
    const sa2_logit_addition *additions = a.additions + r.first_addition;
    for (int i = (int)threadIdx.x; i < r.n_additions; i += THREADS) {
        int id = additions[i].id;
        bool is_first = true;
        for (int k = 0; k < i && is_first; k++)
            is_first = additions[k].id != id;
        kept before = {is_first ? logits[id] : 0.0f, is_first};
        a.keep[r.first_addition + i] = before;
        float sum = before.logit;
        for (int k = i; k < r.n_additions && is_first; k++)
            if (additions[k].id == id)
                sum = __fadd_rn(sum, additions[k].addend);
        if (is_first)
            logits[id] = sum;
    }
    __syncthreads(); /* the row is as it is to be */
}

static __device__ void put_back(const sampling &a, const sa2_sample_row &r, float *logits)
{
    __syncthreads(); /* nobody looks at the row any more */
    for (int i = (int)threadIdx.x; i < r.n_additions; i += THREADS) {
        kept k = a.keep[r.first_addition + i];
        if (k.is_first)
            logits[a.additions[r.first_addition + i].id] = k.logit;
    }
}

static __device__ values with_penalties(const sampling &a, const sa2_sample_row &r, values v)
{
    const sa2_sample_rule &rule = r.rule;
    if (rule.repetition == 1.0f && rule.frequency == 0.0f && rule.presence == 0.0f)
        return v;
    v.seen = seen_in(a, r.slot);
    v.counts = counts_in(a, r.slot);
    v.repetition = rule.repetition;
    v.frequency = rule.frequency;
    v.presence = rule.presence;
    return v;
}

/* ---- choosing ---- */

/* Finds the largest, or what is wrong with the row. */
static __device__ sa2_sampled take_in(shared *m, const values &v, float *tile_max)
{
    sa2_sampled found = {};
    found.token = find_largest(m, v, tile_max);
    if (found.token < v.n) {
        found.fault = SA2_SAMPLE_NO_NUMBER;
        found.logit = punished(v, v.z[found.token], found.token);
        return found;
    }
    float largest = -INFINITY;
    for (int i = (int)threadIdx.x; i < tiles_of(v.n); i += THREADS)
        largest = fmaxf(largest, tile_max[i]);
    found.largest = block_largest(m, largest);
    if (found.largest == -INFINITY)
        found.fault = SA2_SAMPLE_MASKED;
    return found;
}

/* What weighs at least a step is above: of a row, `largest` is. */
static __device__ __forceinline__ float weightless(weighing w)
{
    float least = (float)((double)w.centre - SA2_WEIGHT_REACH / (double)w.scale);
    return fminf(below(least), below(w.centre));
}

static __device__ int find_largest_id(shared *m, const values &v, float largest)
{
    int lowest = INT_MAX;
    for (int tile = (int)threadIdx.x; tile < tiles_of(v.n); tile += THREADS)
        if (v.tile_max[tile] == largest)
            lowest = min(lowest, tile);
    int tile = block_lowest(m, lowest);
    lowest = INT_MAX;
    for (int i = tile * TILE + (int)threadIdx.x; i < min(v.n, (tile + 1) * TILE); i += THREADS)
        if (punished(v, v.z[i], i) == largest)
            lowest = min(lowest, i);
    return block_lowest(m, lowest);
}

/* Tokens above a value, of which the mass is known, and the first of those that equal it. */
struct token_set {
    float above;
    whole mass, n_equal, each_equal;
};

/* min-p and top-k are thresholds, the higher of which counts; top-p looks at the mass that they leave. */
static __device__ token_set select_tokens(shared *m, const values &v, const sa2_sample_rule &rule,
                                          weighing w)
{
    float min_p = -INFINITY, above = -INFINITY;
    if (rule.min_p > -INFINITY)
        min_p = below(w.centre + rule.min_p);
    if (rule.top_k > 0) {
        values largest = {};
        largest.z = v.tile_max;
        largest.n = tiles_of(v.n);
        float low = -INFINITY;
        if (rule.top_k <= largest.n) /* the k-th largest of tiles: k tokens or more are as large */
            low = find_kth(m, largest, rule.top_k, low, w.centre);
        above = below(find_kth(m, v, rule.top_k, low, w.centre));
    }
    if (!rule.min_p_last)
        above = fmaxf(above, min_p);
    float least = weightless(w);
    above = fmaxf(above, least);
    token_set set = {above, mass_above(m, v, w, above), 0, 0};
    if (rule.top_p < 1.0f) {
        whole needed = (whole)ceil((double)rule.top_p * (double)set.mass);
        cut last = find_cut<true>(m, v, w, needed, nextafterf(above, INFINITY), w.centre);
        whole weight = steps_of(last.value, w);
        set = {last.value, last.above, (needed - last.above + weight - 1) / weight, weight};
    }
    if (set.above < min_p)
        set = {min_p, mass_above(m, v, w, min_p), 0, 0};
    return set;
}

/* The token at which the mass by rising id, that of equal ones last, passes a share. */
static __device__ int draw(shared *m, const values &v, const token_set &set, weighing w, double u)
{
    whole all = set.mass + set.n_equal * set.each_equal;
    whole target = (whole)(u * (double)all);
    if (target >= all) /* by rounding */
        target = all - 1;
    if (target < set.mass)
        return find_place(
            m, v, set.above, [&](float z) { return steps_of(z, w); }, target);
    return find_place(
        m, v, below(set.above), [&](float z) { return (whole)(z == set.above); },
        (target - set.mass) / set.each_equal);
}

/* Into results[].token. */
static __device__ void choose(const sampling &a, const sa2_sample_row &r, shared *m,
                              const values &v, float largest)
{
    weighing w = {largest, r.rule.scale};
    bool greedy = r.rule.scale == 0.0f;
    int token = greedy ? find_largest_id(m, v, largest) : 0;
    token_set set = greedy ? token_set{} : select_tokens(m, v, r.rule, w);
    for (int i = r.first_draw; i < r.first_draw + r.n_draws; i++) {
        if (!greedy)
            token = draw(m, v, set, w, a.draws[i].u);
        if (threadIdx.x == 0)
            a.results[i].token = token;
    }
}

/* ---- kernel ---- */

static __device__ __forceinline__ void accept(const sampling &a, int slot, int token)
{
    seen_in(a, slot)[token / 64] |= (uint64_t)1 << token % 64;
    uint16_t *count = &counts_in(a, slot)[token];
    if (*count < UINT16_MAX)
        ++*count;
}

/* The row is as it came, `found` what is known of it. */
static __device__ void tell(const sampling &a, const sa2_sample_row &r, const float *logits,
                            sa2_sampled found)
{
    __syncthreads(); /* tokens, and what was put back */
    for (int i = r.first_draw + (int)threadIdx.x; i < r.first_draw + r.n_draws; i += THREADS) {
        if (found.fault == SA2_SAMPLE_GOOD) {
            found.token = a.results[i].token;
            found.logit = logits[found.token];
            if (a.draws[i].slot >= 0)
                accept(a, a.draws[i].slot, found.token);
        }
        a.results[i] = found;
    }
}

static __global__ void __launch_bounds__(THREADS) sample_kernel(sampling a)
{
    wait_for_earlier();
    shared *m = (shared *)shared_bytes();
    float *tile_max = (float *)(m + 1);
    const sa2_sample_row r = a.rows[blockIdx.x];
    float *logits = a.logits + r.row * a.stride;
    values v = {};
    v.z = logits;
    v.n = a.n;
    sa2_sampled found = take_in(m, v, tile_max), changed = found;
    v.tile_max = tile_max;
    if (found.fault != SA2_SAMPLE_GOOD)
        return tell(a, r, logits, found);
    if (r.wants_mass) {
        weighing natural = {found.largest, NATURAL};
        found.mass = mass_above(m, v, natural, weightless(natural));
    }
    add(a, r, logits);
    values punished = with_penalties(a, r, v);
    if (r.n_additions > 0 || punished.seen != nullptr)
        changed = take_in(m, punished, tile_max);
    if (changed.fault == SA2_SAMPLE_GOOD)
        choose(a, r, m, punished, changed.largest);
    else
        found = changed;
    put_back(a, r, logits);
    tell(a, r, logits, found);
}

static __global__ void __launch_bounds__(THREADS)
    sampled_ids_kernel(int32_t *ids, const sa2_sampled *results, const int32_t *from, int n)
{
    wait_for_earlier();
    int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i < n)
        ids[i] = results[from[i]].fault == SA2_SAMPLE_GOOD ? results[from[i]].token : 0;
}

/* ---- launchers ---- */

sa2_status sample(sa2_stream *s, const sa2_sample_args *args, sa2_error *err)
{
    const size_t keep_bytes = (size_t)args->n_additions * sizeof(kept);
    if (keep_bytes > PARTIAL_BYTES)
        return sa2_fail(err, SA2_ERR_LIMIT, "sample: %d additions, up to %zu can be taken",
                        args->n_additions, PARTIAL_BYTES / sizeof(kept));
    sampling a = {};
    a.logits = (float *)args->logits.data;
    a.stride = args->logits.stride;
    a.n = args->n_tokens;
    a.state = (unsigned char *)args->state.data;
    a.state_stride = args->state.stride;
    a.rows = (const sa2_sample_row *)to_device(s, "sample", args->rows,
                                               (size_t)args->n_rows * sizeof *a.rows, err);
    a.draws = (const sa2_sample_draw *)to_device(s, "sample", args->draws,
                                                 (size_t)args->n_draws * sizeof *a.draws, err);
    if (args->n_additions > 0)
        a.additions = (const sa2_logit_addition *)to_device(
            s, "sample", args->additions, (size_t)args->n_additions * sizeof *a.additions, err);
    if (a.rows == nullptr || a.draws == nullptr ||
        (args->n_additions > 0 && a.additions == nullptr))
        return failure_of(err);
    a.keep = (kept *)queue_of(s)->partials;
    a.results = (sa2_sampled *)args->results.data;
    size_t bytes = sizeof(shared) + (size_t)blocks_for(a.n, TILE) * sizeof(float);
    return launch(s, "sample", sample_kernel, dim3((unsigned)args->n_rows), THREADS, bytes, err, a);
}

sa2_status sampled_ids(sa2_stream *s, sa2_tensor ids, sa2_tensor results, const int32_t *from,
                       sa2_error *err)
{
    int n = (int)ids.shape[0];
    const int32_t *list =
        (const int32_t *)list_to_device(s, "sampled_ids", from, (size_t)n * sizeof *list, err);
    if (list == nullptr)
        return failure_of(err);
    return launch(s, "sampled_ids", sampled_ids_kernel, dim3(blocks_for(n, THREADS)), THREADS, 0,
                  err, (int32_t *)ids.data, (const sa2_sampled *)results.data, list, n);
}
} // namespace sa2_cuda
