/* vocoder_rows.h - the borders of the packed sounds of one forward at every rate inside the vocoder.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_VOCODER_ROWS_H
#define SA2_RUNTIME_TOKEN2WAV_VOCODER_ROWS_H

#include <assert.h>

#include "kernels/ops.h"

enum { SA2_VOCODER_SOUNDS = 64 }; /* of one forward */

/* Room for the borders that sa2_rows_scale() makes; it outlives their use. */
typedef struct sa2_vocoder_rows {
    int32_t offsets[SA2_VOCODER_SOUNDS + 1];
} sa2_vocoder_rows;

/* Sounds of `factor` times their length and `extra` rows more. */
static inline sa2_rows sa2_rows_scale(sa2_vocoder_rows *room, sa2_rows sounds, int factor,
                                      int extra)
{
    assert(sounds.n <= SA2_VOCODER_SOUNDS);
    for (int i = 0; i <= sounds.n; i++)
        room->offsets[i] = sounds.offsets[i] * factor + i * extra;
    return (sa2_rows){.n = sounds.n, .offsets = room->offsets};
}

static inline int64_t sa2_rows_total(sa2_rows rows)
{
    return rows.offsets[rows.n];
}

#endif
