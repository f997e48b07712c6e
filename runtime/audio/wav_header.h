/* wav_header.h - the header of a WAV stream whose writer could not go back to fill in its length.
 *
 * A writer into a pipe, or one that was killed, leaves 0 as the length of the data chunk. libsndfile
 * takes that at its word. (A length that is too large, the other habit of such writers, it corrects.)
 */
#ifndef SA2_RUNTIME_AUDIO_WAV_HEADER_H
#define SA2_RUNTIME_AUDIO_WAV_HEADER_H

#include <stdbool.h>
#include <stddef.h>

/* Where the data chunk of a WAV file in memory has the length 0 and samples follow it, writes their length
 * and returns true. Another chunk after an empty data chunk is no sample. */
bool sa2_wav_complete(unsigned char *bytes, size_t n);

#endif
