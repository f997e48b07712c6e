/* sound_list.h - the sounds of a request: how many chunks and prompt rows they give, and their 16 kHz samples.
 *
 * Measured first, so that a request that is too long is refused before anything is computed.
 */
#ifndef SA2_RUNTIME_SERVING_SOUND_LIST_H
#define SA2_RUNTIME_SERVING_SOUND_LIST_H

#include "runtime/audio/resample.h"
#include "runtime/engine.h"

enum { SA2_SOUND_MIN_HZ = 1000, SA2_SOUND_MAX_HZ = 384000 };

typedef struct sa2_sound_list {
    const sa2_sound *sounds; /* the caller's, [n] */
    size_t n;
    sa2_resample_table *tables; /* [n] */
    int64_t *n_samples;         /* [n], at 16 kHz */
    size_t *first_chunk;        /* [n + 1] */
    int *patches;               /* rows in the prompt of every chunk, [first_chunk[n]] */
    int64_t total_samples;      /* sum of n_samples */
} sa2_sound_list;

/* Zero-initialise *sounds; it is to be destroyed in any case. `given` is borrowed.
 * Errors, a line for each sound: SA2_ERR_ARG a rate or a number of samples that makes no sense;
 * SA2_ERR_LIMIT more than 30 minutes; SA2_ERR_NOMEM. */
sa2_status sa2_sound_list_measure(sa2_sound_list *sounds, const sa2_sound *given, size_t n,
                                  sa2_length_rule rule, sa2_error *err);
void sa2_sound_list_destroy(sa2_sound_list *sounds);

/* Samples [first, first + n) of sound i at 16 kHz that chunk `chunk` of it has. */
int64_t sa2_sound_list_chunk(const sa2_sound_list *sounds, size_t i, size_t chunk, int64_t *first);

/* All sounds one after the other, out [total_samples].
 * Errors: SA2_ERR_FORMAT a sample that is no finite number. */
sa2_status sa2_sound_list_resample(const sa2_sound_list *sounds, float *out, sa2_error *err);

#endif
