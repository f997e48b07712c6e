#include "runtime/audio/audio_length.h"

enum {
    HOP = 160, /* samples from one mel frame to the next */
    EXTRA = 2, /* frames that the 479 zeros after a chunk add */
};

int64_t sa2_audio_chunks(int64_t n_samples)
{
    return (n_samples + SA2_AUDIO_CHUNK - 1) / SA2_AUDIO_CHUNK;
}

int64_t sa2_audio_chunk_samples(int64_t n_samples, int64_t i)
{
    int64_t left = n_samples - i * SA2_AUDIO_CHUNK;
    return left < SA2_AUDIO_CHUNK ? left : SA2_AUDIO_CHUNK;
}

sa2_audio_lengths sa2_audio_lengths_of(int64_t n_samples, sa2_length_rule rule)
{
    int64_t q = (n_samples + HOP - 1) / HOP; /* ceil(N / 160) */
    int64_t frames = q + EXTRA;
    int64_t rows = (frames + 1) / 2;
    int64_t declared = rule == SA2_LENGTH_HF ? frames - EXTRA : frames;
    int64_t valid = (declared + 1) / 4;
    return (sa2_audio_lengths){
        .frames = frames,
        .rows = rows,
        .keys = rule == SA2_LENGTH_HF ? rows - 1 : rows,
        .pooled = rows / 2,
        .valid = valid,
        .tokens = (valid + 1) / 2, /* floor((E - 1) / 2) + 1, and 0 for E = 0 */
    };
}
