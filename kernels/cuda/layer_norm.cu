/* layer_norm.cu - contract: sa2_layer_norm() in kernels/ops.h.
 *
 * One block per vector, or one warp where a vector has at most 512 elements, which its lanes keep. The sum of
 * squares is taken about the mean, in a second sweep; up to KEPT packs of a thread stay in registers, so that a
 * vector is read once. The floor is the bytes of x and y.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int KEPT = 2;

struct layer_norm_args {
    vectors_view y, x, weight, bias;
    vectors_view scale, shift; /* one vector for each row of the table */
    const int32_t *table_rows;
    long long n_table, n_vectors;
    float eps;
    int activation;
    struct fault *fault;
};

template <int THREADS> static __device__ __forceinline__ float sum_over(float x, float *room)
{
    if (THREADS == WARP)
        return warp_sum(x);
    return block_sum<THREADS>(x, room);
}

template <bool ACTIVATES, bool ALIGNED>
static __device__ __forceinline__ void finish_pack(const layer_norm_args &a, long long to,
                                                   long long table, int at, float (&x)[PACK],
                                                   float mean, float factor)
{
    float p[PACK], q[PACK];
#pragma unroll
    for (int i = 0; i < PACK; i++)
        x[i] = (x[i] - mean) * factor;
    if (a.weight.data != nullptr) {
        load_pack<ALIGNED>(p, a.weight, 0, at);
        load_pack<ALIGNED>(q, a.bias, 0, at);
#pragma unroll
        for (int i = 0; i < PACK; i++)
            x[i] = x[i] * p[i] + q[i];
    }
    if (a.scale.data != nullptr) {
        load_pack<ALIGNED>(p, a.scale, table * a.scale.stride, at);
        load_pack<ALIGNED>(q, a.shift, table * a.shift.stride, at);
#pragma unroll
        for (int i = 0; i < PACK; i++)
            x[i] = x[i] * (1.0f + p[i]) + q[i];
    }
    if (ACTIVATES)
#pragma unroll
        for (int i = 0; i < PACK; i++)
            x[i] = activate_one(x[i], a.activation, 0.0f);
    store_pack<ALIGNED>(a.y, to, at, x);
}

/* Sum over the vector of x (centre 0, power 1) or (x - centre)^2 of what is not kept. */
template <int THREADS, bool ALIGNED>
static __device__ __forceinline__ float sum_of_rest(const layer_norm_args &a, long long from,
                                                    int me, float centre, bool squares)
{
    float sum = 0.0f, x[PACK];
    for (int at = (KEPT * THREADS + me) * PACK; at < a.x.n; at += THREADS * PACK) {
        load_pack<ALIGNED>(x, a.x, from, at);
#pragma unroll
        for (int i = 0; i < PACK; i++) {
            float d = x[i] - centre;
            sum += at + i >= a.x.n ? 0.0f : squares ? d * d : d;
        }
    }
    return sum;
}

template <int THREADS, bool ACTIVATES, bool ALIGNED>
static __global__ void __launch_bounds__(256, 4) layer_norm_kernel(layer_norm_args a)
{
    wait_for_earlier();
    float *room = (float *)shared_bytes();
    int me = (int)threadIdx.x % THREADS;
    long long vector = (long long)blockIdx.x * (blockDim.x / THREADS) + threadIdx.x / THREADS;
    if (vector >= a.n_vectors)
        return;
    long long row = vector / a.x.per_row, table = 0;
    if (a.table_rows != nullptr) {
        table = a.table_rows[row];
        if (!in_range(a.fault, fault_kind::LAYER_NORM, (int)table, a.n_table, row))
            return; /* every thread of the vector sees the same */
    }
    long long from = start_of(a.x, vector), to = start_of(a.y, vector);
    float kept[KEPT][PACK] = {};
    float sum = sum_of_rest<THREADS, ALIGNED>(a, from, me, 0.0f, false);
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        int at = (k * THREADS + me) * PACK;
        if (at >= a.x.n)
            continue;
        load_pack<ALIGNED>(kept[k], a.x, from, at);
#pragma unroll
        for (int i = 0; i < PACK; i++)
            sum += kept[k][i];
    }
    float mean = sum_over<THREADS>(sum, room) / (float)a.x.n;
    float squares = sum_of_rest<THREADS, ALIGNED>(a, from, me, mean, true);
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        int at = (k * THREADS + me) * PACK;
#pragma unroll
        for (int i = 0; i < PACK; i++) {
            float d = at + i < a.x.n ? kept[k][i] - mean : 0.0f;
            squares += d * d;
        }
    }
    /* The second half of the room: the first may still be read. */
    squares = sum_over<THREADS>(squares, room + THREADS / WARP);
    float factor = 1.0f / sqrtf(squares / (float)a.x.n + a.eps);
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        int at = (k * THREADS + me) * PACK;
        if (at < a.x.n)
            finish_pack<ACTIVATES, ALIGNED>(a, to, table, at, kept[k], mean, factor);
    }
    for (int at = (KEPT * THREADS + me) * PACK; at < a.x.n; at += THREADS * PACK) {
        float x[PACK];
        load_pack<ALIGNED>(x, a.x, from, at);
        finish_pack<ACTIVATES, ALIGNED>(a, to, table, at, x, mean, factor);
    }
}

template <bool ACTIVATES, bool ALIGNED>
static sa2_status run(sa2_stream *s, const layer_norm_args &a, sa2_error *err)
{
    if (a.x.n <= KEPT * WARP * PACK)
        return launch(s, "layer_norm", layer_norm_kernel<WARP, ACTIVATES, ALIGNED>,
                      dim3(blocks_for(a.n_vectors, 8)), 8 * WARP, 2 * sizeof(float), err, a);
    return launch(s, "layer_norm", layer_norm_kernel<256, ACTIVATES, ALIGNED>,
                  dim3((unsigned)a.n_vectors), 256, 2 * 256 / WARP * sizeof(float), err, a);
}

sa2_status layer_norm(sa2_stream *s, const sa2_layer_norm_args *args, sa2_error *err)
{
    if (args->activation == SA2_ACT_SNAKE || args->activation == SA2_ACT_LEAKY)
        return sa2_fail(err, SA2_ERR_ARG, "layer_norm: an activation without parameters expected");
    layer_norm_args a = {.y = vectors_of(args->y),
                         .x = vectors_of(args->x),
                         .weight = {},
                         .bias = {},
                         .scale = {},
                         .shift = {},
                         .table_rows = (const int32_t *)args->table_rows.data,
                         .n_table = args->scale.shape[0],
                         .n_vectors = vector_count(args->x),
                         .eps = args->eps,
                         .activation = args->activation,
                         .fault = queue_of(s)->fault};
    if (a.n_vectors == 0)
        return SA2_OK;
    if (args->weight.data != NULL) {
        a.weight = vectors_of(args->weight);
        a.bias = vectors_of(args->bias);
    }
    if (args->scale.data != NULL) {
        a.scale = vectors_of(args->scale);
        a.shift = vectors_of(args->shift);
    }
    bool aligned = a.y.is_aligned && a.x.is_aligned;
    const vectors_view *given[] = {&a.weight, &a.bias, &a.scale, &a.shift};
    for (const vectors_view *v : given)
        aligned = aligned && (v->data == nullptr || v->is_aligned);
    if (a.activation == SA2_ACT_NONE)
        return aligned ? run<false, true>(s, a, err) : run<false, false>(s, a, err);
    return aligned ? run<true, true>(s, a, err) : run<true, false>(s, a, err);
}
} // namespace sa2_cuda
