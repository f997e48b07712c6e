/* oscillator.cu - contract: sa2_harmonics() in kernels/ops.h.
 *
 * The phases at the middles of frames are a sum along a sequence: one thread for each sequence and harmonic, in
 * double. Between two middles the phase is a line, so a thread then has one sample. The floor is the bytes of y and of
 * the noise; the sums are a chain of one addition a frame.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 128;

struct harmonics_args {
    float *y;
    const float *f0, *weight, *bias, *noise;
    const int32_t *offsets;
    double *phase;   /* [frames, harmonics] turns at the middle of a frame, in [-1/2, 1/2] */
    double *advance; /* [frames, harmonics] turns a sample, up to the middle of that frame */
    int n, harmonics, hop;
    long long frames;
    float rate, threshold, amplitude, voiced_noise, other_noise;
};

static __global__ void __launch_bounds__(THREADS) phase_kernel(harmonics_args a)
{
    wait_for_earlier();
    int i = (int)blockIdx.x * THREADS + (int)threadIdx.x;
    int sequence = i / a.harmonics, h = i % a.harmonics;
    if (sequence >= a.n)
        return;
    double phase = 0.0;
    for (int t = a.offsets[sequence]; t < a.offsets[sequence + 1]; t++) {
        double turns = (double)(h + 1) * (double)a.f0[t] / (double)a.rate;
        double advance = turns - floor(turns);
        phase += (double)a.hop * advance;
        phase -= rint(phase);
        a.advance[(long long)t * a.harmonics + h] = advance;
        a.phase[(long long)t * a.harmonics + h] = phase;
    }
}

/* The phase of harmonic h in sample j of frame t, in turns. */
static __device__ __forceinline__ double phase_of(const harmonics_args &a, int sequence,
                                                  long long t, int j, int h)
{
    long long at = t * a.harmonics + h;
    int half = a.hop / 2;
    bool second = j >= half;
    if (t == (second ? a.offsets[sequence + 1] - 1 : a.offsets[sequence]))
        return a.phase[at]; /* flat before the first middle and after the last */
    if (second)
        return a.phase[at] + a.advance[at + a.harmonics] * ((double)(j - half) + 0.5);
    double advance = a.advance[at];
    return a.phase[at - a.harmonics] + advance * half + advance * ((double)j + 0.5);
}

static __global__ void __launch_bounds__(THREADS) sample_kernel(harmonics_args a)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.frames * a.hop)
        return;
    long long t = i / a.hop;
    int j = (int)(i % a.hop), sequence = sequence_of(a.offsets, a.n, t);
    bool voiced = a.f0[t] > a.threshold;
    float y = *a.bias, noise = 0.0f;
    for (int h = 0; voiced && h < a.harmonics; h++) {
        double turns = phase_of(a, sequence, t, j, h);
        y += a.amplitude * a.weight[h] * sinpif((float)(2.0 * (turns - rint(turns))));
    }
    for (int h = 0; a.noise != nullptr && h < a.harmonics; h++)
        noise += a.weight[h] * a.noise[i * a.harmonics + h];
    a.y[i] = tanhf(y + (voiced ? a.voiced_noise : a.other_noise) * noise);
}

sa2_status harmonics(sa2_stream *s, const sa2_harmonics_args *args, sa2_error *err)
{
    int64_t frames = args->f0.shape[0], harmonics = args->weight.shape[0];
    size_t mark = sa2_arena_mark(&s->scratch),
           bytes = (size_t)(frames * harmonics) * sizeof(double);
    harmonics_args a = {.y = (float *)args->y.data,
                        .f0 = (const float *)args->f0.data,
                        .weight = (const float *)args->weight.data,
                        .bias = (const float *)args->bias.data,
                        .noise = (const float *)args->noise.data,
                        .offsets = offsets_to_device(s, "harmonics", args->sequences, err),
                        .phase = (double *)sa2_arena_take(&s->scratch, 2 * bytes),
                        .advance = nullptr,
                        .n = args->sequences.n,
                        .harmonics = (int)harmonics,
                        .hop = args->hop,
                        .frames = frames,
                        .rate = args->rate,
                        .threshold = args->threshold,
                        .amplitude = args->amplitude,
                        .voiced_noise = args->voiced_noise,
                        .other_noise = args->other_noise};
    if (a.offsets == nullptr)
        return failure_of(err);
    if (a.phase == nullptr)
        return sa2_fail(err, SA2_ERR_NOMEM, "harmonics: %zu bytes of scratch needed, %zu left",
                        2 * bytes, s->scratch.bytes - s->scratch.used);
    a.advance = a.phase + frames * harmonics;
    sa2_status st = SA2_OK;
    if (frames > 0 && harmonics > 0)
        st = launch(s, "harmonics", phase_kernel, dim3(blocks_for(a.n * harmonics, THREADS)),
                    THREADS, 0, err, a);
    if (st == SA2_OK && frames > 0)
        st = launch(s, "harmonics", sample_kernel, dim3(blocks_for(frames * a.hop, THREADS)),
                    THREADS, 0, err, a);
    sa2_arena_rewind(&s->scratch, mark);
    return st;
}
} // namespace sa2_cuda
