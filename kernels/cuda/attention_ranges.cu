/* attention_ranges.cu - contract: attention.cuh. Which tiles a call has, whether ranges of keys are blocks of their
 * own, and how their results become one.
 */
#include "kernels/cuda/attention.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 128;

/* grid: tiles; heads of keys; elements of a tile. A thread has one and adds its ranges in order. */
static __global__ void __launch_bounds__(THREADS) join_kernel(attention_call a, int queries)
{
    wait_for_earlier();
    work w = work_of(a, queries);
    int at = (int)(blockIdx.z * THREADS + threadIdx.x), row = at / a.d, e = at % a.d;
    if (row >= w.rows)
        return;
    long long range = (long long)queries * (a.d + 2);
    const float *part = a.partial + (blockIdx.x * gridDim.y + blockIdx.y) * a.n_ranges * range +
                        (long long)row * (a.d + 2);
    float most = -INFINITY, sum = 0.0f, total = 0.0f;
#pragma unroll 4
    for (int n = 0; n < a.n_ranges; n++, part += range) {
        float range_most = part[0], range_sum = part[1], value = part[2 + e];
        join j = join_range(most, sum, range_most, range_sum);
        total = join_value(j, total, value);
    }
    store_value(a.y, a.y_is_bf16, q_at(a, w, row, a.y_stride) + e,
                sum == 0.0f ? 0.0f : total / sum);
}

sa2_status list_tiles(sa2_stream *s, const char *op, attention_call *a,
                      const attention_sequence *sequences, int n, tile_choice choice,
                      sa2_error *err)
{
    int64_t count = 0;
    for (int i = 0; i < n; i++) {
        int64_t queries = (int64_t)sequences[i].rows * a->group;
        if (queries >= choice.least && queries <= choice.most)
            count += blocks_for(queries, choice.queries);
    }
    a->n_tiles = (int)count;
    if (count == 0)
        return SA2_OK;
    size_t bytes = (size_t)count * sizeof(attention_tile);
    attention_tile *tiles = (attention_tile *)host_room(s, op, bytes, err);
    if (tiles == nullptr)
        return failure_of(err);
    for (int i = 0; i < n; i++) {
        int64_t queries = (int64_t)sequences[i].rows * a->group;
        if (queries < choice.least || queries > choice.most)
            continue;
        for (int64_t first = 0; first < queries; first += choice.queries)
            *tiles++ = {i, (int)first};
    }
    a->tiles = (const attention_tile *)list_to_device(s, op, tiles - count, bytes, err);
    return a->tiles != nullptr ? SA2_OK : failure_of(err);
}

void choose_ranges(sa2_stream *s, attention_call *a, int queries, int longest, int range)
{
    int ranges = (int)blocks_for(longest, range);
    size_t tiles = (size_t)a->n_tiles * (size_t)a->kv_heads;
    size_t bytes = tiles * (size_t)ranges * (size_t)queries * ((size_t)a->d + 2) * sizeof(float);
    bool split = ranges > 1 && tiles < FEW_BLOCKS / 2 && bytes <= PARTIAL_BYTES;
    a->n_ranges = split ? ranges : 1;
    a->partial = queue_of(s)->partials;
}

sa2_status join_ranges(sa2_stream *s, const char *op, const attention_call *a, int queries,
                       sa2_error *err)
{
    if (a->n_ranges == 1)
        return SA2_OK;
    dim3 grid((unsigned)a->n_tiles, (unsigned)a->kv_heads,
              blocks_for((int64_t)queries * a->d, THREADS));
    return launch(s, op, join_kernel, grid, THREADS, 0, err, *a, queries);
}
} // namespace sa2_cuda
