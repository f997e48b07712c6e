/* small_speech.h - token2wav of synthetic weights, voices for it, and sounds gathered from its streams.
 */
#ifndef SA2_TESTS_SUPPORT_SMALL_SPEECH_H
#define SA2_TESTS_SUPPORT_SMALL_SPEECH_H

#include "runtime/token2wav/speech.h"

/* Preset tiny, seed 0. Fails the test when it cannot. */
void test_speech_open(sa2_token2wav *t, sa2_backend *backend, const sa2_token2wav_options *options);

/* A voice of n tokens and noise; another seed, another voice. The caller destroys it. */
sa2_voice test_speech_voice(int n_tokens, uint32_t seed);

/* codes [n] that anything could have said. */
void test_speech_codes(int32_t *codes, int n, uint32_t seed);

#endif
