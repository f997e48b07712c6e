/* elementwise.cu - contracts: sa2_copy(), sa2_add(), sa2_mix(), sa2_activate() and sa2_affine() in kernels/ops.h.
 *
 * A thread takes one pack of eight neighbours; dtypes and the function are arguments, for the branches on them are
 * the same in the whole grid and hide behind the memory. The floor is the bytes of all tensors, each once.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

enum class form : int { COPY, SUM, MIX, ACTIVATE, SNAKE, AFFINE };

struct elementwise {
    vectors_view y, a, b;       /* b of SUM and MIX; one row of it for all where b.stride is 0 */
    const float *scale, *shift; /* of AFFINE; scale is alpha of SNAKE */
    float factor_a, factor_b;   /* of MIX */
    form what;
    int activation, channels;
    float slope;
    unsigned packs; /* in a row */
    long long rows;
};

static __device__ __forceinline__ float one_value(const elementwise &e, float a, float b,
                                                  int channel)
{
    switch (e.what) {
    case form::COPY:
        return a;
    case form::SUM:
        return a + b;
    case form::MIX:
        return e.factor_a * a + e.factor_b * b;
    case form::ACTIVATE:
        return activate_one(a, e.activation, e.slope);
    case form::SNAKE:
        return snake(a, e.scale[channel]);
    case form::AFFINE:
        return activate_one(a * e.scale[channel] + e.shift[channel], e.activation, 0.0f);
    }
    return a;
}

static __global__ void __launch_bounds__(THREADS) elementwise_kernel(elementwise e)
{
    wait_for_earlier();
    unsigned pack = blockIdx.x * THREADS + threadIdx.x;
    long long row = pack / e.packs;
    int at = (int)(pack % e.packs) * PACK;
    if (row >= e.rows)
        return;
    float a[PACK], b[PACK] = {};
    load_pack(a, e.a, row * e.a.stride, at);
    if (e.b.data != nullptr)
        load_pack(b, e.b, row * e.b.stride, at);
#pragma unroll
    for (int i = 0; i < PACK; i++)
        if (at + i < e.y.n)
            a[i] = one_value(e, a[i], b[i], (at + i) % e.channels);
    store_pack(e.y, row * e.y.stride, at, a);
}

static bool is_run(const sa2_tensor &x)
{
    return x.ndim == 1 && x.stride == 1;
}

static sa2_status run(sa2_stream *s, const char *op, elementwise e, const sa2_tensor &y,
                      const sa2_tensor &a, const sa2_tensor *b, sa2_error *err)
{
    bool one_row = is_run(y) && is_run(a) && (b == nullptr || is_run(*b));
    e.y = one_row ? vectors_of(y) : rows_of(y);
    e.a = one_row ? vectors_of(a) : rows_of(a);
    if (b != nullptr)
        e.b = one_row || b->ndim < a.ndim ? vectors_of(*b) : rows_of(*b);
    e.rows = one_row ? 1 : a.shape[0];
    e.packs = (unsigned)((e.a.n + PACK - 1) / PACK);
    e.channels = (int)a.shape[a.ndim - 1];
    if (sa2_tensor_count(&a) == 0)
        return SA2_OK;
    return launch(s, op, elementwise_kernel, dim3(blocks_for(e.rows * e.packs, THREADS)), THREADS,
                  0, err, e);
}

sa2_status copy(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_error *err)
{
    elementwise e = {};
    e.what = form::COPY;
    return run(s, "copy", e, y, x, nullptr, err);
}

sa2_status add(sa2_stream *s, sa2_tensor y, sa2_tensor a, sa2_tensor b, sa2_error *err)
{
    elementwise e = {};
    e.what = form::SUM;
    return run(s, "add", e, y, a, &b, err);
}

sa2_status mix(sa2_stream *s, sa2_tensor y, float a, sa2_tensor x, float b, sa2_tensor z,
               sa2_error *err)
{
    elementwise e = {};
    e.what = form::MIX;
    e.factor_a = a;
    e.factor_b = b;
    return run(s, "mix", e, y, x, &z, err);
}

sa2_status activate(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_activation activation,
                    float slope, sa2_tensor alpha, sa2_error *err)
{
    elementwise e = {};
    e.what = activation == SA2_ACT_SNAKE ? form::SNAKE : form::ACTIVATE;
    e.activation = activation;
    e.slope = slope;
    e.scale = (const float *)alpha.data;
    return run(s, "activate", e, y, x, nullptr, err);
}

sa2_status affine(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor scale, sa2_tensor shift,
                  sa2_activation activation, sa2_error *err)
{
    elementwise e = {};
    e.what = form::AFFINE;
    e.activation = activation;
    e.scale = (const float *)scale.data;
    e.shift = (const float *)shift.data;
    return run(s, "affine", e, y, x, nullptr, err);
}
} // namespace sa2_cuda
