/* Any bytes as a sound, with a header or as raw PCM: refused with a message, or finite samples. */
#include <math.h>

#include "runtime/audio/audio_file.h"
#include "tests/fuzz/fuzz.h"

static void read_sound(const sa2_audio_source *source, sa2_audio_channel channel, int rate)
{
    sa2_audio audio = {0};
    sa2_error err = {0};
    sa2_status st = sa2_audio_read(&audio, source, channel, rate, &err);
    fuzz_expect_message(st, &err);
    if (st == SA2_OK)
        fuzz_expect(audio.rate == rate && audio.n_samples >= 1, "a sound of the wanted rate");
    for (int64_t i = 0; st == SA2_OK && i < audio.n_samples; i++)
        fuzz_expect(isfinite(audio.samples[i]), "finite samples");
    sa2_audio_destroy(&audio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    void *bytes = fuzz_copy(data, n);
    sa2_audio_source source = {.bytes = bytes, .n_bytes = n};
    read_sound(&source, SA2_CHANNEL_FIRST, 16000);
    read_sound(&source, SA2_CHANNEL_MEAN, 24000);
    source.pcm_channels = 2;
    source.pcm_rate = 24000;
    source.pcm = SA2_PCM_S16LE;
    read_sound(&source, SA2_CHANNEL_MEAN, 16000);
    source.pcm = SA2_PCM_F32LE;
    read_sound(&source, SA2_CHANNEL_FIRST, 24000);
    free(bytes);
    return 0;
}
