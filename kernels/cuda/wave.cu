/* wave.cu - contracts: sa2_reflect_pad(), sa2_polar(), sa2_overlap_add() and sa2_cross_fade() in kernels/ops.h.
 *
 * A thread has one element or sample; frames that overlap are added in their order. The floor is the bytes.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

/* ---- padding ---- */

struct reflect_args {
    float *y;
    const float *x;
    const int32_t *offsets;
    int n, before, after, cols;
    long long count;
};

static __global__ void __launch_bounds__(THREADS) reflect_kernel(reflect_args a)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.count)
        return;
    long long row = i / a.cols, both = a.before + a.after;
    int low = 0, high = a.n - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (a.offsets[middle] + middle * both <= row)
            low = middle;
        else
            high = middle - 1;
    }
    long long begin = a.offsets[low], last = a.offsets[low + 1] - begin - 1;
    long long at = row - begin - low * both - a.before;
    at = at < 0 ? -at : at;
    at = at > last ? 2 * last - at : at;
    a.y[i] = a.x[(begin + at) * a.cols + i % a.cols];
}

sa2_status reflect_pad(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int before,
                       int after, sa2_error *err)
{
    reflect_args a = {.y = (float *)y.data,
                      .x = (const float *)x.data,
                      .offsets = offsets_to_device(s, "reflect_pad", sequences, err),
                      .n = sequences.n,
                      .before = before,
                      .after = after,
                      .cols = (int)y.shape[1],
                      .count = sa2_tensor_count(&y)};
    if (a.offsets == nullptr)
        return failure_of(err);
    if (a.count == 0)
        return SA2_OK;
    return launch(s, "reflect_pad", reflect_kernel, dim3(blocks_for(a.count, THREADS)), THREADS, 0,
                  err, a);
}

/* ---- spectra ---- */

static __global__ void __launch_bounds__(THREADS)
    polar_kernel(float *y, const float *z, long long count, int bins, float most)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    long long at = i / bins * 2 * bins + i % bins;
    float m = expf(z[at]), p = sine(z[at + bins]);
    m = m > most ? most : m;
    y[at] = m * cosine(p);
    y[at + bins] = m * sine(p);
}

sa2_status polar(sa2_stream *s, sa2_tensor y, sa2_tensor z, float most, sa2_error *err)
{
    int64_t count = sa2_tensor_count(&y) / 2;
    if (count == 0)
        return SA2_OK;
    return launch(s, "polar", polar_kernel, dim3(blocks_for(count, THREADS)), THREADS, 0, err,
                  (float *)y.data, (const float *)z.data, count, (int)(y.shape[1] / 2), most);
}

/* ---- overlap ---- */

struct overlap_args {
    float *y;
    const float *x, *window;
    long long samples, frames; /* of one sequence */
    int n, hop, trim;
    float limit;
};

static __global__ void __launch_bounds__(THREADS) overlap_kernel(overlap_args a)
{
    wait_for_earlier();
    long long j = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (j >= a.samples)
        return;
    long long at = j + a.trim;                           /* before trimming */
    long long m = at < a.n ? 0 : (at - a.n) / a.hop + 1; /* the first frame that reaches it */
    float sum = 0.0f, energy = 0.0f;
    for (; m < a.frames && m * a.hop <= at; m++) {
        long long k = at - m * a.hop;
        sum += a.x[m * a.n + k];
        energy += a.window[k] * a.window[k];
    }
    float y = sum / energy;
    y = y > a.limit ? a.limit : y;
    a.y[j] = y < -a.limit ? -a.limit : y;
}

sa2_status overlap_add(sa2_stream *s, const sa2_overlap_add_args *args, sa2_error *err)
{
    overlap_args a = {.y = (float *)args->y.data,
                      .x = (const float *)args->x.data,
                      .window = (const float *)args->window.data,
                      .samples = 0,
                      .frames = 0,
                      .n = (int)args->x.shape[1],
                      .hop = args->hop,
                      .trim = args->trim,
                      .limit = args->limit};
    for (int i = 0; i < args->sequences.n; i++) {
        a.frames = args->sequences.offsets[i + 1] - args->sequences.offsets[i];
        a.samples = sa2_overlap_add_length(args, a.frames);
        sa2_status st = SA2_OK;
        if (a.samples > 0)
            st = launch(s, "overlap_add", overlap_kernel, dim3(blocks_for(a.samples, THREADS)),
                        THREADS, 0, err, a);
        if (st != SA2_OK)
            return st;
        a.x += a.frames * a.n;
        a.y += a.samples;
    }
    return SA2_OK;
}

/* ---- cross-fade ---- */

static __device__ __forceinline__ double hamming(long long i, long long n)
{
    return 0.54 - 0.46 * cospi(2.0 * (double)i / (double)(n - 1));
}

static __global__ void __launch_bounds__(THREADS)
    fade_kernel(float *y, const float *x, const float *z, long long n)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        y[i] = (float)((double)x[i] * hamming(i, 2 * n) + (double)z[i] * hamming(n + i, 2 * n));
}

sa2_status cross_fade(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor z, sa2_error *err)
{
    if (y.shape[0] == 0)
        return SA2_OK;
    return launch(s, "cross_fade", fade_kernel, dim3(blocks_for(y.shape[0], THREADS)), THREADS, 0,
                  err, (float *)y.data, (const float *)x.data, (const float *)z.data, y.shape[0]);
}
} // namespace sa2_cuda
