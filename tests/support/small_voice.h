/* small_voice.h - a voice encoder of synthetic weights, and recordings for it.
 */
#ifndef SA2_TESTS_SUPPORT_SMALL_VOICE_H
#define SA2_TESTS_SUPPORT_SMALL_VOICE_H

#include "runtime/token2wav/voice.h"

/* Preset tiny, seed 0, for recordings of up to `max_seconds` and prompts of 3 tokens or more. Fails the test when it
 * cannot. */
sa2_backend *test_voice_open(sa2_voice_encoder *encoder, int max_seconds, sa2_partial_rule partial);

/* The map of one of its files: SA2_SPEAKER_FILE or SA2_SPEECH_TOKENIZER_FILE. */
sa2_tensor_map *test_voice_map(int file);

/* Fills samples [n, channels] with a wavering tone and noise; another seed, another voice. */
void test_recording(float *samples, int n, int channels, int rate, uint32_t seed);

/* Those samples as a source. */
sa2_audio_source test_samples(const float *samples, int n, int channels, int rate);

#endif
