/* hift_resblock.h - a residual block of the vocoder: three pairs of convolutions behind Snake, the first
 * of a pair dilated, each pair added to what it was given.
 *
 * Maths: ResBlock and Snake of flashcosyvoice in stepfun-ai/Step-Audio2 (Kong et al. 2020, "HiFi-GAN",
 * section 2.2; Ziyin et al. 2020, eq. 3); golden case hift_resblock in tests/golden/token2wav/.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_HIFT_RESBLOCK_H
#define SA2_RUNTIME_TOKEN2WAV_HIFT_RESBLOCK_H

#include "kernels/backend.h"
#include "loader/token2wav_tensors.h"
#include "runtime/weights.h"

typedef struct sa2_hift_resblock {
    int channels, kernel;
    struct {
        sa2_matrix conv1, conv2;   /* [channels, kernel * channels] */
        sa2_tensor bias1, bias2;   /* [channels] */
        sa2_tensor alpha1, alpha2; /* of the Snake before each */
    } pairs[SA2_VOCODER_DILATIONS];
} sa2_hift_resblock;

/* Fills *block from "<list>.<index>.", or only measures (weights.h). */
void sa2_hift_resblock_load(sa2_hift_resblock *block, int channels, int kernel, const char *list,
                            int index, sa2_weights *w);

/* Of one block on `rows` rows of n sounds. */
size_t sa2_hift_resblock_scratch_bytes(int channels, int kernel, int64_t rows, int n);

/* In place on x [rows, channels] f32, each sound by itself; between is like x. */
void sa2_hift_resblock_forward(sa2_stream *s, const sa2_hift_resblock *block, sa2_tensor x,
                               sa2_tensor between, sa2_rows sounds);

#endif
