/* padded.cu - contract: padded.cuh. A thread copies a pack of eight; the floor is the bytes of x and of the copy. */
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

struct pad_args {
    vectors_view y, x;
    const float *history, *alpha;
    const int32_t *offsets;
    int n, before, after, activation;
    float slope;
    unsigned packs;
    long long rows; /* of the copy */
};

/* The sequence of a row of the copy. */
static __device__ __forceinline__ int padded_sequence(const pad_args &a, long long row)
{
    int low = 0, high = a.n - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (a.offsets[middle] + (long long)middle * (a.before + a.after) <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static __global__ void __launch_bounds__(THREADS) pad_kernel(pad_args a)
{
    wait_for_earlier();
    unsigned pack = blockIdx.x * THREADS + threadIdx.x;
    long long row = pack / a.packs;
    int at = (int)(pack % a.packs) * PACK;
    if (row >= a.rows)
        return;
    int i = padded_sequence(a, row);
    long long first = a.offsets[i] + (long long)i * (a.before + a.after);
    int within = (int)(row - first), from = within - a.before;
    float x[PACK] = {};
    if (from >= 0 && from < a.offsets[i + 1] - a.offsets[i]) {
        load_pack(x, a.x, (a.offsets[i] + from) * a.x.stride, at);
#pragma unroll
        for (int j = 0; j < PACK; j++)
            if (a.activation == SA2_ACT_SNAKE)
                x[j] = at + j < a.x.n ? snake(x[j], a.alpha[at + j]) : 0.0f;
            else if (a.activation != SA2_ACT_NONE)
                x[j] = activate_one(x[j], a.activation, a.slope);
    } else if (from < 0 && a.history != nullptr) {
        const float *past = a.history + ((long long)i * a.before + within) * a.x.n;
#pragma unroll
        for (int j = 0; j < PACK; j++)
            x[j] = at + j < a.x.n ? past[at + j] : 0.0f;
    }
    store_pack(a.y, row * a.y.stride, at, x);
}

const int32_t *offsets_to_device(sa2_stream *s, const char *op, sa2_rows sequences, sa2_error *err)
{
    return (const int32_t *)list_to_device(s, op, sequences.offsets,
                                           ((size_t)sequences.n + 1) * sizeof(int32_t), err);
}

const int32_t *part_offsets(sa2_stream *s, const char *op, sa2_rows sequences, int each, bool whole,
                            sa2_error *err)
{
    size_t bytes = ((size_t)sequences.n + 1) * sizeof(int32_t);
    int32_t *offsets = (int32_t *)host_room(s, op, bytes, err);
    if (offsets == nullptr)
        return nullptr;
    offsets[0] = 0;
    for (int i = 0; i < sequences.n; i++) {
        int length = sequences.offsets[i + 1] - sequences.offsets[i];
        offsets[i + 1] = offsets[i] + (whole ? length : length + each - 1) / each;
    }
    return (const int32_t *)list_to_device(s, op, offsets, bytes, err);
}

void *pad_rows(sa2_stream *s, const char *op, const padding &p, sa2_error *err)
{
    int64_t in = p.x.shape[1];
    int64_t rows = p.x.shape[0] + (int64_t)p.sequences.n * (p.before + p.after);
    size_t bytes = (size_t)(rows * in) * sa2_dtype_bytes(p.x.dtype);
    void *copy = sa2_arena_take(&s->scratch, bytes);
    if (copy == nullptr) {
        sa2_fail(err, SA2_ERR_NOMEM, "%s: %zu bytes of scratch needed, %zu left", op, bytes,
                 s->scratch.bytes - s->scratch.used);
        return nullptr;
    }
    pad_args a = {.y = rows_of(sa2_tensor_2d(copy, p.x.dtype, rows, in)),
                  .x = rows_of(p.x),
                  .history = (const float *)p.history.data,
                  .alpha = p.alpha,
                  .offsets = offsets_to_device(s, op, p.sequences, err),
                  .n = p.sequences.n,
                  .before = p.before,
                  .after = p.after,
                  .activation = p.activation,
                  .slope = p.slope,
                  .packs = blocks_for(in, PACK),
                  .rows = rows};
    if (a.offsets == nullptr)
        return nullptr;
    if (rows * in == 0)
        return copy;
    sa2_status st =
        launch(s, op, pad_kernel, dim3(blocks_for(rows * a.packs, THREADS)), THREADS, 0, err, a);
    return st == SA2_OK ? copy : nullptr;
}

row_span *span_room(sa2_stream *s, const char *op, int n, sa2_error *err)
{
    return (row_span *)host_room(s, op, (size_t)n * sizeof(row_span), err);
}

sa2_status set_spans(sa2_stream *s, const char *op, product *p, const row_span *spans, int n,
                     sa2_error *err)
{
    p->n_spans = n;
    if (n == 1)
        p->one = spans[0];
    if (n <= 1)
        return SA2_OK;
    p->spans = (const row_span *)list_to_device(s, op, spans, (size_t)n * sizeof *spans, err);
    return p->spans != nullptr ? SA2_OK : failure_of(err);
}
} // namespace sa2_cuda
