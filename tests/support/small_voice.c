#include "tests/support/small_voice.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loader/token2wav_writer.h"

sa2_tensor_map *test_voice_map(int file)
{
    sa2_preset preset;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    if (sa2_preset_find(&preset, "tiny", &err) != SA2_OK ||
        sa2_token2wav_synthetic_map(&map, (sa2_token2wav_file)file, &preset, 0, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return map;
}

sa2_backend *test_voice_open(sa2_voice_encoder *encoder, int max_seconds, sa2_partial_rule partial)
{
    sa2_backend *backend;
    sa2_error err = {0};
    if (sa2_backend_open(&backend, &(sa2_backend_options){.n_threads = 2}, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_tensor_map *tokenizer = test_voice_map(SA2_SPEECH_TOKENIZER_FILE);
    sa2_tensor_map *speaker = test_voice_map(SA2_SPEAKER_FILE);
    const sa2_voice_options options = {.mel_bins = 80,
                                       .frames_per_token = 2,
                                       .least_tokens = 3,
                                       .max_seconds = max_seconds,
                                       .partial = partial};
    if (sa2_voice_encoder_from_maps(encoder, backend, tokenizer, speaker, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_tensor_map_destroy(speaker);
    sa2_tensor_map_destroy(tokenizer);
    return backend;
}

void test_recording(float *samples, int n, int channels, int rate, uint32_t seed)
{
    double phase = 0.0;
    uint32_t random = 2 * seed + 1;
    for (int i = 0; i < n; i++) {
        double t = (double)i / rate, hz = 150.0 + 20.0 * seed + 40.0 * sin(5.0 * t);
        phase += 6.283185307179586 * hz / rate;
        for (int c = 0; c < channels; c++) {
            random = random * 1664525u + 1013904223u;
            double noise = (double)(random >> 8) / (1 << 24) - 0.5;
            samples[i * channels + c] =
                (float)(0.3 * sin((c + 1) * phase) * (1.0 + 0.5 * sin(9.0 * t)) + 0.05 * noise);
        }
    }
}

sa2_audio_source test_samples(const float *samples, int n, int channels, int rate)
{
    return (sa2_audio_source){.bytes = samples,
                              .n_bytes = (size_t)n * (size_t)channels * sizeof *samples,
                              .pcm = SA2_PCM_F32LE,
                              .pcm_rate = rate,
                              .pcm_channels = channels};
}
