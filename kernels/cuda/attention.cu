/* attention.cu - contract: sa2_attention() in kernels/ops.h; kernels in attention_mma.cu and attention_core.cu. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/cuda_ops.cuh"

namespace sa2_cuda
{
/* Sequence i has one segment for each of its pieces of keys. Returns the number of segments. */
static int find_segments(const sa2_attention_args *a, attention_sequence *sequences,
                         attention_segment *segments)
{
    int n = 0;
    for (int i = 0; i < a->queries.n; i++) {
        int q_first = a->queries.offsets[i], first = a->keys.offsets[i], keys = 0;
        sequences[i] = {.q_first = q_first,
                        .rows = a->queries.offsets[i + 1] - q_first,
                        .position = a->first_position != NULL ? a->first_position[i] : 0,
                        .visible = 0,
                        .segment_first = n,
                        .n_segments = 0};
        if (a->segments == NULL) {
            size_t size = sa2_dtype_bytes(a->k.dtype);
            keys = a->keys.offsets[i + 1] - first;
            segments[n++] = {(const char *)a->k.data + (size_t)(first * a->k.stride) * size,
                             (const char *)a->v.data + (size_t)(first * a->v.stride) * size,
                             a->k.stride,
                             a->v.stride,
                             0,
                             keys};
        }
        for (int j = first; a->segments != NULL && j < a->keys.offsets[i + 1]; j++) {
            const sa2_key_segment *from = &a->segments[j];
            int count = (int)from->k.shape[0];
            if (count == 0)
                continue;
            segments[n++] = {from->k.data,   from->v.data, from->k.stride,
                             from->v.stride, keys,         count};
            keys += count;
        }
        sequences[i].n_segments = n - sequences[i].segment_first;
        sequences[i].visible = a->n_visible != NULL ? a->n_visible[i] : keys;
    }
    return n;
}

sa2_status attention(sa2_stream *s, const sa2_attention_args *args, sa2_error *err)
{
    int n = args->queries.n;
    size_t most = (size_t)n + (args->segments != NULL ? (size_t)args->keys.offsets[n] : 0);
    attention_sequence *sequences =
        (attention_sequence *)host_room(s, "attention", (size_t)n * sizeof *sequences, err);
    attention_segment *segments =
        (attention_segment *)host_room(s, "attention", most * sizeof *segments, err);
    if (sequences == nullptr || segments == nullptr)
        return failure_of(err);
    int count = find_segments(args, sequences, segments), longest = 0;
    bool is_aligned = true;
    for (int i = 0; i < count; i++)
        is_aligned = is_aligned && (uintptr_t)segments[i].k % 16 == 0 &&
                     (uintptr_t)segments[i].v % 16 == 0 && segments[i].k_stride % PACK == 0 &&
                     segments[i].v_stride % PACK == 0;
    for (int i = 0; i < n; i++)
        longest = sequences[i].visible > longest ? sequences[i].visible : longest;
    attention_call a = {};
    a.q = args->q.data;
    a.y = args->y.data;
    a.q_stride = args->q.stride;
    a.y_stride = args->y.stride;
    a.is_bf16 = args->q.dtype == SA2_BF16;
    a.y_is_bf16 = args->y.dtype == SA2_BF16;
    a.d = (int)args->q.shape[2];
    a.is_aligned = is_aligned && a.d % PACK == 0;
    a.kv_heads = (int)args->q.shape[1];
    a.group = 1;
    a.scale = args->scale * LOG2_E;
    a.u = (const float *)args->u.data;
    a.w = (const float *)args->w.data;
    a.r = args->r.data;
    a.r_stride = args->r.stride;
    a.reach = (int)(args->r.shape[0] + 1) / 2;
    a.segments = (const attention_segment *)list_to_device(s, "attention", segments,
                                                           (size_t)count * sizeof *segments, err);
    if (a.segments == nullptr)
        return failure_of(err);
    return run_attention(s, "attention", &a, sequences, n, longest, err);
}
} // namespace sa2_cuda
