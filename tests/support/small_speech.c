#include "tests/support/small_speech.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "loader/token2wav_tensors.h"
#include "loader/token2wav_writer.h"

void test_speech_open(sa2_token2wav *t, sa2_backend *backend, const sa2_token2wav_options *options)
{
    sa2_preset preset;
    sa2_tensor_map *flow = NULL, *vocoder = NULL;
    sa2_error err = {0};
    sa2_status st = sa2_preset_find(&preset, "tiny", &err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(&flow, SA2_FLOW_FILE, &preset, 0, &err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(&vocoder, SA2_VOCODER_FILE, &preset, 0, &err);
    if (st == SA2_OK) {
        sa2_flow_config config = sa2_token2wav_preset_dims(&preset.token2wav).flow;
        st = sa2_token2wav_from_maps(t, backend, &config, flow, vocoder, options, &err);
    }
    sa2_tensor_map_destroy(flow);
    sa2_tensor_map_destroy(vocoder);
    if (st != SA2_OK)
        fail_msg("%s", err.message);
}

static uint32_t next(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u; /* Knuth, TAOCP volume 2, 3.3.4 */
    return *random >> 8;
}

sa2_voice test_speech_voice(int n_tokens, uint32_t seed)
{
    sa2_voice voice;
    sa2_error err = {0};
    uint32_t random = seed;
    if (sa2_voice_create(&voice, n_tokens, 192, 2 * n_tokens, 80, &err) != SA2_OK)
        fail_msg("%s", err.message);
    test_speech_codes(voice.tokens, n_tokens, seed);
    for (int i = 0; i < voice.n_speaker; i++)
        voice.speaker[i] = (float)next(&random) / (1 << 23) - 1.0f;
    for (int i = 0; i < voice.n_frames * voice.mel_bins; i++)
        voice.mel[i] = (float)next(&random) / (1 << 22) - 8.0f;
    return voice;
}

void test_speech_codes(int32_t *codes, int n, uint32_t seed)
{
    uint32_t random = seed + 77;
    for (int i = 0; i < n; i++)
        codes[i] = (int32_t)(next(&random) % 6561);
}
