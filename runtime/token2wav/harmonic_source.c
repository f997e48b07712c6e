#include "runtime/token2wav/harmonic_source.h"

/* Constructor values of the release. */
static const float sine_amplitude = 0.1f, noise_deviation = 0.003f, voiced_threshold = 10.0f;

void sa2_harmonic_source_load(sa2_harmonic_source *source, sa2_weights *w)
{
    sa2_tensor weight = sa2_weights_table(w, 1, SA2_VOCODER_HARMONICS, "m_source.l_linear.weight");
    *source = (sa2_harmonic_source){
        .weight = sa2_tensor_1d(weight.data, weight.dtype, SA2_VOCODER_HARMONICS),
        .bias = sa2_weights_vector(w, 1, "m_source.l_linear.bias")};
}

void sa2_harmonic_source_forward(sa2_stream *s, const sa2_harmonic_source *source,
                                 sa2_tensor samples, sa2_tensor f0, sa2_rows frames,
                                 sa2_tensor noise)
{
    sa2_harmonics(s, (sa2_harmonics_args){.y = samples,
                                          .f0 = sa2_tensor_1d(f0.data, f0.dtype, f0.shape[0]),
                                          .sequences = frames,
                                          .weight = source->weight,
                                          .bias = source->bias,
                                          .noise = noise,
                                          .hop = SA2_VOCODER_FRAME,
                                          .rate = SA2_VOCODER_RATE,
                                          .threshold = voiced_threshold,
                                          .amplitude = sine_amplitude,
                                          .voiced_noise = noise_deviation,
                                          .other_noise = sine_amplitude / 3.0f});
}
