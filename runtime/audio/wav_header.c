#include "runtime/audio/wav_header.h"

#include <stdint.h>
#include <string.h>

enum {
    FIRST_CHUNK = 12, /* after "RIFF", length, "WAVE" */
    CHUNK_HEADER = 8, /* name, length */
};

static size_t length_of(const unsigned char *chunk)
{
    return chunk[4] | (size_t)chunk[5] << 8 | (size_t)chunk[6] << 16 | (size_t)chunk[7] << 24;
}

/* A name of printable letters, and a length that the file has. */
static bool is_chunk(const unsigned char *chunk, size_t left)
{
    if (left < CHUNK_HEADER || length_of(chunk) > left - CHUNK_HEADER)
        return false;
    for (int i = 0; i < 4; i++)
        if (chunk[i] < ' ' || chunk[i] > '~')
            return false;
    return true;
}

bool sa2_wav_complete(unsigned char *bytes, size_t n)
{
    if (n < FIRST_CHUNK || memcmp(bytes, "RIFF", 4) != 0 || memcmp(bytes + 8, "WAVE", 4) != 0)
        return false;
    size_t at = FIRST_CHUNK;
    while (is_chunk(bytes + at, n - at) && memcmp(bytes + at, "data", 4) != 0) {
        size_t length = length_of(bytes + at);
        length += length % 2; /* chunks begin at even places */
        if (length > n - at - CHUNK_HEADER)
            return false;
        at += CHUNK_HEADER + length;
    }
    if (!is_chunk(bytes + at, n - at) || length_of(bytes + at) != 0)
        return false;
    size_t samples = at + CHUNK_HEADER;
    if (samples == n || is_chunk(bytes + samples, n - samples) || n - samples > UINT32_MAX)
        return false;
    uint32_t length = (uint32_t)(n - samples);
    for (int i = 0; i < 4; i++)
        bytes[at + 4 + (size_t)i] = (unsigned char)(length >> 8 * i);
    return true;
}
