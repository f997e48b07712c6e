/* sample.cuh - one long row of logits as a block sees it: sweeps over it, the value at which a sum from above reaches what
 * is needed, and the place at which a sum from the left does.
 *
 * Counts and masses are whole numbers, so every sum has one result whichever thread makes which part of it, and a search
 * may take any way to the one value or place that it is for. Nothing is sorted.
 */
#ifndef SA2_KERNELS_CUDA_SAMPLE_CUH
#define SA2_KERNELS_CUDA_SAMPLE_CUH

#include "kernels/cuda/values.cuh"
#include "kernels/token_weights.h"

namespace sa2_cuda
{
static constexpr int THREADS = 512, WARPS = THREADS / WARP;
static constexpr int PER_LANE = 16,
                     TILE = PER_LANE *
                            WARP; /* values whose largest is kept; a warp has one at a time */
static constexpr int PIVOTS = 7;  /* that a sweep tries */
static constexpr int LIST =
    4096; /* values that are worth a list instead of one more sweep of the row */

/* What is called from several places is there once. */
#define NOT_INLINE __attribute__((noinline))

typedef unsigned long long whole;

struct shared {
    float staged[PER_LANE]
                [THREADS]; /* a tile of each warp, between its loads and what is done with it */
    whole room[WARPS], sums[WARPS][2 * PIVOTS], total[2 * PIVOTS];
    union {
        float list[LIST];
        whole tiles[LIST / 2]; /* sums of the tiles of one warp */
    };
    int n_list, place;
};

/* Values to look among: a row with the largest of each tile, or a short list. */
struct values {
    const float *z;
    int n;
    const float *tile_max;  /* [tiles] NULL: every tile is looked at */
    const uint64_t *seen;   /* [ceil(n / 64)] NULL: z as it is */
    const uint16_t *counts; /* [n] */
    float repetition, frequency, presence;
};

struct weighing {
    float centre, scale;
};

/* ---- single values ---- */

/* z of id i, with the penalties. */
static __device__ __forceinline__ float punished(const values &v, float z, int i)
{
    if (v.seen == nullptr || (v.seen[i / 64] >> i % 64 & 1) == 0)
        return z;
    z = z < 0.0f ? __fmul_rn(z, v.repetition) : z / v.repetition;
    if (v.counts[i] == 0)
        return z;
    return __fadd_rn(z, -__fadd_rn(__fmul_rn(v.frequency, (float)v.counts[i]), v.presence));
}

static __device__ __forceinline__ float below(float x)
{
    return nextafterf(x, -INFINITY);
}

/* Numbers and infinities as whole numbers that rise with them. */
static __device__ __forceinline__ uint32_t key_of(float x)
{
    uint32_t bits = __float_as_uint(x + 0.0f); /* -0 equals 0 */
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static __device__ __forceinline__ float value_of(uint32_t key)
{
    return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

/* The weight of z <= centre, in steps (token_weights.h). */
static __device__ __forceinline__ whole steps_of(float z, weighing w)
{
    constexpr float c[] = SA2_POWER_OF_2_TERMS;
    float y = fmaxf(__fmul_rn(__fadd_rn(z, -w.centre), w.scale), -126.0f), n = rintf(y);
    float rest = y - n, power = c[6];
#pragma unroll
    for (int i = 5; i >= 0; i--)
        power = fmaf(power, rest, c[i]);
    float weight = __fmul_rn(power, __int_as_float(((int)n + 127) << 23));
    if (weight < SA2_WEIGHT_COARSE)
        weight = __fadd_rn(__fadd_rn(weight, SA2_WEIGHT_COARSE), -SA2_WEIGHT_COARSE);
    return (whole)__fmul_rn(weight, SA2_WEIGHT_STEPS);
}

/* ---- what all threads of the block have together ---- */

template <typename T, typename F>
static __device__ __forceinline__ T block_all(shared *m, T x, F join)
{
#pragma unroll
    for (int n = WARP / 2; n > 0; n /= 2)
        x = join(x, __shfl_xor_sync(ALL_LANES, x, n));
    T *room = (T *)m->room;
    __syncthreads(); /* the room is free */
    if (threadIdx.x % WARP == 0)
        room[threadIdx.x / WARP] = x;
    __syncthreads();
    x = room[0];
#pragma unroll
    for (int w = 1; w < WARPS; w++)
        x = join(x, room[w]);
    return x;
}

static __device__ __forceinline__ whole block_total(shared *m, whole x)
{
    return block_all(m, x, [](whole a, whole b) { return a + b; });
}

static __device__ __forceinline__ int block_lowest(shared *m, int x)
{
    return block_all(m, x, [](int a, int b) { return min(a, b); });
}

static __device__ __forceinline__ float block_largest(shared *m, float x)
{
    return block_all(m, x, [](float a, float b) { return fmaxf(a, b); });
}

template <int N> static __device__ __forceinline__ void block_totals(shared *m, whole (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
#pragma unroll
        for (int n = WARP / 2; n > 0; n /= 2)
            x[i] += __shfl_xor_sync(ALL_LANES, x[i], n);
        if (threadIdx.x % WARP == 0)
            m->sums[threadIdx.x / WARP][i] = x[i];
    }
    __syncthreads();
    if (threadIdx.x < N) {
        whole sum = 0;
        for (int w = 0; w < WARPS; w++)
            sum += m->sums[w][threadIdx.x];
        m->total[threadIdx.x] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++)
        x[i] = m->total[i];
}

/* ---- sweeps ---- */

static __device__ __forceinline__ int tiles_of(int n)
{
    return (n + TILE - 1) / TILE;
}

static __device__ __forceinline__ int id_in(int tile, int j)
{
    return tile * TILE + j * WARP + (int)threadIdx.x % WARP;
}

/* All loads of a lane are on their way before the first of its values is used. */
static __device__ NOT_INLINE void load_tile(shared *m, const float *z, int n, int tile)
{
    float row[PER_LANE];
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        row[j] = id_in(tile, j) < n ? z[id_in(tile, j)] : -INFINITY;
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        m->staged[j][threadIdx.x] = row[j];
}

/* The j-th of this lane. Loops over them are not unrolled as far as they could be: code is fetched, too. */
static __device__ __forceinline__ float loaded(const shared *m, const values &v, int tile, int j)
{
    float z = m->staged[j][threadIdx.x];
    return z == -INFINITY ? z : punished(v, z, id_in(tile, j));
}

static __device__ __forceinline__ bool is_below(const values &v, int tile, float above)
{
    return v.tile_max != nullptr && !(v.tile_max[tile] > above);
}

/* f(value) for all that are above. */
template <typename F>
static __device__ __forceinline__ void each(shared *m, const values &v, float above, F f)
{
    for (int tile = (int)threadIdx.x / WARP; tile < tiles_of(v.n); tile += WARPS) {
        if (is_below(v, tile, above))
            continue;
        load_tile(m, v.z, v.n, tile);
#pragma unroll 2
        for (int j = 0; j < PER_LANE; j++) {
            float z = loaded(m, v, tile, j);
            if (z > above)
                f(z);
        }
    }
}

/* The largest of each tile; returns the lowest id of a value that is not below +infinity, or v.n. */
static __device__ NOT_INLINE int find_largest(shared *m, const values &v, float *tile_max)
{
    int bad = v.n;
    for (int tile = (int)threadIdx.x / WARP; tile < tiles_of(v.n); tile += WARPS) {
        float largest = -INFINITY;
        load_tile(m, v.z, v.n, tile);
#pragma unroll 4
        for (int j = 0; j < PER_LANE; j++) {
            float z = loaded(m, v, tile, j);
            largest = fmaxf(largest, z);
            bad = z < INFINITY ? bad : min(bad, id_in(tile, j));
        }
#pragma unroll
        for (int n = WARP / 2; n > 0; n /= 2)
            largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, n));
        if (threadIdx.x % WARP == 0)
            tile_max[tile] = largest;
    }
    return block_lowest(m, bad); /* its barriers are those of tile_max, too */
}

static __device__ NOT_INLINE whole mass_above(shared *m, const values &v, weighing w, float above)
{
    whole mass = 0;
    each(m, v, above, [&](float z) { mass += steps_of(z, w); });
    return block_total(m, mass);
}

/* ---- where a sum from above reaches what is needed ---- */

/* The values from `low` to below `beyond` as a list. */
static __device__ NOT_INLINE values list_values(shared *m, const values &v, float low, float beyond)
{
    __syncthreads(); /* nobody looks at the list any more */
    if (threadIdx.x == 0)
        m->n_list = 0;
    __syncthreads();
    each(m, v, below(low), [&](float z) {
        if (z < beyond)
            m->list[atomicAdd(&m->n_list, 1)] = z;
    });
    __syncthreads();
    values list = {};
    list.z = m->list;
    list.n = m->n_list;
    return list;
}

struct cut {
    float value;
    whole above; /* the sum of those above it */
};

/* Places that cut what lies between two values into equal parts: in value, or in the number of floats. */
static __device__ __forceinline__ void place_pivots(uint32_t (&pivots)[PIVOTS], uint32_t from,
                                                    uint32_t to, bool by_value)
{
    double low = value_of(from), span = (double)value_of(to - 1) - low;
#pragma unroll
    for (int i = 0; i < PIVOTS; i++) {
        uint32_t at = from + (uint32_t)((uint64_t)(to - from) * (i + 1) / (PIVOTS + 1));
        if (by_value)
            at = key_of((float)(low + span * ((i + 1) / (double)(PIVOTS + 1))));
        pivots[i] = at <= from ? from + 1 : at >= to ? to - 1 : at;
    }
}

/* The largest value such that those as large or larger weigh (MASS), or are, as many as needed. Those from `low` on do,
 * and none is above `high`. */
template <bool MASS>
static __device__ NOT_INLINE cut find_cut(shared *m, values v, weighing w, whole need, float low,
                                          float high)
{
    uint32_t from = key_of(low), to = key_of(high) + 1;
    whole above = 0;          /* the sum of values from `to` on */
    whole inside = ~(whole)0; /* how many are between; unknown */
    for (bool by_value = true; to - from > 1; by_value = !by_value) {
        float least = value_of(from), beyond = value_of(to);
        if (v.tile_max != nullptr && inside <= LIST)
            v = list_values(m, v, least, beyond);
        uint32_t pivots[PIVOTS];
        place_pivots(pivots, from, to, by_value);
        whole sums[MASS ? 2 * PIVOTS : PIVOTS] = {}; /* from each pivot on; how many */
        each(m, v, below(least), [&](float z) {
            if (!(z < beyond))
                return;
            whole steps = MASS ? steps_of(z, w) : 1;
#pragma unroll
            for (int i = 0; i < PIVOTS; i++) {
                bool is_above = z >= value_of(pivots[i]);
                sums[i] += is_above ? steps : 0;
                if (MASS)
                    sums[i + PIVOTS] += is_above;
            }
        });
        block_totals(m, sums);
        const whole *counts = MASS ? sums + PIVOTS : sums;
        whole sum_from_to = 0, inside_from_to = 0;
        bool found = false;
#pragma unroll
        for (int i = PIVOTS - 1; i >= 0; i--) {
            if (found)
                continue;
            if (above + sums[i] >= need) {
                from = pivots[i];
                inside = counts[i] - inside_from_to;
                found = true;
            } else {
                to = pivots[i];
                sum_from_to = sums[i];
                inside_from_to = counts[i];
            }
        }
        if (!found)
            inside -= inside == ~(whole)0 ? 0 : inside_from_to;
        above += sum_from_to;
    }
    return {value_of(from), above};
}

/* The k-th largest value, or -infinity; not below `low`, which is -infinity where nothing is known. */
static __device__ NOT_INLINE float find_kth(shared *m, const values &v, int k, float low,
                                            float high)
{
    if (low == -INFINITY) {
        whole n = 0;
        float least = INFINITY;
        each(m, v, low, [&](float z) {
            n++;
            least = fminf(least, z);
        });
        if (block_total(m, n) < (whole)k)
            return -INFINITY;
        low = -block_largest(m, -least);
    }
    return find_cut<false>(m, v, {}, (whole)k, low, high).value;
}

/* ---- where a sum from the left does ---- */

template <typename F>
static __device__ __forceinline__ whole tile_sum(shared *m, const values &v, int tile, float above,
                                                 F f)
{
    whole sum = 0;
    if (tile < tiles_of(v.n) && !is_below(v, tile, above)) {
        load_tile(m, v.z, v.n, tile);
#pragma unroll 2
        for (int j = 0; j < PER_LANE; j++) {
            float z = loaded(m, v, tile, j);
            sum += z > above ? f(z) : 0;
        }
    }
    return sum;
}

static __device__ __forceinline__ whole warp_total(whole x)
{
#pragma unroll
    for (int n = WARP / 2; n > 0; n /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, n);
    return x;
}

/* By one warp: the id in a tile. */
template <typename F>
static __device__ __forceinline__ int find_in_tile(shared *m, const values &v, int tile,
                                                   float above, F f, whole target)
{
    int lane = (int)threadIdx.x % WARP;
    load_tile(m, v.z, v.n, tile);
#pragma unroll 1
    for (int j = 0; j < PER_LANE; j++) {
        float z = loaded(m, v, tile, j);
        whole sum = z > above ? f(z) : 0;
#pragma unroll
        for (int n = 1; n < WARP; n *= 2) {
            whole before = __shfl_up_sync(ALL_LANES, sum, n);
            sum += lane >= n ? before : 0;
        }
        unsigned passed = __ballot_sync(ALL_LANES, sum > target);
        if (passed != 0)
            return tile * TILE + j * WARP + __ffs((int)passed) - 1;
        target -= __shfl_sync(ALL_LANES, sum, WARP - 1);
    }
    return -1; /* target is below the sum of the tile */
}

/* The lowest id up to which the sum of f over the values above is more than the target, which is less than the whole sum. */
template <typename F>
static __device__ NOT_INLINE int find_place(shared *m, const values &v, float above, F f,
                                            whole target)
{
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    int per_warp = (tiles_of(v.n) + WARPS - 1) / WARPS;
    whole sum = 0;
    for (int i = 0; i < per_warp; i++)
        sum += tile_sum(m, v, warp * per_warp + i, above, f);
    sum = warp_total(sum);
    __syncthreads(); /* the room is free */
    if (lane == 0)
        m->room[warp] = sum;
    __syncthreads();
    int part = 0, tile = 0;
    while (part < WARPS - 1 && m->room[part] <= target)
        target -= m->room[part++];
    for (int i = warp; i < per_warp; i += WARPS) {
        sum = warp_total(tile_sum(m, v, part * per_warp + i, above, f));
        if (lane == 0)
            m->tiles[i] = sum;
    }
    __syncthreads();
    while (tile < per_warp - 1 && m->tiles[tile] <= target)
        target -= m->tiles[tile++];
    if (warp == 0) {
        int place = find_in_tile(m, v, part * per_warp + tile, above, f, target);
        if (lane == 0)
            m->place = place;
    }
    __syncthreads();
    return m->place;
}
} // namespace sa2_cuda

#endif
